"""The queue before a key store: fair between connections, bounded, with deadlines."""

from __future__ import annotations

import asyncio

import pytest

from dnssecd.signer.errors import Busy, Late, Unavailable
from dnssecd.signer.queue import FairQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_small_requests_pass_bulk() -> None:
    queue = FairQueue(Clock())
    bulk = queue.put(1, "k", [b"%d" % n for n in range(10)], 100.0)
    small = queue.put(2, "k", [b"s"], 100.0)
    first, second = queue.take(4), queue.take(4)
    assert first is not None
    assert second is not None
    assert first.preimages == [b"0", b"1", b"2", b"3"]
    assert second.preimages == [b"s"]
    second.finish([b"S"])
    assert await small == [b"S"]
    first.finish([b"A", b"B", b"C", b"D"])
    for _ in range(2):
        piece = queue.take(4)
        assert piece is not None
        piece.finish([preimage.upper() for preimage in piece.preimages])
    assert await bulk == [b"A", b"B", b"C", b"D", *(b"%d" % n for n in range(4, 10))]
    assert queue.take(4) is None
    assert len(queue) == 0


async def test_bounded() -> None:
    queue = FairQueue(Clock(), limit=3)
    queue.put(1, "k", [b"1", b"2"], 100.0)
    with pytest.raises(Busy):
        queue.put(2, "k", [b"3", b"4"], 100.0)
    queue.put(2, "k", [b"3"], 100.0)


async def test_late_jobs_are_dropped() -> None:
    clock = Clock()
    queue = FairQueue(clock)
    late = queue.put(1, "k", [b"1"], 5.0)
    good = queue.put(1, "k", [b"2"], 50.0)
    clock.now = 6.0
    piece = queue.take(8)
    assert piece is not None
    assert piece.preimages == [b"2"]
    with pytest.raises(Late):
        await late
    assert not good.done()
    assert len(queue) == 0


async def test_returned_pieces_come_first_and_count_their_attempts() -> None:
    queue = FairQueue(Clock())
    queue.put(1, "k", [b"1", b"2"], 100.0)
    piece = queue.take(1)
    assert piece is not None
    queue.give_back(piece)
    assert len(queue) == 2
    again = queue.take(1)
    assert again is piece
    assert again.attempts == 1


async def test_a_worker_gets_only_keys_it_accepts() -> None:
    queue = FairQueue(Clock())
    queue.put(1, "a", [b"1"], 100.0)
    queue.put(2, "b", [b"2"], 100.0)
    piece = queue.take(8, lambda key_id: key_id == "b")
    assert piece is not None
    assert piece.preimages == [b"2"]
    assert queue.take(8, lambda key_id: key_id == "b") is None


async def test_fail_all() -> None:
    queue = FairQueue(Clock())
    lost = queue.put(1, "a", [b"1"], 100.0)
    kept = queue.put(1, "b", [b"2"], 100.0)
    queue.fail_all(lambda key_id: Unavailable("gone") if key_id == "a" else None)
    with pytest.raises(Unavailable):
        await lost
    assert not kept.done()
    assert len(queue) == 1


async def test_pieces_may_be_done_in_parts_by_several_workers() -> None:
    queue = FairQueue(Clock())
    done = queue.put(1, "k", [b"a", b"b", b"c", b"d", b"e"], 100.0)
    piece = queue.take(5)
    assert piece is not None
    rest = piece.finish([b"A", b"B"])
    assert rest is not None
    queue.put_back(rest)
    assert len(queue) == 3
    first, second = queue.take(1), queue.take(5)
    assert first is not None
    assert second is not None
    assert (first.preimages, second.preimages) == ([b"c"], [b"d", b"e"])
    assert second.finish([b"D", b"E"]) is None
    assert first.finish([b"C"]) is None
    assert await done == [b"A", b"B", b"C", b"D", b"E"]
    assert len(queue) == 0


async def test_bounded_in_octets() -> None:
    queue = FairQueue(Clock(), octets_max=1000)
    first = queue.put(1, "k", [b"x" * 600], 100.0)
    with pytest.raises(Busy, match="octets"):
        queue.put(2, "k", [b"x" * 600], 100.0)
    queue.put(2, "k", [b"x" * 300], 100.0)
    piece = queue.take(4)
    assert piece is not None
    piece.finish([b"signature"])
    await first
    await asyncio.sleep(0)
    queue.put(2, "k", [b"x" * 600], 100.0)
    alone = FairQueue(Clock(), octets_max=1000)
    alone.put(1, "k", [b"x" * 5000], 100.0)  # what is larger than the bound waits alone
