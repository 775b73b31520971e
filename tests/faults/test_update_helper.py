"""The process that helps to check signatures of updates is killed, or stops: no update notices, and it is counted."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.bench.timing import family
from tests.peers.process import Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, UpdateConnection, UpdateMaker, dynamic_world
from tests.peers.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ZONE = "helped.test."
CONNECTIONS = 40
FAILED = "dnssecd_update_checkers_failed_total"


class Crowd:
    """Connections that send an update each at the same time, so that they become few versions."""

    def __init__(self, port: int, key: TsigKey, stack: contextlib.ExitStack) -> None:
        self._maker, self._numbers = UpdateMaker(ZONE, key), count()
        self._connections = [stack.enter_context(UpdateConnection(port)) for _ in range(CONNECTIONS)]
        self.added: list[str] = []

    def add(self) -> None:
        """One name by each connection."""
        for connection in self._connections:
            name = f"u{next(self._numbers)}"
            connection.send(self._maker.wire(add=[(name, 60, "TXT", "x")]))
            self.added.append(f"{name}.{ZONE}")
        assert {connection.receive()[1] for connection in self._connections} == {NOERROR}


def helpers(world: World) -> set[int]:
    """The checking processes of the daemon."""
    found = set()
    for pid in family(world.daemon.pid):
        with contextlib.suppress(OSError):
            if b"workers.checker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_updates_do_without_a_process_that_fails(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, stack: contextlib.ExitStack, number: signal.Signals
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor: no process helps")
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=())
    crowd = Crowd(world.daemon.port, tsig_key, stack)

    def helped() -> set[int]:
        crowd.add()
        return helpers(world)

    wait_until(helped, "a process helps", every=0.1)
    for _ in range(5):  # it has become ready
        crowd.add()
    assert world.daemon.metric(FAILED) == 0
    pids = helpers(world)
    for pid in pids:
        os.kill(pid, number)
    for _ in range(3):
        crowd.add()
    assert 1 <= (world.daemon.metric(FAILED) or 0) <= len(pids)
    assert not helpers(world)
    content = world.daemon.zone_content(ZONE)
    assert set(crowd.added) <= {line.split()[0] for line in content}
    judged = peer_dir / "judged.zone"
    judged.write_text("\n".join(sorted(content)) + "\n")
    assert ldns_verify_zone(judged, ZONE).ok
