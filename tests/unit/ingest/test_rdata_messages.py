"""What is wrong with RDATA: the field is named, and what to write; no words of the parser inside."""

from __future__ import annotations

from pathlib import Path

import dns.rdata
import dns.rdatatype
import pytest

from dnssecd.ingest import rdataforms
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.lexer import read_record
from tests.unit.ingest.zones import HEAD, parse, rdata

SAID = {
    "A 192.0.2.300": "ADDRESS 192.0.2.300 is not an IPv4 address; write A ADDRESS",
    r"A \# 5 0102030405": "these octets are not RDATA of this type",
    r"A \# 5 01020304": "the length is 5, but there are 4 octets",
    "NS": "NAME-SERVER is missing; write NS NAME-SERVER",
    "MX mail": "PREFERENCE mail is not a number from 0 to 65535; write MX PREFERENCE MAIL-SERVER",
    "MX 10": "MAIL-SERVER is missing",
    "MX 70000 mail": "PREFERENCE 70000 is not a number from 0 to 65535",
    'TXT "'
    + "a" * 300
    + '"': 'has 300 octets, at most 255 fit in one string; split it into several: "…" "…"',
    "EUI48 1-23-45-67-89-ab": "is not 6 octets written as xx-xx-xx-xx-xx-xx",
    'HTTPS 1 . ech="123"': 'PARAMETER ech="123" has a value that is not base64',
    r"NS \# 2 c00c": "a name in it is compressed, which is allowed only in messages",
    "DNAME a. b": "a word too many: b; write DNAME TARGET",
    "TLSA 3 1 1 abc": "DATA has an odd number of hexadecimal digits",
    "AAAA fe80::1%eth0": "has a zone index",
    "CAA 0 issue": "VALUE is missing; write CAA FLAGS TAG VALUE",
    "DS 1 13 2": "DIGEST is missing",
    "APL 1:1": "PREFIX 1:1 is not FAMILY:ADDRESS/LENGTH",
    "CSYNC 1": "FLAGS is missing; write CSYNC SERIAL FLAGS TYPE…",
    "LOC 99": "it does not have the form of this type; write LOC LATITUDE-LONGITUDE-ALTITUDE…",
    "A6 1": "it does not have the form of this type; see the RFC of the type",
    "SRV 1 2 3": "TARGET is missing; write SRV PRIORITY WEIGHT PORT TARGET",
}
#: Words of the library that reads RDATA.
INSIDE = (
    "expecting",
    "EOL",
    "malformed",
    "invalid literal",
    "Input text",
    "string too long",
    "Non-hexa",
    "pop from",
    "unpack",
)


def said(tmp_path: Path, text: str) -> str:
    with pytest.raises(ZoneFileErrors) as raised:
        parse(tmp_path, text)
    assert len(raised.value.errors) == 1
    return str(raised.value)


@pytest.mark.parametrize("record", SAID)
def test_the_field_and_what_to_write(tmp_path: Path, record: str) -> None:
    message = said(tmp_path, HEAD + f"x {record}\n")
    assert message.startswith(f"{tmp_path}/example.zone:5: bad {record.split()[0]} RDATA")
    assert SAID[record] in message
    assert not any(word in message for word in INSIDE)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ("ns h 1 2 3 4", "MINIMUM is missing; write SOA PRIMARY MAILBOX SERIAL REFRESH RETRY EXPIRE MINIMUM"),
        ("ns h 2026112901x 1 2 3 4", "SERIAL 2026112901x is not a number"),
        ("ns h 1 1 2 3 4 5 6", "2 words too many: 5 6"),
    ],
)
def test_soa(tmp_path: Path, fields: str, wrong: str) -> None:
    assert wrong in said(tmp_path, f"$TTL 300\n@ SOA {fields}\n@ NS ns\nns A 192.0.2.1\n")


def test_mnemonics_of_cert_in_any_case(tmp_path: Path) -> None:
    zone = parse(tmp_path, HEAD + "c CERT pgp 1 0 AAAA\nd CERT PkIx 1 0 AAAA\n")
    assert rdata(zone, b"c\0", 37) == [bytes.fromhex("0003000100000000")]
    assert rdata(zone, b"d\0", 37) == [bytes.fromhex("0001000100000000")]


#: Good RDATA of each type that has a form.
GOOD = {
    "A": "192.0.2.1", "NS": "a.", "CNAME": "a.", "SOA": "a. b. 1 1h 2 3 4", "PTR": "a.", "HINFO": "a b", "MX": "1 a.",
    "TXT": 'a "b c"', "RP": "a. b.", "AFSDB": "1 a.", "RT": "1 a.", "KEY": "256 3 13 AAAA", "GPOS": "-1.5 2 3.0",
    "AAAA": "2001:db8::1", "SRV": "1 2 3 a.", "NAPTR": '1 2 "u" "x" "" .', "KX": "1 a.", "CERT": "PKIX 1 0 AAAA",
    "DNAME": "a.", "DS": "1 13 2 " + "ab" * 32, "SSHFP": "1 9 abcd", "DNSKEY": "257 3 13 AAAA", "DHCID": "AAAA",
    "TLSA": "3 1 0 abcd", "SMIMEA": "3 1 0 abcd", "CDS": "1 13 2 " + "ab" * 32, "CDNSKEY": "257 3 13 AAAA",
    "OPENPGPKEY": "AA AA", "SVCB": "1 a. port=1", "HTTPS": "0 a.", "SPF": "a", "EUI48": "00-11-22-33-44-aa",
    "EUI64": "00-11-22-33-44-aa-bb-cc", "URI": '1 2 "x"', "CAA": '0 issue "x"', "WKS": "192.0.2.1 tcp 25 80",
    "X25": "311061700956", "ISDN": "150862028003217 004", "NSAP": "0x47.0005.80", "NSAP-PTR": "a.", "PX": "10 a. b.",
    "LOC": "42 21 54 N 71 06 18 W 24m 30m", "APL": "1:192.0.2.0/24 !2:2001:db8::/32", "NID": "10 0014:4fff:ff20:ee64",
    "IPSECKEY": "10 1 2 192.0.2.38 AAAA", "HIP": "2 200100107B1A74DF365639CC39F1D578 AAAA a.",
    "CSYNC": "66 3 A NS AAAA", "L32": "10 10.1.2.0", "L64": "10 2001:0db8:1140:1000", "LP": "10 a.",
    "AMTRELAY": "10 0 1 203.0.113.15",
}  # fmt: skip


def test_good_rdata_has_no_fault() -> None:
    """The table agrees with the parser: what that takes fits the form, and every form is tried."""
    assert {int(dns.rdatatype.from_text(word)) for word in GOOD} == set(rdataforms._FORMS)
    for word, text in GOOD.items():
        rtype = dns.rdatatype.from_text(word)
        dns.rdata.from_text("IN", rtype, text)
        given = read_record(1, b"x " + text.encode(), iter(()), 1000).words[1:]
        assert rdataforms._worded(int(rtype), given)[0] == "", word
