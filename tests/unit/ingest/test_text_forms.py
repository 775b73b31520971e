"""RDATA that all servers take is read, in text and in messages; what is odd about it is a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.zone.zonecheck import check
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.server.update_rdata import RdataReader
from tests.peers.paths import program
from tests.unit.ingest.zones import HEAD, parse

HEX32 = "0123456789abcdef" * 4

#: Text, and the octets that it means.
READ = {
    "MB a": "0161076578616d706c6503636f6d00",
    "MG a.": "016100",
    "MR A.": "016100",
    "MINFO a. b.": "016100016200",
    "TALINK A. b.": "014100016200",
    "A6 0 2001:db8::1": "0020010db8000000000000000000000001",
    "A6 64 ::1 foo.": "40000000000000000103666f6f00",
    "A6 60 ::1:2:3:4 foo.": "3c000001000200030004" + "03666f6f00",
    "A6 128 foo.": "8003666f6f00",
    "EID 01 23": "0123",
    "NIMLOC 0123ab": "0123ab",
    "ATMA 39.01.23": "00390123",
    "ATMA +61.2.0000": "0136313230303030",
    "SINK 1 2 3 AAAA": "010203000000",
    "SINK 8 3 2": "080302",
    'DOA 1 2 1 "a" AAAA': "000000010000000201" + "0161" + "000000",
    'DOA 1 2 1 "" -': "000000010000000201" + "00",
    f"TA 1 13 2 {HEX32}": "00010d02" + HEX32,
    f"TA 1 ECDSAP256SHA256 SHA256 {HEX32}": "00010d02" + HEX32,
    "RKEY 0 3 13 AAAA": "0000030d000000",
    "NID 10 14:4fff:ff20:ee64": "000a00144fffff20ee64",
    "NID 10 0014:4fff:ff20:ee64": "000a00144fffff20ee64",
    "L64 10 2001:db8:0:1": "000a20010db800000001",
    "CERT pgp 0 0 AAAA": "0003000000" + "000000",
    "CERT pkix 1 rsasha1 AAAA": "0001000105000000",
    "CAA 0 issue x": "0005697373756578",
}
#: Odd, and taken by named-checkzone, kzonecheck and nsd-checkzone, but where a row says which of them does not.
ODD = {
    "HTTPS 0 foo. alpn=h2": ("AliasMode", ""),
    "SVCB 0 foo. port=1 ipv4hint=192.0.2.1": ("AliasMode", ""),
    'HTTPS 1 foo. alpn=h2 ech="AAAA" port=1': ("ech", ""),
    "TLSA 3 1 1 0123": ("matching type 1", ""),
    "SMIMEA 3 1 2 0123": ("matching type 2", ""),
    'URI 10 1 ""': ("target is empty", ""),
    "DHCID AAA=": ("shorter", ""),
    'GPOS "" b c': ("not a number", "knot nsd"),
    "DS 1 13 0 0123": ("digest type 0", "knot"),
    "TYPE260 \\# 2 0a09": ("relay type 9", ""),
    "TYPE256 \\# 4 000a0001": ("target is empty", ""),
    "TYPE65 \\# 14 000003666f6f0000010003026832": ("AliasMode", ""),
}
REFUSED = [
    "NID 10 ::1", "NID 10 00014:4fff:ff20:ee64", "L64 70000 1:2:3:4", "A6 129 foo.", "A6 64 ::1", "A6 0 ::1 foo.",
    "SINK 1 0 AAAA", "MINFO a.", "EID", "EID 012", "DOA 1 2 1 text", 'GPOS "a" "b"', "TLSA 3 1 1", "TLSA 3 1 300 00",
    'HTTPS 1 foo. ech="123"', "HTTPS 0 foo. nope=1", "TA 1 13 2 0123", "CERT nope 0 0 AAAA", "TYPE52 \\# 5 03010101",
    "TYPE260 \\# 3 0a0101", "TYPE27 \\# 2 0161", "ATMA +12x",
]  # fmt: skip


def record(tmp_path: Path, text: str) -> RRset:
    place = "k NS ns\nk " if text.startswith("DS") else "x "
    zone = parse(tmp_path, f"{HEAD}{place}{text}\n")
    return [rrset for rrset in zone.rrsets if rrset.owner in (b"x\x00", b"k\x00") and rrset.rtype != 2][-1]


@pytest.mark.parametrize("text", READ)
def test_read_as_bind_reads_it(tmp_path: Path, text: str) -> None:
    found = record(tmp_path, text)
    assert unpack(found.rdata) == [bytes.fromhex(READ[text])]
    compiled = tmp_path / "compiled"
    command = [
        program("named-compilezone"),
        "-i",
        "none",
        "-k",
        "ignore",
        "-o",
        str(compiled),
        "example.com.",
    ]
    subprocess.run([*command, str(tmp_path / "example.zone")], capture_output=True, timeout=20, check=True)
    again = parse(tmp_path, compiled.read_text())
    assert next(rrset.rdata for rrset in again.rrsets if rrset.owner == b"x\x00") == found.rdata


def takes(path: Path) -> set[str]:
    """Which servers' checkers take the zone."""
    commands = {
        "bind": [program("named-checkzone"), "-i", "none", "-k", "ignore", "example.com.", str(path)],
        "knot": [program("kzonecheck"), "-o", "example.com.", str(path)],
        "nsd": [program("nsd-checkzone"), "example.com.", str(path)],
    }
    return {
        name
        for name, command in commands.items()
        if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    }


@pytest.mark.parametrize("text", ODD)
def test_what_all_servers_take_is_taken_with_a_warning(tmp_path: Path, text: str) -> None:
    warning, missing = ODD[text]
    found = record(tmp_path, text)
    zone = parse(tmp_path, (tmp_path / "example.zone").read_text())
    findings = check(zone.rrsets, zone.origin)
    assert not findings.errors
    assert [w.code for w in findings.warnings] == ["odd-rdata"]
    assert warning in findings.warnings[0].detail
    assert takes(tmp_path / "example.zone") == {"bind", "knot", "nsd"} - set(missing.split())
    (rdata,) = unpack(found.rdata)
    wire = bytes(12) + rdata
    reader = RdataReader(wire, lambda position: (_ for _ in ()).throw(AssertionError(position)))
    assert reader.read(found.rtype, 12, len(wire)) == rdata


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ZoneFileErrors, match=r"example\.zone:5: "):
        record(tmp_path, text)
