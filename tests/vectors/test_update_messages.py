"""UPDATE messages that others' servers got wrong: what is not exactly right is a FormError, nothing else."""

from __future__ import annotations

import struct
import time

import dns.update
import pytest

from dnssecd.core.dns.message import FormError
from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.types import NOERROR
from dnssecd.server.update_message import is_meta_type, parse_update
from tests.unit.core_update.build import (
    ANY,
    IN,
    NONE,
    ORIGIN,
    RR,
    UPDATE_FLAGS,
    add,
    delete,
    delete_rr,
    message,
    rdata_of,
    rtype_of,
    wire_name,
    zone_view,
)
from tests.unit.core_update.carry import POLICY

A = add("www", "A", "192.0.2.1")
ZONE_SECTION = ORIGIN + struct.pack("!HH", 6, 1)


def header(
    zones: int = 1, prerequisites: int = 0, updates: int = 0, additional: int = 0, flags: int = UPDATE_FLAGS
) -> bytes:
    return struct.pack("!6H", 1, flags, zones, prerequisites, updates, additional)


def refused(wire: bytes) -> None:
    with pytest.raises(FormError):
        parse_update(wire)


def rr(
    owner: bytes, rtype: int, rdata: bytes, rclass: int = IN, ttl: int = 300, length: int | None = None
) -> bytes:
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata) if length is None else length) + rdata


# What is right


def test_a_plain_update() -> None:
    parsed = parse_update(
        message([A, delete("www"), delete_rr("mx", "MX", "10 MAIL.Example.")], [delete("x", "A")])
    )
    assert parsed.zone == ORIGIN
    assert [tuple(each) for each in parsed.prerequisites] == [(b"x\x00", 1, ANY, 0, b"")]
    assert [tuple(each) for each in parsed.updates] == [
        (b"www\x00", 1, IN, 300, b"\xc0\x00\x02\x01"),
        (b"www\x00", 255, ANY, 0, b""),
        (b"mx\x00", 15, NONE, 0, b"\x00\x0a\x04mail\x07example\x00"),
    ]


def test_names_outside_the_zone_have_no_owner_key() -> None:
    parsed = parse_update(message([add("a.other.", "A", "192.0.2.1")]))
    assert parsed.updates[0].owner is None


def test_upper_case_zone_and_owner() -> None:
    parsed = parse_update(message([add("WWW", "A", "192.0.2.1")], zone=ORIGIN.upper()))
    assert parsed.zone == ORIGIN
    assert parsed.updates[0].owner == b"www\x00"


def test_compressed_by_dnspython() -> None:
    update = dns.update.UpdateMessage("example.")
    update.present("www", "A", "192.0.2.1")
    update.add("mx", 60, "MX", "10 mail.example.")
    update.add("srv", 60, "NAPTR", '1 1 "u" "E2U+sip" "" Mail.Example.')
    update.replace("www", 60, "NS", "ns1.example.")
    parsed = parse_update(update.to_wire())
    assert [each.owner for each in parsed.updates] == [b"mx\x00", b"srv\x00", b"www\x00", b"www\x00"]
    assert parsed.updates[0].rdata == b"\x00\x0a\x04mail\x07example\x00"
    assert parsed.updates[1].rdata.endswith(b"\x04mail\x07example\x00")


@pytest.mark.parametrize(
    "additional", [[], [b"\x00" + struct.pack("!HHIH", 41, 1232, 0, 0)], [rr(b"\x00", 1, b"1234")]]
)
def test_the_additional_section_is_only_walked(additional: list[bytes]) -> None:
    assert len(parse_update(message([A], additional=additional)).updates) == 1


# Header and zone section


@pytest.mark.parametrize("octets", range(12 + len(ZONE_SECTION)))
def test_cut_anywhere(octets: int) -> None:
    refused((header() + ZONE_SECTION)[:octets])


def test_every_prefix_of_a_message_is_refused() -> None:
    wire = message(
        [A, add("m", "MX", "1 a."), add("t", "TXT", '"x"')],
        [delete("x")],
        additional=[rr(b"\x00", 1, b"1234")],
    )
    for octets in range(len(wire)):
        refused(wire[:octets])


@pytest.mark.parametrize("opcode", [0, 1, 2, 4, 6, 15])
def test_another_opcode(opcode: int) -> None:
    refused(header(flags=opcode << 11) + ZONE_SECTION)


def test_a_response() -> None:
    refused(header(flags=UPDATE_FLAGS | 0x8000) + ZONE_SECTION)


@pytest.mark.parametrize("zones", [0, 2, 65535])
def test_not_one_zone(zones: int) -> None:
    refused(header(zones=zones) + ZONE_SECTION * min(zones, 2))


@pytest.mark.parametrize("ztype", [0, 1, 2, 5, 250, 251, 252, 255])
def test_zone_type_other_than_soa(ztype: int) -> None:
    refused(message([A], ztype=ztype))


@pytest.mark.parametrize("zclass", [0, 2, 3, 4, 254, 255, 65535])
def test_zone_class_other_than_in(zclass: int) -> None:
    refused(message([A], zclass=zclass))


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("count", [1, 2, 100, 65535])
def test_counts_that_lie(position: int, count: int) -> None:
    counts = [0, 0, 0]
    counts[position] = count
    refused(header(1, *counts) + ZONE_SECTION)
    refused(
        header(1, *counts) + ZONE_SECTION + rr(ORIGIN, 255, b"", ANY, 0) * (count - 1 if count < 3 else 3)
    )


@pytest.mark.parametrize("trailing", [b"\x00", b"abc", bytes(200)])
def test_trailing_octets(trailing: bytes) -> None:
    refused(message([A]) + trailing)
    refused(message() + trailing)


# Classes, types, TTLs


METAS = [0, 41, 128, 249, 250, 251, 252, 253, 254]


@pytest.mark.parametrize("rtype", [*METAS, 255])
def test_meta_types_have_no_data(rtype: int) -> None:
    """ANY in class IN as a prerequisite stopped named (CVE-2009-0696)."""
    for rdata in (b"", b"1234"):
        refused(message([], [RR(ORIGIN, rtype, IN, 0, rdata)]))
        refused(message([RR(ORIGIN, rtype, IN, 300, rdata)]))
        refused(message([RR(ORIGIN, rtype, NONE, 0, rdata)]))


@pytest.mark.parametrize("rtype", METAS)
def test_meta_types_are_no_rrsets(rtype: int) -> None:
    refused(message([], [RR(ORIGIN, rtype, ANY)]))
    refused(message([], [RR(ORIGIN, rtype, NONE)]))
    refused(message([RR(ORIGIN, rtype, ANY)]))


def test_what_a_meta_type_is() -> None:
    assert [rtype for rtype in range(65536) if is_meta_type(rtype)] == [0, 41, *range(128, 256)]


@pytest.mark.parametrize("rclass", [0, 2, 3, 4, 253, 256, 65535])
def test_other_classes(rclass: int) -> None:
    refused(message([A._replace(rclass=rclass)]))
    refused(message([], [A._replace(rclass=rclass, ttl=0)]))
    refused(message([RR(ORIGIN, 1, rclass)]))
    refused(message([], [RR(ORIGIN, 1, rclass)]))


def test_ttl_where_it_must_be_0() -> None:
    refused(message([RR(ORIGIN, 1, ANY, 1)]))
    refused(message([RR(ORIGIN, 255, ANY, 1)]))
    refused(message([A._replace(rclass=NONE)]))
    refused(message([], [A]))
    refused(message([], [RR(ORIGIN, 1, ANY, 2**31)]))


def test_rdata_where_there_must_be_none() -> None:
    refused(message([RR(ORIGIN, 1, ANY, 0, b"1234")]))
    refused(message([RR(ORIGIN, 255, ANY, 0, b"1")]))
    refused(message([], [RR(ORIGIN, 1, ANY, 0, b"1234")]))
    refused(message([], [RR(ORIGIN, 1, NONE, 0, b"1234")]))


# RDLENGTH


@pytest.mark.parametrize("length", [0, 1, 3, 5, 6, 100, 65535])
def test_rdlength_of_an_address_lies(length: int) -> None:
    refused(header(updates=1) + ZONE_SECTION + rr(b"\x01a" + ORIGIN, 1, b"1234", length=length))
    refused(header(updates=2) + ZONE_SECTION + rr(b"\x01a" + ORIGIN, 1, b"1234", length=length) + A.wire())


@pytest.mark.parametrize("lie", [-1, 1])
@pytest.mark.parametrize(
    ("mnemonic", "text"),
    [("NS", "a.b."), ("MX", "1 a.b."), ("SRV", "1 2 3 a.b."), ("SOA", "a. b. 1 2 3 4 5"), ("TXT", '"ab" "c"'),
     ("CNAME", "a."), ("AAAA", "::1"), ("DS", "1 13 2 " + "00" * 32), ("NAPTR", '1 1 "" "" "" a.'), ("HINFO", "a b")],
)  # fmt: skip
def test_rdlength_lies_within_the_message(mnemonic: str, text: str, lie: int) -> None:
    rdata = rdata_of(mnemonic, text)
    one = rr(b"\x01a" + ORIGIN, rtype_of(mnemonic), rdata, length=len(rdata) + lie)
    refused(header(updates=2) + ZONE_SECTION + one + A.wire())


@pytest.mark.parametrize("rclass", [IN, NONE])
@pytest.mark.parametrize(
    "mnemonic",
    ["A", "AAAA", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "DS", "CAA", "HINFO", "NAPTR", "LOC", "TLSA", "SVCB",
     "HTTPS", "DNAME", "DNSKEY", "HIP", "SPF", "URI", "SSHFP", "CERT", "OPENPGPKEY", "X25", "NSEC", "RRSIG",
     "NULL"],
)  # fmt: skip
def test_zero_length_rdata_where_the_type_has_some(mnemonic: str, rclass: int) -> None:
    refused(message([RR(wire_name("a"), rtype_of(mnemonic), rclass, 0)]))


@pytest.mark.parametrize("mnemonic", ["APL", "TYPE65280"])
def test_zero_length_rdata_where_the_type_may_have_none(mnemonic: str) -> None:
    for rclass in (IN, NONE):
        assert (
            parse_update(message([RR(wire_name("a"), rtype_of(mnemonic), rclass, 0)])).updates[0].rdata == b""
        )


# Names (RFC 9267)


def named(owner: bytes) -> bytes:
    return header(updates=1) + ZONE_SECTION + rr(owner, 1, b"1234")


AT = 12 + len(ZONE_SECTION)


@pytest.mark.parametrize(
    "owner",
    [
        struct.pack("!H", 0xC000 | AT),  # to itself
        b"\x01a" + struct.pack("!H", 0xC000 | AT),  # to its own beginning
        struct.pack("!H", 0xC000 | AT + 2),  # forward
        struct.pack("!H", 0xFFFF),  # past the end
        struct.pack("!H", 0xC000),  # into the header
        struct.pack("!H", 0xC00B),  # into the header
        b"\x01a\xc0",  # cut
        b"\x40" + b"a" * 64 + b"\x00",  # label type 01
        b"\x80" + b"a" * 128 + b"\x00",  # label type 10
        b"\x3f" + b"a" * 20,  # label past the end
    ],
)
def test_bad_names(owner: bytes) -> None:
    refused(named(owner))


def test_two_pointers_in_a_loop() -> None:
    first, second = struct.pack("!H", 0xC000 | AT + 16), struct.pack("!H", 0xC000 | AT)
    refused(header(updates=2) + ZONE_SECTION + rr(first, 1, b"1234") + rr(second, 1, b"1234"))


def test_names_over_255_octets() -> None:
    longest = b"".join(bytes([63]) + b"a" * 63 for _ in range(3)) + bytes([255 - 192 - 2 - len(ORIGIN) + 1])
    longest += b"b" * longest[-1] + ORIGIN
    assert len(longest) == 255
    assert parse_update(named(longest)).updates[0].owner is not None
    refused(named(bytes([longest[0]]) + longest[1:193] + bytes([longest[192] + 1]) + b"b" + longest[193:]))
    chain = header(updates=5) + ZONE_SECTION
    pointer = 12
    for _ in range(5):
        at = len(chain)
        chain += rr(b"\x3f" + b"c" * 63 + struct.pack("!H", 0xC000 | pointer), 1, b"1234")
        pointer = at
    refused(chain)


def test_a_pointer_in_rdata_may_lead_back_only() -> None:
    target = struct.pack("!H", 0xC00C)
    assert (
        parse_update(header(updates=1) + ZONE_SECTION + rr(b"\x01a\xc0\x0c", 2, target)).updates[0].rdata
        == ORIGIN
    )
    at = AT + 4 + 10
    for bad in (struct.pack("!H", 0xC000 | at), struct.pack("!H", 0xC000 | at + 2), b"\xc0"):
        refused(header(updates=1) + ZONE_SECTION + rr(b"\x01a\xc0\x0c", 2, bad))


@pytest.mark.parametrize("mnemonic", ["DNAME", "SVCB", "KX", "NSEC", "LP", "RRSIG"])
def test_a_pointer_in_rdata_of_a_newer_type(mnemonic: str) -> None:
    heads = {"SVCB": bytes(2), "KX": bytes(2), "LP": bytes(2), "RRSIG": bytes(18)}
    tail = {"NSEC": b"\x00\x01\x40", "RRSIG": b"1234"}.get(mnemonic, b"")
    rdata = heads.get(mnemonic, b"") + b"\xc0\x0c" + tail
    refused(header(updates=1) + ZONE_SECTION + rr(b"\x01a\xc0\x0c", rtype_of(mnemonic), rdata))


def test_a_name_in_rdata_that_runs_over_its_end() -> None:
    wire = (
        header(updates=2)
        + ZONE_SECTION
        + rr(b"\x01a\xc0\x0c", 2, b"\x05ab")
        + rr(b"\x02cd\xc0\x0c", 1, b"1234")
    )
    refused(wire)


# Bad RDATA inside a right length


@pytest.mark.parametrize(
    ("mnemonic", "rdata"),
    [
        ("SVCB", "0001 00 0001 0003 026832 0001 0003 026833"),  # key twice
        ("SVCB", "0001 00 0003 0002 01bb 0001 0003 026832"),  # keys not ascending
        ("SVCB", "0001 00 0001 0004 026832"),  # value past the end
        ("SVCB", "0001 00 0001 0003 036832"),  # alpn-id past its end
        ("SVCB", "0001 00 0001 0000"),  # empty alpn
        ("SVCB", "0001 00 0001 0001 00"),  # empty alpn-id
        ("SVCB", "0001 00 0002 0000"),  # no-default-alpn alone
        ("SVCB", "0001 00 0003 0001 01"),  # short port
        ("SVCB", "0001 00 0004 0003 010203"),  # short hint
        ("SVCB", "0001 00 0006 0010 " + "00" * 15),  # hint past the end
        ("SVCB", "0001 00 0000 0002 0001"),  # mandatory key missing
        ("SVCB", "0001 00 0000 0002 0000 0001 0003 026832"),  # mandatory itself mandatory
        ("SVCB", "0001 00 0007 0004 2f7b7d61"),  # dohpath without dns
        ("SVCB", "0001 00 0007 0007 717b3f646e737d"),  # dohpath not from the root
        ("SVCB", "0001 00 0009 0004 00170017"),  # group twice
        ("SVCB", "0001 00 000b 0001 00"),  # pvd with a value
        ("SVCB", "0001 00 ffff 0000"),  # the invalid key
        ("SVCB", "0001 c00c"),  # compressed
        ("SVCB", "0001 016120"),  # target cut
        ("NSEC", "00 0000"),  # empty window
        ("NSEC", "00 0021 " + "00" * 33),  # window too long
        ("NSEC", "00 0001 00"),  # trailing zero octet
        ("NSEC", "00 0101 40 0001 40"),  # windows out of order
        ("NSEC", "00"),  # empty bit map
        ("APL", "0001 21 04 c0000201"),  # /33
        ("APL", "0001 18 03 c00000"),  # trailing zero octet
        ("APL", "0001 18 05 c000020101"),  # address too long
        ("APL", "0001 18 04 c00002"),  # address past the end
        ("APL", "0001 18"),  # item cut
        ("APL", "0002 81 01 20"),  # /129
        ("LOC", "01 12 16 13 80000000 80000000 00989680"),  # version 1
        ("LOC", "00 a2 16 13 80000000 80000000 00989680"),  # base over 9
        ("LOC", "00 1a 16 13 80000000 80000000 00989680"),  # exponent over 9
        ("LOC", "00 12 16 13 ffffffff 80000000 00989680"),  # latitude
        ("LOC", "00 12 16 13 80000000 00000000 00989680"),  # longitude
        ("LOC", "00 12 16 13 80000000 80000000 009896"),  # short
        ("TXT", "02 61"),  # string past the end
        ("TXT", "01 61 05"),  # second string past the end
        ("SPF", "02 61"),
        ("HIP", "00 02 0001 aa"),  # no HIT
        ("HIP", "01 02 0000 aa"),  # no key
        ("HIP", "10 02 0001 aabb"),  # HIT past the end
        ("HIP", "01 02 0001 aabb 0161"),  # server name cut
        ("HIP", "01 02 0001 aabb c00c"),  # server name compressed
        ("NAPTR", "0001 0001 01 75 05 453255 00 00"),  # string past the end
        ("NAPTR", "0001 0001 0175 00 00"),  # a string missing
        ("NAPTR", "0001 0001 0175 00 03 212121 "),  # no replacement
        ("NAPTR", "0001 0001 0175 00 03 213f21 00"),  # no third delimiter
        ("NAPTR", "0001 0001 0175 00 05 212a217821 00"),  # repeats nothing
        ("NAPTR", "0001 0001 0175 00 06 2161215c3121 00"),  # no such group
        ("CAA", "00 00"),  # empty tag
        ("ISDN", "03 313131 00"),  # an empty sub-address: written without it everywhere else
        ("DS", "0001 0d 02 " + "00" * 31),
        ("DS", "0001 0d 02"),
        ("SSHFP", "01"),
        ("CERT", "0001 0002 03"),
        ("DNSKEY", "0101 03 0d"),
        ("CSYNC", "00000001 0003 00 01"),
        ("EUI48", "00005e0053"),
        ("HINFO", "01 61"),
        ("WKS", "c0000201 06 00"),
        ("X25", "03 313233"),
        ("IPSECKEY", "0a 01 02 c0000226"),
        ("ZONEMD", "00000001 01 01 00"),
        ("RRSIG", "0001 0d 01"),
        ("SOA", "00 00" + "00" * 19),
        ("SOA", "00 00" + "00" * 21),
    ],
)
def test_bad_rdata_inside_a_right_length(mnemonic: str, rdata: str) -> None:
    rtype = rtype_of(mnemonic)
    for rclass, ttl in ((IN, 300), (NONE, 0)):
        refused(message([RR(wire_name("a"), rtype, rclass, ttl, bytes.fromhex(rdata)), A]))
    refused(message([A], [RR(wire_name("a"), rtype, IN, 0, bytes.fromhex(rdata))]))


@pytest.mark.parametrize(
    ("mnemonic", "rdata"),
    [
        ("SVCB", "0001 00 0005 0002 0000"),  # ECH too short
        ("HTTPS", "0000 00 0001 0003 026832"),  # parameters in AliasMode
        ("TLSA", "01 01 01 00"),
        ("AMTRELAY", "00 05 00"),
        ("URI", "0001 0001"),
    ],
)
def test_odd_rdata_that_all_secondaries_take_is_taken(mnemonic: str, rdata: str) -> None:
    octets = bytes.fromhex(rdata)
    for rclass, ttl in ((IN, 300), (NONE, 0)):
        taken = parse_update(message([RR(wire_name("a"), rtype_of(mnemonic), rclass, ttl, octets)]))
        assert taken.updates[0].rdata == octets


@pytest.mark.parametrize(
    ("mnemonic", "text"),
    [
        (
            "SVCB",
            '1 svc.example. mandatory=alpn alpn="h2,h3" no-default-alpn port=8443 ipv4hint=192.0.2.1 ipv6hint=::1',
        ),
        ("SVCB", r'1 . alpn=h2 key7="/dns-query{?dns}"'),
        ("SVCB", r"1 . key65534=abc"),
        ("HTTPS", "0 svc.example."),
        ("APL", "1:192.0.2.0/24 !2:2001:db8::/32"),
        ("LOC", "51 30 12.748 N 0 7 39.612 W 0.00m 1m 10000m 10m"),
        ("TXT", '"" "a"'),
        ("HIP", "2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs1.example. rvs2.example."),
        ("NAPTR", r'100 10 "u" "E2U+sip" "!^(\\+43|0)([0-9]{2,3})[[:digit:]]*$!sip:\\2@example.com!i" .'),
        ("NAPTR", '100 50 "s" "http+I2L+I2C+I2R" "" _http._tcp.foo.com.'),
        ("CAA", '128 issue "letsencrypt.org"'),
        ("IPSECKEY", "10 3 2 mygateway.example. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
        ("AMTRELAY", "10 1 3 amtrelays.example."),
        ("CSYNC", "66 3 A NS AAAA"),
        ("URI", '10 1 "ftp://ftp1.example.com/public"'),
        ("TLSA", "3 1 1 " + "00" * 32),
        ("CERT", "1 2 3 AAAA"),
        ("TYPE65280", r"\# 4 01020304"),
    ],
)
def test_good_rdata_of_the_rarer_types(mnemonic: str, text: str) -> None:
    rdata = rdata_of(mnemonic, text)
    parsed = parse_update(message([RR(wire_name("a"), rtype_of(mnemonic), IN, 300, rdata)]))
    assert parsed.updates[0].rdata.lower() == rdata.lower()


# Many


_DIGITS = [bytes([octet]) for octet in b"0123456789abcdefghijklmnopqrstuvwxyz"]


def test_5000_rrs_in_one_message_are_applied() -> None:
    """As many as fit: one label and a pointer each, some added, the rest deleted RRsets."""
    wire = header(updates=5000) + ZONE_SECTION
    for number in range(700):
        wire += rr(
            b"\x02" + _DIGITS[number // 36] + _DIGITS[number % 36] + b"\xc0\x0c", 1, struct.pack("!I", number)
        )
    for number in range(700, 5000):
        wire += rr(b"\xc0\x0c", number + 256, b"", ANY, 0)
    assert len(wire) <= 65535
    started = time.perf_counter()
    parsed = parse_update(wire)
    result = apply_update(zone_view(), parsed, POLICY)
    seconds = time.perf_counter() - started
    assert result.rcode == NOERROR
    assert len(result.changes) == 700
    assert seconds < 1.0  # 0.06 s on an idle machine
