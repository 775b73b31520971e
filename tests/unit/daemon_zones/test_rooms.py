"""What the parts keep of a zone, and that it is forgotten in one act."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from dnssecd.core.update.types import SERVFAIL
from dnssecd.daemon.parent.room import DsRoom
from dnssecd.daemon.zones.rooms import JobsRoom, PrimariesRoom
from dnssecd.daemon.zones.update_queue import ZoneQueue
from dnssecd.daemon.zones.zone import FrontZone


def a_zone() -> FrontZone:
    nothing: Any = SimpleNamespace(name="z.")
    return FrontZone(nothing, nothing, nothing, [], [], nothing)


async def forever() -> None:
    await asyncio.Event().wait()


def test_failures_are_counted_by_kind() -> None:
    room = JobsRoom()
    assert [room.fail("load"), room.fail("load"), room.fail("resign")] == [1, 2, 1]
    assert room.retry() == ("load", "resign")
    assert room.fail("load") == 1
    room.succeed("load")
    room.succeed("resign")
    room.succeed("never failed")
    assert room.retry() == ()


async def test_a_job_that_has_begun_can_be_requested_again() -> None:
    room, task = JobsRoom(), asyncio.create_task(forever())
    room.request("load", task)
    assert room.is_requested("load")
    assert not room.is_requested("resign")
    room.begin("load")
    assert not room.is_requested("load")
    task.cancel()


async def test_a_zone_is_closed_in_one_act() -> None:
    zone, tasks = a_zone(), [asyncio.create_task(forever()) for _ in range(3)]
    loop = asyncio.get_running_loop()
    zone.jobs.request("load", tasks[0])
    zone.jobs.remember = loop.call_later(3600, cast(Any, print))
    zone.upstream = PrimariesRoom(task=cast(Any, tasks[1]))
    zone.ds = DsRoom(cast(Any, None), cast(Any, None), cast(Any, None), task=cast(Any, tasks[2]))
    zone.updates.queue = ZoneQueue()
    zone.updates.queue.tidy = loop.call_later(3600, cast(Any, print))
    handles = [zone.jobs.remember, zone.updates.queue.tidy]
    answer = zone.updates.queue.put(cast(Any, b""), cast(Any, None), cast(Any, None))
    zone.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    assert all(handle.cancelled() for handle in handles)
    assert (await answer).rcode == SERVFAIL
    assert zone.ds is None
    assert (zone.updates.queue, zone.upstream, zone.jobs.is_requested("load")) == (None, None, False)


def test_zones_of_the_same_name_are_different_zones() -> None:
    one, other = a_zone(), a_zone()
    assert len({one, other}) == 2
    assert one.jobs is not other.jobs
