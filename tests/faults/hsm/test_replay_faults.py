"""Everything HSMs do to their users, while the root zone is being edited.

For each fault: the last good version is served on, an event says what is wrong, and once the token is well the
edit is published without anybody restarting anything. At the end the secondaries hold the right zone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.hsm.faulty import FaultyHsm, children, kill
from tests.integration.hsm.daemon import keep_keys_in, pkcs11_keystore
from tests.peers.process import Servers, wait_until
from tests.peers.rootzone import VERSIONS, Edit, RootEditor, root_version
from tests.peers.tsig import TsigKey
from tests.peers.world import World, start_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SEED = 42
NOTICED_S = 20.0
RECOVERED_S = 15.0


@dataclass(frozen=True)
class Fault:
    """What the token does; which events say so (any of them).

    harmless: edits are published all the same. chance: a version may happen to get good signatures only.
    reconnect: it begins with all sessions being lost. In orders {0} and {1} are the CKA_IDs of the zone's keys.
    """

    name: str
    orders: tuple[str, ...]
    events: frozenset[str] = frozenset({"token-down", "signing-failed"})
    harmless: bool = False
    chance: bool = False
    reconnect: bool = False


FAULTS = (
    Fault("device error", ("error sign 30",)),
    Fault("device removed", ("error sign 32",)),
    Fault("session handle invalid", ("error signinit b3",)),
    Fault("user not logged in", ("error signinit 101",)),
    Fault("token not present", ("error sign e0", "error open e0")),
    Fault("host memory", ("error sign 2",)),
    Fault("crash", ("crash sign",)),
    Fault("hang", ("hang sign",)),
    Fault("wrong signatures", ("corrupt 1",), frozenset({"token-evicted"})),
    Fault("one wrong signature in 3", ("corrupt 3",), frozenset({"token-evicted"}), chance=True),
    Fault("keys swapped", ("swap {0} {1}", "swap {1} {0}"), frozenset({"token-evicted"}), reconnect=True),
    Fault(
        "one session left", ("sessions 1",), frozenset({"token-session-limit"}), harmless=True, reconnect=True
    ),
    Fault("slow", ("latency sign 50",), frozenset(), harmless=True),
)


@pytest.fixture
def world(
    hsm: FaultyHsm, servers: Servers, peer_dir: Path, tsig_key: TsigKey, shared: Path
) -> Iterator[World]:
    text = root_version(shared, VERSIONS[-1])
    made = start_world(servers, peer_dir, tsig_key, ".", text, start_daemon=False)
    keep_keys_in(made.daemon.config, pkcs11_keystore(hsm, "dns"))
    made.daemon.start()
    made.daemon.wait_serial_other_than(made.zone, None, 60)
    return made


def firing(world: World) -> set[str]:
    return {alert["name"] for alert in world.daemon.cli_json("alerts", "list")["alerts"]}


def kill_hsm_workers(world: World) -> None:
    for pid in children(world.daemon.pid):
        if b"dnssecd.signer\0" in Path(f"/proc/{pid}/cmdline").read_bytes() + b"\0":
            kill(*children(pid))


def suffer(world: World, hsm: FaultyHsm, fault: Fault, edit: Edit, serial: int) -> int:
    """One edit while the token misbehaves; the serial that came of it."""
    keys = sorted(key["id"] for key in world.daemon.cli_json("key", "list", "--stored")["keys"])
    hsm.orders(*(order.format(*keys) for order in fault.orders))
    if fault.reconnect:
        kill_hsm_workers(world)
    world.put(edit.text)
    if fault.harmless:
        after = world.daemon.wait_serial_other_than(world.zone, serial, NOTICED_S)
        if fault.events:
            wait_until(lambda: firing(world) & fault.events, f"{fault.name}: an event", NOTICED_S)
        hsm.orders()
        return after
    noticed = wait_until(lambda: firing(world) & fault.events, f"{fault.name}: an event", NOTICED_S)
    assert fault.chance or world.daemon.serial(world.zone) == serial, (
        f"{fault.name}: published in spite of it"
    )
    hsm.orders()
    if "token-evicted" in noticed:
        assert world.daemon.cli("keystore", "test").ok
    return world.daemon.wait_serial_other_than(world.zone, serial, RECOVERED_S)


def test_the_root_zone_is_edited_while_the_token_misbehaves(
    world: World, hsm: FaultyHsm, shared: Path
) -> None:
    serial = world.daemon.serial(world.zone)
    assert serial is not None
    editor = RootEditor(root_version(shared, VERSIONS[-1]), SEED)
    edits = (edit for edit in editor.edits(3 * len(FAULTS)) if edit.changes)
    for fault in FAULTS:
        edit = next(edits)
        started_at = time.monotonic()
        after = suffer(world, hsm, fault, edit, serial)
        wait_until(lambda: not firing(world), "all events are over", NOTICED_S)
        print(f"{fault.name}: {edit.what}: serial {after}, {time.monotonic() - started_at:.1f} s")
        assert after == serial + 1, fault.name
        serial = after

    served = world.check_agreement(serial)
    world.check_export_and_referees(served)
    world.check_followed_by_ixfr()
    assert world.daemon.cli_json("key", "audit")["ok"]
    assert len(hsm.inspect("dns")) == 2, "no second pair of keys was made"
