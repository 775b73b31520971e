"""UPDATE and NOTIFY for a zone of another node: forwarded, signed again, bounded in time and number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.config.model import Address, ClusterConfig, ClusterNode
from dnssecd.core.dns.message import parse
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.tsig import TsigKey, TsigRdata, append, parse_rdata, sign_request, strip
from dnssecd.daemon.cluster import forward as module
from dnssecd.daemon.cluster.forward import Forward
from dnssecd.server.interfaces import Request, Verdict
from tests.unit.core_update import build

KEY = TsigKey(text_to_wire("k."), text_to_wire("hmac-sha256."), b"0" * 32)
OTHER = TsigKey(text_to_wire("k."), text_to_wire("hmac-sha256."), b"1" * 32)
NOW = 1_800_000_000
UPDATE = build.message([build.RR(text_to_wire("a.example."), 16, 1, 300, b"\x01x")])

Answer = Callable[[bytes], bytes]


def zone(owner: str = "b", *, owned: bool = False) -> Any:
    return SimpleNamespace(name="example.", cluster=SimpleNamespace(owner=owner, owned=owned))


def request(key: bytes | None = KEY.name, address: str = "192.0.2.9") -> Request:
    signed = UPDATE if key is None else sign_request(UPDATE, KEY, NOW)[0]
    return Request(UPDATE, parse(UPDATE), key, ip_address(address), "udp", NOW, signed)


def response(wire: bytes, rcode: int, key: TsigKey | None = KEY) -> bytes:
    """The owner's answer, signed with the key of the request."""
    tsig = parse_rdata(wire, parse(wire).tsig)  # type: ignore[arg-type]
    body = bytearray(strip(wire, tsig))
    body[2] |= 0x80
    body[3] = rcode
    head = bytes(body[:6]) + bytes(6)
    answer = head + bytes(body[12 : 12 + len(text_to_wire("example.")) + 4])
    if key is None:
        return answer
    unsigned = TsigRdata(0, key.name, key.algorithm, NOW, 300, b"", int.from_bytes(answer[:2]), 0, b"")
    mac = key.digest(len(tsig.mac).to_bytes(2) + tsig.mac, answer, unsigned.variables())
    signed = TsigRdata(0, key.name, key.algorithm, NOW, 300, mac, int.from_bytes(answer[:2]), 0, b"")
    return append(answer, signed)


class Owner:
    """The node b; ``seen``: what it got."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer, self.seen = answer, list[bytes]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        self.seen.append(await reader.readexactly(size))
        if self.answer is not None:
            made = self.answer(self.seen[-1])
            writer.write(len(made).to_bytes(2) + made)
            await writer.drain()
        else:
            await reader.read()
        writer.close()


async def with_owner(
    owner: Owner, work: Callable[[Forward], Awaitable[Any]], *, first: Address | None = None
) -> tuple[Any, list[str]]:
    server = await asyncio.start_server(owner.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    addresses = (*((first,) if first else ()), Address("127.0.0.1", port))
    nodes = {"a": ClusterNode("a", (Address("127.0.0.1", 1),), ""), "b": ClusterNode("b", addresses, "")}
    config = ClusterConfig(
        node="a", database="", password_file=None, sslmode="", sslrootcert=None, require_synchronous=False,
        take_over_after=10, nodes=nodes,
    )  # fmt: skip
    counted: list[str] = []
    forward = Forward(config, lambda: {KEY.name: KEY}, lambda: NOW, counted.append)
    async with server:
        return await work(forward), counted


def run(owner: Owner, work: Callable[[Forward], Awaitable[Any]], **more: Any) -> tuple[Any, list[str]]:
    return asyncio.run(with_owner(owner, work, **more))


def test_the_owner_gets_the_request_with_the_client_s_signature() -> None:
    owner = Owner(lambda wire: response(wire, 5))
    verdict, counted = run(owner, lambda forward: forward.forward(zone(), request(), "b"))
    assert verdict == Verdict(5, "refused by the node b, which owns the zone")
    assert counted == ["answered"]
    assert owner.seen == [sign_request(UPDATE, KEY, NOW)[0]]


def test_a_request_of_the_daemon_itself_is_signed() -> None:
    owner = Owner(lambda wire: response(wire, 0))
    own = Request(UPDATE, parse(UPDATE), KEY.name, ip_address("127.0.0.1"), "tcp", NOW)
    verdict, _ = run(owner, lambda forward: forward.forward(zone(), own, "b"))
    assert (verdict.rcode, owner.seen) == (0, [sign_request(UPDATE, KEY, NOW)[0]])


def test_a_request_without_key_is_forwarded_as_it_is() -> None:
    def answer(wire: bytes) -> bytes:
        return wire[:2] + bytes((wire[2] | 0x80, 0)) + bytes(8)

    owner = Owner(answer)
    verdict, _ = run(owner, lambda forward: forward.forward(zone(), request(None), "b"))
    assert (verdict, owner.seen) == (Verdict(0), [UPDATE])


@pytest.mark.parametrize(
    "answer",
    [
        lambda wire: response(wire, 0, OTHER),
        lambda wire: response(wire, 0, None),
        lambda wire: b"\x00\x00" + response(wire, 0)[2:],
        lambda wire: b"",
        lambda wire: response(wire, 0)[:-3],
        lambda wire: bytes(5_000),
    ],
    ids=["another secret", "not signed", "another id", "empty", "cut short", "too long"],
)
def test_only_the_owner_s_answer_counts(answer: Answer) -> None:
    verdict, counted = run(Owner(answer), lambda forward: forward.forward(zone(), request(), "b"))
    assert (verdict.rcode, counted) == (2, ["failed"])


def test_an_owner_that_does_not_answer_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.2)
    verdict, counted = run(Owner(None), lambda forward: forward.forward(zone(), request(), "b"))
    assert (verdict.rcode, counted) == (2, ["failed"])
    assert "does not answer" in verdict.text


def test_the_next_address_is_tried() -> None:
    owner = Owner(lambda wire: response(wire, 0))
    closed = Address("127.0.0.1", 1)
    verdict, _ = run(owner, lambda forward: forward.forward(zone(), request(), "b"), first=closed)
    assert verdict.rcode == 0


def test_an_address_that_swallows_packets_costs_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = asyncio.open_connection

    async def lossy(host: str, port: int) -> Any:
        return await (asyncio.Event().wait() if port == 1 else connect(host, port))

    monkeypatch.setattr(asyncio, "open_connection", lossy)
    monkeypatch.setattr(module, "CONNECT_S", 0.1)
    owner = Owner(lambda wire: response(wire, 0))
    lost = Address("127.0.0.1", 1)
    verdict, _ = run(owner, lambda forward: forward.forward(zone(), request(), "b"), first=lost)
    assert (verdict.rcode, len(owner.seen)) == (0, 1)


def test_a_request_that_comes_back_ends() -> None:
    """The owner believes that this node owns the zone, and forwards it here again."""

    async def work(forward: Forward) -> tuple[Verdict, list[Verdict]]:
        back: list[Verdict] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            back.append(await forward.forward(zone(), request(), "b"))
            made = response(wire, back[0].rcode)
            writer.write(len(made).to_bytes(2) + made)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            forward._config.nodes["b"] = ClusterNode("b", (Address("127.0.0.1", port),), "")
            return await forward.forward(zone(), request(), "b"), back

    (verdict, back), counted = run(Owner(None), work)
    assert (verdict.rcode, [each.rcode for each in back]) == (2, [2])
    assert counted == ["returned", "answered"]


def test_places_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender with many requests to an owner that does not answer leaves places for others, and other owners."""
    monkeypatch.setattr(module, "DEADLINE_S", 0.3)
    monkeypatch.setattr(module, "WAITING_MAX", 16)

    def one(number: int, address: str) -> Request:
        wire = number.to_bytes(2) + UPDATE[2:]
        return Request(wire, parse(wire), None, ip_address(address), "udp", NOW)

    async def work(forward: Forward) -> list[int]:
        forward._config.nodes["c"] = forward._config.nodes["b"]
        greedy = [forward.forward(zone(), one(number, "192.0.2.9"), "b") for number in range(40)]
        tasks = [asyncio.create_task(each) for each in greedy]
        await asyncio.sleep(0.1)
        taken = len(forward._waiting)
        others = [
            asyncio.create_task(forward.forward(zone(), one(100 + number, f"198.51.{number}.1"), "b"))
            for number in range(40)
        ]
        await asyncio.sleep(0)
        with_others = len(forward._waiting)
        last = asyncio.create_task(forward.forward(zone(), one(200, "203.0.113.1"), "c"))
        await asyncio.sleep(0)
        found = [taken, with_others, len(forward._waiting)]
        await asyncio.gather(*tasks, *others, last)
        assert not forward._waiting
        assert not forward._places
        return found

    (taken, with_others, with_last), _ = run(Owner(None), work)
    assert (taken, with_others, with_last) == (8, 12, 13)


def test_the_number_of_forwarded_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 0)
    verdict, counted = run(Owner(None), lambda forward: forward.forward(zone(), request(), "b"))
    assert (verdict.rcode, counted) == (2, ["failed"])


@pytest.mark.parametrize(
    ("other", "owner"),
    [
        (zone("b"), "b"),
        (zone("a", owned=True), ""),
        (zone("a"), ""),  # its own, and in doubt: no other node may answer
        (zone(""), ""),
        (zone("gone"), ""),
        (SimpleNamespace(name="example.", cluster=None), ""),
    ],
)
def test_which_zones_are_forwarded(other: Any, owner: str) -> None:
    async def work(forward: Forward) -> str:
        return forward.owner_of(other)

    assert run(Owner(None), work)[0] == owner
