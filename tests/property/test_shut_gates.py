"""A real daemon is started with each gate shut: of the work that the gate stops, nothing is signed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dns.update
import pytest

from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.daemon.run import Daemon
from dnssecd.daemon.zones import permits
from dnssecd.daemon.zones.first_publication import Permission
from dnssecd.daemon.zones.gates import STOPPED_BY, Gate, Work
from dnssecd.daemon.zones.machine import State, state_of
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import Doubt, FrontZone
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.version.state import Restored
from dnssecd.store import filemark
from tests.peers.process import free_port
from tests.property.test_zones_come_and_go import ADDRESS, CONFIG, DYNAMIC, KEY, SECRET, ZONE, Asked

CONTENT = "$TTL 300\n@ SOA ns h 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n"
DAY_S = 86_400
FILE, UPDATED, OTHER = "file.test.", "updated.test.", "other.test."
#: Jobs that are wanted at once end, or are refused, within this time; what is stopped stays so.
LONG_S = 60.0


class World:
    """One state directory, two published zones: from a file, and from updates."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.names, self.signer = home, free_port(), (FILE, UPDATED), ""
        for name in (*self.names, OTHER):
            (home / name).write_text(CONTENT)

    def config(self) -> Path:
        text = CONFIG.format(port=self.port, home=self.home, secret=SECRET) + self.signer
        for name in self.names:
            text += ZONE.format(name=name, file=self.home / name) + (DYNAMIC if name == UPDATED else "")
        path = self.home / "c.toml"
        path.touch(0o600)
        path.write_text(text)
        return path

    @asynccontextmanager
    async def running(self, shut: Any = lambda daemon: None) -> AsyncIterator[Daemon]:
        daemon = Daemon(load(self.config()), SystemClock())
        shut(daemon)
        running = asyncio.create_task(daemon.run())
        try:
            while not daemon.ready:
                await asyncio.sleep(0.01)
                if running.done():
                    running.result()
            yield daemon
        finally:
            daemon.stop()
            await running
            await daemon.close()

    def change(self) -> None:
        """New content in the file, in any case a version to make."""
        (self.home / FILE).write_text(CONTENT.replace(" 1 3600", " 2 3600") + "new TXT new\n")


def signatures(daemon: Daemon) -> float:
    return daemon.base.metrics.registry.get_sample_value("dnssecd_signatures_total") or 0.0


async def until(true: Any) -> None:
    ends = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < ends, "it takes too long"
        await asyncio.sleep(0.02)


async def idle(daemon: Daemon) -> None:
    """Wait until no job is wanted or under way."""
    await until(lambda: not daemon.base.pool.under_way and not daemon.work.jobs.busy)


async def update(daemon: Daemon) -> int:
    message = dns.update.UpdateMessage(UPDATED)
    message.replace("mark", 300, "TXT", "updated")
    request: Any = cast(Any, Asked(message.to_wire(), KEY, ADDRESS))
    return (await daemon.front.updates.handle(daemon.zones[UPDATED], request)).rcode


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    async with world.running() as daemon:
        await until(lambda: all(zone.serial is not None for zone in daemon.zones.values()))
        assert signatures(daemon) > 0
        await idle(daemon)
    world.change()
    return world


def shut(gate: Gate, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shut a gate before the daemon is started."""
    if gate is Gate.CLOCK:
        (world.home / "state" / "clock").write_text(f'{{"at": {time.time() - 30 * DAY_S}}}')
    elif gate is Gate.KEY_SERVICE:
        world.signer = f'[signer]\nsocket = "{world.home}/nothing.sock"\n'
    elif gate is Gate.UNCONFIGURED:
        world.names = (OTHER,)
    else:
        monkeypatch.setattr("dnssecd.daemon.run.recall", recalled_with(gate))
        monkeypatch.setattr(permits, "may_return", not_yet)


async def not_yet(*args: object, **options: object) -> Permission:
    return Permission(False, None, "restored-zone-waiting", "not everything public is known")


def recalled_with(gate: Gate) -> Any:
    """Return a start_up.recall after which a gate of every zone is shut."""
    from dnssecd.daemon.zones.start_up import recall

    def recalled(zone: FrontZone, entry: Any, *, exact: bool) -> bool:
        changed = recall(zone, entry, exact=exact)
        if gate is Gate.FROZEN:
            zone.frozen = True
        elif gate is Gate.HELD:
            zone.held, zone.serial = Restored(at=1, who="root", source="a backup"), None
            zone.state = State.HELD
        elif gate is Gate.DOUBT:
            refusal = Problem("verification-failed", "a signature is wrong", "")
            zone.doubt = Doubt("changed", entry, refusal, filemark.take(zone.spec.database))
            zone.serial, zone.state = None, State.IN_DOUBT
        elif gate is Gate.GONE:
            zone.gone, zone.state = True, State.GONE
        elif gate in (Gate.OWNER, Gate.KEYS):
            other = SimpleNamespace(
                owned=gate is Gate.KEYS,
                owner="b",
                log=None,
                signed_elsewhere=gate is Gate.KEYS,
                close=lambda: None,
            )
            zone.cluster = cast("ClusterRoom", other)
        return changed

    return recalled


@pytest.mark.timeout(120)
@pytest.mark.parametrize("gate", Gate)
async def test_with_a_gate_shut_nothing_is_signed(
    world: World, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    shut(gate, world, monkeypatch)
    async with world.running() as daemon:
        await until(lambda: daemon._tasks)
        for zone in daemon.zones.values():
            if gate in STOPPED_BY[Work.RESIGN] or gate is Gate.KEY_SERVICE:
                daemon.work.jobs.request(zone, "resign")
        if UPDATED in daemon.zones:
            assert (await update(daemon) != 0) is (gate in STOPPED_BY[Work.UPDATE])
        await idle(daemon)
        await asyncio.sleep(0.3)
        await idle(daemon)
        if gate is not Gate.UNCONFIGURED:
            assert signatures(daemon) == 0
        assert all(zone.state is state_of(zone) for zone in daemon.zones.values())
        served = daemon.zones[FILE].snapshot()
        if served is not None:
            with served as snapshot:
                assert b"\x03new\x00" not in {row.owner for row in snapshot.scan()}


@pytest.mark.timeout(120)
async def test_with_all_gates_open_it_is_signed(world: World) -> None:
    """So that the test above can fail."""
    async with world.running() as daemon:
        await until(lambda: daemon.zones[FILE].input_serial == 2)
        assert await update(daemon) == 0
        await until(lambda: signatures(daemon) > 0)
