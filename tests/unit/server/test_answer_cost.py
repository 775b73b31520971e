"""What an answer may cost: lookups that do not grow with the labels asked for, nor with what is cut off at the end."""

from __future__ import annotations

import random
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from dnssecd.core.dns.message import parse
from dnssecd.core.dns.names import ancestors
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import NS, NSEC, NSEC3, NSEC3PARAM, A
from dnssecd.core.signing.nsec3hash import hash_to_owner, nsec3_hash
from dnssecd.server.answer import GLUE_SERVERS_MAX, answer
from dnssecd.server.denial import closest_encloser, exists
from dnssecd.server.reply import Reply
from tests.unit.server.fakes import ORIGIN, FakeVersion, key, small_zone

TXT = 16
#: Lookups enough for any answer from one name, its proofs included.
BASE = 20


class Counted:
    """A version whose lookups are counted."""

    def __init__(self, version: FakeVersion) -> None:
        self._version = version
        self.lookups = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._version, name)
        if not callable(found):
            return found

        def counted(*args: Any) -> Any:
            self.lookups += 1
            return found(*args)

        return counted


def asked(
    rrsets: list[RRset], name: str, rtype: str, size_max: int = 1232
) -> tuple[dns.message.Message, int]:
    """The answer to a question with DO, and how many lookups it took."""
    version = Counted(FakeVersion([*small_zone(1), *rrsets]))
    request = parse(dns.message.make_query(name, rtype, use_edns=0, want_dnssec=True).to_wire())
    reply = Reply(request, size_max)
    rcode, authoritative = answer(version, request, reply)
    wire = reply.render(rcode, authoritative)
    assert len(wire) <= size_max
    return dns.message.from_wire(wire, raise_on_truncation=False), version.lookups


def truncated(message: dns.message.Message) -> bool:
    return bool(message.flags & dns.flags.TC)


def delegation(servers: int) -> list[RRset]:
    """A delegation to servers of its own, all with addresses."""
    names = [b"\x06n%05d" % number + b"\x04bomb" + ORIGIN for number in range(servers)]
    glue = [RRset(b"bomb\0n%05d\0" % n, A, 300, pack([n.to_bytes(4)])) for n in range(servers)]
    return [RRset(b"bomb\0", NS, 300, pack(names)), *glue]


def chains() -> dict[str, list[RRset]]:
    """The derived records of an empty zone, by kind of chain."""
    hashed = hash_to_owner(nsec3_hash(ORIGIN, 0, b""))
    return {
        "unsigned": [],
        "nsec": [RRset(b"", NSEC, 300, pack([ORIGIN + b"\0\1\x40"]))],
        "nsec3": [
            RRset(b"", NSEC3PARAM, 0, pack([b"\1" + bytes(4)])),
            RRset(hashed, NSEC3, 300, pack([b"\1" + bytes(4) + b"\x14" + bytes(20) + b"\0\1\x40"])),
        ],
    }


@pytest.mark.parametrize("kind", ["unsigned", "nsec", "nsec3"])
def test_a_name_of_many_labels_takes_no_more_lookups_than_one_of_two(kind: str) -> None:
    few, at_most = asked(chains()[kind], "a.a.example.", "A")
    many, lookups = asked(chains()[kind], "a." * 120 + "example.", "A")
    assert few.rcode() == many.rcode() == 3
    assert lookups <= at_most <= BASE


@pytest.mark.parametrize("kind", ["nsec", "nsec3"])
def test_parameters_that_servers_ignore_are_not_used(kind: str) -> None:
    """An unknown hash algorithm, or flags, with 65,535 iterations: the zone is proved by its other chain."""
    sets = [one for one in chains()[kind] if one.rtype != NSEC3PARAM]
    ignored = [b"\0\0\xff\xff\0", b"\1\1\xff\xff\0"]
    used = [b"\1" + bytes(4)] if kind == "nsec3" else []
    parameters = RRset(b"", NSEC3PARAM, 0, pack(sorted([*ignored, *used])))
    message, _ = asked([*sets, parameters], "example.", "TXT")
    assert {one.rdtype for one in message.authority} >= {NSEC if kind == "nsec" else NSEC3}
    assert message.authority == asked(chains()[kind], "example.", "TXT")[0].authority


def test_a_referral_whose_servers_do_not_fit_looks_up_no_address() -> None:
    message, lookups = asked(delegation(1400), "x.bomb.example.", "A")
    assert truncated(message)
    assert not message.additional
    assert lookups <= BASE


def test_a_referral_stops_at_its_size() -> None:
    message, lookups = asked(delegation(30), "x.bomb.example.", "A")
    assert truncated(message)
    assert len(message.authority[0]) == 30
    assert lookups <= BASE + 2 * 30


def test_a_referral_over_tcp_looks_up_a_bounded_number_of_servers() -> None:
    message, lookups = asked(delegation(1400), "x.bomb.example.", "A", 65_535)
    assert not truncated(message)
    assert len(message.authority[0]) == 1400
    assert len(message.additional) == GLUE_SERVERS_MAX
    assert lookups <= BASE + 2 * GLUE_SERVERS_MAX


def test_an_answer_to_any_stops_at_its_size() -> None:
    sets = [RRset(key("big.example."), 65280 + n, 300, pack([bytes(500)])) for n in range(200)]
    message, lookups = asked(sets, "big.example.", "ANY")
    assert truncated(message)
    assert lookups <= BASE
    message, lookups = asked(sets[:100], "big.example.", "ANY", 65_535)
    assert not truncated(message)
    assert len(message.answer) == 100


def test_an_rrset_added_twice_stands_once() -> None:
    """And adding many takes no time that grows with how many are there (counted by the steps of tests/fuzz)."""
    reply = Reply(parse(dns.message.make_query("example.", "A").to_wire()))
    for _ in range(2):
        for number in range(50):
            reply.add(0, ORIGIN, TXT, 300, pack([b"\x01" + bytes([number])]))
    assert len(dns.message.from_wire(reply.render(0)).answer[0]) == 50


@pytest.mark.parametrize("seed", range(20))
def test_the_closest_encloser_is_the_longest_ancestor_that_exists(seed: int) -> None:
    rng = random.Random(seed)
    labels = (b"a\0", b"b\0", b"\x01\x01\0", b"*\0", b"c\0")
    made = [b"".join(rng.choices(labels[:3], k=rng.randrange(6))) for _ in range(8)]
    version = FakeVersion([*small_zone(1), *(RRset(owner, TXT, 300, pack([b"\0"])) for owner in set(made))])
    for _ in range(200):
        owner = b"".join(rng.choices(labels, k=rng.randrange(1, 9)))
        if exists(version, owner):
            continue
        assert closest_encloser(version, owner) == next(
            one for one in ancestors(owner) if exists(version, one)
        )
