"""The fast lane and the slow lane read the same: same rows, same carried state, or the same error."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.names import text_to_wire
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.reader import Reader

ZONE = text_to_wire("example.com.")
HEAD = b"$TTL 300\n@ SOA ns hostmaster 1 2 3 4 5\n"


def mostly(good: st.SearchStrategy[bytes] | list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good value; one time in ten an odd one, so that a record is often wrong in one place only."""
    usual = good if isinstance(good, st.SearchStrategy) else st.sampled_from(good)
    return st.integers(0, 9).flatmap(lambda choice: st.sampled_from(odd) if choice == 9 else usual)


label = mostly(
    [b"www", b"a", b"NS1", b"*", b"_tcp", b"x" * 63, b"1", b"in", b"A", b"a_b-c/d", b"Sub"],
    [b"x" * 64, b"a\\.b", b"\\000", b"\\1", b"\\255z", b"\\999", b"a@b", b"$x", b"\xc3\xa9", b"", b"a\x0bb"],
)
short_name = st.lists(label, min_size=1, max_size=3).map(b".".join)
LONGEST = b".".join([b"y" * 63] * 3 + [b"z" * 61])
good_name = st.one_of(
    short_name,
    short_name.map(lambda word: word + b"."),
    short_name.map(lambda word: word + b".Example.com."),
    st.sampled_from([b"@", b".", b"example.com.", b"xexample.com.", LONGEST + b".", LONGEST[: 253 - 12]]),
)
odd_names = [b"..", b".a", b"a..b", b"a..", LONGEST + b"z.", LONGEST[: 254 - 12], LONGEST]
name = mostly(good_name, odd_names)
odd_numbers = [
    b"00010",
    b"1_0",
    b"+1",
    b"-1",
    b"0x1",
    b"4294967296",
    b"2147483648",
    b"\\049",
    b"70000",
    b"256",
]
number8 = mostly(st.integers(0, 255).map(lambda value: b"%d" % value), odd_numbers)
number16 = mostly(st.integers(0, 65535).map(lambda value: b"%d" % value), odd_numbers)
number32 = mostly([b"0", b"3600", b"4294967295"], odd_numbers)
ttl = mostly(
    [b"0", b"60", b"1h", b"1H30m", b"1w2d3h4m5s", b"2147483647"],
    [b"h", b"1y", b"5m5", b"99999w", *odd_numbers],
)
rclass = mostly([b"IN", b"in", b"In", b"CLASS1"], [b"CH", b"ANY", b"CLASS3", b"IN IN"])
odd_hex = [b"abc", b"zz", b"a_", b"", b"ab cd", b"ab" * 33]
string = mostly(
    [b'"a b"', b"plain", b'""', b'"semi;colon"', b"l" * 255, b'"(paren)"',
     b'"esc\\"aped"', b"\\065", b'"' + b"l" * 255 + b'"'],
    [b'"open', b'adja"cent"', b'"a""b"', b"par(en", b")", b'"' + b"l" * 256 + b'"', b"l" * 256, b'"\xc3\xa9"', b"a;b",
     b'"tab\tinside"', b'"\x0b"', b"\\#", b"a\x00b", b"\x7f", b"@", b"$", b'"\\256"'],
)  # fmt: skip
address4 = mostly(
    st.ip_addresses(v=4).map(lambda address: str(address).encode()),
    [b"1.2.3", b"01.2.3.4", b"1.2.3.256", b"1.2.3.4.5", b"1.2.3.4x", b"::1", b"1.2.3.\\052"],
)
address6 = mostly(
    st.ip_addresses(v=6).map(lambda address: str(address).encode()),
    [b"::", b"::ffff:1.2.3.4", b"1::2::3", b"1:2:3:4:5:6:7::", b"::2:3:4:5:6:7:8", b"fe80::1%eth0", b"12345::", b":1",
     b"1:2:3:4:5:6:7:8:9", b"::1.2.3", b"1:", b"::00001", b"1:2:3:4:5:6:1.2.3.4", b"1:2:3:4:5:6:7:1.2.3.4", b"A::F"],
)  # fmt: skip
base64 = mostly(
    st.binary(min_size=1, max_size=20).map(b64encode),
    [b"AA", b"A", b"AAAA AAAA", b"AA==AA==", b"A*AA", b"=", b"AB==", b""],
)
time = mostly(
    [b"20260101000000", b"0", b"4294967295", b"20240229120000", b"20261231235959", b"20991130000000"],
    [b"20260230000000", b"20260431000000", b"4294967296", b"21070101000000", b"20261301000000", b"19691231235959",
     b"2026010100000", b"20260101006000", b"20250229120000", b"20260100000000", b"20260101240000"],
)  # fmt: skip
bitmap = st.lists(
    mostly(
        [b"A", b"ns", b"TYPE65534", b"CAA", b"A", b"NSEC"],
        [b"TYPE0", b"TYPE70000", b"nope", b"TYPE1", b"ANY"],
    ),
    max_size=4,
).map(b" ".join)
HASH = b"0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM"
nsec3_hash = mostly([HASH, HASH.lower()], [b"0P9M", b"W" * 32, HASH[:31], HASH + b"0"])
covered = mostly([b"A", b"ns", b"TYPE1", b"TYPE65534"], [b"TYPE0", b"XX", b"ANY"])


def fields(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Parts joined by blanks, sometimes one too few or too many, sometimes in parentheses."""
    whole = st.tuples(*parts).map(b" ".join)
    changes: list[Callable[[bytes], bytes]] = [
        lambda text: text + b" extra",
        lambda text: text.rpartition(b" ")[0],
        lambda text: b"( " + text.replace(b" ", b"\n ", 1) + b" )",
        lambda text: text + b" ; comment",
        lambda text: text + b" \t",
    ]
    return st.tuples(whole, st.integers(0, 19)).map(
        lambda pair: changes[pair[1] % 5](pair[0]) if pair[1] > 12 else pair[0]
    )


def typed(types: list[bytes], *parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(st.sampled_from(types), fields(*parts)).map(b" ".join)


digest = st.sampled_from([b"1 " + b"ab" * 20, b"2 " + b"AB" * 32, b"4 " + b"cd" * 24 + b" " + b"ef" * 24])
digest = mostly(
    digest, [b"0 ab", b"1 abcd", b"2 " + b"ab" * 20, b"3 " + b"ab" * 32, b"5 ab", b"02 " + b"AB" * 32]
)
digest = mostly(digest, [b"2 " + data for data in odd_hex])
matched = mostly(
    [b"1 " + b"ab" * 32, b"2 " + b"ab" * 64, b"0 abcd", b"3 ab"], [b"1 ab", b"256 ab", b"01 " + b"ab" * 32]
)
rdata = st.one_of(
    typed([b"A", b"a", b"TYPE1"], address4),
    typed([b"AAAA", b"aaaa", b"AaAa"], address6),
    typed([b"NS", b"CNAME", b"PTR", b"DNAME", b"ns"], name),
    typed([b"MX"], number16, name),
    typed([b"SRV"], number16, number16, number16, name),
    typed([b"SOA", b"soa"], name, name, number32, ttl, ttl, ttl, ttl),
    typed([b"DS"], number16, number8, digest),
    typed([b"TLSA"], number8, number8, matched),
    typed([b"TXT", b"txt"], st.lists(string, min_size=1, max_size=3).map(b" ".join)),
    typed([b"CAA"], number8, mostly([b"issue", b"a1" * 127], [b"is sue", b"i-s", b"i" * 256]), string),
    typed([b"RRSIG"], covered, number8, number8, number32, time, time, number16, name, base64),
    typed([b"DNSKEY"], number16, number8, number8, base64),
    typed([b"NSEC"], name, bitmap),
    typed([b"NSEC3"], number8, number8, number16, mostly([b"-", b"ab"], [b"a", b"zz"]), nsec3_hash, bitmap),
    st.sampled_from([b"A \\# 4 01020304", b"A \\# 0", b"TXT", b"NS", b"", b"IN", b"TYPE65280 \\# 1 00", b"WKS"]),
)  # fmt: skip
header = st.one_of(
    st.just(b""),
    rclass.map(lambda word: word + b" "),
    ttl.map(lambda word: word + b" "),
    st.tuples(ttl, rclass).map(lambda words: b" ".join(words) + b" "),
    st.tuples(rclass, ttl).map(lambda words: b" ".join(words) + b"\t"),
    st.tuples(rclass, ttl, rclass).map(lambda words: b" ".join(words) + b" "),
)
owner = st.one_of(mostly(short_name, odd_names), name, st.just(b""))
record = st.tuples(owner, header, rdata).map(lambda parts: parts[0] + b" " + parts[1] + parts[2])
directive = st.one_of(
    name.map(lambda word: b"$ORIGIN " + word),
    st.sampled_from([b"$ORIGIN sub", b"$ORIGIN example.org.", b"$ORIGIN a.b.example.com."]),
    ttl.map(lambda word: b"$TTL " + word),
    st.tuples(name, number16).map(
        lambda parts: b"$GENERATE 1-3 " + parts[0] + b"$ " + parts[1] + b" A 10.0.0.$"
    ),
    st.sampled_from([b"", b"   ", b"; comment", b" ; x", b"$NOPE", b"( )", b"$ORIGIN sub"]),
)
line = st.integers(0, 9).flatmap(lambda choice: directive if choice > 7 else record)


def outcome(path: Path, *, strip: bool, fast: bool) -> object:
    reader = Reader(ZONE, Limits(errors=100), strip, use_fast_lane=fast)
    try:
        reader.read(path)
    except ZoneFileErrors as error:
        return sorted(reader.rows), str(error)
    return sorted(reader.rows), reader.stripped, reader.out_of_zone, reader.warnings, reader.last_ttl


@settings(max_examples=2500, deadline=None)
@given(lines=st.lists(line, min_size=1, max_size=4), strip=st.booleans(), head=st.booleans())
def test_both_lanes_agree(tmp_path_factory, lines: list[bytes], strip: bool, head: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "lanes.zone"
    path.write_bytes((HEAD if head else b"") + b"\n".join(lines) + b"\n")
    assert outcome(path, strip=strip, fast=True) == outcome(path, strip=strip, fast=False)
