"""NOTIFY (RFC 1996), repeated with back-off until the secondary is seen to serve the serial.

One follower per zone and secondary. It sends NOTIFY with the new SOA, gives the secondary time to transfer,
then queries its SOA over UDP at growing intervals. While the secondary serves an older serial or does not
answer, NOTIFY is repeated at growing intervals, without end. A newer version replaces the goal and restarts
the intervals; in a stream of versions the secondary is still queried at intervals. The number of exchanges at
one time is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

from msgspec import Struct

from dnssecd.backoff import Backoff
from dnssecd.flag import Flag
from dnssecd.publish.exchange import Peer, Timing
from dnssecd.publish.notify_gap import NotifyGap, Pace
from dnssecd.publish.watch import Ledger, Sighting, WatchHooks, sight


class Goal(Struct, frozen=True, gc=False):
    """A published version: serial, and its SOA RDATA (uncompressed wire form) and TTL for the NOTIFY.

    Without an SOA the NOTIFY has none: it is a hint that may be left out (RFC 1996 §3.7).
    """

    serial: int
    soa: bytes = b""
    ttl: int = 0


class NotifyResult(Enum):
    """The result of a NOTIFY at a secondary; the values are the labels of the metric."""

    ANSWERED = "answered"  # NOERROR
    REFUSED = "refused"  # another RCODE, or a TSIG error
    TIMEOUT = "timeout"
    ERROR = "error"  # it could not be sent, or the answer must not be used


class NotifyOutcome(Struct, frozen=True):
    """The result of one NOTIFY; ``detail``: the RCODE, or why there is none.

    ``rejects_key``: it does not have the TSIG key, or has another secret for it.
    """

    result: NotifyResult
    detail: str
    rejects_key: bool = False


#: Sends one NOTIFY: (zone, server, goal, deadlines) → its outcome.
Announce = Callable[[str, Peer, Goal, Timing | None], Awaitable[NotifyOutcome]]


class NotifyHooks:
    """Reports of the notifier; override the methods you need. They are called on the event loop."""

    def notified(self, zone: str, secondary: str, outcome: NotifyOutcome, failures: int) -> None:
        """Report a NOTIFY; ``failures``: how many in a row were not answered NOERROR, this one included.

        While a secondary answers no queries, NOTIFYs that time out are not counted.
        """

    def caught_up(self, zone: str, secondary: str, serial: int, seconds: float) -> None:
        """Report that the secondary was seen to serve ``serial``, ``seconds`` after it was published."""


class Notifier:
    """Follows the servers of all zones (:class:`ZoneServers`). Methods belong to the event loop's thread."""

    def __init__(
        self,
        now: Callable[[], float],
        announce: Announce,
        hooks: NotifyHooks | None = None,
        watch_hooks: WatchHooks | None = None,
        pace: Pace | None = None,
        timing: Timing | None = None,
        in_flight_max: int = 64,
    ) -> None:
        """now: epoch seconds; announce: sends one NOTIFY; watch_hooks: hear of every sighting.

        in_flight_max: exchanges at one time.
        One server gets at most a quarter of them: a dead one must not hold up the others.
        """
        self.now = now
        self.hooks = hooks or NotifyHooks()
        self.watch_hooks = watch_hooks or WatchHooks()
        self.pace = pace or Pace()
        self.announce = announce
        self._timing = timing
        self._free = asyncio.Semaphore(in_flight_max)
        self._free_by_server: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._per_server_max = max(1, in_flight_max // 4)
        self._zones: set[ZoneServers] = set()
        self._sweep: asyncio.Task[Any] | None = None
        #: How long it takes at present to look at all servers once.
        self.sweep_s = self.pace.sweep_s

    def begin(self, zone: ZoneServers) -> None:
        """Sweep over the servers of a zone, too."""
        self._zones.add(zone)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().create_task(self._sweep_forever())

    def end(self, zone: ZoneServers) -> None:
        """Sweep over the servers of a zone no longer."""
        self._zones.discard(zone)

    async def close(self) -> None:
        """Stop everything."""
        for zone in list(self._zones):
            zone.withdraw()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def _sweep_forever(self) -> None:
        """Look at every server once per sweep, evenly spread; one that fell behind is pursued again."""
        while True:
            places = [(zone, name) for zone in self._zones for name in zone.names()]
            self.sweep_s = max(self.pace.sweep_s, len(places) / self.pace.sweep_looks_per_s)
            pause_s = self.sweep_s / max(1, len(places))
            for zone, name in places:
                await asyncio.sleep(pause_s)
                zone.check(name)
            if not places:
                await asyncio.sleep(self.pace.sweep_s)

    @asynccontextmanager
    async def _turn(self, peer: Peer) -> AsyncIterator[None]:
        place = (peer.host, peer.port)
        mine = self._free_by_server.setdefault(place, asyncio.Semaphore(self._per_server_max))
        async with mine, self._free:
            yield

    async def send(self, zone: str, peer: Peer, goal: Goal) -> NotifyOutcome:
        """Send one NOTIFY, within the bound on exchanges."""
        async with self._turn(peer):
            return await self.announce(zone, peer, goal, self._timing)

    async def look(self, zone: str, peer: Peer) -> Sighting:
        """Look at one server within the bound on exchanges."""
        async with self._turn(peer):
            return await sight(zone, peer, self.now, self._timing)


class ZoneServers:
    """The servers of one zone: what each is to serve, and was last seen to serve. The zone keeps it.

    What is under way for it ends with :meth:`withdraw`, so that no look or NOTIFY reports for a zone that is gone.
    """

    __slots__ = ("_followers", "_ledger", "_notifier", "zone")

    def __init__(self, zone: str, notifier: Notifier) -> None:
        """zone: its absolute name."""
        self.zone = zone
        self._notifier = notifier
        self._ledger = Ledger(notifier.watch_hooks)
        self._followers: dict[str, _Follower] = {}

    def published(
        self,
        goal: Goal,
        secondaries: Iterable[Peer],
        watched: Iterable[Peer] = (),
        *,
        resume: bool = False,
        asked_at: float | None = None,
    ) -> None:
        """Bring ``goal`` to the secondaries; ``watched`` (check_servers) are looked at but get no NOTIFY.

        Replaces what was being done: servers no longer named are dropped. ``resume``: it was published before a
        restart, most servers have it; NOTIFY goes to those that are seen not to. ``asked_at``: when a client asked for
        it, if one did (monotonic, seconds).
        """
        self._ledger.published(goal.serial, self._notifier.now())
        self._notifier.begin(self)
        wanted = _wanted(secondaries, watched)
        for name in self._followers.keys() - wanted.keys():
            self._followers.pop(name).stop()
        for peer, notified in wanted.values():
            follower = self._followers.get(peer.name)
            if follower is None:
                follower = self._followers[peer.name] = _Follower(self._notifier, self)
            follower.pursue(goal, peer, notified, resume, asked_at)

    def fetched(self, host: str, serial: int) -> None:
        """Note that the servers at an IP address were sent the version with a serial."""
        for follower in self._followers.values():
            if follower.peer is not None and follower.peer.host == host:
                follower.gap.fetched(serial, time.monotonic())

    def withdraw(self) -> None:
        """Stop everything, and forget what was seen."""
        for follower in self._followers.values():
            follower.stop()
        self._followers.clear()
        self._ledger.forget()
        self._notifier.end(self)

    def waiting_for(self) -> list[str]:
        """Return the names of servers not yet seen to serve what is published."""
        return sorted(name for name, follower in self._followers.items() if follower.busy)

    def follows(self, secondaries: Iterable[Peer], watched: Iterable[Peer]) -> bool:
        """Tell whether these are the servers that are followed, or would be."""
        now = {name: (each.peer, each.notified) for name, each in self._followers.items()}
        return _wanted(secondaries, watched) == now

    def last(self) -> list[Sighting]:
        """Return the latest sighting of each server, by server name."""
        return self._ledger.last()

    def names(self) -> list[str]:
        """Return the names of the servers that are followed."""
        return list(self._followers)

    def check(self, name: str) -> None:
        """Look at a server, if it is followed still."""
        follower = self._followers.get(name)
        if follower is not None:
            follower.check()

    async def look(self, peer: Peer) -> str:
        """Look at one server; return its state (watch.Judgement)."""
        return self._ledger.record(await self._notifier.look(self.zone, peer)).state


def _wanted(secondaries: Iterable[Peer], watched: Iterable[Peer]) -> dict[str, tuple[Peer, bool]]:
    """Return the servers by name, each with whether it gets NOTIFY."""
    wanted = {peer.name: (peer, True) for peer in secondaries}
    for peer in watched:
        wanted.setdefault(peer.name, (peer, False))
    return wanted


class _Follower:
    """Brings one server to the latest goal."""

    __slots__ = (
        "_answers",
        "_arrived",
        "_failures",
        "_goal",
        "_looked_at",
        "_news",
        "_no_gap",
        "_notified",
        "_notifier",
        "_peer",
        "_since",
        "_task",
        "_zone",
        "gap",
        "reached",
    )

    def __init__(self, notifier: Notifier, zone: ZoneServers) -> None:
        self._notifier = notifier
        self._zone = zone
        self._goal: Goal | None = None
        self._peer: Peer | None = None
        self._notified = True
        self._since = 0.0
        self._looked_at = time.monotonic()
        self.reached = False
        self._failures = 0
        self._answers = True
        self._news = Flag()
        self._task: asyncio.Task[Any] | None = None
        self.gap = NotifyGap(notifier.pace.gap_s, notifier.pace.gap_stream_s)
        self._no_gap = Flag()
        self._arrived = 0

    @property
    def busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def peer(self) -> Peer | None:
        """Return the server."""
        return self._peer

    @property
    def notified(self) -> bool:
        """Tell whether the server gets NOTIFY."""
        return self._notified

    def pursue(self, goal: Goal, peer: Peer, notified: bool, resume: bool, asked_at: float | None) -> None:
        """Set the goal and start now; ``resume``: query the server first; ``asked_at``: see ZoneServers."""
        if self._goal is not None and goal.serial == self._goal.serial and peer == self._peer and self.busy:
            return
        self._goal, self._peer, self._notified = goal, peer, notified
        self._since = time.monotonic()
        self._arrived += 1
        if self.gap.is_over_for(asked_at):
            self._no_gap.set()
        self.reached = False
        if resume and not self.busy and peer.query:
            self.check()
            return
        self._news.set()
        if not self.busy:
            self._start(self._run())

    def check(self) -> None:
        """Query once, unless the follower is active; start again if the server does not serve the goal."""
        if not self.busy and self._peer is not None and self._peer.query:
            self._start(self._check())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if self._task is task:
            self._task = None

    async def _check(self) -> None:
        peer, goal = self._peer, self._goal
        assert peer is not None
        assert goal is not None
        state = await self._zone.look(peer)
        self._answers = state != "unreachable"
        self.reached = state == "current"
        if not self.reached:
            self._news.set()
        await self._run()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._news.is_set():
            self._news.clear()
            await self._reach()

    async def _reach(self) -> None:
        """Notify and query until the goal is seen, or there is a newer goal."""
        pace = self._notifier.pace
        pauses = Backoff(pace.notify_first_s, pace.notify_last_s).delays()
        answered = False
        while not self._news.is_set():
            notify_s = next(pauses)
            if self._notified:
                self._arrived = 0
                answered = await self._notify()
                await self._keep_gap()
            peer = self._peer
            if peer is not None and not peer.query:
                # The server must not be queried: the only evidence is its answer to the NOTIFY.
                self.reached = answered
                if answered or await self._pause(notify_s):
                    return
            elif await self._look_for(notify_s):
                return

    async def _keep_gap(self) -> None:
        """Leave the server alone for a moment, unless there is a version that is announced without a gap."""
        try:
            async with asyncio.timeout(self.gap.seconds):
                await self._no_gap.wait()
            self.gap.cut_short()
        except TimeoutError:
            self.gap.ended(self._arrived)

    async def _notify(self) -> bool:
        """Send one NOTIFY; tell whether it was answered NOERROR."""
        peer, goal = self._peer, self._goal
        assert peer is not None
        assert goal is not None
        self._no_gap.clear()
        self.gap.announced(goal.serial)
        outcome = await self._notifier.send(self._zone.zone, peer, goal)
        answered = outcome.result is NotifyResult.ANSWERED
        if answered:
            self._failures = 0
        elif self._answers or outcome.result is NotifyResult.REFUSED:
            self._failures += 1
        self._notifier.hooks.notified(self._zone.zone, peer.name, outcome, self._failures)
        return answered

    async def _look_for(self, seconds: float) -> bool:
        """Query the server for ``seconds``; tell whether the goal was reached or replaced."""
        pace = self._notifier.pace
        ends = time.monotonic() + seconds
        pauses = Backoff(pace.look_first_s, pace.look_last_s).delays()
        while (left_s := ends - time.monotonic()) > 0:
            replaced = await self._pause(min(next(pauses), left_s))
            if replaced and time.monotonic() - self._looked_at < pace.look_stream_s:
                return True
            peer, goal = self._peer, self._goal
            assert peer is not None
            assert goal is not None
            state = await self._zone.look(peer)
            self._looked_at = time.monotonic()
            self._answers = state != "unreachable"
            if self._news.is_set():
                return True
            if state == "current":
                self.reached = True
                seconds = time.monotonic() - self._since
                self._notifier.hooks.caught_up(self._zone.zone, peer.name, goal.serial, seconds)
                return True
        return False

    async def _pause(self, seconds: float) -> bool:
        """Sleep; tell whether there is a newer goal instead."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
