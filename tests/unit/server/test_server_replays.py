"""An UPDATE that is sent again: its client's own repetition, or a replay (RFC 8945 §10)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dnssecd.core.dns.message import NOERROR, NOTAUTH, REFUSED, SERVFAIL, parse
from dnssecd.core.dns.tsig import BADTIME, TsigRdata, parse_rdata, sign_request
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.dispatch import Dispatcher, Outcome
from dnssecd.server.interfaces import Hooks, Request
from dnssecd.server.replays import Replayed, Replays
from tests.unit.server.fakes import KEY, KEYS, FakeVersion, FakeZone, small_zone

NOW = 1_700_000_000
CLIENT, OTHER = ip_address("192.0.2.7"), ip_address("192.0.2.8")
UPDATE = b"\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x07example\x00\x00\x06\x00\x01"


class Noted(Hooks):
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def refused(self, zone, kind, address, key, reason, detail="") -> None:
        self.reasons.append(reason)

    def dropped(self, reason: str) -> None:
        self.reasons.append(reason)


class Server:
    """A dispatcher with a clock; counts the updates that are carried out."""

    def __init__(self) -> None:
        self.now, self.carried_out, self.hooks = NOW, 0, Noted()
        zone = FakeZone(FakeVersion(small_zone(5)), ZoneAccess.make(update_keys=["transfer."]))
        self.dispatcher = Dispatcher(
            {zone.origin: zone}.get, lambda: KEYS, xfrout, lambda: self.now, self.hooks, on_update=self.update
        )

    async def update(self, zone: object, request: Request) -> int:
        self.carried_out += 1
        return NOERROR

    def start(self, wire: bytes, address=CLIENT, transport: str = "udp") -> Outcome:
        return self.dispatcher.handle(wire, address, transport)

    async def ask(self, wire: bytes, address=CLIENT, transport: str = "udp") -> int:
        outcome = self.start(wire, address, transport)
        assert outcome is not None
        answer = outcome if isinstance(outcome, bytes) else await outcome  # type: ignore[misc]
        record = parse(answer).tsig
        assert record is not None
        return answer[3] & 15 | parse_rdata(answer, record).error << 8


def signed(number: int = 0, when: int = NOW, fudge: int = 300) -> bytes:
    return sign_request(number.to_bytes(2, "big") + UPDATE[2:], KEY, when, fudge)[0]


@pytest.mark.parametrize(("address", "transport"), [(CLIENT, "tcp"), (OTHER, "udp"), (OTHER, "tcp")])
async def test_a_replay_is_refused(address, transport: str) -> None:
    server = Server()
    assert await server.ask(signed()) == NOERROR
    assert await server.ask(signed(), address, transport) == REFUSED
    assert server.carried_out == 1
    assert server.hooks.reasons == ["replayed"]
    assert await server.ask(signed(1)) == NOERROR


async def test_a_replay_of_an_update_by_tcp_is_refused() -> None:
    server = Server()
    assert await server.ask(signed(), CLIENT, "tcp") == NOERROR
    for transport in ("tcp", "udp"):
        assert await server.ask(signed(), CLIENT, transport) == REFUSED
    assert server.carried_out == 1


async def test_a_client_that_asks_again_gets_the_same_answer_and_nothing_is_done_twice() -> None:
    server = Server()
    first = server.start(signed())
    assert server.start(signed()) is None, "the first is being carried out: its answer will do"
    assert not isinstance(first, bytes)
    await first  # type: ignore[misc]
    assert await server.ask(signed()) == NOERROR
    assert server.carried_out == 1
    server.now += 61
    assert await server.ask(signed()) == REFUSED, "too late for a client's own repetition"


async def test_a_message_that_comes_back_while_it_is_carried_out_is_not_refused_for_good() -> None:
    """Another node of a cluster sends it back, because both believe that the other owns the zone."""
    server = Server()
    first = server.start(signed())
    assert await server.ask(signed(), OTHER, "tcp") == SERVFAIL
    assert not isinstance(first, bytes)
    await first  # type: ignore[misc]
    assert await server.ask(signed(), OTHER, "tcp") == REFUSED
    assert server.carried_out == 1


async def test_outside_its_window_a_message_is_too_old_to_be_remembered() -> None:
    server = Server()
    assert await server.ask(signed(when=NOW + 300, fudge=65_535)) == NOERROR
    for later in (1, 300, 600):
        server.now = NOW + later
        assert await server.ask(signed(when=NOW + 300, fudge=65_535), OTHER) == REFUSED
    server.now = NOW + 601
    assert await server.ask(signed(when=NOW + 300, fudge=65_535), OTHER) == NOTAUTH | BADTIME << 8
    assert server.carried_out == 1


def record(number: int, signed_at: int = NOW) -> TsigRdata:
    mac = number.to_bytes(32, "big")[::-1]
    return TsigRdata(0, KEY.name, KEY.algorithm, signed_at, 300, mac, 0, 0, b"")


def test_memory_is_bounded_and_what_is_forgotten_cannot_be_replayed() -> None:
    replays = Replays(100)
    for number in range(1000):
        replays.enter(record(number, NOW + number // 10), CLIENT, "tcp", NOW + number // 10)
    held = replays._keys[KEY.name]
    assert len(held.seen) == len(held.order) == 100
    for number in range(1000):
        with pytest.raises(Replayed):
            replays.enter(record(number, NOW + number // 10), OTHER, "tcp", NOW + 99)
    replays.enter(record(1001, NOW + 100), CLIENT, "tcp", NOW + 100)


def test_one_keys_flood_is_not_anothers_trouble_and_a_fast_clock_not_its_own() -> None:
    replays = Replays(100)
    replays.enter(record(5000, NOW + 299), CLIENT, "tcp", NOW)
    for number in range(1000):
        replays.enter(record(number, NOW + number), CLIENT, "tcp", NOW + number)
    other = TsigRdata(0, b"\x05other\x00", KEY.algorithm, NOW, 300, b"x" * 32, 0, 0, b"")
    assert replays.enter(other, CLIENT, "tcp", NOW)[1]


def test_what_is_too_old_is_forgotten() -> None:
    replays = Replays()
    for number in range(1000):
        replays.enter(record(number), CLIENT, "tcp", NOW)
    replays.enter(record(5000, NOW + 301), CLIENT, "tcp", NOW + 301)
    assert len(replays._keys[KEY.name].seen) == 1
