"""Transfer messages: decoded by dnspython and compared with the version; the rules of RFC 1995 and RFC 5936."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import dns.message
import dns.rdatatype
import pytest

from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.publish import condense, xfrout
from tests.unit.server.fakes import ORIGIN, FakeVersion, small_zone, soa, step, wire_rrs

ROOT = b"\x00"
FLAGS = 0x8400


def question(origin: bytes = ORIGIN, qtype: int = 252) -> bytes:
    return origin + qtype.to_bytes(2, "big") + b"\x00\x01"


def records(messages: list[bytes]) -> list[bytes]:
    """All RRs of the messages as uncompressed wire form, in order, decoded by dnspython."""
    out = []
    for wire in messages:
        decoded = dns.message.from_wire(wire, one_rr_per_rrset=True)
        assert not decoded.authority
        assert not decoded.additional
        for rrset in decoded.answer:
            head = (
                rrset.name.to_wire()
                + rrset.rdtype.to_bytes(2, "big")
                + b"\x00\x01"
                + rrset.ttl.to_bytes(4, "big")
            )
            rdata = rrset[0].to_wire()
            out.append(head + len(rdata).to_bytes(2, "big") + rdata)
    return out


def axfr(version: FakeVersion, reserve: int = 0) -> list[bytes]:
    return list(xfrout.axfr(version, 77, FLAGS, question(version.origin), reserve).messages)


def ixfr(version: FakeVersion, serial: int) -> tuple[str, list[bytes]]:
    transfer = xfrout.ixfr(version, 77, FLAGS, question(version.origin, 251), 0, serial)
    return transfer.kind, records(list(transfer.messages))


def contents(rrsets: list[RRset | Rrsigs], origin: bytes = ORIGIN) -> Counter[bytes]:
    return Counter(rr for one in rrsets for rr in wire_rrs(one, origin))


def txt(owner: bytes, size: int, rtype: int = 65280) -> RRset:
    return RRset(owner, rtype, 60, pack([b"x" * size]))


def random_zone(rng: random.Random, origin: bytes) -> tuple[list[RRset], list[Rrsigs]]:
    """Owners of every kind (escaped octets, deep names, 63-octet labels), sets of every size, NSEC3 and RRSIGs."""
    labels = [b"a", b"B".lower(), b"\x01\x01", b"\x01\x02", b"*", b"x" * 63, b"\xff"]
    rrsets, sigs = {(b"", 6): soa(9, origin)}, []
    for _ in range(rng.choice((0, 5, 400))):
        owner = b"".join(rng.choice(labels) + b"\x00" for _ in range(rng.randint(0, 3)))
        rtype = rng.choice((16, 65280, 65281, 1))
        rdatas = [
            rng.randbytes(4 if rtype == 1 else rng.choice((1, 20, 300)))
            for _ in range(rng.choice((1, 1, 2, 9)))
        ]
        if rtype == 16:
            rdatas = [bytes([len(one) % 256]) + one[: len(one) % 256] for one in rdatas]
        rrsets[owner, rtype] = RRset(owner, rtype, rng.choice((0, 60, 2**31 - 1)), pack(rdatas))
        sigs.append(
            Rrsigs(
                owner, rtype, 60, pack([rtype.to_bytes(2, "big") + bytes(16) + origin + rng.randbytes(64)])
            )
        )
    for number in range(rng.choice((0, 50))):
        owner = b"%032x\x00" % (number * 7919)
        rrsets[owner, 50] = RRset(owner, 50, 300, pack([b"\x01\x00\x00\x00\x00\x14" + rng.randbytes(20)]))
    return list(rrsets.values()), list({(one.owner, one.covered): one for one in sigs}.values())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "origin", [ORIGIN, ROOT, b"\x3d" + b"o" * 61 + b"\x00"], ids=["short", "root", "long"]
)
def test_axfr_carries_exactly_the_version(seed: int, origin: bytes) -> None:
    rrsets, sigs = random_zone(random.Random(seed), origin)
    got = records(axfr(FakeVersion(rrsets, sigs, origin=origin)))
    soa_rr = wire_rrs(soa(9, origin), origin)[0]
    assert got[0] == got[-1] == soa_rr
    assert Counter(got[:-1]) == contents([*rrsets, *sigs], origin)


def test_axfr_messages_share_header_and_question_and_are_filled() -> None:
    version = FakeVersion(small_zone() + [txt(b"h%05d\x00" % n, 50) for n in range(3000)])
    messages = axfr(version, reserve=200)
    assert all(wire[:2] == b"\x00\x4d" and wire[2:4] == b"\x84\x00" for wire in messages)
    assert all(dns.message.from_wire(wire).question[0].rdtype == dns.rdatatype.AXFR for wire in messages)
    assert all(15_000 < len(wire) <= 16_384 for wire in messages[:-1])


def test_owner_names_are_written_once() -> None:
    rrset = RRset(b"name\x00", 16, 60, pack([b"\x01" + bytes([n]) for n in range(100)]))
    (wire,) = axfr(FakeVersion([*small_zone(), rrset]))
    assert wire.count(b"\x04name") == 1
    assert wire.count(ORIGIN) == 1 + sum(one.rdata.count(ORIGIN) for one in [*small_zone(), soa(1)])


@pytest.mark.parametrize("size", [15_900, 15_950, 16_000, 40_000, 65_000])
@pytest.mark.parametrize("owner", [b"", b"big\x00"])
def test_one_big_record_is_transferred(size: int, owner: bytes) -> None:
    rrsets = [*small_zone(), txt(owner, size), txt(b"after\x00", 10)]
    got = records(axfr(FakeVersion(rrsets), reserve=300))
    assert Counter(got[:-1]) == contents(rrsets)


def test_rrset_over_64k_is_transferred() -> None:
    big = RRset(b"big\x00", 65280, 60, pack([n.to_bytes(2, "big") * 500 for n in range(300)]))
    rrsets = [*small_zone(), big, txt(b"after\x00", 10)]
    got = records(axfr(FakeVersion(rrsets)))
    assert Counter(got[:-1]) == contents(rrsets)


def test_record_that_fits_no_message_is_an_error_and_no_loop() -> None:
    with pytest.raises(xfrout.RecordTooBig):
        axfr(FakeVersion([*small_zone(), txt(b"big\x00", 65_530)]))


def chain(*serials: int, size: int = 20) -> FakeVersion:
    """A zone at the last serial; each step replaces one record by the next."""
    bulk = [txt(b"bulk%03d\x00" % n, 400) for n in range(200)]
    steps = [
        step(before, after, [txt(b"s%d\x00" % n, size)], [txt(b"s%d\x00" % (n + 1), size)])
        for n, (before, after) in enumerate(pairwise(serials))
    ]
    last = txt(b"s%d\x00" % (len(serials) - 1), size)
    rrsets = [one for one in small_zone() if one.rtype != 6] + [soa(serials[-1]), last, *bulk]
    return FakeVersion(rrsets, steps=steps)


@pytest.mark.parametrize(
    ("serial", "client", "kind"),
    [
        (5, 5, "current"),
        (5, 6, "current"),
        (5, 4, "axfr-style"),
        (5, 0, "axfr-style"),
        (0, 0xFFFFFFFF, "axfr-style"),
        (0xFFFFFFFF, 0, "current"),
        (2**31, 0, "axfr-style"),
        (0, 2**31, "axfr-style"),
        (2**31 - 1, 2**31, "current"),
    ],
)
def test_form_of_the_answer_without_a_journal(serial: int, client: int, kind: str) -> None:
    form, rrs = ixfr(FakeVersion([soa(serial), *small_zone()[1:]]), client)
    assert form == kind
    assert rrs[0] == wire_rrs(soa(serial))[0]
    assert len(rrs) == (1 if kind == "current" else 4)


def test_chain_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xfrout, "CONDENSE_MAX_OCTETS", -1)
    serials = [2**32 - 2, 2**32 - 1, 1, 2, 7]
    kind, rrs = ixfr(chain(*serials), serials[1])
    expected = [soa(7)]
    for number in range(1, 4):
        expected += [soa(serials[number]), txt(b"s%d\x00" % number, 20)]
        expected += [soa(serials[number + 1]), txt(b"s%d\x00" % (number + 1), 20)]
    assert kind == "ixfr"
    assert rrs == [rr for one in [*expected, soa(7)] for rr in wire_rrs(one)]


def test_condensed_chain() -> None:
    kind, rrs = ixfr(chain(1, 2, 3, 4), 1)
    expected = [soa(4), soa(1), txt(b"s0\x00", 20), soa(4), txt(b"s3\x00", 20), soa(4)]
    assert (kind, rrs) == ("ixfr", [rr for one in expected for rr in wire_rrs(one)])


@pytest.mark.parametrize("seed", range(20))
def test_condensed_is_the_same_as_the_sequence(seed: int) -> None:
    rng = random.Random(seed)
    pool = [txt(b"n%d\x00" % n, 3) for n in range(8)]
    content, versions, steps = set(pool[:4]), [set(pool[:4])], []
    for serial in range(1, rng.randint(3, 9)):
        after = set(rng.sample(pool, rng.randint(0, 8)))
        steps.append(step(serial, serial + 1, sorted(content - after), sorted(after - content)))
        content = after
        versions.append(after)
    start = rng.randrange(len(steps))
    (one,) = condense.condense(steps[start:], len(steps) + 1)
    removed = Counter(rr for c in one.chunks if not c.added for rr in condense._split(c.rrs))
    added = Counter(rr for c in one.chunks if c.added for rr in condense._split(c.rrs))
    before, after = contents(versions[start]), contents(versions[-1])
    assert removed == before - after
    assert added == after - before
    assert (one.from_serial, one.to_serial) == (start + 1, len(steps) + 1)


def test_single_step_is_passed_through_untouched() -> None:
    only = step(1, 2, [txt(b"a\x00", 5)])
    assert list(condense.condense([only], 2)) == [only]
    assert list(condense.condense([], 2)) == []


def test_step_without_removals_or_additions_is_framed() -> None:
    version = FakeVersion(
        [soa(3), *small_zone()[1:]], steps=[step(1, 2), step(2, 3, added=[txt(b"a\x00", 1)])]
    )
    kind, rrs = ixfr(version, 2)
    assert (kind, [rr[len(ORIGIN) + 1 :][:1] for rr in rrs if rr[: len(ORIGIN)] == ORIGIN]) == (
        "ixfr",
        [b"\x06"] * 4,
    )


def test_difference_larger_than_the_zone_is_sent_as_the_zone() -> None:
    steps = [step(1, 2, [txt(b"h%05d\x00" % n, 300) for n in range(1000)])]
    kind, rrs = ixfr(FakeVersion([soa(2), *small_zone()[1:]], steps=steps), 1)
    assert kind == "axfr-style"
    assert len(rrs) == 4


def test_large_difference_of_a_larger_zone_is_sent_as_difference() -> None:
    bulk = [txt(b"h%05d\x00" % n, 300) for n in range(1000)]
    steps = [step(1, 2, [txt(b"g%05d\x00" % n, 300) for n in range(200)], bulk[:200])]
    kind, rrs = ixfr(FakeVersion([soa(2), *small_zone()[1:], *bulk], steps=steps), 1)
    assert kind == "ixfr"
    assert len(rrs) == 404


def test_difference_with_big_records_is_split_over_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xfrout, "SMALL_DIFFERENCE", 10**9)
    removed = [txt(b"a%d\x00" % n, size) for n, size in enumerate((10, 16_000, 65_000, 5, 30_000, 65_400, 7))]
    version = FakeVersion([soa(2), *small_zone()[1:]], steps=[step(1, 2, removed, [txt(b"z\x00", 65_000)])])
    transfer = xfrout.ixfr(version, 77, FLAGS, question(qtype=251), 60, 1)
    messages = list(transfer.messages)
    assert max(map(len, messages)) <= 65_535 - 60
    expected = [soa(2), soa(1), *removed, soa(2), txt(b"z\x00", 65_000), soa(2)]
    assert records(messages) == [rr for one in expected for rr in wire_rrs(one)]


@pytest.mark.parametrize("size", range(65_300, 65_443, 7))
def test_difference_leaves_room_in_full_messages(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(xfrout, "SMALL_DIFFERENCE", 10**9)
    version = FakeVersion([soa(2), *small_zone()[1:]], steps=[step(1, 2, [], [txt(b"z\x00", size)])])
    messages = list(xfrout.ixfr(version, 77, FLAGS, question(qtype=251), 60, 1).messages)
    assert max(map(len, messages)) <= 65_535 - 60
    assert records(messages)[3] == wire_rrs(txt(b"z\x00", size))[0]


@pytest.mark.parametrize(
    ("client", "size_max", "count"), [(2, 1232, 6), (2, 130, 1), (3, 1232, 1), (9, 1232, 1), (0, 1232, 1)]
)
def test_over_udp_the_difference_if_it_fits_or_one_soa(client: int, size_max: int, count: int) -> None:
    wire = xfrout.ixfr_datagram(chain(1, 2, 3), 77, FLAGS, question(qtype=251), 0, client, size_max)
    assert len(wire) <= max(size_max, 130)
    rrs = records([wire])
    assert len(rrs) == count
    assert rrs[0] == wire_rrs(soa(3))[0]
