"""NOTIFY, sightings, parent and first check against real servers on loopback (ours, standing in for theirs)."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rrset
import pytest

from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import DNSKEY, DS
from dnssecd.core.keys.keyset import key_tag
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.publish import xfrout
from dnssecd.publish.exchange import Peer, PeerKey, Timing, ask_udp, exchange, question
from dnssecd.publish.firstcheck import ds_matches, first_check
from dnssecd.publish.notify import Goal, Notifier, NotifyHooks, NotifyOutcome, NotifyResult, ZoneServers
from dnssecd.publish.notify_gap import Pace
from dnssecd.publish.parent import DsRecord, ParentUnknown, ask_ds, find_parent_servers, resolver
from dnssecd.publish.source import Source, listening_source, local_address
from dnssecd.publish.watch import Judgement, Ledger, Sighting, WatchHooks, sight
from dnssecd.replacing import replace
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.listener import DnsServer
from tests.unit.server.fakes import KEY, KEYS, OTHER_KEY, FakeVersion, FakeZone, small_zone, soa_rdata

QUICK = Timing(udp_s=0.3, udp_attempts=2, tcp_s=1.0)
FAST = Pace(
    look_first_s=0.005, look_last_s=0.02, notify_first_s=0.03, notify_last_s=0.1, gap_s=0.001, sweep_s=0.05
)
PEER_KEY = PeerKey("transfer.", "hmac-sha256", KEY.secret)
ACCESS = ZoneAccess.make(
    ["127.0.0.1"], secondaries=[("127.0.0.1", "transfer.")], primaries=[("127.0.0.1", None)]
)


@asynccontextmanager
async def serving(zone: FakeZone | None, **handlers) -> AsyncIterator[Peer]:
    zones = {} if zone is None else {zone.origin: zone}
    server = DnsServer([("127.0.0.1", 0)], zones.get, lambda: KEYS, xfrout, time.time, **handlers)
    await server.start()
    try:
        yield Peer("ns1", *server.addresses[0])
    finally:
        await server.close(0.1)


def goal(serial: int) -> Goal:
    return Goal(serial, soa_rdata(serial), 3600)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def eventually(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


class Recorder(NotifyHooks):
    def __init__(self) -> None:
        self.sent: list[tuple[NotifyResult, int]] = []
        self.caught: list[int] = []

    def notified(self, zone: str, secondary: str, outcome: NotifyOutcome, failures: int) -> None:
        self.sent.append((outcome.result, failures))

    def caught_up(self, zone: str, secondary: str, serial: int, seconds: float) -> None:
        self.caught.append(serial)


async def test_notify_is_repeated_until_the_serial_is_seen() -> None:
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)
    notifies: list[bytes] = []

    async def on_notify(of: FakeZone, request) -> int:
        notifies.append(request.wire)
        if len(notifies) == 3:
            zone.version = FakeVersion(small_zone(2))
        return 0

    async with serving(zone, on_notify=on_notify) as peer:
        hooks = Recorder()
        notifier = Notifier(
            time.time, NotifySender(time.time), hooks, pace=replace(FAST, sweep_s=60), timing=QUICK
        )
        servers = ZoneServers("example.", notifier)
        servers.published(goal(2), [peer])
        assert servers.waiting_for() == ["ns1"]
        await eventually(lambda: hooks.caught == [2])
        assert len(notifies) == 3
        assert soa_rdata(2)[-20:] in notifies[0]
        assert notifies[0][2] == 0x24, "opcode NOTIFY and AA"
        await eventually(lambda: servers.waiting_for() == [])
        await notifier.close()


async def second_notify(asked_after_fetch: bool) -> bool:
    """Whether another version is announced within a long gap; it is asked for before or after a fetch."""
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)
    notified: list[int] = []

    async def on_notify(of: FakeZone, request) -> int:
        notified.append(2 if soa_rdata(2)[-20:] in request.wire else 4)
        return 0

    async with serving(zone, on_notify=on_notify) as peer:
        notifier = Notifier(time.time, NotifySender(time.time), pace=replace(FAST, gap_s=60), timing=QUICK)
        servers = ZoneServers("example.", notifier)
        servers.published(goal(2), [peer], asked_at=time.monotonic())
        await eventually(lambda: notified == [2])
        before = time.monotonic()
        servers.fetched("192.0.2.1", 2)
        servers.fetched(peer.host, 1)
        servers.published(goal(3), [peer], asked_at=time.monotonic())
        servers.fetched(peer.host, 2)
        servers.published(goal(4), [peer], asked_at=time.monotonic() if asked_after_fetch else before)
        try:
            async with asyncio.timeout(5 if asked_after_fetch else 0.2):
                while notified == [2]:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return False
        finally:
            await notifier.close()
        return notified == [2, 4]


async def test_a_version_asked_for_after_the_last_was_fetched_is_announced_without_a_gap() -> None:
    assert await second_notify(asked_after_fetch=True)
    assert not await second_notify(asked_after_fetch=False)


async def test_newer_version_replaces_the_goal() -> None:
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)

    async def on_notify(of: FakeZone, request) -> int:
        if soa_rdata(3)[-20:] in request.wire:
            zone.version = FakeVersion(small_zone(3))
        return 0

    async with serving(zone, on_notify=on_notify) as peer:
        hooks = Recorder()
        notifier = Notifier(time.time, NotifySender(time.time), hooks, pace=FAST, timing=QUICK)
        servers = ZoneServers("example.", notifier)
        servers.published(goal(2), [peer])
        await eventually(lambda: hooks.sent)
        servers.published(goal(3), [peer])
        await eventually(lambda: hooks.caught == [3])
        await notifier.close()


async def test_serial_that_goes_back_is_seen_by_the_sweep_and_pursued() -> None:
    zone = FakeZone(FakeVersion(small_zone(5)), ACCESS)
    judgements = []

    class Seen(WatchHooks):
        def seen(self, judgement: Judgement) -> None:
            judgements.append(judgement)

    async def on_notify(of: FakeZone, request) -> int:
        zone.version = FakeVersion(small_zone(5))
        return 0

    async with serving(zone, on_notify=on_notify) as peer:
        hooks = Recorder()
        notifier = Notifier(time.time, NotifySender(time.time), hooks, Seen(), FAST, QUICK)
        servers = ZoneServers("example.", notifier)
        servers.published(goal(5), [peer])
        await eventually(lambda: hooks.caught == [5])
        zone.version = FakeVersion(small_zone(4))
        await eventually(lambda: hooks.caught == [5, 5])
        assert any(one.backwards and one.state == "behind" for one in judgements)
        await notifier.close()


async def test_refused_connection_is_data() -> None:
    peer = Peer("ns1", "127.0.0.1", closed_port())
    seen = await sight("example.", peer, time.time, QUICK)
    assert (seen.serial, seen.reachable) == (None, False)
    assert "refused" in seen.detail


async def test_silent_server_is_data_in_time() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        started = time.monotonic()
        seen = await sight("example.", Peer("ns1", *sock.getsockname()), time.time, QUICK)
    assert seen.detail == "no answer in time"
    assert time.monotonic() - started < 2


async def test_wrong_key_is_named() -> None:
    async with serving(FakeZone(FakeVersion(small_zone(1)), ACCESS)) as peer:
        bad = Peer("ns1", peer.host, peer.port, PeerKey("transfer.", "hmac-sha256", OTHER_KEY.secret))
        good = Peer("ns1", peer.host, peer.port, PEER_KEY)
        assert "TSIG" in (await sight("example.", bad, time.time, QUICK)).detail
        seen = await sight("example.", good, time.time, QUICK)
        assert seen.serial == 1
        assert abs(seen.tsig_time - time.time()) < 3


@pytest.mark.parametrize(
    ("published", "serials", "state", "backwards"),
    [
        (5, [5], "current", False),
        (5, [4], "behind", False),
        (5, [6], "ahead", False),
        (5, [5, 4], "behind", True),
        (1, [0xFFFFFFFF, 1], "current", False),
        (5, [5, None], "absent", False),
    ],
)
def test_ledger(published: int, serials: list[int | None], state: str, backwards: bool) -> None:
    ledger = Ledger()
    ledger.published(published, 100.0)
    for serial in serials:
        judgement = ledger.record(Sighting("example.", "ns1", serial, 160.0, True))
    assert (judgement.state, judgement.backwards) == (state, backwards)
    assert judgement.lag_s == (0 if state == "current" else 60)


def dnskey(seed: int, flags: int = 257) -> bytes:
    return flags.to_bytes(2, "big") + b"\x03\x0d" + bytes([seed]) * 64


def ds(rdata: bytes, digest_type: int = 2) -> bytes:
    digest = hashlib.new(
        {2: "sha256", 4: "sha384"}[digest_type], b"\x05child\x07example\x00" + rdata
    ).digest()
    return key_tag(rdata).to_bytes(2, "big") + b"\x0d" + bytes([digest_type]) + digest


async def test_first_check_finds_foreign_keys_and_ds() -> None:
    ours, theirs = dnskey(1), dnskey(2)
    child = b"\x05child\x07example\x00"
    parent = FakeZone(
        FakeVersion(
            [
                *small_zone(1),
                RRset(b"child\x00", 2, 3600, pack([b"\x02ns" + child])),
                RRset(b"child\x00", DS, 7200, pack([ds(ours), ds(theirs, 4)])),
            ]
        ),
        ACCESS,
    )
    secondary = FakeZone(
        FakeVersion([*small_zone(41, child), RRset(b"", DNSKEY, 60, pack([ours, theirs]))], origin=child),
        ACCESS,
        child,
    )
    async with serving(parent) as upper, serving(secondary) as peer, serving(None) as empty:
        down = Peer("down", "127.0.0.1", closed_port())
        not_yet = Peer("not yet", empty.host, empty.port)
        found = await first_check(
            "child.example.", [peer, down, not_yet], [upper, down], [ours], time.time, QUICK
        )
        assert found.highest_serial == 41
        assert [key.rdata for key in found.foreign_keys] == [theirs]
        assert [one.ds.digest_type for one in found.foreign_ds] == [4]
        assert [name for name, _ in found.unreachable] == ["down"]
        assert (found.parent_answers, len(found.parent_failures)) == (1, 1)
        assert found.foreign
        fine = await first_check("child.example.", [peer], [upper], [ours, theirs], time.time, QUICK)
        assert not fine.foreign
        answer = await ask_ds("child.example.", upper, time.time, QUICK)
        assert answer.ttl == 7200
        none = await ask_ds("nochild.example.", upper, time.time, QUICK)
        assert (none.ds, none.failure) == ((), "")
        refused = await ask_ds("child.other.", upper, time.time, QUICK)
        assert (refused.ds, refused.failure) == (None, "REFUSED")


def test_ds_of_an_unknown_digest_type_matches_nothing() -> None:
    assert not ds_matches(DsRecord(1, 13, 99, b""), dnskey(1), "example.")


async def test_dead_server_does_not_hold_up_another() -> None:
    zone = FakeZone(FakeVersion(small_zone(2)), ACCESS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with serving(zone) as peer:
            hooks = Recorder()
            slow = Timing(udp_s=30.0)
            notifier = Notifier(
                time.time, NotifySender(time.time), hooks, pace=FAST, timing=slow, in_flight_max=8
            )
            dead = Peer("dead", *silent.getsockname())
            of_dead = [ZoneServers(f"z{number}.", notifier) for number in range(40)]
            for zone_servers in of_dead:
                zone_servers.published(goal(2), [dead])
            servers = ZoneServers("example.", notifier)
            servers.published(goal(2), [peer])
            await eventually(lambda: hooks.caught == [2])
            assert len(of_dead[7].waiting_for()) == 1
            await notifier.close()


async def test_parent_servers_are_found_by_the_resolver() -> None:
    async with serving(FakeZone(FakeVersion(small_zone(1)), ACCESS)) as peer:
        asking = resolver([(peer.host, peer.port)])
        (found,) = await find_parent_servers("child.example.", asking, port=53)
        assert (found.name, found.host, found.port) == ("ns.example. [192.0.2.1]", "192.0.2.1", 53)
    with pytest.raises(ParentUnknown, match="no parent"):
        await find_parent_servers(".", asking)
    asking.lifetime = 0.3
    with pytest.raises(ParentUnknown, match=r"parent of child\.example\."):
        await find_parent_servers("child.example.", asking)


class _Replier(asyncio.DatagramProtocol):
    """Answers every query with what ``make`` returns for it."""

    def __init__(self, make) -> None:
        self.make = make

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        for wire in self.make(data):
            self.transport.sendto(wire, addr)


@asynccontextmanager
async def replying(make) -> AsyncIterator[Peer]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Replier(make), local_addr=("127.0.0.1", 0))
    try:
        yield Peer("odd", *transport.get_extra_info("sockname"))
    finally:
        transport.close()


def soa_answer(query: bytes, serial: int, flags: int = 0x8400) -> bytes:
    answer = dns.message.make_query("example.", "SOA", id=int.from_bytes(query[:2], "big"))
    answer.flags = dns.flags.Flag(flags)
    answer.answer = [dns.rrset.from_text("example.", 60, "IN", "SOA", f". . {serial} 1 1 1 1")]
    return answer.to_wire()


async def test_soa_that_is_not_authoritative_is_no_sighting() -> None:
    async with replying(lambda query: [soa_answer(query, 5, 0x8000)]) as peer:
        seen = await sight("example.", peer, time.time, QUICK)
        assert (seen.serial, seen.reachable) == (None, True)


async def test_answers_to_other_questions_are_passed_over() -> None:
    def answers(query: bytes) -> list[bytes]:
        right = soa_answer(query, 5)
        other_id = bytes([query[0] ^ 1]) + soa_answer(query, 6)[1:]
        return [b"", b"\x00", other_id, query, right]

    async with replying(answers) as peer:
        assert (await sight("example.", peer, time.time, QUICK)).serial == 5


async def test_garbage_and_unsigned_answers_are_data() -> None:
    async with replying(lambda query: [query[:2] + b"\x84\x00\xff\xff" + bytes(20)]) as peer:
        assert "bad answer" in (await sight("example.", peer, time.time, QUICK)).detail
    async with replying(lambda query: [soa_answer(query, 5)]) as peer:
        signed = replace(peer, key=PEER_KEY)
        assert "bad answer (NOERROR)" in (await sight("example.", signed, time.time, QUICK)).detail


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\x00\x01\x80"])
async def test_an_answer_over_tcp_shorter_than_a_header_is_data(octets: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(len(octets).to_bytes(2, "big") + octets)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        peer = Peer("odd", *server.sockets[0].getsockname())
        query = question(dns.name.from_text("example."), dns.rdatatype.SOA)
        assert "bad answer" in (await exchange(peer, query, QUICK, tcp=True)).failure


async def test_a_flood_of_other_answers_leaves_others_their_turn() -> None:
    """What lies in the socket's buffer already is taken without waiting: the loop turns after each all the same."""
    seen, most = 0, 0

    def accept(item: bytes) -> bytes | None:
        nonlocal seen
        seen += 1
        return item if item == b"right" else None

    async with replying(lambda query: [b"wrong"] * 100 + [b"right"]) as peer:
        asking = asyncio.ensure_future(ask_udp(peer, b"question", accept, QUICK))
        while not asking.done():
            before = seen
            await asyncio.sleep(0)
            most = max(most, seen - before)
        assert await asking == b"right"
    assert seen == 101
    assert most <= 2


async def test_notify_failures_in_a_row_are_counted_until_one_is_answered() -> None:
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)
    answers = [5, 5, 0, 5]

    async def on_notify(of: FakeZone, request) -> int:
        if len(answers) == 1:
            zone.version = FakeVersion(small_zone(2))
        return answers.pop(0) if answers else 0

    async with serving(zone, on_notify=on_notify) as peer:
        hooks = Recorder()
        notifier = Notifier(
            time.time, NotifySender(time.time), hooks, pace=replace(FAST, sweep_s=60), timing=QUICK
        )
        servers = ZoneServers("example.", notifier)
        servers.published(goal(2), [peer])
        await eventually(lambda: hooks.caught == [2])
        await notifier.close()
    refused, answered = NotifyResult.REFUSED, NotifyResult.ANSWERED
    assert hooks.sent == [(refused, 1), (refused, 2), (answered, 0), (refused, 1)]


async def test_notify_to_a_server_that_answers_nothing_at_all_counts_no_failures() -> None:
    """Its silence is one fault (secondary-unreachable), not two."""
    hooks = Recorder()
    notifier = Notifier(
        time.time, NotifySender(time.time), hooks, pace=replace(FAST, sweep_s=60), timing=QUICK
    )
    servers = ZoneServers("example.", notifier)
    servers.published(goal(2), [Peer("ns1", "127.0.0.1", closed_port())])
    await eventually(lambda: len(hooks.sent) >= 4)
    await notifier.close()
    assert max(failures for _, failures in hooks.sent) <= 1


async def test_a_server_that_takes_notify_only_is_asked_nothing() -> None:
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)
    seen: list[bytes] = []
    answers = [5, 5]

    async def on_notify(of: FakeZone, request) -> int:
        seen.append(request.wire)
        return answers.pop() if answers else 0

    async with serving(zone, on_notify=on_notify) as peer:
        notifier = Notifier(time.time, NotifySender(time.time), Recorder(), pace=FAST, timing=QUICK)
        servers = ZoneServers("example.", notifier)
        servers.published(goal(2), [replace(peer, query=False)])
        await eventually(lambda: servers.waiting_for() == [])
        await asyncio.sleep(3 * FAST.sweep_s)
        assert servers.last() == []
        await notifier.close()
    assert len(seen) == 3, "until it is answered NOERROR, then no more"


async def test_a_zone_that_is_withdrawn_reports_nothing_more() -> None:
    """Not even what was under way: a zone that comes back under the name gets none of it."""
    zone = FakeZone(FakeVersion(small_zone(1)), ACCESS)
    judgements: list[Judgement] = []
    asked = asyncio.Event()

    class Seen(WatchHooks):
        def seen(self, judgement: Judgement) -> None:
            judgements.append(judgement)

    async def sight_late(*_: object) -> Sighting:
        asked.set()
        await asyncio.sleep(0.02)
        return Sighting("example.", "ns1", 1, 0.0, True)

    async with serving(zone) as peer:
        notifier = Notifier(time.time, NotifySender(time.time), Recorder(), Seen(), FAST, QUICK)
        servers = ZoneServers("example.", notifier)
        notifier.look = sight_late  # type: ignore[method-assign]
        servers.published(goal(2), [peer])
        await asked.wait()
        servers.withdraw()
        await asyncio.sleep(0.05)
        assert (judgements, servers.last(), servers.names()) == ([], [], [])
        await notifier.close()


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (PeerKey("unknown.", "hmac-sha256", b"x" * 32), "BADKEY"),
        (PeerKey(PEER_KEY.name, "hmac-sha512", KEY.secret), "BADKEY"),
        (PeerKey(PEER_KEY.name, "hmac-sha256", b"y" * 32), "BADSIG"),
    ],
)
async def test_a_rejected_key_is_named_with_the_error(key: PeerKey, code: str) -> None:
    async with serving(FakeZone(FakeVersion(small_zone(2)), ACCESS)) as peer:
        seen = await sight("example.", replace(peer, key=key), time.time, QUICK)
    assert (seen.serial, seen.reachable, seen.tsig_error) == (None, True, code)
    assert seen.detail.startswith(f'it rejects the TSIG of key "{key.name}" ({key.algorithm}): {code}')


async def test_questions_leave_from_the_source_over_udp_and_tcp() -> None:
    access = ZoneAccess.make(["127.0.0.5", "127.0.0.6"], primaries=[("127.0.0.5", None)])
    zone = FakeZone(FakeVersion(small_zone(2)), access)
    source = Source(("127.0.0.5",))
    async with serving(zone) as peer:
        ours = replace(peer, source=source)
        for tcp in (False, True):
            query = question(dns.name.from_text("example."), dns.rdatatype.SOA)
            assert (await exchange(ours, query, QUICK, tcp=tcp)).rcode == "NOERROR"
            query = question(dns.name.from_text("example."), dns.rdatatype.SOA)
            assert (await exchange(peer, query, QUICK, tcp=tcp)).rcode != "NOERROR", "by route: 127.0.0.1"


async def test_a_configured_source_that_this_host_lacks_is_named() -> None:
    source = Source(("192.0.2.77",), fixed=True)
    seen = await sight("example.", Peer("ns1", "127.0.0.1", 53, source=source), time.time, QUICK)
    assert seen.detail == "this host does not have the address 192.0.2.77 (source)"


@pytest.mark.parametrize(
    ("listeners", "host", "wanted"),
    [
        (["192.0.2.1"], "198.51.100.1", ("192.0.2.1",)),
        (["192.0.2.1", "2001:db8::1"], "2001:db8::53", ("2001:db8::1",)),
        (["0.0.0.0", "::"], "198.51.100.1", ()),
        (["127.0.0.1"], "198.51.100.1", ()),
        (["192.0.2.1"], "127.0.0.1", ()),
        (["127.0.0.7", "192.0.2.1"], "127.0.0.1", ("127.0.0.7",)),
        (["192.0.2.1", "192.0.2.1", "192.0.2.2"], "198.51.100.1", ("192.0.2.1", "192.0.2.2")),
    ],
)
def test_the_address_listened_on_is_the_source(
    listeners: list[str], host: str, wanted: tuple[str, ...]
) -> None:
    assert listening_source(listeners, host).addresses == wanted


def test_of_several_addresses_the_route_decides_if_it_leads_to_one_of_them() -> None:
    assert local_address(Source(("127.0.0.9", "127.0.0.1")), "127.0.0.1", 53) == ("127.0.0.1", 0)
    assert local_address(Source(("127.0.0.9", "127.0.0.8")), "127.0.0.1", 53) == ("127.0.0.9", 0)
    assert local_address(Source(("192.0.2.77",)), "127.0.0.1", 53) is None, "not on this host, not configured"


async def test_during_a_change_of_keys_the_one_that_the_peer_has_is_used() -> None:
    """By queries and NOTIFY; the peer does not have the new key, or has another secret for it."""
    took = []

    async def on_notify(zone, request) -> int:
        took.append(request.key)
        return 0

    for new in (PeerKey("new.", "hmac-sha256", b"x" * 32), PeerKey("other.", "hmac-sha256", b"y" * 32)):
        async with serving(FakeZone(FakeVersion(small_zone(5)), ACCESS), on_notify=on_notify) as peer:
            both = replace(peer, key=new, others=(PEER_KEY,))
            outcome = await exchange(both, question(dns.name.from_text("example."), dns.rdatatype.SOA), QUICK)
            assert (outcome.rcode, outcome.key) == ("NOERROR", "transfer.")
            sent = await NotifySender(time.time)("example.", both, goal(6), QUICK)
            assert sent.result is NotifyResult.REFUSED, "this list allows NOTIFY by address only"
            assert not sent.rejects_key, "signed with the key that the peer has"
            alone = replace(peer, key=new)
            outcome = await exchange(
                alone, question(dns.name.from_text("example."), dns.rdatatype.SOA), QUICK
            )
            assert outcome.tsig_error in ("BADKEY", "BADSIG")
    assert took == []
