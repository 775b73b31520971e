"""Canonical RDATA and the text of RRsets, judged by dnspython."""

from __future__ import annotations

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rdata import BadRdata, canonical, name_spans, names
from dnssecd.core.dns.rrset import pack
from dnssecd.ingest.export import owner_text, rrset_lines
from dnssecd.ingest.words import TYPES

LOWERED = {
    "NS": "HOST.Example.", "CNAME": "HOST.Example.", "PTR": "HOST.Example.", "DNAME": "HOST.Example.",
    "SOA": "A.B. C.D. 1 2 3 4 5", "MX": "10 HOST.Example.", "AFSDB": "1 HOST.Example.", "RT": "1 HOST.Example.",
    "KX": "1 HOST.Example.", "PX": "1 A.B. C.D.", "SRV": "1 2 3 HOST.Example.", "RP": "A.B. C.D.",
    "NAPTR": '1 2 "S" "Sip" "!X!Y!" HOST.Example.',
    "RRSIG": "A 13 2 300 20300101000000 20200101000000 1 HOST.Example. AAAA",
}  # fmt: skip
KEPT = {
    "NSEC": "HOST.Example. A", "TXT": '"ABC"', "SVCB": "1 HOST.Example.", "HTTPS": "1 HOST.Example.",
    "LP": "1 HOST.Example.", "HINFO": '"ABC" "DEF"', "IPSECKEY": "10 3 2 HOST.Example. AAAA", "CAA": '0 issue "ABC"',
    "DSYNC": "CDS NOTIFY 53 HOST.Example.",
}  # fmt: skip


def wire(mnemonic: str, text: str) -> tuple[int, bytes]:
    kind = dns.rdatatype.from_text(mnemonic)
    return int(kind), dns.rdata.from_text(
        dns.rdataclass.IN, kind, text, dns.name.root, relativize=False
    ).to_wire() or b""


@pytest.mark.parametrize("mnemonic", LOWERED)
def test_names_are_lowered_where_rfc_4034_says(mnemonic: str) -> None:
    rtype, rdata = wire(mnemonic, LOWERED[mnemonic])
    parsed = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), rdata, 0, len(rdata))
    assert canonical(rtype, rdata) == parsed.to_digestable(dns.name.root) != rdata


@pytest.mark.parametrize("mnemonic", KEPT)
def test_other_names_keep_their_case(mnemonic: str) -> None:
    rtype, rdata = wire(mnemonic, KEPT[mnemonic])
    assert canonical(rtype, rdata) == rdata


def test_types_without_a_dnspython_parser() -> None:
    name = b"\x04HOST\x00"
    low = b"\x04host\x00"
    for rtype in (3, 4, 7, 8, 9):
        assert canonical(rtype, name) == low
    assert canonical(14, name + name) == low + low
    assert canonical(38, b"\x40" + b"A" * 8 + name) == b"\x40" + b"A" * 8 + low
    assert canonical(38, b"\x00" + b"A" * 16) == b"\x00" + b"A" * 16
    assert canonical(30, name + b"AB") == low + b"AB"
    assert names(14, name + low) == [name, low]


@pytest.mark.parametrize(
    ("rtype", "rdata"),
    [
        (2, b""), (2, b"\x01a"), (2, b"\xc0\x0c"), (2, b"\x00\x00"), (23, b"\x00\x00"), (15, b"\x00"),
        (6, b"\x00\x00" + b"x" * 19),
        (6, b"\x00\x00" + b"x" * 21), (33, b"\x00" * 6), (35, b"\x00" * 4 + b"\x05abc"), (2, b"\x3f" + b"a" * 63),
        (5, (b"\x3f" + b"a" * 63) * 4 + b"\x00"), (38, b"\x81"), (38, b""), (46, b"\x00" * 18), (64, b"\x00\x01\x40"),
    ],
)  # fmt: skip
def test_malformed_rdata(rtype: int, rdata: bytes) -> None:
    with pytest.raises(BadRdata):
        canonical(rtype, rdata)


@given(rtype=st.integers(0, 70), rdata=st.binary(max_size=60))
def test_any_octets_are_judged_without_a_crash(rtype: int, rdata: bytes) -> None:
    try:
        once = canonical(rtype, rdata)
    except BadRdata:
        return
    assert canonical(rtype, once) == once
    assert len(once) == len(rdata)
    assert all(0 <= start < end <= len(rdata) for start, end in name_spans(rtype, rdata))


EXPORTED = {
    "A": "192.0.2.1", "AAAA": "2001:db8::1", "NS": r"a\.b\@\000.example.", "MX": "10 m.example.",
    "TXT": r'"a\"\\ \255;"',
    "SOA": "a. b. 1 2 3 4 5", "SRV": "1 2 3 .", "DS": "1 13 2 " + "AB" * 32, "CAA": '128 issue "x; y"',
    "RRSIG": "TYPE65280 13 2 300 21060207062815 19700101000000 1 example. AAAA", "DNSKEY": "256 3 13 AAECAw==",
    "NSEC": "a.example. A NS TYPE65280", "NSEC3": "1 1 5 ABCD 0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM A TYPE256",
    "NSEC3PARAM": "1 0 0 -", "CDS": "0 0 0 00", "CDNSKEY": "0 3 0 AA==", "ZONEMD": "1 1 1 " + "AB" * 48,
    "HINFO": '"a" "b"', "SSHFP": "4 2 " + "AB" * 32, "NAPTR": '1 2 "s" "x" "" .', "URI": '1 2 "https://example/"',
    "HTTPS": "1 . alpn=h2 ech=AAYBAgMEBQY= ohttp", "APL": "1:10.0.0.0/8", "LOC": "42 21 54 N 71 06 18 W -24m 30m",
    "WALLET": '"a" "b"', "HIP": "2 200100107B1A74DF365639CC39F1D578 AAAA", "CSYNC": "66 3 A NS AAAA",
}  # fmt: skip


@pytest.mark.parametrize("mnemonic", EXPORTED)
def test_exported_text_reads_back(mnemonic: str) -> None:
    rtype, rdata = wire(mnemonic, EXPORTED[mnemonic])
    line = rrset_lines("x.example.", rtype, 5, pack([rdata]))
    owner, ttl, rclass, kind, text = line.rstrip("\n").split("\t")
    assert (owner, ttl, rclass) == ("x.example.", "5", "IN")
    assert wire(kind, text) == (rtype, rdata)


def test_what_others_do_not_know_is_generic() -> None:
    assert rrset_lines("x.", 262, 5, pack([b"\x01a\x01b"])) == "x.\t5\tIN\tTYPE262\t\\# 4 01610162\n"
    assert rrset_lines("x.", 65280, 5, pack([b""])) == "x.\t5\tIN\tTYPE65280\t\\# 0\n"
    assert (
        rrset_lines("x.", 47, 5, pack([b"\x00\x00\x09" + b"\x00" * 8 + b"\x02"]))
        == "x.\t5\tIN\tNSEC\t. TYPE70\n"
    )
    assert rrset_lines("x.", 1, 5, pack([b"\x01\x02\x03\x04", b"\x01\x02\x03\x05"])).count("\n") == 2
    assert TYPES[b"DSYNC"] == 66


def test_owner_text() -> None:
    origin = text_to_wire("example.com.")
    assert owner_text(b"", origin) == "example.com."
    assert owner_text(b"b\x00a\x00", origin) == "a.b.example.com."
    assert owner_text(b"a.\x01\x01\x00", origin) == r"a\.\000.example.com."
    assert owner_text(b"", b"\x00") == "."
    assert owner_text(b"com\x00", b"\x00") == "com."
