"""A fleet: members of a catalog come, change and go under load, and the secondaries follow by our catalog."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.integration.test_catalogs import catalog_zone
from tests.peers.catalogs import CatalogKnotd, CatalogNamed
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, SecondaryZone, soa_serial_at
from tests.peers.process import LOOPBACK, Servers, free_port, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]

OURS, THEIRS = "ours.test.", "catalog.test."
MEMBERS = int(os.environ.get("DNSSECD_FLEET", "2000"))
WAIT_S = 1800.0


class Fleet:
    """BIND with a catalog only; the daemon, whose zones are files; BIND and Knot with our catalog only."""

    def __init__(self, servers: Servers, home: Path, key: TsigKey) -> None:
        self.home, self.serial = home, 0
        self.members: dict[str, str] = {}
        self.path = home / "catalog.zone"
        (home / "zones").mkdir()
        (home / "input.zone").write_text(small_zone())
        self.put()
        ports = DaemonPorts.free()
        self.upstream = servers.start(
            Named(home / "upstream", [PrimaryZone(THEIRS, self.path, key, [ports.dns])], free_port())
        )
        self.followers: list[Nameserver] = [
            servers.start(kind(home / kind.name, [SecondaryZone(OURS, ports.dns, key)]))
            for kind in (CatalogNamed, CatalogKnotd)
        ]
        config = daemon_config(
            home,
            ports,
            key,
            {ZONE: home / "input.zone"},
            {follower.name: follower.port for follower in self.followers},
        )
        config["primary"] = {"up": {"address": f"{LOOPBACK}:{self.upstream.port}", "tsig": key.name}}
        config["zone-template"] = {
            "members": {
                "file": home / "zones/{zone}",
                "secondaries": [follower.name for follower in self.followers],
                "parent": "none",
            }
        }
        config["catalog"] = {
            THEIRS: {"consume": {"primaries": ["up"], "template": "members"}, "max_change": "100%"},
            OURS: {"produce": [follower.name for follower in self.followers]},
        }
        self.daemon = servers.start(Dnssecd(home / "dnssecd", config, key))

    def name(self, number: int) -> str:
        return f"z{number}.fleet.test."

    def write(self, number: int, serial: int) -> None:
        name = self.name(number)
        text = small_zone(serial, names=3).replace(ZONE, name)
        replace_file(self.home / "zones" / name.rstrip("."), text)

    def put(self) -> None:
        self.serial += 1
        replace_file(self.path, catalog_zone(self.serial, self.members))

    def publish(self) -> None:
        self.put()
        self.upstream.reload()

    def everywhere(self, numbers: Iterator[int] | range, wanted: Callable[[int | None], bool]) -> float:
        """Wait until all servers answer for all these zones as wanted; return how long it took."""
        started = time.monotonic()
        left = {
            (port, number)
            for number in numbers
            for port in (self.daemon.port, *(f.port for f in self.followers))
        }

        def done() -> bool:
            for port, number in list(left):
                if not wanted(soa_serial_at(port, self.name(number))):
                    return False
                left.discard((port, number))
            return True

        wait_until(done, "the fleet follows", WAIT_S, every=0.5)
        return time.monotonic() - started


@contextmanager
def load(port: int, name: str) -> Iterator[list[float]]:
    """Ask for a zone all the time; yield the times that answers took, None for a missing one as infinity."""
    times: list[float] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            started = time.monotonic()
            answer = soa_serial_at(port, name)
            times.append(time.monotonic() - started if answer is not None else float("inf"))
            time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    yield times
    stop.set()
    thread.join()


def test_a_fleet_of_members(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    fleet = Fleet(servers, peer_dir, tsig_key)
    wait_until(lambda: all(f.serial(ZONE) for f in fleet.followers), "the first zone is there", 60)
    everyone = range(MEMBERS)
    with load(fleet.daemon.port, ZONE) as times:
        for number in everyone:
            fleet.write(number, 1)
        fleet.members = {f"m{number}": fleet.name(number) for number in everyone}
        fleet.publish()
        added = fleet.everywhere(everyone, lambda serial: serial is not None)

        changed_ones = range(0, MEMBERS, 10)
        for number in changed_ones:
            fleet.write(number, 50)
        changed = fleet.everywhere(changed_ones, lambda serial: serial == 50)

        gone = range(0, MEMBERS, 4)
        for number in gone:
            del fleet.members[f"m{number}"]
        fleet.publish()
        removed = fleet.everywhere(gone, lambda serial: serial is None)

        # Removed and added within a second: it is there in the end.
        del fleet.members["m1"]
        fleet.publish()
        fleet.members["m1"] = fleet.name(1)
        fleet.publish()
        fleet.everywhere(range(1, 2), lambda serial: serial is not None)

    kept = [number for number in everyone if number % 4]
    fleet.everywhere(iter(kept), lambda serial: serial is not None)
    times.sort()
    print(
        f"{MEMBERS} members: added everywhere in {added:.1f} s, {len(changed_ones)} changed in {changed:.1f} s, "
        f"{len(gone)} removed in {removed:.1f} s; answers meanwhile: median {1000 * times[len(times) // 2]:.1f} ms, "
        f"longest {1000 * times[-1]:.0f} ms, of {len(times)}"
    )
    slow = sum(one > 1.0 for one in times)
    assert slow <= len(times) // 100, f"{slow} of {len(times)} answers were missing or took over a second"
    assert fleet.daemon.serial(ZONE) is not None
    fleet.daemon.stop()
    fleet.daemon.start()
    fleet.everywhere(iter(kept), lambda serial: serial is not None)
