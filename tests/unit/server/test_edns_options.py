"""EDNS options of answers: EXPIRE, ZONEVERSION, Extended DNS Errors and cookies."""

from __future__ import annotations

from ipaddress import ip_address

import dns.edns
import dns.message
import pytest

from dnssecd.core.dns.message import FORMERR, NOERROR, NXDOMAIN, REFUSED, SERVFAIL
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.publish import xfrout
from dnssecd.server.acl import ZoneAccess
from dnssecd.server.cookies import AGE_MAX_S, AHEAD_MAX_S, RENEW_S, Cookies, siphash24
from dnssecd.server.dispatch import Dispatcher
from dnssecd.server.interfaces import Hooks
from dnssecd.server.transfer import TransferJob
from tests.unit.server.fakes import KEY, FakeVersion, FakeZone, small_zone

CLIENT, STRANGER = ip_address("192.0.2.7"), ip_address("198.51.100.1")
EXPIRE, COOKIE, ZONEVERSION = 9, 10, 19
NOW = 1_000_000
SOA_EXPIRE = 86_400  # of small_zone


class Failures(Hooks):
    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        raise error


class World:
    def __init__(self, zone: FakeZone | None = None) -> None:
        access = ZoneAccess.make(["192.0.2.0/24"], ["192.0.2.7"])
        self.zone = zone or FakeZone(FakeVersion(small_zone(5)), access)
        self.now = NOW
        self.dispatcher = Dispatcher(
            {self.zone.origin: self.zone}.get,
            lambda: {KEY.name: KEY},
            xfrout,
            lambda: self.now,
            Failures(),
            known=lambda address: address == CLIENT,
        )

    def ask(
        self, name: str, qtype: str, *options: tuple[int, bytes], client=CLIENT, transport: str = "udp"
    ) -> dns.message.Message:
        asked = [dns.edns.GenericOption(code, data) for code, data in options]
        query = dns.message.make_query(name, qtype, use_edns=0, options=asked)
        if qtype == "IXFR":
            query.authority = [dns.rrset.from_text(name, 0, "IN", "SOA", ". . 5 0 0 0 0")]
        outcome = self.dispatcher.handle(query.to_wire(), client, transport)
        if isinstance(outcome, TransferJob):
            outcome.open()
            outcome, *_ = outcome.next_slice()
            return dns.message.from_wire(outcome[2:], one_rr_per_rrset=True)
        assert isinstance(outcome, bytes)
        return dns.message.from_wire(outcome)


def option(answer: dns.message.Message, code: int) -> bytes | None:
    found = [each for each in answer.options if each.otype == code]
    assert len(found) <= 1
    return found[0].to_wire() if found else None


def signed_until(*ends: int) -> FakeVersion:
    """A version with RRSIGs that expire then."""
    rrsigs = [
        Rrsigs(b"", 6 if number == 0 else 2, 300, pack([bytes(8) + end.to_bytes(4, "big") + bytes(20)]))
        for number, end in enumerate(ends)
    ]
    return FakeVersion(small_zone(5), rrsigs)


@pytest.mark.parametrize("qtype", ["SOA", "AXFR", "IXFR"])
@pytest.mark.parametrize(
    ("ends", "expires_at", "left"),
    [
        ((), None, SOA_EXPIRE),
        ((NOW + 90_000, NOW + 99_000), None, SOA_EXPIRE),
        ((NOW + 90_000, NOW + 5_000), None, 5_000),
        ((NOW + 90_000,), NOW + 77.5, 77),
        ((NOW - 5,), None, 1),
    ],
)
def test_expire_is_never_beyond_the_first_rrsig(
    qtype: str, ends: tuple[int, ...], expires_at: float | None, left: int
) -> None:
    world = World()
    world.zone.version = signed_until(*ends)
    world.zone.expires_at = expires_at
    answer = world.ask("example.", qtype, (EXPIRE, b""), transport="tcp")
    assert option(answer, EXPIRE) == left.to_bytes(4, "big")
    assert option(world.ask("example.", qtype, transport="tcp"), EXPIRE) is None


def test_expire_is_for_the_soa_only() -> None:
    world = World()
    for name, qtype in (("example.", "NS"), ("ns.example.", "SOA"), ("ns.example.", "A")):
        assert option(world.ask(name, qtype, (EXPIRE, b"")), EXPIRE) is None
    udp = world.ask("example.", "IXFR", (EXPIRE, b""))
    assert option(udp, EXPIRE) == SOA_EXPIRE.to_bytes(4, "big")


def test_zoneversion() -> None:
    world = World()
    version = bytes((1, 0)) + (5).to_bytes(4, "big")
    for name, rcode in (("ns.example.", NOERROR), ("example.", NOERROR), ("no.example.", NXDOMAIN)):
        answer = world.ask(name, "A", (ZONEVERSION, b"ignored"))
        assert (answer.rcode(), option(answer, ZONEVERSION)) == (rcode, version)
        assert option(world.ask(name, "A"), ZONEVERSION) is None
    assert option(world.ask("elsewhere.", "A", (ZONEVERSION, b"")), ZONEVERSION) is None
    assert option(world.ask("example.", "A", (ZONEVERSION, b""), client=STRANGER), ZONEVERSION) is None


def error(answer: dns.message.Message) -> tuple[int, str]:
    (found,) = (each for each in answer.options if isinstance(each, dns.edns.EDEOption))
    return int(found.code), found.text or ""


def test_extended_errors() -> None:
    world = World()
    assert error(world.ask("elsewhere.", "A"))[0] == 20
    assert error(world.ask("elsewhere.", "AXFR", transport="tcp"))[0] == 20
    assert error(world.ask("example.", "AXFR"))[0] == 21
    world.zone.version = None
    none = world.ask("example.", "A")
    assert (none.rcode(), error(none)[0]) == (SERVFAIL, 14)
    assert "no version" in error(none)[1]
    plain = dns.message.make_query("example.", "A", use_edns=False).to_wire()
    answer = world.dispatcher.handle(plain, STRANGER, "udp")
    assert isinstance(answer, bytes)
    assert dns.message.from_wire(answer).edns < 0


@pytest.mark.parametrize("qtype", ["A", "SOA", "AXFR", "IXFR"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_strangers_do_not_learn_which_zones_are_served(qtype: str, transport: str) -> None:
    world = World()
    answers = [
        world.ask(name, qtype, client=STRANGER, transport=transport)
        for name in ("example.", "elsewhere.", "no.example.")
    ]
    assert {(answer.rcode(), error(answer)) for answer in answers} == {(REFUSED, (18, ""))}


@pytest.mark.parametrize("octets", [0, 1, 7, 9, 15, 41])
def test_malformed_cookies(octets: int) -> None:
    assert World().ask("example.", "A", (COOKIE, bytes(octets))).rcode() == FORMERR


def test_a_cookie_proves_the_address() -> None:
    """Large UDP answers are not cut for a client that returned its server cookie."""
    big = RRset(b"big\x00", 16, 300, pack([bytes((200,)) + bytes((65 + n,)) * 200 for n in range(4)]))
    access = ZoneAccess.make(["192.0.2.0/24"])
    world = World(FakeZone(FakeVersion([*small_zone(5), big]), access))

    def cut(*options: tuple[int, bytes], client=CLIENT) -> bool:
        answer = world.ask("big.example.", "TXT", *options, client=client)
        return not answer.answer

    while not cut():
        pass
    first = option(world.ask("example.", "SOA", (COOKIE, b"8 octets")), COOKIE)
    assert first is not None
    assert (len(first), first[:8]) == (24, b"8 octets")
    assert not cut((COOKIE, first))
    assert cut((COOKIE, b"8 octets"))
    forged = first[:-1] + bytes((first[-1] ^ 1,))
    assert cut((COOKIE, forged))
    assert cut((COOKIE, b"OCTETS 8" + first[8:]))
    world.now += RENEW_S
    second = option(world.ask("example.", "SOA", (COOKIE, first)), COOKIE)
    assert second is not None
    assert second != first
    world.now += AGE_MAX_S
    assert option(world.ask("example.", "SOA", (COOKIE, first)), COOKIE) != first
    assert option(world.ask("example.", "SOA", (COOKIE, first), client=STRANGER), COOKIE) is None


@pytest.mark.parametrize(
    ("secret", "cookie", "address", "at", "server"),
    [
        (
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "2464c4abcf10c957",
            "198.51.100.100",
            1559731985,
            "010000005cf79f111f8130c3eee29480",
        ),
        (
            "dd3bdf9344b678b185a6f5cb60fca715",
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1559741817,
            "010000005cf7c57926556bd0934c72f8",
        ),
    ],
)
def test_server_cookies_of_rfc_9018_appendix_a(
    secret: str, cookie: str, address: str, at: int, server: str
) -> None:
    cookies, client = Cookies(bytes.fromhex(secret)), bytes.fromhex(cookie)
    made = cookies.make(client, ip_address(address), at)
    assert made.hex() == cookie + server
    for now, valid in (
        (at, True),
        (at + AGE_MAX_S, True),
        (at + AGE_MAX_S + 1, False),
        (at - AHEAD_MAX_S, True),
        (at - AHEAD_MAX_S - 1, False),
    ):
        assert cookies.is_valid(made, ip_address(address), now) is valid
    assert not cookies.is_valid(made, CLIENT, at)
    assert not cookies.is_valid(client + b"\2" + made[9:], ip_address(address), at)


def test_siphash_as_its_authors_published_it() -> None:
    """The first and the fifteenth of the reference vectors."""
    key = bytes(range(16))
    assert int.from_bytes(siphash24(key, bytes(range(15))), "little") == 0xA129CA6149BE45E5
    assert int.from_bytes(siphash24(key, b""), "little") == 0x726FDB47DD0E0E31
