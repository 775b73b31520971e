"""NOTIFY (RFC 1996) that does not give up: repeated with back-off until the secondary is seen to serve the serial.

One follower per zone and secondary. It sends NOTIFY with the new SOA, leaves the secondary time to transfer, then
looks (SOA over UDP) at growing intervals; as long as an older serial is seen, or nothing, NOTIFY is repeated at growing
intervals without end. A newer version published meanwhile replaces the goal and starts the intervals afresh; in a
stream of versions there is a look now and then. All exchanges together are bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dnssecd.publish.exchange import Peer, Timing
from dnssecd.publish.watch import Ledger, sight


@dataclass(frozen=True, slots=True)
class Goal:
    """A published version: serial, and its SOA RDATA (uncompressed wire form) and TTL for the NOTIFY."""

    serial: int
    soa: bytes
    ttl: int


class NotifyResult(Enum):
    """How a secondary took a NOTIFY; the values are the labels of the metric."""

    ANSWERED = "answered"  # NOERROR
    REFUSED = "refused"  # another RCODE, or a TSIG error
    TIMEOUT = "timeout"
    ERROR = "error"  # it could not be sent, or the answer must not be believed


@dataclass(frozen=True, slots=True)
class NotifyOutcome:
    """The result of one NOTIFY; ``detail``: the RCODE, or why there is none."""

    result: NotifyResult
    detail: str


#: Sends one NOTIFY: (zone, server, goal, deadlines) → what came of it.
Announce = Callable[[str, Peer, Goal, Timing | None], Awaitable[NotifyOutcome]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals in seconds; each doubles from the first to the last."""

    look_first_s: float = 0.04
    look_last_s: float = 60.0
    #: While versions follow one another faster than that, a server is looked at this often.
    look_stream_s: float = 1.0
    notify_first_s: float = 2.0
    notify_last_s: float = 300.0
    #: How long it takes to look at all servers once when nothing happens (for serials that go back, say).
    sweep_s: float = 300.0
    #: A sweep over very many servers takes longer, so that looks for nothing cost next to nothing: so many a second.
    #: Zones share servers: a server that is down is found by the look for the first of its zones.
    sweep_looks_per_s: float = 2.0
    #: At least this long between two NOTIFYs to one secondary for one zone, however fast versions follow.
    gap_s: float = 0.01


class NotifyHooks:
    """What notifying reports; override what is wanted. Called on the event loop."""

    def notified(self, zone: str, secondary: str, outcome: NotifyOutcome, failures: int) -> None:
        """A NOTIFY was sent; ``failures``: how many in a row were not answered NOERROR, this one included.

        While a secondary answers nothing at all, NOTIFYs that time out are not counted.
        """

    def caught_up(self, zone: str, secondary: str, serial: int, seconds: float) -> None:
        """The secondary was seen to serve ``serial``, ``seconds`` after it was published."""


class Notifier:
    """Follows all secondaries of all zones. Methods belong to the event loop's thread."""

    def __init__(
        self,
        ledger: Ledger,
        now: Callable[[], float],
        announce: Announce,
        hooks: NotifyHooks | None = None,
        pace: Pace | None = None,
        timing: Timing | None = None,
        in_flight_max: int = 64,
    ) -> None:
        """ledger: takes every sighting; now: epoch seconds; announce: sends one NOTIFY.

        in_flight_max: exchanges at one time.
        One server gets at most a quarter of them: a dead one must not hold up the others.
        """
        self.ledger = ledger
        self.now = now
        self.hooks = hooks or NotifyHooks()
        self.pace = pace or Pace()
        self._timing = timing
        self.announce = announce
        self._free = asyncio.Semaphore(in_flight_max)
        self._free_by_server: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._per_server_max = max(1, in_flight_max // 4)
        #: By zone, then by server.
        self._followers: dict[str, dict[str, _Follower]] = {}
        self._sweep: asyncio.Task[Any] | None = None
        #: How long it takes at present to look at all servers once.
        self.sweep_s = self.pace.sweep_s

    def published(
        self,
        zone: str,
        goal: Goal,
        secondaries: Iterable[Peer],
        watched: Iterable[Peer] = (),
        *,
        resume: bool = False,
    ) -> None:
        """Bring ``goal`` to the secondaries; ``watched`` (check_servers) are looked at but get no NOTIFY.

        Replaces what was being done for the zone: servers no longer named are dropped. ``resume``: it was published
        before a restart, most servers have it; NOTIFY goes to those that are seen not to.
        """
        self.ledger.published(zone, goal.serial, self.now())
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().create_task(self._sweep_forever())
        wanted = {peer.name: (peer, True) for peer in secondaries}
        for peer in watched:
            wanted.setdefault(peer.name, (peer, False))
        followers = self._followers.setdefault(zone, {})
        for name in followers.keys() - wanted.keys():
            followers.pop(name).stop()
        for peer, notified in wanted.values():
            follower = followers.get(peer.name)
            if follower is None:
                follower = followers[peer.name] = _Follower(self, zone)
            follower.pursue(goal, peer, notified, resume)

    def withdraw(self, zone: str) -> None:
        """Stop everything for a zone."""
        for follower in self._followers.pop(zone, {}).values():
            follower.stop()
        self.ledger.forget(zone)

    def waiting_for(self, zone: str) -> list[str]:
        """Return the names of servers not yet seen to serve what is published."""
        return sorted(name for name, follower in self._followers.get(zone, {}).items() if follower.busy)

    def follows(self, zone: str, secondaries: Iterable[Peer], watched: Iterable[Peer]) -> bool:
        """Tell whether these are the servers that are followed, or would be, for a zone."""
        wanted = {peer.name: (peer, True) for peer in secondaries}
        for peer in watched:
            wanted.setdefault(peer.name, (peer, False))
        return wanted == {
            name: (each.peer, each.notified) for name, each in self._followers.get(zone, {}).items()
        }

    async def close(self) -> None:
        """Stop everything."""
        followers = [each for of_zone in self._followers.values() for each in of_zone.values()]
        self._followers.clear()
        for follower in followers:
            follower.stop()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def _sweep_forever(self) -> None:
        """Look at every server once per sweep, evenly spread; one that fell behind is pursued again."""
        while True:
            places = [(zone, name) for zone, followers in self._followers.items() for name in followers]
            self.sweep_s = max(self.pace.sweep_s, len(places) / self.pace.sweep_looks_per_s)
            pause_s = self.sweep_s / max(1, len(places))
            for zone, name in places:
                await asyncio.sleep(pause_s)
                follower = self._followers.get(zone, {}).get(name)
                if follower is not None:
                    follower.check()
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

    async def look(self, zone: str, peer: Peer) -> str:
        """Look at one server within the bound on exchanges; return its state (watch.Judgement)."""
        async with self._turn(peer):
            sighting = await sight(zone, peer, self.now, self._timing)
        return self.ledger.record(sighting).state


class _Follower:
    """Pursues the latest goal at one server."""

    def __init__(self, notifier: Notifier, zone: str) -> None:
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
        self._news = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    @property
    def busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def peer(self) -> Peer | None:
        """Whom it follows."""
        return self._peer

    @property
    def notified(self) -> bool:
        """Whether it gets NOTIFY."""
        return self._notified

    def pursue(self, goal: Goal, peer: Peer, notified: bool, resume: bool) -> None:
        """Make ``goal`` the goal, now; ``resume``: look before anything else."""
        if goal == self._goal and peer == self._peer and self.busy:
            return
        self._goal, self._peer, self._notified = goal, peer, notified
        self._since = time.monotonic()
        self.reached = False
        if resume and not self.busy and peer.query:
            self.check()
            return
        self._news.set()
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def check(self) -> None:
        """Look once, unless something is under way; resume the pursuit if the server is not where it was."""
        if not self.busy and self._peer is not None and self._peer.query:
            self._task = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        peer, goal = self._peer, self._goal
        assert peer is not None
        assert goal is not None
        state = await self._notifier.look(self._zone, peer)
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
        """Notify and look until the goal is seen, or there is a newer one."""
        pace = self._notifier.pace
        notify_s = pace.notify_first_s
        answered = False
        while not self._news.is_set():
            if self._notified:
                answered = await self._notify()
                await asyncio.sleep(pace.gap_s)
            peer = self._peer
            if peer is not None and not peer.query:
                # It may not be asked what it serves: all that can be known is that it took the NOTIFY.
                self.reached = answered
                if answered or await self._pause(notify_s):
                    return
            elif await self._look_for(notify_s):
                return
            notify_s = min(2 * notify_s, pace.notify_last_s)

    async def _notify(self) -> bool:
        """Send one NOTIFY; tell whether it was answered NOERROR."""
        peer, goal = self._peer, self._goal
        assert peer is not None
        assert goal is not None
        outcome = await self._notifier.send(self._zone, peer, goal)
        answered = outcome.result is NotifyResult.ANSWERED
        if answered:
            self._failures = 0
        elif self._answers or outcome.result is NotifyResult.REFUSED:
            self._failures += 1
        self._notifier.hooks.notified(self._zone, peer.name, outcome, self._failures)
        return answered

    async def _look_for(self, seconds: float) -> bool:
        """Look at the server for ``seconds``; tell whether the goal was reached or replaced."""
        pace = self._notifier.pace
        ends = time.monotonic() + seconds
        look_s = pace.look_first_s
        while (left_s := ends - time.monotonic()) > 0:
            replaced = await self._pause(min(look_s, left_s))
            if replaced and time.monotonic() - self._looked_at < pace.look_stream_s:
                return True
            peer, goal = self._peer, self._goal
            assert peer is not None
            assert goal is not None
            state = await self._notifier.look(self._zone, peer)
            self._looked_at = time.monotonic()
            self._answers = state != "unreachable"
            if self._news.is_set():
                return True
            if state == "current":
                self.reached = True
                seconds = time.monotonic() - self._since
                self._notifier.hooks.caught_up(self._zone, peer.name, goal.serial, seconds)
                return True
            look_s = min(2 * look_s, pace.look_last_s)
        return False

    async def _pause(self, seconds: float) -> bool:
        """Sleep; tell whether there is a newer goal instead."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
