"""Dynamic update against others' understanding of RFC 2136: BIND's named, and a literal reading of the RFC."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import pytest

from dnssecd.core.dns.names import owner_key
from dnssecd.core.dns.rdata import canonical
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.group import UpdateGroup
from dnssecd.core.update.types import UpdatePolicy, soa_serial
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.core.zone import zonecheck
from dnssecd.replacing import replace
from dnssecd.server.update_message import parse_update
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey
from tests.property.updates import Generator
from tests.unit.core_update.build import EVERYTHING, ORIGIN, ZONE, ZONE_TEXT, applied, lines, zone_view

POLICY = UpdatePolicy(EVERYTHING)
#: named as a primary knows neither Knot's refusals nor a bound on the steps of clients' serials, nor asks for glue.
LENIENT = replace(POLICY, knot_secondaries=False, allow_missing_glue=True)
_ABSENT_CHECKS = "check-names primary ignore; check-mx ignore; check-integrity no; check-wildcard no;"


class UpdatedNamed(Named):
    """A named that takes updates from anyone on loopback and has no opinion on host names."""

    def configuration(self) -> str:
        key = f'key "{self.zones[0].tsig.name}"'
        text = super().configuration().replace("options {", "options {\n    " + _ABSENT_CHECKS, 1)
        for option in ("allow-update", "allow-transfer"):
            text = text.replace(f"{option} {{ {key}; }}", f"{option} {{ {LOOPBACK}; }}")
        return text


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
        answers = dns.query.xfr(
            LOOPBACK, dns.name.from_text(ZONE), port=self._port, relativize=False, lifetime=10
        )
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
@pytest.mark.parametrize("seed", range(6))
def test_updates_do_what_named_does(named: UpdatedNamed, seed: int) -> None:
    """Each message gets the same RCODE and leaves the same zone, down to TTLs; serials move when content does."""
    _side_by_side(named, seed, 60)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 200))
def test_updates_do_what_named_does_at_length(named: UpdatedNamed, seed: int) -> None:
    _side_by_side(named, seed, 300)


def _side_by_side(named: UpdatedNamed, seed: int, messages: int) -> None:
    generator = Generator(seed)
    with Client(named.port) as client:
        zone = client.zone()
        for step in range(messages):
            soa = zone.rrset(b"", SOA)
            assert soa is not None
            wire = generator.message(list(zone.scan()), soa_serial(soa))
            policy = replace(LENIENT, serial_max=(soa_serial(soa) + 2**31 - 1) % 2**32)
            result = apply_update(zone, parse_update(wire), policy)
            rcode = client.ask(wire)
            where = f"seed {seed} step {step}: {dns.message.from_wire(wire)}"
            assert dns.rcode.to_text(result.rcode) == dns.rcode.to_text(rcode), f"{result.reason}\n{where}"
            theirs = client.zone()
            ours = applied(zone, result.changes, result.soa)
            assert _without_serial(ours) == _without_serial(theirs), where
            _check_soa(zone, theirs, result.soa, bool(result.changes), where)
            zone = theirs


def _check_soa(
    before: MemoryZoneView, theirs: MemoryZoneView, ours: RRset | None, changed: bool, where: str
) -> None:
    old, new = before.rrset(b"", SOA), theirs.rrset(b"", SOA)
    assert old is not None
    assert new is not None
    if ours is not None:
        assert new == ours, where
    elif changed:
        assert is_after(soa_serial(new), soa_serial(old)), where
    # named also moves the serial where it takes an orphaned DS out again, or for the case of a name alone.


@pytest.mark.parametrize("seed", range(30))
def test_a_group_is_the_sequence_of_its_messages(seed: int) -> None:
    """The overlay reads like the zone after each message, and its net changes lead there from the base."""
    generator = Generator(seed)
    base = zone = zone_view()
    group = UpdateGroup(base)
    for step in range(40):
        wire = generator.message(list(zone.scan()), soa_serial(group.soa))
        message = parse_update(wire)
        alone = apply_update(zone, message, POLICY)
        result = group.apply(message, POLICY)
        where = f"seed {seed} step {step}"
        assert (result.rcode, result.changes, result.soa) == (alone.rcode, alone.changes, alone.soa), where
        if not result.is_noop:
            zone = applied(zone, result.changes, group.soa)
        assert list(group.view.scan()) == list(zone.scan()), where
        assert applied(base, group.changes(), group.soa).rrsets_at(b"") == zone.rrsets_at(b""), where
        assert list(applied(base, group.changes(), group.soa).scan()) == list(zone.scan()), where
        owners = {rrset.owner for rrset in zone.scan()}
        assert len(owners) == len({rrset.owner for rrset in base.scan()}) + group.owners_delta, where
        for owner in sorted(owners | {b"", b"zz\x00"}):
            assert group.view.first_owner(owner) == zone.first_owner(owner), where
            assert group.view.first_owner(owner + b"\x00") == zone.first_owner(owner + b"\x00"), where
            assert group.view.rrsets_at(owner) == zone.rrsets_at(owner), where


@pytest.mark.parametrize("seed", range(30))
def test_no_update_spoils_the_zone(seed: int) -> None:
    """The zone check finds no error and nothing that Knot refuses after any message; refusals change nothing."""
    generator = Generator(seed)
    zone = zone_view()
    for step in range(40):
        soa = zone.rrset(b"", SOA)
        assert soa is not None
        result = apply_update(
            zone, parse_update(generator.message(list(zone.scan()), soa_serial(soa))), POLICY
        )
        assert result.is_noop or not result.rcode
        zone = applied(zone, result.changes, result.soa)
        findings = zonecheck.check(list(zone.scan()), ORIGIN)
        assert not findings.errors, f"seed {seed} step {step}: {findings.errors}"
        assert not [found for found in findings.warnings if "Knot refuses" in found.detail]
        assert all(change.old != change.new for change in result.changes)
