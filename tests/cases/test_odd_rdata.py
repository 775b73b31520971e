"""RDATA that we take, all secondaries take: by transfer, and as the text we write."""

from __future__ import annotations

import random
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.message_names import NameTable
from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.zone.zonecheck import check
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.export import owner_text, rrset_lines
from dnssecd.ingest.zonefile import parse_zone_file
from dnssecd.server.update_message import parse_update
from dnssecd.server.update_rdata import RdataReader
from tests.fuzz.fuzz_update import mutated, seeds
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tools import run
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_world

pytestmark = pytest.mark.integration

ZONE = "odd.test."
NULL, APL, HHIT, BRID, RESINFO = 10, 42, 67, 68, 261
#: NS, SOA, CNAME, DNAME, DS and what is derived mean something to a checker beyond their form; MD and MF are obsolete.
NOT_BY_THEMSELVES = {2, 3, 4, 5, 6, 39, 43, 46, 47, 50, 51}


def added(port: int, key: TsigKey, rtype: int, rdata: bytes) -> str:
    """The RCODE of an UPDATE that adds RDATA of any octets."""
    message = dns.update.UpdateMessage(ZONE)
    kind = dns.rdatatype.RdataType.make(rtype)
    message.add(f"t{rtype}", 60, dns.rdata.GenericRdata(dns.rdataclass.IN, kind, rdata))
    message.use_tsig(key.dnspython())
    return dns.rcode.to_text(dns.query.tcp(message, LOOPBACK, port=port, timeout=20).rcode())


def test_no_empty_record_ends_a_transfer(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE)
    port = world.daemon.port
    for rtype in (NULL, HHIT, BRID):
        assert added(port, tsig_key, rtype, b"") == "FORMERR", rtype
        assert added(port, tsig_key, rtype, b"\x01") == "NOERROR", rtype
    assert added(port, tsig_key, APL, b"\x00\x03\x20\x01\x01") == "NOERROR"
    serial = world.daemon.serial(ZONE)
    assert serial is not None
    for secondary in world.secondaries.values():
        secondary.wait_serial(ZONE, serial, 20)


def test_no_second_record_of_a_single_one_ends_a_transfer(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Two records of each type at a name: all secondaries follow, or the update changed nothing."""
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE)
    port = world.daemon.port
    types = sorted({rtype for rtype, _ in odd_rdata(1)} | {RESINFO})
    for rtype in types:
        for rdata in [rdata for each, rdata in odd_rdata(1) if each == rtype][:2]:
            assert added(port, tsig_key, rtype, rdata) in ("NOERROR", "REFUSED"), (rtype, rdata.hex())
    for text in (b"\x01a", b"\x01b"):
        assert added(port, tsig_key, RESINFO, text) == "NOERROR"
    serial = world.daemon.serial(ZONE)
    assert serial is not None
    for secondary in world.secondaries.values():
        secondary.wait_serial(ZONE, serial, 20)
    content = world.daemon.zone_content(ZONE)
    assert (
        sum(line.startswith("t261.") and "RRSIG" not in line and "NSEC" not in line for line in content) == 1
    )


def test_a_second_resinfo_in_a_zone_file_is_an_error() -> None:
    origin = text_to_wire(ZONE)
    owner = owner_key(b"\x01r" + origin, origin)
    soa = RRset(b"", 6, 60, pack([b"\0\0" + bytes(20)]))
    twice = [
        soa,
        RRset(b"", 2, 60, pack([b"\x01a\0"])),
        RRset(owner, RESINFO, 60, pack([b"\x01a", b"\x01b"])),
    ]
    assert "more than one RESINFO record" in str(check(twice, origin).errors)


@pytest.mark.parametrize("rtype", [NULL, HHIT, BRID])
def test_an_empty_record_is_refused_in_a_zone_file(peer_dir: Path, rtype: int) -> None:
    file = peer_dir / "zone"
    file.write_text(f"$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\nx TYPE{rtype} \\# 0\n")
    with pytest.raises(ZoneFileErrors, match="fewer than 1 octets"):
        parse_zone_file(file, text_to_wire(ZONE))


def odd_rdata(seed: int) -> list[tuple[int, bytes]]:
    """RDATA that is taken, of all types, much of it damaged before."""
    rng = random.Random(seed)
    found = {(APL, b"\x00\x03\x20\x01\x01"), (257, b"\x00\x05Issueca.example"), (25, b"\xc0\x00\x03\x01")}
    sound = {(rr.rtype, rr.rdata) for one in seeds() for rr in parse_update(one).updates if rr.rdata}
    for rtype, rdata in sorted(sound):
        for _ in range(40):
            wire = bytes(12) + mutated(rng, rdata)[:300]
            try:
                read = RdataReader(wire, NameTable(wire, FormError).read).read(rtype, 12, len(wire))
            except (FormError, IndexError):
                continue
            found.add((rtype, read))
    return sorted(one for one in found if one[0] not in NOT_BY_THEMSELVES)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_peers_read_the_text_of_all_that_is_taken(peer_dir: Path, seed: int) -> None:
    origin = text_to_wire(ZONE)
    lines = [f"{ZONE} 60 SOA a. b. 1 3600 600 86400 60\n", f"{ZONE} 60 NS a.\n"]
    for number, (rtype, rdata) in enumerate(odd_rdata(seed)):
        odd = bytes([33 + number % 94]) + b"%d" % number
        owner = owner_text(owner_key(bytes([len(odd)]) + odd + origin, origin), origin)
        lines.append(rrset_lines(owner, rtype, 60, pack([rdata])))
    assert len(lines) > 400
    file = peer_dir / "zone"
    file.write_text("".join(lines))
    relaxed = [word for option in "iknr" for word in (f"-{option}", "none" if option == "i" else "ignore")]
    for result in (
        run("named-checkzone", *relaxed, ZONE, str(file)),
        run("kzonecheck", "-o", ZONE, str(file)),
        run("nsd-checkzone", ZONE, str(file)),
    ):
        assert result.ok, result
