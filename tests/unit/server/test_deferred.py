"""Places for deferred answers: shared among senders and zones, given in turn, never lost."""

from __future__ import annotations

import asyncio

from dnssecd.server.deferred import Places, Share


def fill(places: Places, share: Share) -> int:
    """Take all that a share can have; return how many that were."""
    taken = 0
    while places.take(share):
        taken += 1
    return taken


def test_one_flood_leaves_half_and_more_floods_leave_room_too() -> None:
    places = Places(1024)
    assert fill(places, Share(b"z1", b"k1")) == 512
    assert fill(places, Share(b"z2", b"k1")) == 0, "the key has its share"
    assert fill(places, Share(b"z1", b"k2")) == 0, "the zone has its share"
    assert fill(places, Share(b"z2", b"k2")) == 256
    assert fill(places, Share(b"z3", b"k3")) == 128
    assert places.take(Share(b"z4", "192.0.2.1")), "there is room for others"


def test_places_come_back() -> None:
    places, share = Places(4), Share(b"z", b"k")
    for _ in range(100):
        assert fill(places, share) == 2
        places.give_back(share)
        places.give_back(share)
    assert len(places) == 0
    assert not places._zones
    assert not places._senders


async def test_those_who_wait_get_places_in_turn() -> None:
    """A key with many waiting requests does not come first each time because it asked first."""
    places, flood, other = Places(8), Share(b"z", b"flood"), Share(b"z2", b"other")
    held = fill(places, flood)
    got: list[str] = []

    async def client(share: Share, name: str) -> None:
        await places.wait(share)
        got.append(name)

    waiting = [asyncio.create_task(client(flood, f"flood {number}")) for number in range(4)]
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await client(other, "other")
    assert got == ["other"], "its share is free"
    places.give_back(other)
    for _ in range(held):
        places.give_back(flood)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert got[1:] == [f"flood {number}" for number in range(4)], "those of one share in order"


async def test_a_cancelled_wait_keeps_no_place() -> None:
    places, share = Places(2), Share(b"z", b"k")
    assert fill(places, share) == 1
    first, second = (asyncio.create_task(places.wait(share)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    places.give_back(share)
    async with asyncio.timeout(1):
        await second
    third = asyncio.create_task(places.wait(share))
    await asyncio.sleep(0)
    places.give_back(share)
    third.cancel()  # at the very moment at which it was given a place
    await asyncio.gather(third, return_exceptions=True)
    assert len(places) == 0
    assert not places._waiting
