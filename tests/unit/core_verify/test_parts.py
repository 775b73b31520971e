"""The verifier's own wire decoding, canonical form, key tags, bit maps, batches, and the comparison with the input."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns.names import key_to_wire, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.verify import ExecutorChecker, MemoryZoneView, verify_unsigned_equal
from dnssecd.core.verify.checker import BATCH_SIZE, BatchQueue, SignatureJob, inline_checker
from dnssecd.core.verify.keys import ZoneKey, ds_matches, key_tag
from dnssecd.core.verify.nsec3 import hash_of_owner, owner_of_hash
from dnssecd.core.verify.walk import CutWalker, EmptyNonTerminals, Standing
from dnssecd.core.verify.wire import Malformed, bitmap, bitmap_types, canonical_rdata, name_end, split
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import KSK, ORIGIN, key, name

RFC4034_KEY = bytes((1, 0, 3, 5)) + base64.b64decode(
    "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5"
    "+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw=="
)


def test_key_tag_and_ds_of_rfc4034() -> None:
    ds = bytes.fromhex("ec4505012BB183AF5F22588179A53B0A98631FAD1A292118")
    assert key_tag(RFC4034_KEY) == 60485
    assert ds_matches(ds, text_to_wire("dskey.example.com."), RFC4034_KEY) is True
    assert ds_matches(ds, text_to_wire("dskex.example.com."), RFC4034_KEY) is False
    assert ds_matches(ds[:3] + b"\x63" + ds[4:], text_to_wire("dskey.example.com."), RFC4034_KEY) is None
    assert ds_matches(ds[:3], text_to_wire("dskey.example.com."), RFC4034_KEY) is False


@given(st.binary(max_size=40))
def test_any_dnskey_rdata_is_a_key_or_a_problem(rdata: bytes) -> None:
    one = ZoneKey(rdata)
    assert (one.verify is None) == bool(one.problem)


@given(st.sampled_from([5, 7, 8, 10, 13, 14, 15, 16]), st.binary(max_size=200), st.binary(max_size=130))
def test_any_public_key_and_signature_is_judged(algorithm: int, material: bytes, signature: bytes) -> None:
    one = ZoneKey(bytes((1, 0, 3, algorithm)) + material)
    if one.verify is not None:
        assert one.verify(signature, b"message") is False


def test_bitmap_of_rfc4034() -> None:
    field = bytes.fromhex("0006400100000003" + "041b" + "00" * 26 + "20")
    assert bitmap((1, 15, 46, 47, 1234)) == field
    assert bitmap_types(field) == [1, 15, 46, 47, 1234]


@given(st.sets(st.integers(0, 65535), max_size=12))
def test_bitmaps_go_both_ways(types: set[int]) -> None:
    assert bitmap(tuple(types)) == naive.bitmap(types)
    assert bitmap_types(bitmap(tuple(types))) == sorted(types)


@pytest.mark.parametrize(
    "field", ["00", "0000", "000100", "0021" + "01" * 33, "00024000", "0101010001ff", "0002ff"]
)
def test_bitmaps_not_in_canonical_encoding(field: str) -> None:
    with pytest.raises(Malformed):
        bitmap_types(bytes.fromhex(field))


@pytest.mark.parametrize(
    ("rtype", "head", "tail"),
    [
        (2, b"", b""),
        (15, b"\0\12", b""),
        (33, b"\0\1\0\2AB", b""),
        (6, b"", bytes(20)),
        (35, b"\0\1\0\2\1U\1S\3!A!", b""),
        (46, b"AAAAAAAAAAAAAAAAAA", b"SIGNATURE"),
        (26, b"\0\1", b""),
        (38, b"\0" + bytes(16), b""),
    ],
)
def test_canonical_form_lower_cases_names_and_nothing_else(rtype: int, head: bytes, tail: bytes) -> None:
    names = {6: 2, 26: 2, 38: 0}.get(rtype, 1)
    rdata = head + b"\3FOO\0" * names + tail
    assert canonical_rdata(rtype, rdata) == head + b"\3foo\0" * names + tail


def test_nsec_and_later_types_keep_their_case() -> None:
    for rtype in (47, 64, 65, 55, 16):
        assert canonical_rdata(rtype, b"\3FOO\0") == b"\3FOO\0"


@pytest.mark.parametrize("packed", [b"", b"\0", b"\0\3ab", b"\0\1a\0"])
def test_packed_sets_that_do_not_add_up(packed: bytes) -> None:
    with pytest.raises(Malformed):
        split(packed)


@pytest.mark.parametrize("wire", [b"", b"\3ab", b"\xc0\0", b"\x40" + bytes(65), b"\1a" * 127 + b"\1a\0"])
def test_names_that_do_not_decode(wire: bytes) -> None:
    with pytest.raises(Malformed):
        name_end(wire, 0)


@given(st.binary(min_size=20, max_size=20))
def test_hashed_owners_go_both_ways(digest: bytes) -> None:
    assert hash_of_owner(owner_of_hash(digest)) == digest
    assert owner_of_hash(digest) == naive.base32hex(digest)


@pytest.mark.parametrize(
    "owner",
    [
        b"",
        b"a\0",
        b"w" * 32 + b"\0",
        b"_" * 32 + b"\0",
        b"A" * 32 + b"\0",
        b"0" * 32 + b"\0a\0",
        b"+" + b"1" * 31 + b"\0",
    ],
)
def test_owners_that_are_no_hash(owner: bytes) -> None:
    assert hash_of_owner(owner) is None


def test_zone_cuts() -> None:
    walker = CutWalker()
    seen = [
        (walker.step(key(text), types), text)
        for text, types in [
            ("@", (2, 6)), ("a", (39,)), ("b.a", (16,)), ("aa", (1,)), ("d", (1, 2)), ("c.d", (2,)), ("x.c.d", (1,)),
            ("e", (1,)),
        ]
    ]  # fmt: skip
    occluded = [text for standing, text in seen if standing is Standing.OCCLUDED]
    assert occluded == ["b.a", "c.d", "x.c.d"]
    assert [text for standing, text in seen if standing is Standing.DELEGATION] == ["d"]


def test_empty_non_terminals() -> None:
    found = {}
    empty = EmptyNonTerminals(lambda owner, secure: found.update({owner: secure}))
    for text, secure in [
        ("@", True),
        ("x.y.a", False),
        ("b.y.a", True),
        ("q.r", False),
        ("s", True),
        ("t.s", True),
    ]:
        empty.visit(key(text), secure)
    empty.finish()
    assert found == {key("y.a"): True, key("a"): True, key("r"): False}


def _verify(signature: bytes, message: bytes) -> bool:
    return signature == message


@pytest.mark.parametrize(("threads", "batch"), [(0, 0), (2, BATCH_SIZE), (1, 3)])
def test_failed_signatures_are_reported_with_their_context(threads: int, batch: int) -> None:
    failed: list[int] = []
    with ThreadPoolExecutor(max(threads, 1)) as executor:
        checker = ExecutorChecker(executor, batch=batch) if threads else inline_checker
        queue = BatchQueue(checker, lambda context: failed.append(context[1]))
        for at in range(20 * BATCH_SIZE + 7):
            bad = at % 1000 == 999
            queue.add(SignatureJob((_verify,), b"x" if bad else b"m", b"m"), (b"", at, ""))
        queue.finish()
    assert failed == [999, 1999, 2999, 3999, 4999]
    assert queue.checked == 20 * BATCH_SIZE + 7


def test_any_of_the_keys_of_a_tag_may_have_signed() -> None:
    failed: list[int] = []
    queue = BatchQueue(inline_checker, lambda context: failed.append(context[1]))
    never = lambda _signature, _message: False  # noqa: E731
    queue.add(SignatureJob((never, _verify), b"m", b"m"), (b"", 1, ""))
    queue.add(SignatureJob((never, never), b"m", b"m"), (b"", 2, ""))
    queue.finish()
    assert failed == [2]


class TestUnsignedContent:
    """The version holds the input, no more and no less."""

    def view(self, **changed: RRset | None) -> MemoryZoneView:
        sets = {
            "soa": RRset(b"", 6, 3600, pack([naive.soa(7)])),
            "a": RRset(key("a"), 1, 60, pack([b"\1\2\3\4"])),
        }
        sets["dnskey"] = RRset(b"", 48, 3600, pack([KSK.rdata]))
        merged = {**sets, **changed}
        return MemoryZoneView(ORIGIN, [rrset for rrset in merged.values() if rrset], [], [])

    def given_(self) -> list[RRset]:
        return [RRset(b"", 6, 3600, pack([naive.soa(1)])), RRset(key("a"), 1, 60, pack([b"\1\2\3\4"]))]

    def test_derived_sets_and_the_serial_do_not_count(self) -> None:
        assert verify_unsigned_equal(self.given_(), self.view()) == []

    @pytest.mark.parametrize(
        "changed",
        [
            {"a": None},
            {"a": RRset(key("a"), 1, 61, pack([b"\1\2\3\4"]))},
            {"a": RRset(key("a"), 1, 60, pack([b"\1\2\3\5"]))},
            {"b": RRset(key("b"), 1, 60, pack([b"\1\2\3\4"]))},
            {"soa": RRset(b"", 6, 3600, pack([naive.soa(7, 901)]))},
            {"soa": None},
            {"below": RRset(key("a"), 48, 60, pack([KSK.rdata]))},
        ],
    )
    def test_everything_else_does(self, changed: dict[str, RRset | None]) -> None:
        found = verify_unsigned_equal(self.given_(), self.view(**changed))
        assert [violation.code for violation in found] == ["content-differs"]


def test_reading_a_memory_view() -> None:
    view = naive.Naive().sign(naive.example_content())
    assert view.denial_before(b"") is None
    last = view.denial_last()
    assert last is not None
    assert view.denial_from(last.owner + b"\0") is None
    assert [s.rtype for s in view.rrsets_at(key("secure"))] == [2, 43]
    assert view.first_owner(key("ent")) == key("a.b.ent")
    assert view.first_owner(key("ent"), key("ent")) is None
    assert key_to_wire(key("mail"), ORIGIN) == name("mail.example.")
