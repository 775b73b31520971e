"""Dynamic update against others' understanding of RFC 2136: BIND's named, and a literal reading of the RFC."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from dnssecd.core.grants import EVERYTHING
from dnssecd.core.names import owner_key
from dnssecd.core.rdata import canonical
from dnssecd.core.rrset import RRset, pack
from dnssecd.core.rrtypes import SOA
from dnssecd.core.serial import is_after
from dnssecd.core.update import apply_update
from dnssecd.core.update_types import UpdatePolicy, soa_serial
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.server.update_message import parse_update
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey
from tests.property.updates import Generator, start
from tests.unit.update.build import ORIGIN, ZONE, ZONE_TEXT, applied, lines

POLICY = UpdatePolicy(EVERYTHING)
MESSAGES = 60
_ABSENT_CHECKS = "check-names primary ignore; check-mx ignore; check-integrity no; check-wildcard no;"


class UpdatedNamed(Named):
    """A named that takes updates from anyone on loopback and has no opinion on host names."""

    def configuration(self) -> str:
        text = super().configuration()
        text = text.replace("options {", "options {\n    " + _ABSENT_CHECKS, 1)
        return text.replace("updates yes", "").replace(
            f'allow-update {{ key "{self.zones[0].tsig.name}"; }}', f"allow-update {{ {LOOPBACK}; }}"
        ).replace(f'allow-transfer {{ key "{self.zones[0].tsig.name}"; }}', f"allow-transfer {{ {LOOPBACK}; }}")  # fmt: skip


@pytest.fixture
def named(servers: Servers, peer_dir: Path) -> UpdatedNamed:
    file = peer_dir / "example.zone"
    file.write_text("$ORIGIN example.\n" + ZONE_TEXT)
    zone = PrimaryZone(ZONE, file, TsigKey(), updates=True)
    return servers.start(UpdatedNamed(peer_dir, [zone]))


class Client:
    """One TCP connection to a server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), 10)
        self._port = port

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, wire: bytes) -> int:
        """Send a message and return the RCODE of the answer."""
        self._socket.sendall(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", self._read(2))
        return self._read(length)[3] & 15

    def _read(self, octets: int) -> bytes:
        got = b""
        while len(got) < octets:
            part = self._socket.recv(octets - len(got))
            assert part, "the server closed the connection"
            got += part
        return got

    def zone(self) -> MemoryZoneView:
        """The zone as the server transfers it."""
        found: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
        query = dns.message.make_query(ZONE, dns.rdatatype.AXFR)
        answers = dns.query.xfr(LOOPBACK, dns.name.from_text(ZONE), port=self._port, relativize=False, lifetime=10)
        del query
        for answer in answers:
            for rrset in answer.answer:
                place = (owner_key(rrset.name.to_wire(), ORIGIN), int(rrset.rdtype))
                rdatas = [canonical(place[1], rdata.to_wire()) for rdata in rrset]
                found.setdefault(place, (rrset.ttl, []))[1].extend(rdatas)
        content = [RRset(*place, ttl, pack(rdatas)) for place, (ttl, rdatas) in found.items()]
        return MemoryZoneView(ORIGIN, content, (), ())


def _without_serial(zone: MemoryZoneView) -> set[str]:
    return {line for line in lines(zone) if " SOA " not in line}


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(24))
def test_updates_do_what_named_does(named: UpdatedNamed, seed: int) -> None:
    """Each message gets the same RCODE and leaves the same zone, down to TTLs; serials move when content does."""
    generator = Generator(seed)
    with Client(named.port) as client:
        zone = client.zone()
        for step in range(MESSAGES):
            soa = zone.rrset(b"", SOA)
            assert soa is not None
            wire = generator.message(list(zone.scan()), soa_serial(soa))
            result = apply_update(zone, parse_update(wire), POLICY)
            rcode = client.ask(wire)
            where = f"seed {seed} step {step}: {dns.message.from_wire(wire, ignore_trailing=True)}"
            assert dns.rcode.to_text(result.rcode) == dns.rcode.to_text(rcode), f"{result.reason}\n{where}"
            theirs = client.zone()
            ours = applied(zone, result.changes, result.soa)
            assert _without_serial(ours) == _without_serial(theirs), where
            _check_soa(zone, theirs, result.soa, bool(result.changes), where)
            zone = theirs


def _check_soa(before: MemoryZoneView, theirs: MemoryZoneView, ours: RRset | None, changed: bool, where: str) -> None:
    old, new = before.rrset(b"", SOA), theirs.rrset(b"", SOA)
    assert old is not None
    assert new is not None
    if ours is not None:
        assert new == ours, where
    elif changed:
        assert is_after(soa_serial(new), soa_serial(old)), where
    # named also moves the serial where it takes an orphaned DS out again, or for the case of a name alone.


