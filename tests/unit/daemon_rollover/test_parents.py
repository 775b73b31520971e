"""The parent's servers: who is asked, how, how often, and what becomes of silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest

from dnssecd.clock import FakeClock
from dnssecd.config.model import Address, ParentConfig
from dnssecd.daemon.parent import poll as parents
from dnssecd.daemon.parent.poll import ParentWatch
from dnssecd.publish.exchange import Peer
from dnssecd.publish.parent import ParentAnswer, ParentUnknown
from dnssecd.publish.signers import SignerAnswer
from tests.unit.daemon_rollover.rig import FakeSchedule

DS = "4711 13 2 " + "AB" * 32


@asynccontextmanager
async def parent_server(*records: str) -> AsyncIterator[Address]:
    """Answers over TCP alone, as authority."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        query = dns.message.from_wire(await reader.readexactly(size))
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        if records:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "DS", *records))
        wire = answer.to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


class Rig:
    """One zone, `z.`, whose parent is as told."""

    def __init__(self, parent: ParentConfig, ds_ttl: int = 86_400, delay: int = 3_600) -> None:
        self.clock = FakeClock()
        self.schedule = FakeSchedule()
        self.heard: list[tuple[list[ParentAnswer], int]] = []
        self.signers: list[SignerAnswer] = []
        config: Any = SimpleNamespace(name="z.", policy="p", parent=parent, other_signers=())
        self.zone: Any = SimpleNamespace(
            name="z.", config=config, gone=False, check=lambda: None, parent=None
        )
        policy = SimpleNamespace(parent_ds_ttl=ds_ttl, parent_propagation_delay=delay)
        whole: Any = SimpleNamespace(policies={"p": policy}, server=SimpleNamespace(resolver=()))
        self.watch = ParentWatch(
            lambda: whole,
            self.clock,
            self.schedule,  # type: ignore[arg-type]
            lambda zone, answers, next_look: self.heard.append((answers, next_look)),
            lambda zone, answers, next_look: self.signers.extend(answers),
        )

    @property
    def next_s(self) -> float:
        """Seconds until the next look."""
        return self.schedule.wakes["parent z."][0] - self.clock.now()


async def test_every_address_is_asked_over_tcp() -> None:
    async with parent_server(DS) as one, parent_server() as two:
        rig = Rig(ParentConfig(servers=(one, two)))
        answers = await rig.watch.look(rig.zone)
    assert [answer.ds is not None and [ds.key_tag for ds in answer.ds] for answer in answers] == [[4711], []]
    assert answers[0].ttl == 60
    assert rig.watch.servers(rig.zone) == (str(one), str(two))


async def test_silence_is_reported_and_the_next_look_planned() -> None:
    async with parent_server() as gone:
        pass
    rig = Rig(ParentConfig(servers=(gone,)))
    rig.watch.watch(rig.zone, waiting=True)
    await rig.watch._look_again(rig.zone)
    ((answer,), next_look) = rig.heard[0]
    assert answer.ds is None
    assert answer.failure
    assert next_look > rig.clock.now()
    assert "parent z." in rig.schedule.wakes


def test_looks_are_frequent_only_while_something_is_awaited() -> None:
    rig = Rig(ParentConfig(servers=(Address("127.0.0.1", 1),)))
    rig.watch.watch(rig.zone, waiting=False)
    assert rig.next_s <= parents.SPREAD_S
    rig.watch.watch(rig.zone, waiting=True)
    assert rig.next_s == 0, "at once"
    parent = rig.zone.parent
    assert rig.watch._interval(rig.zone, parent) == 300
    parent.waiting = False
    assert rig.watch._interval(rig.zone, parent) == 6 * 3600


def test_short_times_of_a_policy_make_short_looks() -> None:
    rig = Rig(ParentConfig(servers=(Address("127.0.0.1", 1),)), ds_ttl=2, delay=1)
    rig.watch.watch(rig.zone, waiting=True)
    assert rig.watch._interval(rig.zone, rig.zone.parent) == 1


def test_an_island_of_trust_is_not_looked_at() -> None:
    rig = Rig(ParentConfig(none=True))
    rig.watch.watch(rig.zone, waiting=True)
    assert rig.schedule.wakes == {}


async def test_servers_are_found_again_and_kept_while_they_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = [
        [Peer("a", "127.0.0.1", 1)],
        ParentUnknown("no resolver answers"),
        [Peer("b", "127.0.0.1", 1)],
    ]

    async def find(*_: object) -> list[Peer]:
        next_one = found.pop(0)
        if isinstance(next_one, Exception):
            raise next_one
        return list(next_one)

    monkeypatch.setattr(parents, "find_parent_servers", find)
    rig = Rig(ParentConfig())
    assert rig.watch.servers(rig.zone) is None
    await rig.watch.look(rig.zone)
    assert rig.watch.servers(rig.zone) == ("a",)
    await rig.watch.look(rig.zone)
    assert len(found) == 2, "not looked up each time"
    rig.clock.advance(parents.FIND_AGAIN_S + 1)
    await rig.watch.look(rig.zone)
    assert rig.watch.servers(rig.zone) == ("a",)
    assert "no resolver" in rig.watch.trouble(rig.zone)
    await rig.watch.look(rig.zone)
    assert rig.watch.servers(rig.zone) == ("b",)


async def test_a_parent_that_cannot_be_found_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(*_: object) -> list[Peer]:
        raise ParentUnknown("no resolver answers")

    monkeypatch.setattr(parents, "find_parent_servers", find)
    rig = Rig(ParentConfig())
    rig.watch.watch(rig.zone, waiting=True)
    await rig.watch._look_again(rig.zone)
    assert rig.heard == [([], int(rig.clock.now() + 300))]
    assert rig.next_s == 300


async def test_thousands_of_waiting_zones_are_checked_at_a_limited_rate() -> None:
    rig = Rig(ParentConfig(servers=(Address("127.0.0.1", 1),)))
    others: list[Any] = [
        SimpleNamespace(
            name=f"z{n}.",
            gone=False,
            parent=None,
            config=SimpleNamespace(name=f"z{n}.", policy="p", parent=rig.zone.config.parent),
        )
        for n in range(5_000)
    ]
    rig.watch.watch(rig.zone, waiting=True)
    alone = rig.watch._interval(rig.zone, rig.zone.parent)
    for other in others:
        rig.watch.watch(other, waiting=True)
        rig.watch.watch(other, waiting=True)
    among_many = rig.watch._interval(rig.zone, rig.zone.parent)
    for other in others[:2_500]:
        rig.watch.watch(other, waiting=False)
    for other in others:
        rig.watch.forget(other)
    assert alone == 300
    assert among_many == pytest.approx(5_001 / parents.LOOKS_PER_S)
    assert rig.watch._interval(rig.zone, rig.zone.parent) == alone
    await rig.watch.close()
