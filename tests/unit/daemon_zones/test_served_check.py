"""The check of what the public servers answer: when it is made, what becomes of its result, and its bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.clock import FakeClock
from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.verify.served import ServedApex
from dnssecd.daemon.zones import served_check
from dnssecd.daemon.zones.served_check import EVENT, ServedCheck
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.publish.parent import DsRecord, ParentAnswer, ParentUnknown
from dnssecd.publish.served import Served
from tests.unit.core_verify.naive import KSK, NOW, ORIGIN
from tests.unit.core_verify.test_delegation import STRANGER, ds
from tests.unit.core_verify.test_served import GOOD

NAME = "example."
BAD = GOOD._replace(soa_sigs=None)


def record(rdata: bytes) -> DsRecord:
    return DsRecord(int.from_bytes(rdata[:2]), rdata[2], rdata[3], rdata[4:])


class Rig:
    """One zone; what its servers and its parent answer is set by the test."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock(NOW)
        self.events = EventCore(home / "events.sqlite", self.clock)
        self.servers: dict[str, ServedApex | None] = {"ns1": GOOD, "ns2": GOOD}
        self.parent: tuple[bytes, ...] | None = (ds(KSK),)
        self.asked: list[str] = []
        self.zone: Any = SimpleNamespace(
            name=NAME, origin=ORIGIN, serial=1, gone=False, served=None,
            asked_servers=[Peer("ns1", "192.0.2.1"), Peer("ns2", "192.0.2.2")],
            ds=SimpleNamespace(parent=SimpleNamespace(alone=False), seen=()),
        )  # fmt: skip
        self.see(ds(KSK))
        self.check = ServedCheck({NAME: self.zone}, self.look, self.events, self.clock)

        async def ask(zone: str, server: Peer) -> Served:
            self.asked.append(server.name)
            apex = self.servers[server.name]
            return Served(server.name, apex, "" if apex else "no answer in time")

        monkeypatch.setattr(served_check, "ask_served", ask)

    def see(self, *rdatas: bytes) -> None:
        self.zone.ds.seen = (ParentSight("parent", rdatas, 60, NOW),)

    async def look(self, zone: Any) -> list[ParentAnswer]:
        if self.parent is None:
            raise ParentUnknown("no answer")
        return [ParentAnswer("parent", tuple(map(record, self.parent)), 60, NOW)]

    async def turn(self) -> bool:
        """Check the zone if it is due; return whether it was."""
        due = self.check._is_due(self.zone)  # what run() asks
        if due:
            await self.check.check(self.zone)
        return due

    def firing(self) -> str:
        (cause,) = [event.cause for event in self.events.firing() if event.name == EVENT] or [""]
        return cause


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(tmp_path, monkeypatch)


async def test_good_answers_raise_nothing_and_are_checked_about_hourly(rig: Rig) -> None:
    assert await rig.turn()
    assert rig.firing() == ""
    assert rig.zone.served.checked_at == NOW
    assert 1800 <= rig.zone.served.next_at - NOW <= 3600
    assert not await rig.turn()
    rig.clock.advance(3601)
    assert await rig.turn()


async def test_a_server_whose_answers_do_not_validate_is_named(rig: Rig) -> None:
    rig.servers["ns2"] = BAD
    await rig.turn()
    assert rig.firing() == "validators refuse the answers of ns2: the SOA does not validate: it is not signed"
    assert rig.zone.served.bogus
    rig.servers["ns2"] = GOOD
    rig.clock.advance(61)
    assert await rig.turn(), "a bogus zone is checked every minute"
    assert rig.firing() == ""
    assert rig.zone.served.bogus == ""


async def test_a_fault_counts_only_with_what_the_parent_serves_now(rig: Rig) -> None:
    """The DS seen last can be hours old."""
    rig.see(ds(STRANGER))
    await rig.turn()
    assert rig.firing() == ""
    assert rig.asked == ["ns1", "ns2"] * 2


async def test_a_ds_that_was_removed_meanwhile_makes_nothing_bogus(rig: Rig) -> None:
    rig.servers["ns1"], rig.parent = BAD, ()
    await rig.turn()
    assert rig.firing() == ""


async def test_without_an_answer_of_the_parent_the_last_one_counts(rig: Rig) -> None:
    rig.servers["ns1"], rig.parent = BAD, None
    await rig.turn()
    assert "ns1" in rig.firing()


async def test_servers_that_do_not_answer_change_nothing(rig: Rig) -> None:
    rig.servers["ns2"] = BAD
    await rig.turn()
    rig.servers = {"ns1": None, "ns2": None}
    rig.clock.advance(61)
    await rig.turn()
    assert rig.firing(), "no answer is not a good answer"


async def test_a_silent_server_keeps_its_fault_beside_one_that_is_well(rig: Rig) -> None:
    rig.servers["ns2"] = BAD
    await rig.turn()
    rig.servers["ns2"] = None
    rig.clock.advance(61)
    assert await rig.turn()
    assert "ns2" in rig.firing()
    rig.zone.asked_servers = rig.zone.asked_servers[:1]
    rig.clock.advance(61)
    await rig.turn()
    assert rig.firing() == "", "ns2 is not in the configuration any more"


async def test_a_server_that_falls_silent_when_it_is_asked_again_proves_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.servers = {"ns1": BAD, "ns2": None}

    async def silent_now(zone: Any) -> list[ParentAnswer]:
        rig.servers["ns1"] = None
        return await rig.look(zone)

    monkeypatch.setattr(rig.check, "_look", silent_now)
    await rig.turn()
    assert rig.firing() == ""
    assert rig.zone.served.checked_at is None
    assert rig.zone.served.next_at == NOW + served_check.AGAIN_S


async def test_an_answer_that_meets_a_bug_ends_neither_the_checks_nor_the_daemon(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> str:
        raise RuntimeError("bug")

    monkeypatch.setattr(served_check, "judge_served", fail)
    monkeypatch.setattr(served_check, "LOOK_S", 0.001)
    running = asyncio.create_task(rig.check.run())
    while rig.zone.served is None or not rig.zone.served.next_at:
        await asyncio.sleep(0.01)
    assert not running.done()
    assert rig.zone.served.next_at == NOW + served_check.PERIOD_S
    running.cancel()


async def test_the_event_ends_with_the_ds(rig: Rig) -> None:
    rig.servers["ns1"] = BAD
    await rig.turn()
    rig.see()
    assert not await rig.turn()
    assert rig.firing() == ""
    assert rig.zone.served is None


@pytest.mark.parametrize("change", [{"serial": None}, {"gone": True}, {"ds": None}])
async def test_a_zone_that_has_nothing_to_validate_is_not_asked_for(rig: Rig, change: dict[str, Any]) -> None:
    rig.zone.__dict__.update(change)
    assert not await rig.turn()
    assert rig.asked == []


async def test_a_zone_that_takes_too_long_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(zone: str, server: Peer) -> Served:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(served_check, "ask_served", never)
    monkeypatch.setattr(served_check, "DEADLINE_S", 0.01)
    await rig.turn()
    assert rig.zone.served.next_at == NOW + served_check.AGAIN_S


async def test_a_hung_parent_does_not_hide_a_fault(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(zone: Any) -> list[ParentAnswer]:
        await asyncio.sleep(3600)
        raise AssertionError

    rig.servers["ns1"] = BAD
    rig.check = ServedCheck({NAME: rig.zone}, hang, rig.events, rig.clock)
    monkeypatch.setattr(served_check, "PARENT_S", 0.01)
    await rig.turn()
    assert "ns1" in rig.firing()


async def test_a_fault_that_cannot_be_seen_again_changes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither raised nor resolved: the second round has no answer, or does not end."""
    apex: list[ServedApex | None] = []

    async def ask(zone: str, server: Peer) -> Served:
        if not apex:
            await asyncio.sleep(3600)
        return Served(server.name, apex.pop())

    monkeypatch.setattr(served_check, "ask_served", ask)
    for firing in (False, True):
        if firing:
            monkeypatch.setattr(served_check, "DEADLINE_S", 30.0)
            apex[:] = [BAD] * 4
            await rig.check.check(rig.zone)
        for second, deadline_s in (([None, None], 30.0), ([], 0.05)):
            apex[:] = [*second, BAD, BAD]
            monkeypatch.setattr(served_check, "DEADLINE_S", deadline_s)
            await rig.check.check(rig.zone)
            assert bool(rig.firing()) is firing
            assert rig.zone.served.next_at == NOW + served_check.AGAIN_S


async def test_zones_that_are_due_again_do_not_displace_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose servers hang are due every minute; the first zones of the configuration have no preference."""
    monkeypatch.setattr(served_check, "STARTED_MAX", 2)
    zones = {
        f"{n}.": SimpleNamespace(**{**vars(rig.zone), "name": f"{n}.", "served": None}) for n in range(6)
    }
    check: Any = ServedCheck(zones, rig.look, rig.events, rig.clock)  # type: ignore[arg-type]
    rig.servers = {"ns1": None, "ns2": None}
    seen = []
    for _ in range(3):
        for zone in check._due():
            seen.append(zone.name)
            await check.check(zone)
        rig.clock.advance(61)
    assert sorted(seen) == sorted(zones)
