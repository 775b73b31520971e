"""Transfers out give way before the log of their zone fills the disk; with a real database and its real log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.clock import FakeClock
from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones import transfer_limits
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.transfer_limits import EVENT, Need, TransferLimits, judge
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.server.drains import LONG_OCTETS, Drains, Shut
from dnssecd.server.limits import Limits
from dnssecd.server.slots import TransferSlots
from dnssecd.store.interface import LogSizes

MIB = 1 << 20
BOUND = 1 * MIB


class Job:
    """A transfer of the whole zone, or of a difference."""

    def __init__(self, zone: FrontZone, octets: int | None = None) -> None:
        self.zone, self.octets = zone, octets

    def difference_octets(self) -> int | None:
        return self.octets


class Rig:
    """One zone that is updated, and clients that transfer it."""

    def __init__(self, home: Path) -> None:
        config: Any = SimpleNamespace(name="z.")
        spec: Any = SimpleNamespace(name="z.", database=str(home / "z.sqlite"), origin=text_to_wire("z."))
        nothing: Any = None
        self.databases = Databases()
        self.zone = FrontZone(config, spec, nothing, [], [], self.databases)
        self.clock = FakeClock()
        self.events = EventCore(home / "events.sqlite", self.clock)
        self.metrics = Metrics()
        self.slots, self.drains = TransferSlots(Limits()), Drains()
        self.limits = TransferLimits(
            self.slots,
            self.drains,
            self.events,
            self.metrics.server,
            self.clock,
            home,
        )
        self.serial = 0
        self.largest = 0

    def update(self) -> None:
        self.serial += 1
        with self.zone.database.write() as transaction:
            transaction.set_state("version", {"serial": self.serial, "ballast": "x" * 40_000})
            transaction.commit_if(transaction.generation)
        self.largest = max(self.largest, self.log)

    @property
    def log(self) -> int:
        return self.zone.database.log_sizes().log

    async def client(self, seconds: float, octets: int | None = None) -> None:
        """Transfer the zone again and again; each transfer holds its version for ``seconds``."""
        job: Any = Job(self.zone, octets)
        while True:
            if await self.drains.passed(job, 0.02):
                await self.transfer(seconds)
            await asyncio.sleep(0)

    async def transfer(self, seconds: float) -> None:
        cut = asyncio.Event()
        slot = await self.slots.acquire("a client", cut.set, self.zone)
        assert slot is not None
        try:
            with self.zone.database.snapshot(), suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await cut.wait()
        finally:
            self.slots.release(slot)

    async def updates(self, number: int, *, looked_after: bool = True) -> None:
        for _ in range(number):
            self.update()
            await asyncio.sleep(0.001)
            if looked_after:
                await self.limits.look()

    @property
    def ended(self) -> float:
        samples = self.metrics.registry.get_sample_value("dnssecd_transfers_ended_total", {"reason": "log"})
        return samples or 0.0


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(transfer_limits, "LOG_OCTETS_MAX", BOUND)
    monkeypatch.setattr(transfer_limits, "YOUNG_S", 0.0)
    rig = Rig(tmp_path)
    rig.update()
    yield rig
    rig.events.close()
    rig.databases.close()


async def stop(clients: list[asyncio.Task[None]]) -> None:
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.parametrize("seconds", [0.02, 60.0], ids=["overlapping", "without end"])
async def test_transfers_do_not_keep_the_log_growing(rig: Rig, seconds: float) -> None:
    clients = [asyncio.create_task(rig.client(seconds)) for _ in range(3)]
    await asyncio.sleep(0.001)
    await rig.updates(100)
    await stop(clients)
    assert rig.largest < BOUND + BOUND // 2
    assert bool(rig.ended) == rig.events.is_firing(EVENT, "z.")
    assert rig.ended or seconds < 1


async def test_without_limits_they_would(rig: Rig) -> None:
    """The test above can fail: what it does makes a log of twice the bound when no limit is applied."""
    clients = [asyncio.create_task(rig.client(0.02)) for _ in range(3)]
    await asyncio.sleep(0.001)
    await rig.updates(100, looked_after=False)
    await stop(clients)
    assert rig.largest > 2 * BOUND


async def test_short_ones_that_overlap_are_not_ended(rig: Rig) -> None:
    """New ones wait, those that run end by themselves, and the log is cut."""
    clients = [asyncio.create_task(rig.client(0.003)) for _ in range(3)]
    await asyncio.sleep(0.001)
    await rig.updates(100)
    await stop(clients)
    assert rig.ended == 0
    assert rig.largest < BOUND


async def test_a_log_that_something_else_holds_stops_no_transfer_for_long(rig: Rig) -> None:
    with rig.zone.database.snapshot():
        client = asyncio.create_task(rig.client(60.0))
        await asyncio.sleep(0.001)
        await rig.updates(60)
        assert rig.ended >= 1
        before = rig.ended
        for _ in range(transfer_limits.TRIES_MAX + 1):
            await rig.limits.look()
        await asyncio.sleep(0.05)
        assert rig.slots.zones() == [rig.zone], "it goes on"
        await rig.limits.look()
        assert rig.ended == before
        await stop([client])
    assert rig.log > BOUND


async def test_a_job_that_takes_long_stops_no_transfer_for_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_limits, "LOCK_S", 0.001)
    rig.drains.shut(rig.zone, Shut.ALL)
    monkeypatch.setattr(transfer_limits, "LOG_OCTETS_MAX", 0)
    monkeypatch.setattr(transfer_limits, "LOG_SHARE_MAX", 0)
    async with rig.zone.jobs.turn:
        for _ in range(transfer_limits.TRIES_MAX):
            assert rig.drains.zones == [rig.zone]
            await rig.limits.look()
    assert rig.drains.zones == []


async def test_a_zone_that_is_gone_is_forgotten(rig: Rig) -> None:
    rig.drains.shut(rig.zone, Shut.ALL)
    rig.zone.gone = True
    await rig.limits.look()
    assert rig.drains.zones == []


async def test_the_event_resolves_after_a_quiet_time(rig: Rig) -> None:
    rig.events.raise_event(EVENT, "z.", "because")
    rig.limits.resolve()
    assert rig.events.is_firing(EVENT, "z.")
    rig.clock.advance(transfer_limits.QUIET_S + 1)
    rig.limits.resolve()
    assert not rig.events.is_firing(EVENT, "z.")


async def test_what_a_secondary_asks_for_that_follows_updates_never_waits(rig: Rig) -> None:
    async def passes(octets: int | None) -> bool:
        job: Any = Job(rig.zone, octets)
        return await rig.drains.passed(job, 0.001)

    assert await passes(None)
    rig.drains.shut(rig.zone, Shut.LONG)
    assert [await passes(octets) for octets in (100, LONG_OCTETS, LONG_OCTETS + 1, None)] == [1, 1, 0, 0]
    rig.drains.shut(rig.zone, Shut.ALL)
    assert [await passes(octets) for octets in (100, LONG_OCTETS, None)] == [1, 0, 0]
    waiting = asyncio.create_task(rig.drains.passed(Job(rig.zone), 5.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    rig.drains.open(rig.zone)
    assert await waiting


@pytest.mark.parametrize(
    ("database", "log", "kept", "waited_s", "short", "need"),
    [
        (1, 127, 0, 0, False, Need.NOTHING),
        (1, 129, 0, 0, False, Need.WAIT),
        (1, 129, 0, 301, False, Need.LOG),
        (1, 257, 0, 0, False, Need.LOG),
        (100, 257, 0, 0, False, Need.WAIT),
        (100, 401, 0, 0, False, Need.LOG),
        (1, 300, 200, 0, False, Need.NOTHING),
        (1, 31, 0, 0, True, Need.NOTHING),
        (1, 33, 0, 0, True, Need.DISK),
        (1, 33, 10, 0, True, Need.NOTHING),
    ],
)
def test_what_a_log_asks_for(
    database: int, log: int, kept: int, waited_s: float, short: bool, need: Need
) -> None:
    sizes = LogSizes(database * MIB, log * MIB)
    assert judge(sizes, kept * MIB, waited_s, disk_is_short=short) is need
