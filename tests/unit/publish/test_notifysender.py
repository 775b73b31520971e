"""NOTIFY on wire bytes: the same messages as dnspython's, the same judgement of what comes back."""

from __future__ import annotations

import asyncio
import time

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest

from dnssecd.daemon.notify_sender import NotifySender, notify_wire
from dnssecd.publish.exchange import Peer, PeerKey, Timing, exchange
from dnssecd.publish.notify import Announce, Goal, NotifyOutcome, NotifyResult
from dnssecd.server.acl import ZoneAccess
from tests.unit.publish.test_publish_peers import (
    ACCESS,
    PEER_KEY,
    QUICK,
    closed_port,
    goal,
    replying,
    serving,
)
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone


def notify_message(zone: str, goal: Goal) -> dns.message.Message:
    """The NOTIFY for a version as dnspython makes it."""
    name = dns.name.from_text(zone)
    message = dns.message.make_query(name, dns.rdatatype.SOA)
    message.set_opcode(dns.opcode.NOTIFY)
    message.flags |= dns.flags.AA
    message.flags &= ~dns.flags.RD
    if goal.soa:
        soa = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SOA, goal.soa, 0, len(goal.soa))
        message.answer.append(dns.rrset.from_rdata(name, goal.ttl, soa))
    return message


async def announce(zone: str, peer: Peer, goal: Goal, timing: Timing | None) -> NotifyOutcome:
    """The same through dnspython: the referee."""
    outcome = await exchange(peer, notify_message(zone, goal), timing)
    if outcome.answer is not None:
        good = outcome.rcode == "NOERROR"
        return NotifyOutcome(NotifyResult.ANSWERED if good else NotifyResult.REFUSED, outcome.rcode)
    return NotifyOutcome(NotifyResult.REFUSED if outcome.tsig_error else NotifyResult.ERROR, outcome.failure)


TAKEN = NotifyOutcome(NotifyResult.ANSWERED, "NOERROR")
WAYS = pytest.mark.parametrize("way", [announce, NotifySender(time.time)], ids=["dnspython", "wire"])


@pytest.mark.parametrize("zone", ["example.", ".", "Sub.Example."])
def test_the_message_is_the_one_dnspython_makes(zone: str) -> None:
    wanted = notify_message(zone, goal(7))
    wanted.id = 0x1234
    found = dns.message.from_wire(notify_wire(zone, goal(7), b"\x12\x34"))
    assert found == wanted
    assert (found.id, found.flags, found.answer[0].ttl) == (wanted.id, wanted.flags, wanted.answer[0].ttl)


def test_without_an_soa_the_answer_section_is_empty() -> None:
    wanted = notify_message("example.", Goal(7))
    wanted.id = 0x1234
    assert notify_wire("example.", Goal(7), b"\x12\x34") == wanted.to_wire()


@WAYS
async def test_a_signed_notify_is_taken(way: Announce) -> None:
    taken = []

    async def on_notify(of: FakeZone, request) -> int:
        taken.append(request.key)
        return 0

    access = ZoneAccess.make([], secondaries=[], primaries=[("127.0.0.1", "transfer.")])
    async with serving(FakeZone(FakeVersion(small_zone(2)), access), on_notify=on_notify) as peer:
        signed = Peer(peer.name, peer.host, peer.port, PEER_KEY)
        assert await way("example.", signed, goal(2), QUICK) == TAKEN
        assert taken == [KEY.name]
        refused = await way("other.", signed, goal(2), QUICK)
        assert refused.result is NotifyResult.REFUSED
        assert refused.detail in ("NOTAUTH", "REFUSED")


@WAYS
async def test_another_key_is_a_failure_that_says_so(way: Announce) -> None:
    async with serving(FakeZone(FakeVersion(small_zone(2)), ACCESS)) as peer:
        for key in (
            PeerKey("unknown.", "hmac-sha256", b"x" * 32),
            PeerKey(PEER_KEY.name, "hmac-sha256", b"y" * 32),
        ):
            said = await way("example.", Peer("ns1", peer.host, peer.port, key), goal(2), QUICK)
            assert said.result is NotifyResult.REFUSED
            assert f'TSIG of key "{key.name}" (hmac-sha256): BAD' in said.detail


@WAYS
async def test_no_server_there(way: Announce) -> None:
    nobody = await way("example.", Peer("ns1", "127.0.0.1", closed_port()), goal(2), QUICK)
    assert nobody == NotifyOutcome(NotifyResult.ERROR, "Connection refused")


def _answer(query: bytes, *, key: dns.tsig.Key | None = None, rcode: int = 0) -> bytes:
    keyring = None if key is None else {key.name: key}
    request = dns.message.from_wire(query, keyring=keyring, ignore_trailing=True)
    answer = dns.message.make_response(request)
    answer.set_rcode(rcode)
    return answer.to_wire()


@WAYS
async def test_what_answers_something_else_is_passed_over(way: Announce) -> None:
    def answers(query: bytes) -> list[bytes]:
        right = _answer(query, rcode=5)
        other_id = bytes([query[0] ^ 1]) + right[1:]
        no_response = right[:2] + bytes([right[2] & 0x7F]) + right[3:]
        other_zone = right.replace(b"\x07example", b"\x07exbmple")
        return [b"", right[:11], other_id, no_response, other_zone, right]

    async with replying(answers) as peer:
        assert await way("example.", peer, goal(2), QUICK) == NotifyOutcome(NotifyResult.REFUSED, "REFUSED")


@WAYS
async def test_an_answer_that_is_not_signed_is_not_believed(way: Announce) -> None:
    key = dns.tsig.Key("transfer.", KEY.secret, "hmac-sha256")
    async with replying(lambda query: [_answer(query, key=key)[:-5]]) as peer:
        signed = Peer(peer.name, peer.host, peer.port, PEER_KEY)
        assert "bad answer" in (await way("example.", signed, goal(2), QUICK)).detail

    def unsigned(query: bytes) -> list[bytes]:
        return [query[:2] + b"\xa4\0" + b"\0\1\0\0\0\0\0\0" + b"\x07example\0\0\6\0\1"]

    async with replying(unsigned) as peer:
        signed = Peer(peer.name, peer.host, peer.port, PEER_KEY)
        assert "bad answer (NOERROR)" in (await way("example.", signed, goal(2), QUICK)).detail


@WAYS
async def test_a_lost_notify_is_sent_again(way: Announce) -> None:
    seen: list[bytes] = []

    def second(query: bytes) -> list[bytes]:
        seen.append(query)
        return [_answer(query)] if len(seen) > 1 else []

    async with replying(second) as peer:
        async with asyncio.timeout(10):
            assert await way("example.", peer, goal(2), QUICK) == TAKEN
    assert len(seen) == 2
