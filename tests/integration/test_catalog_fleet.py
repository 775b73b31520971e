"""A fleet: members of a catalog come, change and go under load, and the secondaries follow by our catalog."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.integration.test_catalogs import catalog_zone
from tests.peers.catalogs import CatalogKnotd, CatalogNamed
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.named import Named
from tests.peers.nameserver import QUERY_SECONDS, Nameserver, PrimaryZone, SecondaryZone, soa_serial_at
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
                if not wanted(asked[port].serial(self.name(number))):
                    return False
                left.discard((port, number))
            return True

        with ExitStack() as stack:
            asked = {port: stack.enter_context(QuickQueries(port)) for port, _ in left}
            wait_until(done, "the fleet follows", WAIT_S, every=0.5)
        return time.monotonic() - started


class QuickQueries:
    """Asks one server for SOAs, thousands of them, without making objects of the answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(QUERY_SECONDS)
        self._socket.connect((LOOPBACK, port))

    def __enter__(self) -> QuickQueries:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def serial(self, name: str) -> int | None:
        """The serial that the server answers with, None without such a zone or without an answer."""
        query = dns.message.make_query(name, "SOA", use_edns=False)
        query.flags = 0
        wire = query.to_wire()
        try:
            self._socket.send(wire)
            while (answer := self._socket.recv(65_535))[:2] != wire[:2]:
                continue  # it comes too late, and is for another query
        except OSError:
            return None
        _, flags, _, answers, _, _ = struct.unpack_from("!6H", answer)
        if flags & 15 or not answers or answer[12 : len(wire)] != wire[12:]:
            return None
        at = len(wire) + 2  # its name is a pointer
        rrtype, _, _, octets = struct.unpack_from("!HHIH", answer, at)
        assert rrtype == dns.rdatatype.SOA
        return int.from_bytes(answer[at + 10 + octets - 20 :][:4], "big")


class Times:
    """How long answers took, in seconds, and those of a server with nothing to do, asked right after."""

    def __init__(self) -> None:
        self.own: list[float] = []
        self.reference: list[float] = []

    @property
    def slow(self) -> int:
        """Answers that were missing or took over a second, and not because the machine is busy."""
        pairs = zip(self.own, self.reference, strict=True)
        return sum(own > 1.0 and own > 3 * reference for own, reference in pairs)

    def __str__(self) -> str:
        own, reference = sorted(self.own), sorted(self.reference)
        middle = len(own) // 2
        return (
            f"median {1000 * own[middle]:.1f} ms, longest {1000 * own[-1]:.0f} ms, of {len(own)}; of an idle BIND: "
            f"median {1000 * reference[middle]:.1f} ms, longest {1000 * reference[-1]:.0f} ms"
        )


@contextmanager
def load(port: int, name: str, reference: int, other: str) -> Iterator[Times]:
    """Ask for a zone all the time, and another server for one of its own; a missing answer took infinitely long."""
    times = Times()
    stop = threading.Event()

    def ask(there: int, zone: str) -> float:
        started = time.monotonic()
        answer = soa_serial_at(there, zone)
        return time.monotonic() - started if answer is not None else float("inf")

    def run() -> None:
        while not stop.wait(0.02):
            own = ask(port, name)
            times.reference.append(ask(reference, other))
            times.own.append(own)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def test_a_fleet_of_members(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    fleet = Fleet(servers, peer_dir, tsig_key)
    wait_until(lambda: all(f.serial(ZONE) for f in fleet.followers), "the first zone is there", 60)
    everyone = range(MEMBERS)
    with load(fleet.daemon.port, ZONE, fleet.upstream.port, THEIRS) as times:
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
    print(
        f"{MEMBERS} members: added everywhere in {added:.1f} s, {len(changed_ones)} changed in {changed:.1f} s, "
        f"{len(gone)} removed in {removed:.1f} s; answers meanwhile: {times}"
    )
    assert times.slow <= len(times.own) // 100, f"{times.slow} of {len(times.own)}: {times}"
    assert fleet.daemon.serial(ZONE) is not None
    fleet.daemon.stop()
    fleet.daemon.start()
    fleet.everywhere(iter(kept), lambda serial: serial is not None)
