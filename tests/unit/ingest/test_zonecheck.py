"""Semantic checks of zone content, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.zone.findings import Findings
from dnssecd.core.zone.zonecheck import check
from tests.unit.ingest.zones import HEAD, ORIGIN, parse

LONG = ".".join(["x" * 60] * 3 + ["y" * 40])
LONG_KEY = b"y" * 40 + b"\x00" + (b"x" * 60 + b"\x00") * 3

ERRORS = {
    "CNAME and A": ("x CNAME y\nx A 192.0.2.2\n", [("cname-and-other", b"x\x00")]),
    "CNAME and DNAME": ("x CNAME y\nx DNAME y\n", [("cname-and-other", b"x\x00")]),
    "two CNAMEs": ("x CNAME y\nx CNAME z\n", [("singleton", b"x\x00")]),
    "two DNAMEs": ("x DNAME y\nx DNAME z\n", [("singleton", b"x\x00")]),
    "CNAME at the apex": ("@ CNAME y\n", [("cname-and-other", b"")]),
    "RRset too large": (
        "".join(f'x TXT "{n:03d}{"x" * 250}"\n' for n in range(260)),
        [("too-large", b"x\x00")],
    ),
    "DNSKEY below the apex": ("x DNSKEY 256 3 15 " + "A" * 43 + "=\n", [("dnskey-below-apex", b"x\x00")]),
    "201 types at a name": (
        "".join(f"x TYPE{65300 + n - 100} \\# 1 00\n" for n in range(201)),
        [("too-many-types", b"x\x00")],
    ),
    "RRset too large with its owner in full": (
        f"{LONG} TXT " + f"\n{LONG} TXT ".join(f"{n}" for n in range(300)) + "\n",
        [("too-large", LONG_KEY)],
    ),
    "glue missing": ("s NS ns.s\n", [("missing-glue", b"s\x00")]),
    "name server of a delegation missing": ("s NS other\n", [("missing-glue", b"s\x00")]),
    "glue with odd octets missing": (
        "s NS \\000\\001.s\n\\001\\000.s A 192.0.2.2\n",
        [("missing-glue", b"s\x00")],
    ),
    "name server of the apex without address": ("@ NS other\n", [("missing-glue", b"")]),
    "name server that is an alias": ("@ NS other\nother CNAME ns\n", [("missing-glue", b"")]),
    "no wildcard for a name that exists": (
        "@ NS other\n* A 192.0.2.2\nother TXT x\n",
        [("missing-glue", b"")],
    ),
    "no wildcard from above": ("@ NS a.other\n* A 192.0.2.2\nb.other TXT x\n", [("missing-glue", b"")]),
    "DS without NS": ("x DS 1 13 2 " + "00" * 32 + "\n", [("ds-without-ns", b"x\x00")]),
}
WARNINGS = {
    "glue there": ("s NS ns.s\nns.s A 192.0.2.2\n", []),
    "glue with odd octets": ("s NS \\000\\001.s\n\\000\\001.s A 192.0.2.2\n", []),
    "name server in a zone of like ending": ("s NS ns.xexample.com.\n", []),
    "glue there, mixed case": ("s NS NS.S\nNS.s AAAA 2001:db8::1\n", []),
    "name server outside": ("s NS ns.example.net.\n", []),
    "address below another cut": ("s NS ns.t\nt NS ns.example.net.\n", []),
    "name server with a wildcard's address": ("@ NS other\n* A 192.0.2.2\n", []),
    "name server of a hidden delegation": (
        "s NS ns.example.net.\nt.s NS ns.t.s\n", [("occluded", b"s\x00t\x00")]),
    "data at a cut": ("s NS ns.example.net.\ns MX 10 m\n", [("occluded", b"s\x00")]),
    "DNSKEY at a cut": ("s NS ns.example.net.\ns DNSKEY 256 3 15 " + "A" * 43 + "=\n", [("occluded", b"s\x00")]),
    "DNAME beside a cut": ("s NS ns.example.net.\ns DNAME x\n", [("ns-beside-dname", b"s\x00")]),
    "data below a cut": ("s NS ns.example.net.\nx.s TXT x\n", [("occluded", b"s\x00x\x00")]),
    "address below a cut": ("s NS ns.example.net.\nx.s A 192.0.2.2\n", []),
    "DS below a cut": ("s NS ns.example.net.\nx.s DS 1 13 2 " + "00" * 32 + "\n", [("ds-without-ns", b"s\x00x\x00"),
                                                                                   ("occluded", b"s\x00x\x00")]),
    "data below a DNAME": ("d DNAME x\na.d A 192.0.2.2\n", [("occluded", b"d\x00a\x00")]),
    "data beside a DNAME": ("d DNAME x\nd A 192.0.2.2\n", []),
    "DNAME at the apex": ("@ DNAME x.example.net.\n", [("occluded", b"ns\x00")]),
    "cut below a cut": ("s NS ns.example.net.\nt.s NS ns.example.net.\n", [("occluded", b"s\x00t\x00")]),
    "name like another's beginning": ("s NS ns.example.net.\ns1 TXT x\nss TXT x\n", []),
    "NS at a wildcard": ("* NS ns.example.net.\n", [("ns-at-wildcard", b"*\x00")]),
    "final dot forgotten": ("www.example.com A 192.0.2.2\n", [("doubled-suffix", b"com\x00example\x00www\x00")]),
    "101 records in a set": ("".join(f"x A 10.0.0.{n}\n" for n in range(101)), [("many-records", b"x\x00")]),
    "100 records in a set": ("".join(f"x AAAA 2001:db8::{n}\n" for n in range(100)), []),
    "50 types at a name": ("".join(f"x TYPE{65300 + n} \\# 1 00\n" for n in range(50)), [("many-types", b"x\x00")]),
    "49 types at a name": ("".join(f"x TYPE{65300 + n} \\# 1 00\n" for n in range(49)), []),
    "50 types at a name among others": (
        "".join(f"a{n:02d} TXT x\n" for n in range(17))
        + "".join(f"x TYPE{65300 + n} \\# 1 00\n" for n in range(50)) + "y TXT x\n", [("many-types", b"x\x00")]),
    "TLSA that hides a wildcard": (
        "* A 192.0.2.2\n_443._tcp.www TLSA 3 1 1 " + "00" * 32 + "\n", [("wildcard-hidden", b"www\x00")]),
    "TXT that hides a wildcard's alias": ("*.s CNAME ns\nx.s TXT x\n", [("wildcard-hidden", b"s\x00x\x00")]),
    "names of services hide nothing": ("* A 192.0.2.2\n_dmarc TXT x\n_25._tcp TLSA 3 1 1 " + "00" * 32 + "\n", []),
    "a name with address beside a wildcard": (
        "* A 192.0.2.2\nwww AAAA 2001:db8::1\n_443._tcp.www TLSA 3 1 1 " + "00" * 32 + "\n", []),
    "a delegation beside a wildcard": ("* A 192.0.2.2\ns NS ns.s\nns.s A 192.0.2.2\n", []),
    "a wildcard without address hides nothing": ("* TXT x\n_443._tcp.www TXT x\n", []),
    "no wildcard from above a name": ("* A 192.0.2.2\ns A 192.0.2.2\nx.s TXT x\n", []),
    "MX to an address": ("@ MX 10 192.0.2.1\n", [("odd-target", b"")]),
    "MX to an address with a dot": ("x MX 10 192.0.2.1.\n", [("odd-target", b"x\x00")]),
    "MX to an IPv6 address": ("x MX 10 2001:db8::1\n", [("odd-target", b"x\x00")]),
    "SRV to an address": ("_a._tcp SRV 0 0 1 192.0.2.1\n", [("odd-target", b"_tcp\x00_a\x00")]),
    "MX to names with digits": ("x MX 10 192-0-2-1.example.net.\nx MX 10 1.2.3.example.net.\n", []),
    "MX without final dot": ("@ MX 10 mail.example.com\n", [("odd-target", b"")]),
    "alias without final dot": ("x CNAME www.example.com\n", [("odd-target", b"x\x00")]),
    "HTTPS without final dot": ("x HTTPS 1 www.example.com\n", [("odd-target", b"x\x00")]),
    "owner in UTF-8": ("m\\195\\188ller A 192.0.2.2\n", [("eight-bit-owner", b"m\xc3\xbcller\x00")]),
    "much alike but not doubled": ("example A 192.0.2.2\nwww.example.net A 192.0.2.2\n", []),
}  # fmt: skip


def found(tmp_path: Path, text: str) -> Findings:
    zone = parse(tmp_path, HEAD + text)
    return check(zone.rrsets, zone.origin)


@pytest.mark.parametrize("case", ERRORS)
def test_errors(tmp_path: Path, case: str) -> None:
    text, expected = ERRORS[case]
    assert [finding[:2] for finding in found(tmp_path, text).errors] == expected


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(tmp_path: Path, case: str) -> None:
    text, expected = WARNINGS[case]
    result = found(tmp_path, text)
    assert not result.errors
    assert sorted(finding[:2] for finding in result.warnings) == expected


def test_fifty_types_are_found_wherever_they_stand() -> None:
    ns = RRset(b"", 2, 5, pack([b"\x00"]))
    many = [RRset(b"x\x00", 65300 + n, 5, pack([b"x"])) for n in range(50)]
    for before in range(60):
        ahead = [RRset(b"a%02d\x00" % n, 16, 5, pack([b"\x01x"])) for n in range(before)]
        warned = check([ns, *ahead, *many], ORIGIN).warnings
        assert [w[:2] for w in warned] == [("many-types", b"x\x00")], before
        assert not check([ns, *ahead, *many[1:]], ORIGIN).warnings, before


def soa(serial: int) -> bytes:
    return b"\x00\x00" + serial.to_bytes(4, "big") + bytes(16)


def test_apex() -> None:
    ns = RRset(b"", 2, 5, pack([b"\x00"]))
    assert [e.code for e in check([], ORIGIN).errors] == ["no-soa", "no-ns"]
    assert [e.code for e in check([ns, RRset(b"", 6, 5, pack([soa(1), soa(2)]))], ORIGIN).errors] == [
        "many-soa"
    ]
    below = RRset(b"a\x00", 6, 5, pack([soa(1)]))
    assert [e.code for e in check([ns, RRset(b"", 6, 5, pack([soa(1)])), below], ORIGIN).errors] == [
        "soa-below-apex"
    ]


def test_an_at_sign_in_the_mailbox_of_the_soa() -> None:
    for mailbox, odd in ((b"\x0ahost@there\x00", True), (b"\x04host\x05there\x00", False)):
        rdata = b"\x03n@s\x00" + mailbox + b"".join(n.to_bytes(4, "big") for n in (1, 3600, 600, 86400, 300))
        result = check([RRset(b"", 2, 5, pack([b"\x00"])), RRset(b"", 6, 300, pack([rdata]))], ORIGIN)
        assert [w.code for w in result.warnings] == ["soa-contact"] * odd


def test_ds_at_the_apex_is_ignored_with_a_warning() -> None:
    rrsets = [
        RRset(b"", 2, 5, pack([b"\x00"])),
        RRset(b"", 6, 5, pack([soa(1)])),
        RRset(b"", 43, 5, pack([b"\x00" * 36])),
    ]
    result = check(rrsets, ORIGIN)
    assert not result.errors
    assert [w.code for w in result.warnings if w.code != "soa-timers"] == ["ds-at-apex"]


def test_ttl() -> None:
    rrsets = [RRset(b"", 2, 2**31 - 1, pack([b"\x00"])), RRset(b"", 6, 2**31, pack([soa(1)]))]
    assert [error[:3] for error in check(rrsets, ORIGIN).errors] == [("ttl", b"", 6)]


def test_a_thousand_records_in_a_set_are_fine(tmp_path: Path) -> None:
    text = "".join(f"x A 10.0.{number >> 8}.{number & 255}\n" for number in range(1000))
    assert not found(tmp_path, text).errors


def test_missing_glue_can_be_allowed(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "s NS ns.s\n")
    assert [f.code for f in check(zone.rrsets, zone.origin).errors] == ["missing-glue"]
    allowed = check(zone.rrsets, zone.origin, allow_missing_glue=True)
    assert not allowed.errors
    assert [f.code for f in allowed.warnings] == ["missing-glue"]


def test_findings_are_bounded_and_counted(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "".join(f"s{number} NS ns.s{number}\n" for number in range(300)))
    result = check(zone.rrsets, zone.origin, limit=10, allow_missing_glue=True)
    assert len(result.warnings) == 10
    assert result.counts == {"missing-glue": 300}


@pytest.mark.parametrize(
    ("ttl", "timers", "words"),
    [
        (300, "3600 600 4199 300", "expire (4199 s) is below refresh + retry (4200 s)"),
        (300, "0 600 86400 300", "refresh and retry must not be 0"),
        (300, "3600 0 86400 300", "refresh and retry must not be 0"),
        (0, "3600 600 86400 300", "no negative answers"),
        (300, "3600 600 86400 0", "no negative answers"),
        (90_000, "3600 600 86400 90000", "over a day"),
        (90_000, "3600 600 4200 86400", ""),
    ],
)
def test_soa_timers_that_harm_the_zone_are_warned_of(
    tmp_path: Path, ttl: int, timers: str, words: str
) -> None:
    zone = parse(
        tmp_path, f"@ {ttl} SOA ns.example.net. h.example.net. 1 {timers}\n@ 300 NS ns.example.net.\n"
    )
    result = check(zone.rrsets, zone.origin)
    assert not result.errors
    assert [finding.code for finding in result.warnings] == (["soa-timers"] if words else [])
    assert all(words in finding.detail for finding in result.warnings)
