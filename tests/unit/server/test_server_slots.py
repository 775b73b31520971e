"""Places for transfers, shared out among clients."""

from __future__ import annotations

import asyncio
from typing import Any

from dnssecd.server.limits import Limits
from dnssecd.server.slots import Slot, TransferSlots


class Office:
    """Slots whose transfers end when they are cut."""

    def __init__(self, **limits: float) -> None:
        quick = {"transfer_wait_s": 1.0, "transfer_stall_s": 60.0, "transfer_yield_s": 0.05}
        self.slots = TransferSlots(Limits(**{**quick, **limits}))  # type: ignore[arg-type]
        self.cut: list[Slot] = []
        self.zone: Any = object()

    async def take(self, client: str) -> Slot | None:
        slot: Slot | None = None

        def abort() -> None:
            assert slot is not None
            self.cut.append(slot)
            self.slots.release(slot)

        slot = await self.slots.acquire(client, abort, self.zone)
        return slot


async def test_a_client_with_all_places_gives_its_slowest_to_another() -> None:
    office = Office(transfers_max=4)
    greedy = [await office.take("greedy") for _ in range(4)]
    for number, slot in enumerate(greedy):
        assert slot is not None
        for _ in range(10 - number):
            slot.progressed()
    queue = [asyncio.ensure_future(office.take("greedy")) for _ in range(6)]
    await asyncio.sleep(0)
    assert await office.take("small") is not None, "before all that the greedy one has waiting"
    assert office.cut == [greedy[3]]
    assert await office.take("small") is not None, "up to its share"
    assert len(office.cut) == 2
    assert await office.take("small") is None, "but no more"
    assert len(office.cut) == 2
    for waiting in queue:
        waiting.cancel()
    await asyncio.gather(*queue, return_exceptions=True)


async def test_more_clients_than_places_wait_their_turn() -> None:
    office = Office(transfers_max=2, transfer_wait_s=0.2)
    first, second = await office.take("a"), await office.take("b")
    assert await office.take("c") is None
    assert office.cut == [], "none has more than its share"
    assert first is not None
    assert second is not None
    later = asyncio.ensure_future(office.take("c"))
    await asyncio.sleep(0)
    office.slots.release(first)
    assert await later is not None


async def test_the_next_place_goes_to_the_client_with_the_fewest() -> None:
    office = Office(transfers_max=2, transfer_yield_s=60.0)
    one, _ = await office.take("a"), await office.take("a")
    more = asyncio.ensure_future(office.take("a"))
    await asyncio.sleep(0)
    other = asyncio.ensure_future(office.take("b"))
    await asyncio.sleep(0)
    assert one is not None
    office.slots.release(one)
    assert await other is not None
    assert not more.done()
    more.cancel()
    await asyncio.gather(more, return_exceptions=True)


async def test_a_stalled_transfer_gives_way_at_once() -> None:
    office = Office(transfers_max=1, transfer_stall_s=0.0, transfer_yield_s=60.0)
    stalled = await office.take("a")
    assert await office.take("b") is not None
    assert office.cut == [stalled]


async def test_places_are_not_lost_by_those_who_stop_waiting() -> None:
    office = Office(transfers_max=1, transfer_yield_s=60.0)
    for _ in range(20):
        slot = await office.take("a")
        assert slot is not None
        waiting = [asyncio.ensure_future(office.take("b")) for _ in range(3)]
        await asyncio.sleep(0)
        office.slots.release(slot)  # the first is granted the place …
        for one in waiting:
            one.cancel()  # … and goes away before it knows
        await asyncio.gather(*waiting, return_exceptions=True)
    assert office.slots._taken == 0
    assert not office.slots._counts
    assert not office.slots._waiting


async def test_the_transfers_of_one_zone_can_be_ended() -> None:
    office = Office()
    first, second = await office.take("a"), await office.take("b")
    zone, office.zone = office.zone, object()
    other = await office.take("a")
    assert office.slots.zones() == [zone, office.zone]
    assert office.slots.end(zone, 60.0) == 0, "they are young"
    assert office.slots.end(zone, 0.0) == 2
    assert office.cut == [first, second]
    assert other is not None
    assert office.slots.zones() == [office.zone]
