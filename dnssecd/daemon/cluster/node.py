"""This node in its cluster: it joins, renews its lease, and takes over the zones of nodes that cannot make versions.

The lease is renewed by a task and a connection of its own: it waits for no other work, however long that takes. What a
heartbeat brought is worked on by another task (``_looks``), which leaves heartbeats out if it is slow.

While the database cannot be reached everything that is stored is still served, and nothing is made: the log would not
take it. What this module decides from leases and clocks is only who tries; the log decides who may.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import structlog

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.cluster import ownership, settings
from dnssecd.cluster.database import check_synchronous, require_synchronous
from dnssecd.cluster.errors import (
    ClusterError,
    DatabaseAway,
    DatabaseRefused,
    NameTaken,
    NotReplicated,
    Superseded,
)
from dnssecd.cluster.membership import BEAT_S, Beat, Membership, NodeState
from dnssecd.cluster.ownership import Owner, Ownership
from dnssecd.cluster.schema import check_schema
from dnssecd.config.model import Config
from dnssecd.daemon.cluster.comparison import Comparison
from dnssecd.daemon.cluster.followers import Followers
from dnssecd.daemon.cluster.key_shares import KeyShares
from dnssecd.daemon.cluster.lasting import keep_running
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.cluster.news import LogNews
from dnssecd.daemon.cluster.node_keys import NodeKeys
from dnssecd.daemon.cluster.reports import measure, report_away
from dnssecd.daemon.cluster.retention import LogRetention
from dnssecd.daemon.cluster.step_down import StepDown
from dnssecd.daemon.cluster.successors import Successors
from dnssecd.daemon.state_dir import CannotStart
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore

AWAY, UNFIT, UNSAFE = "cluster-database-away", "cluster-node-unfit", "cluster-not-replicated"
#: Heartbeats that another node gets, before this one takes a zone over that is rather for the other.
PATIENCE_S = 2 * BEAT_S
#: A start waits this long at most for the end of the lease that a previous process of this node left.
WAIT_FOR_NAME_S = 30.0
#: Zones without owner are looked for at this interval.
CLAIMS_S = 10.0
#: A refusal of the log is reported for this time; what was refused is tried again sooner.
REFUSED_S = 60.0
#: The version of the tables is checked at this interval.
CHECK_S = 60.0

Args = TypeVarTuple("Args")
T = TypeVar("T")

log = structlog.get_logger("dnssecd.cluster")


class ClusterNode:
    """Runs as tasks of the daemon. ``nodes``: all nodes as the last heartbeat had them."""

    def __init__(
        self,
        link: ClusterLink,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        followers: Followers,
        events: EventCore,
        clock: Clock,
        retention: LogRetention,
        metrics: ClusterMetrics,
        shares: KeyShares,
        keys: NodeKeys,
        step_down: StepDown,
    ) -> None:
        self._retention, self._shares, self.keys, self._step_down = retention, shares, keys, step_down
        self.link, self._config, self._zones, self._followers = link, config, zones, followers
        self._events, self._clock, self._metrics = events, clock, metrics
        self._membership = Membership(link.lease, link.config.take_over_after)
        self._settings = Membership(link.database, link.config.take_over_after)
        self._thread = ThreadPoolExecutor(1, "heartbeat")
        self._ownership = Ownership(link.database)
        self.nodes: dict[str, NodeState] = {}
        self._joined = False
        self._unfit = ""
        self._offset = 0.0
        self._owners_known = False
        self._claims_at = 0.0
        self._refusals, self._refused_at = 0, 0.0
        self._unsafe = ""
        self._checked_at = 0.0
        self._published: Config | None = None
        self._beaten = asyncio.Event()
        self._newest: Beat | None = None
        #: Why the work after the heartbeats fails now.
        self._failing: ClusterError | None = None
        self.comparison = Comparison(link, config, events)
        self._news = LogNews(link, followers)
        self._successors = Successors(link, zones, followers, events, clock, metrics, self._why_not_zone)

    @property
    def _name(self) -> str:
        return self.link.config.node

    def now(self) -> float:
        """Return the time of this host, epoch seconds."""
        return self._clock.now()

    async def start(self) -> None:
        """Join the cluster; a database that is away is no obstacle. Raise CannotStart."""
        try:
            await self._join()
        except (DatabaseAway, DatabaseRefused, NotReplicated) as error:
            self._away(error)  # what is stored is served; joining is tried again at each heartbeat
        except NameTaken as error:
            if self.link.config.take_over_after > WAIT_FOR_NAME_S:
                self._replaced(error)  # what is stored is served; joining is tried again at each heartbeat
                return
            log.info("waiting for the lease of the previous process of this node", node=self._name)
            await asyncio.sleep(self.link.config.take_over_after + 1)
            try:
                await self._join()
            except ClusterError as late:
                raise CannotStart(f"{late.what}; {late.remedy}") from late
        except ClusterError as error:
            raise CannotStart(f"{error.what}; {error.remedy}") from error

    async def _join(self) -> None:
        self._judge_standby(await self.link.run(self._check))
        if self.link.config.require_synchronous:
            require_synchronous(self._unsafe)
        config = self._config()
        ours = settings.settings_of(config)
        own = self.link.config.nodes[self._name]
        address = [str(each) for each in own.address]
        digest, octets = settings.digest(ours), settings.encode(ours)
        await self._soon(self._membership.join, address, __version__, digest, octets, self.link.previous)
        try:
            self.link.joined()
        except OSError as error:  # the next process of this node then waits for the end of the lease
            log.warning("the name of this process could not be stored", cause=str(error))
        self._published = config
        self._joined = True
        log.info("joined the cluster", node=self._name, nodes=sorted(self.link.config.nodes))

    async def _soon(self, work: Callable[[*Args], T], *args: *Args) -> T:
        """Run work of the lease in its own thread: it waits for no follower."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _judge_standby(self, unsafe: str) -> None:
        """Note whether commits are replicated."""
        self._unsafe = unsafe
        if unsafe:
            self._events.raise_event(UNSAFE, None, unsafe)
        else:
            self._events.resolve(UNSAFE, None)

    def _check(self) -> str:
        """Return why commits are not replicated. Raise ClusterError if the database cannot be used."""
        self._checked_at = self._clock.monotonic()
        with self.link.database.own_session() as session:
            check_schema(session)
            return check_synchronous(session)

    async def run(self) -> None:
        """Renew the lease and look after the zones; no failure ends it."""
        works = {
            "heartbeat": self._beats,
            "looks": self._looks,
            "news": self._news.follow,
            "notices": self._news.listen,
            "troubles": self._followers.run,
            "retention": self._retention.run,
            "keys": self._shares.run,
            "node keys": self.keys.run,
            "step down": self._step_down.run,
        }
        try:
            async with asyncio.TaskGroup() as group:
                for name, work in works.items():
                    group.create_task(keep_running(name, work, self._metrics.failures, self._clock))
        finally:
            await self._followers.close()

    async def _beats(self) -> None:
        while True:
            begun = self._clock.monotonic()
            try:
                if not self._joined:
                    await self._join()
                await self._beat()
                self._metrics.database_up.set(1)
                if self._failing is None:
                    self._judge_log()
            except (Superseded, NameTaken) as error:
                self._replaced(error)
            except ClusterError as error:
                self._away(error)
            await asyncio.sleep(max(0.1, BEAT_S - (self._clock.monotonic() - begun)))

    async def _looks(self) -> None:
        self._owners_known = False
        while True:
            await self._beaten.wait()
            self._beaten.clear()
            beat = self._newest
            if beat is None or not self._joined:
                continue
            try:
                await self._look(beat)
                self._failing = None
            except ClusterError as error:
                self._failing = error
                self._owners_known = False
                self._events.raise_event(AWAY, None, error.what, remedy=error.remedy)

    def _replaced(self, error: ClusterError) -> None:
        """Serve on without owning zones: another process has this node's name, until its lease ends."""
        if self._joined:
            log.error("this process leaves the cluster", cause=error.what, remedy=error.remedy)
        self._joined = self._owners_known = False
        self._followers.give_up_all()
        why = f"node {self._name} makes no versions: {error.what}"
        self._events.raise_event(UNFIT, None, why, remedy=error.remedy)

    def _away(self, error: ClusterError) -> None:
        self._owners_known = False
        self._metrics.database_up.set(0)
        self._events.raise_event(AWAY, None, error.what, remedy=error.remedy)

    def _judge_log(self) -> None:
        """Report a database that takes heartbeats and no records: its disk may be full."""
        log_, now = self.link.log, self._clock.monotonic()
        if self._refusals != log_.refusals:
            self._refusals, self._refused_at = log_.refusals, now
        if log_.refusal and now - self._refused_at < REFUSED_S:
            self._events.raise_event(AWAY, None, f"it takes no versions: {log_.refusal}")
        else:
            self._events.resolve(AWAY, None)

    async def _beat(self) -> None:
        begun, at = self._clock.monotonic(), self._clock.now()
        beat = await self._soon(self._membership.beat, self._unfit, self._offset)
        self.link.renewed_at = begun
        took = self._clock.monotonic() - begun
        self._judge_standby(beat.unsafe)
        self._judge_clock(beat.at - (at + took / 2), took)
        self.nodes, self._newest = beat.nodes, beat
        report_away(self._events, self.link.config.nodes, beat.nodes, self.link.config.take_over_after)
        self._beaten.set()

    async def _look(self, beat: Beat) -> None:
        """Work on what a heartbeat brought. Raise ClusterError."""
        if self._clock.monotonic() - self._checked_at > CHECK_S:
            await self.link.run(self._check)
        await self._publish()
        await self.comparison.compare(self.nodes)
        if not self._owners_known or self._unclaimed():
            await self._read_owners()
        await self._successors.report()
        await self._successors.look(beat.nodes)
        self._followers.prove_some()
        self._metrics.clock_offset.set(self._offset)
        measure(self._metrics, self._zones.values())
        if self._fit and not beat.nodes[self._name].draining:
            await self._take_over(beat)

    @property
    def _fit(self) -> bool:
        """Whether this node may own zones now: a heartbeat may have ended that during other work."""
        return self._joined and not self._unfit

    def _judge_clock(self, offset: float, took: float) -> None:
        """Judge whether this node may own zones: with a wrong clock it would sign with wrong times."""
        self._offset = offset
        tolerance = self._config().server.clock_tolerance
        behind, before = self._behind_s(), self._unfit
        if abs(offset) > tolerance + took:
            self._unfit = (
                f"its clock differs from the database's by {offset:.0f} s (clock_tolerance: {tolerance} s)"
            )
        elif self._unsafe and self.link.config.require_synchronous:
            self._unfit = self._unsafe
        elif behind > self.link.config.take_over_after:
            self._unfit = f"its databases lack versions of the log for {behind:.0f} s"
        else:
            self._unfit = ""
        if self._unfit and not before:
            self._followers.give_up_all()
        elif before and not self._unfit:
            self._owners_known = False
        if self._unfit:
            self._events.raise_event(UNFIT, None, f"node {self._name} makes no versions: {self._unfit}")
        else:
            self._events.resolve(UNFIT, None)

    def _behind_s(self) -> float:
        now = self._clock.monotonic()
        rooms = (zone.cluster for zone in self._zones.values() if zone.cluster is not None)
        return max((now - room.behind_since for room in rooms if room.behind_since is not None), default=0.0)

    async def _publish(self) -> None:
        """Publish the settings of a new configuration."""
        config = self._config()
        if config is self._published:
            return
        ours = settings.settings_of(config)
        await self.link.run(self._settings.publish, settings.digest(ours), settings.encode(ours))
        self._published = config
        self.comparison.forget()

    async def _read_owners(self) -> None:
        """Learn who owns which zone, and follow all logs: at the start, and after the database was away."""
        self._owners_known = True  # before the reads: what happens meanwhile may end it
        found = await self.link.run(ownership.owners, self.link.database)
        heads = await self.link.run(self.link.log.heads)
        for name, owner in found.items():
            zone = self._zones.get(name)
            if zone is None or zone.cluster is None:
                continue
            zone.cluster.owner = owner.node
            if owner.node == self._name and self._fit:
                self._followers.taken(ownership.Taken(name, owner.epoch, owner.sequence))
        self._followers.news(heads)
        if self._fit:
            await self._claim(found)

    def _unclaimed(self) -> bool:
        """Tell whether it is time to look at zones without owner, as a zone that was just added."""
        now = self._clock.monotonic()
        if now < self._claims_at:
            return False
        self._claims_at = now + CLAIMS_S
        return any(zone.cluster is not None and not zone.cluster.owner for zone in self._zones.values())

    async def _claim(self, owners: Mapping[str, Owner]) -> None:
        """Become the first owner of zones that have none: of those for this node, and of those that only it has."""
        fit = [name for name, state in self.nodes.items() if state.may_own]
        free = [zone for name, zone in self._zones.items() if name not in owners and not zone.orphan]
        mine = [zone.name for zone in free if self._claims(zone, fit)]
        for taken in await self.link.run(self._ownership.claim, mine) if mine else ():
            log.info("this node is the first owner of the zone", zone=taken.zone)
            if self._fit:
                self._followers.taken(taken)

    def _claims(self, zone: FrontZone, fit: list[str]) -> bool:
        """Tell whether this node claims a zone now: it has a version, or the choice falls on it, or no other did."""
        room = zone.cluster
        if room is None or zone.doubt is not None or zone.held is not None:
            return False
        room.unheard_since = room.unheard_since or self._clock.monotonic()
        waited = self._clock.monotonic() - room.unheard_since
        chosen = ownership.preferred(zone.name, fit) == self._name
        return zone.serial is not None or chosen or waited > 2 * PATIENCE_S

    async def _take_over(self, beat: Beat) -> None:
        """Take over the zones whose owner cannot make versions, those rather for another node a little later."""
        moves = await self._moving() if beat.moves else frozenset()
        fit = [name for name, state in beat.nodes.items() if state.may_own]
        wanted = dict(self._to_take(fit, moves))
        if not wanted:
            return
        rooms = {name: self._zones[name].cluster for name in wanted}
        digests = {name: room.digest for name, room in rooms.items() if room is not None}
        taken = await self.link.run(self._ownership.take_over, wanted, digests)
        for one in taken:
            log.info("zone taken over", zone=one.zone, epoch=one.epoch)
            self._metrics.takeovers.inc()
            if self._fit:
                self._followers.taken(one)
        for name in wanted.keys() - {one.zone for one in taken}:
            self._followers.follow(self._zones[name])

    async def _moving(self) -> frozenset[str]:
        found = await self.link.run(ownership.owners, self.link.database)
        return frozenset(name for name, owner in found.items() if owner.move_to == self._name)

    def _to_take(self, fit: list[str], moves: frozenset[str]) -> Iterator[tuple[str, int]]:
        now = self._clock.monotonic()
        for name, zone in self._zones.items():
            room = zone.cluster
            if room is None or room.owner in ("", self._name):
                continue
            owner = self.nodes.get(room.owner)
            if name not in moves and owner is not None and owner.may_own:
                room.unheard_since = None
                continue
            room.unheard_since = room.unheard_since or now
            turn = ownership.preferred(name, fit) == self._name or now - room.unheard_since > PATIENCE_S
            if (turn or name in moves) and not self.why_not(zone) and room.applied is not None:
                yield name, room.applied

    def why_not(self, zone: FrontZone) -> str:
        """Return why this node cannot take a zone over, "" if it can."""
        return self._unfit or self._why_not_zone(zone)

    def why_unable(self, zone: FrontZone) -> str:
        """Return why this node cannot sign a zone now, as far as is known without asking; "" if nothing is known."""
        return self._step_down.why_not(zone)

    def _why_not_zone(self, zone: FrontZone) -> str:
        why = self._followers.ready(zone) or self._step_down.why_not(zone)
        if why or zone.name not in self._config().zones:
            return why or "the configuration of this node does not name it"
        return self.comparison.why_not(zone.name, self.nodes)

    async def close(self) -> None:
        """End the lease, so that others take the zones over at once."""
        self._news.close()
        await self._followers.close()
        if self._joined:
            with suppress(ClusterError):
                await self._soon(self._membership.leave)
        self._thread.shutdown(wait=False)
