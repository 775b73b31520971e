"""Work of the cluster in threads: no other work waits behind it, and it has ended before the databases are closed."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from dnssecd.clock import SystemClock
from dnssecd.config.model import Address, ClusterConfig, ClusterNode
from dnssecd.daemon.cluster import followers as followers_module
from dnssecd.daemon.cluster.followers import Followers
from dnssecd.daemon.cluster.link import THREADS, ClusterLink
from dnssecd.daemon.rollover import ceremony_watch, compromise, lost_keys, of_nodes, overdue
from dnssecd.daemon.zones import first_keys_ready, outcome_events
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import ClusterRoom, JobsRoom
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.pipeline.follow.caught_up import CaughtUp
from dnssecd.store.version_log import Kind, LogRecord, LogShorter, LogUnavailable, Position


@pytest.fixture
async def link(tmp_path: Path) -> Any:
    nodes = {"a": ClusterNode("a", (Address("127.0.0.1", 1),), "")}
    config = ClusterConfig(
        node="a", database="postgresql://d@127.0.0.1:1/d", password_file=None, sslmode="", sslrootcert=None,
        require_synchronous=False, take_over_after=10, nodes=nodes,
    )  # fmt: skip
    link = ClusterLink(config, tmp_path)
    yield link
    link.close()


async def test_other_work_does_not_wait_behind_a_database_that_hangs(link: ClusterLink) -> None:
    answers = threading.Event()
    hanging = [asyncio.create_task(link.run(answers.wait, 20.0)) for _ in range(2 * THREADS)]
    async with asyncio.timeout(5):
        await asyncio.to_thread(time.monotonic)
    answers.set()
    await asyncio.gather(*hanging)


def followers_of(link: ClusterLink, zone: Any) -> Followers:
    """The followers of a daemon with one zone."""
    zone.cluster = ClusterRoom(cast(Any, SimpleNamespace(epoch=None)), applied=1)
    events = SimpleNamespace(raise_event=None, resolve=None)
    return Followers(
        link, cast(Any, {"z.": zone}), cast(Any, None), cast(Any, None), cast(Any, None), cast(Any, None),
        cast(Any, None), cast(Any, None), cast(Any, events), SystemClock(), Mailbox(), cast(Any, None),
    )  # fmt: skip


class Zone(SimpleNamespace):
    __hash__ = object.__hash__


def a_zone() -> Any:
    return Zone(name="z.", gone=False, doubt=None, serial=1, jobs=JobsRoom(), servers=None)


async def test_a_stop_waits_for_the_thread_that_applies_records(
    link: ClusterLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, read = threading.Event(), list[int]()

    def endless(zone: str, after: int, digest: str) -> Iterator[LogRecord]:
        for number in range(100_000):
            time.sleep(0.05)
            yield LogRecord(number, 1, Kind.VERSION, "b", "", iter(()), 0)

    zone = a_zone()
    followers = followers_of(link, zone)

    def apply(found: object) -> Any:
        try:
            for record in followers.read("z.", 1):
                begun.set()
                read.append(record.sequence)
        except LogUnavailable:
            time.sleep(0.2)  # the end of the transaction
            read.append(-1)
            raise
        return SimpleNamespace(log=CaughtUp(position=Position(1, 1, "")))

    monkeypatch.setattr(link.log, "read", endless)
    monkeypatch.setattr(followers, "_read_here", apply)
    followers.follow(cast(Any, zone))
    async with asyncio.timeout(10):
        await asyncio.to_thread(begun.wait)
        await followers.close()
    assert read[-1] == -1, "the thread still uses the database of the zone"
    followers.follow(cast(Any, zone))
    assert zone.cluster.follow is not None
    assert zone.cluster.follow.done(), "nothing begins after the end"


async def test_records_that_came_while_a_zone_was_in_doubt_are_read_afterwards(
    link: ClusterLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, read = a_zone(), asyncio.Event()
    followers = followers_of(link, zone)

    async def note(zone: object, room: object) -> Any:
        read.set()
        return SimpleNamespace(log=None, problems=[])

    monkeypatch.setattr(followers, "_read", note)
    monkeypatch.setattr(followers, "_again", lambda zone, cause: None)
    zone.doubt = "a sweep found it damaged"
    followers.news({"z.": 2})
    async with asyncio.timeout(5):
        await zone.cluster.follow
        assert not read.is_set()
        zone.doubt = None
        followers._mailbox.finished.send(zone)
        await read.wait()
    await followers.close()


async def test_a_log_that_lost_records_is_reported_while_a_version_is_in_doubt(
    link: ClusterLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover that loses records often leaves a commit in doubt: to settle it fails for as long as they are lost."""
    zone, raised = a_zone(), list[str]()
    followers = followers_of(link, zone)
    raise_event = lambda name, zone, cause, **given: raised.append(name)  # noqa: E731
    followers._events = cast(Any, SimpleNamespace(raise_event=raise_event, resolve=None))
    zone.cluster.doubtful = 3, 1

    def settle(zone: str, sequence: int, epoch: int) -> Any:
        raise LogShorter("the log lacks the record before")

    async def read(zone: object, room: object) -> Any:
        caught = CaughtUp(position=Position(2, 1, "aa"), stopped="log shorter", cause="it ends at 1")
        return SimpleNamespace(log=caught, problems=[])

    monkeypatch.setattr(link.log, "settle", settle)
    monkeypatch.setattr(followers, "_read", read)
    followers.follow(cast(Any, zone))
    async with asyncio.timeout(5):
        await zone.cluster.follow
    assert raised == ["log-record-refused"]
    assert followers.ready(zone), "it does not take the zone over"
    assert zone.cluster.doubtful == (3, 1), "it is settled when the log has the records again"
    await followers.close()


@pytest.mark.parametrize("lease", [True, False])
async def test_a_node_that_cannot_read_a_log_for_a_while_is_no_successor(
    link: ClusterLink, monkeypatch: pytest.MonkeyPatch, lease: bool
) -> None:
    """As with a full disk: it kept its place as a node that can take the zone over, and nothing counted that."""
    zone = a_zone()
    followers = followers_of(link, zone)
    zone.held, zone.orphan, zone.cluster.keys = None, False, ""
    clock, metrics = SimpleNamespace(at=1000.0), ClusterMetrics(CollectorRegistry())
    followers._clock = cast(Any, SimpleNamespace(monotonic=lambda: clock.at))
    followers._metrics = metrics
    followers._events = cast(Any, SimpleNamespace(resolve=lambda *event: None))
    link.renewed_at = math.inf if lease else -math.inf
    monkeypatch.setattr(followers_module, "RETRY_S", 3600.0)
    monkeypatch.setattr(followers_module, "RETRY_UNREAD_S", 3600.0)
    found = [SimpleNamespace(log=None, problems=[SimpleNamespace(cause="the disk is full")])] * 2

    async def read(zone: object, room: object) -> Any:
        return found.pop()

    monkeypatch.setattr(followers, "_read", read)
    for wait_s, ready in ((0.0, True), (61.0, False)):
        clock.at += wait_s
        followers.follow(cast(Any, zone))
        await zone.cluster.follow
        assert (followers.ready(zone) == "") is ready
    assert "the disk is full" in followers.ready(zone)
    assert metrics.failures.labels("follow")._value.get() == int(lease), "the database away is another alert"
    found.append(SimpleNamespace(log=CaughtUp(position=Position(2, 1, "")), serial=None))
    followers.follow(cast(Any, zone))
    await zone.cluster.follow
    assert followers.ready(zone) == ""
    await followers.close()


async def test_an_owner_that_was_replaced_ends_its_work_outside(
    link: ClusterLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events would fire until it owns the zone again. A zone in doubt alone has no other owner."""
    zone, ended, resolved = a_zone(), list[object](), set[str]()
    followers = followers_of(link, zone)
    followers._events = cast(
        Any, SimpleNamespace(resolve=lambda name, zone, subject="": resolved.add(name), raise_event=None)
    )
    followers._mailbox.disowned.subscribe(ended.append)
    zone.cluster.owner, zone.cluster.keys = "a", ""

    async def caught_up(epoch: int, node: str) -> None:
        caught = CaughtUp(position=Position(2, epoch, ""), node=node)
        await followers._caught_up(zone, zone.cluster, cast(Any, SimpleNamespace(serial=1)), caught)

    await caught_up(1, "a")
    assert not ended
    zone.cluster.owner = "b"  # the row says so, before the record was read
    for _ in range(2):
        await caught_up(2, "b")
        assert ended == [zone]
    assert resolved >= {"ds-handover", "secondary-lagging"}
    await followers.close()


async def test_a_zone_whose_keys_were_not_proved_yet_is_not_taken_over(link: ClusterLink) -> None:
    """After a start a proof may take as long as the key service lets it wait."""
    zone = a_zone()
    followers = followers_of(link, zone)
    zone.held, zone.orphan = None, False
    assert followers.ready(zone) == "its keys were not proved yet"
    for keys in ("", "key 7 cannot be proved"):
        zone.cluster.keys = keys
        assert followers.ready(zone) == keys


def test_alerts_of_the_owner_end_when_another_node_owns_the_zone() -> None:
    """They would fire here without end: what raises them looks at zones that this node owns."""
    rollovers = (*ceremony_watch.NAMES, compromise.EVENT, lost_keys.EVENT, overdue.EVENT, of_nodes.REFUSED)
    keys = first_keys_ready.KEY_WANTED, first_keys_ready.NOT_BACKED_UP, first_keys_ready.NOT_HELD
    jobs = (*outcome_events.INPUT_EVENTS, *outcome_events.REVIEW_EVENTS, *outcome_events.WARNING_EVENTS)
    assert {*rollovers, *keys, *jobs} <= {*followers_module.OWNER_EVENTS} <= EVENT_KINDS.keys()
