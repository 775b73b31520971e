"""Follow the logs of zones: each record is verified, applied and served; become an owner, or stop being one.

A zone is in one of three conditions. *Followed*: another node owns it, records are applied as they come. *Owned*: this
node makes its versions. *In doubt*: it is not known whether this node's last record is in the log; nothing is made
before the log was read.
"""

import asyncio
import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

import structlog

from dnssecd.clock import Clock
from dnssecd.cluster.ownership import Taken
from dnssecd.cluster.retention import Progress
from dnssecd.core.verify import inline_checker
from dnssecd.daemon.cluster.key_shares import KeyShares
from dnssecd.daemon.cluster.keys import bind_keys
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.cluster.node_keys import NodeKeys
from dnssecd.daemon.zones.gates import Work, shut_for
from dnssecd.daemon.zones.job_runner import JobRunner, today
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcome_events import INPUT_EVENTS, REVIEW_EVENTS, WARNING_EVENTS
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.keyservice_client.client import AsyncSignerClient, SignerClient
from dnssecd.keyservice_client.peer import KeyServicePlace
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.follow.caught_up import CaughtUp
from dnssecd.pipeline.jobs.follow import REFUSED, follow
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.workers.pool import BULK_OCTETS
from dnssecd.store.errors import LogBehind, LogFenced, LogInDoubt, LogTroubled, StoreError
from dnssecd.store.version_log import InDoubt, LogRecord, LogShorter, LogUnavailable
from dnssecd.uninterrupted import to_the_end

#: Seconds until a log that could not be read is read again.
RETRY_S = 1.0
AFTER_BUG_S = 30.0
#: A log that could not be read for this time, with the database in reach, is a failure, and read again later.
UNREAD_S, RETRY_UNREAD_S = 60.0, 10.0
#: Octets of a record that a thread of the daemon may take: some hundred changed names.
RECORD_HERE_MAX = 256 << 10
#: Logs that are read at the same time.
AT_ONCE = 4
#: The keys of a followed zone are proved at this interval, a few zones at each heartbeat; sooner after a failure.
PROVE_S, RETRY_KEYS_S, PROVED_AT_ONCE = 60.0, 5.0, 20
SIGNER_DEADLINE_S = 5.0

#: What the owner of a zone alone finds out and resolves: its jobs, its rollovers, its secondaries, its parent and its
#: primaries. Another owner raises what still holds.
OWNER_EVENTS = (
    *INPUT_EVENTS,
    *REVIEW_EVENTS,
    *WARNING_EVENTS,
    "signing-failed",
    "secondary-lagging",
    "secondary-unreachable",
    "secondary-rejects-tsig",
    "notify-unanswered",
    "foreign-key-refused",
    "ds-mismatch",
    "ds-missing",
    "ds-handover",
    "ds-automation-failed",
    "rollover-overdue",
    "key-wanted",
    "key-not-backed-up",
    "key-not-held",
    "key-lost",
    "key-compromised",
    "node-key-refused",
    "ceremony-due",
    "ceremony-late",
    "ceremony-needed",
    "take-over-impossible",
    "primary-unreachable",
    "published-command-failed",
)

_KINDS: Mapping[type[LogTroubled], str] = {LogFenced: "fenced", LogInDoubt: "in-doubt", LogBehind: "behind"}

log = structlog.get_logger("dnssecd.cluster")


class Followers:
    """Reads the logs of all zones. Belongs to the event loop."""

    def __init__(
        self,
        link: ClusterLink,
        zones: Mapping[str, FrontZone],
        runner: JobRunner,
        outcomes: Outcomes,
        key_service: KeyServicePlace,
        signer: AsyncSignerClient,
        shares: KeyShares,
        nodes: NodeKeys,
        events: EventCore,
        clock: Clock,
        mailbox: Mailbox,
        metrics: ClusterMetrics,
    ) -> None:
        """shares: brings the keys that this node lacks; nodes: the keys of each node's own."""
        self._link, self._zones, self._runner, self._outcomes = link, zones, runner, outcomes
        self._key_service, self._nodes = key_service, nodes
        self._signer, self._shares, self._events, self._clock = signer, shares, events, clock
        self._mailbox, self._node = mailbox, link.config.node
        #: The epoch of zones that this node owns by the database: it makes versions once it has all of the log.
        self._taken: dict[FrontZone, int] = {}
        self._sharing_now: set[asyncio.Task[None]] = set()
        self.progress: dict[FrontZone, Progress] = {}
        self._metrics = metrics
        self._free = asyncio.Semaphore(AT_ONCE)
        self._proving: set[asyncio.Task[None]] = set()
        self._closed = False
        mailbox.removed.subscribe(self._forget)
        mailbox.finished.subscribe(self._finished)

    def _forget(self, zone: FrontZone) -> None:
        self._taken.pop(zone, None)

    def _finished(self, zone: FrontZone) -> None:
        """Follow a zone that was in doubt until now, or that was to be followed meanwhile."""
        if zone.cluster is not None and (zone.cluster.applied is None or zone.cluster.again):
            self.follow(zone)

    def news(self, heads: Mapping[str, int]) -> None:
        """Follow the zones that have newer records."""
        for name, head in heads.items():
            zone = self._zones.get(name)
            if zone is not None and zone.cluster is not None and head > (zone.cluster.applied or 0):
                self.follow(zone)

    def follow(self, zone: FrontZone) -> None:
        """Read a zone's log as soon as possible; repeated requests make one look."""
        room = zone.cluster
        if room is None or zone.gone or self._closed:
            return
        room.again = True
        if room.follow is None or room.follow.done():
            room.follow = asyncio.get_running_loop().create_task(self._follow(zone, room))
            room.follow.add_done_callback(partial(self._ended, zone))

    def _ended(self, zone: FrontZone, task: asyncio.Task[None]) -> None:
        """Report a bug with one zone; other zones are not affected, and its log is read again."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a zone's log could not be followed", zone=zone.name, exc_info=task.exception())
            self._metrics.failures.labels("follow").inc()
            if zone.cluster is not None:
                self._note_unread(zone.cluster, str(task.exception()))
            asyncio.get_running_loop().call_later(AFTER_BUG_S, self.follow, zone)

    def taken(self, one: Taken) -> None:
        """Own a zone as soon as its log is applied up to the ownership record."""
        zone = self._zones.get(one.zone)
        if zone is not None and zone.cluster is not None:
            self._taken[zone] = one.epoch
            self.follow(zone)

    def give_up_all(self) -> None:
        """Make no more versions of any zone."""
        self._taken.clear()
        for zone in self._zones.values():
            self._lose(zone)

    async def run(self) -> None:
        """Take up what commits report, until cancelled."""
        while True:
            zone, trouble = await self._link.troubles.get()
            if not zone.gone:
                self._troubled(zone, trouble)

    def _troubled(self, zone: FrontZone, trouble: LogTroubled) -> None:
        room = zone.cluster
        assert room is not None
        log.warning("the log did not take a version", zone=zone.name, cause=str(trouble))
        self._metrics.log_troubles.labels(_KINDS[type(trouble)]).inc()
        if isinstance(trouble, LogInDoubt):
            room.doubtful = (trouble.sequence, trouble.epoch)
        elif isinstance(trouble, LogBehind):
            room.behind_since = room.behind_since or self._clock.monotonic()
        elif not room.owned:  # the log has noted it already
            log.info("another node owns the zone", zone=zone.name)
        self._lose(zone)
        self.follow(zone)

    async def _follow(self, zone: FrontZone, room: ClusterRoom) -> None:
        while room.again and not zone.gone:
            if shut_for(zone, Work.FOLLOW) is not None:
                return  # it is followed when the gate opens (_finished)
            room.again = False
            try:
                async with self._free:
                    if room.doubtful is not None:
                        await self._settle(zone, room, *room.doubtful)
                    outcome = await self._read(zone, room)
            except ZoneGone:
                return
            except (StoreError, OSError) as error:
                self._again(zone, str(error))
                return
            if outcome.log is None:
                self._again(zone, outcome.problems[0].cause if outcome.problems else "")
                return
            if not zone.gone:
                await self._caught_up(zone, room, outcome, outcome.log)

    def _again(self, zone: FrontZone, cause: str) -> None:
        """Read a log again later; that the database is away is reported by the heartbeat, all else after a while."""
        room = zone.cluster
        assert room is not None
        self._note_unread(room, cause)
        lasts = self._is_unread(room)
        if lasts and self._link.lease_runs(self._clock.monotonic()):
            self._metrics.failures.labels("follow").inc()
            log.warning("the log of the zone cannot be followed", zone=zone.name, cause=cause)
        else:
            log.info("the log of the zone cannot be followed now", zone=zone.name, cause=cause)
        asyncio.get_running_loop().call_later(RETRY_UNREAD_S if lasts else RETRY_S, self.follow, zone)

    def _note_unread(self, room: ClusterRoom, cause: str) -> None:
        room.unread = cause
        if room.unread_since is None:
            room.unread_since = self._clock.monotonic()

    def _is_unread(self, room: ClusterRoom) -> bool:
        """Tell whether the log could not be read for a while."""
        since = room.unread_since
        return since is not None and self._clock.monotonic() - since >= UNREAD_S

    async def _read(self, zone: FrontZone, room: ClusterRoom) -> Outcome:
        """Apply what the log has: small records in a thread, a first version and large ones in a worker."""
        if room.applied is not None and zone.serial is not None:
            async with zone.jobs.turn:  # held until the thread has ended: it uses the zone's database
                outcome = await to_the_end(self._link.run(self._read_here, zone))
            if outcome.log is None or not outcome.log.larger:
                return outcome
        return await self._runner.run(zone, self._runner.job(zone, "follow"), BULK_OCTETS)

    def _read_here(self, zone: FrontZone) -> Outcome:
        now, place = int(self._clock.now()), self._key_service
        with SignerClient(place.path, SIGNER_DEADLINE_S, owners=place.owners) as signer:
            tools = Tools(signer, inline_checker, now, today(now), self._clock.monotonic)
            return follow(zone.database, zone.spec, self, tools, RECORD_HERE_MAX)

    def read(self, zone: str, after: int, digest: str = "") -> Iterator[LogRecord]:
        """Yield the records of a log (store.version_log.LogReader) until the daemon stops. Raise LogUnavailable."""
        for record in self._link.log.read(zone, after, digest):
            if self._closed:
                raise LogUnavailable("dnssecd is stopping")
            yield record

    async def _settle(self, zone: FrontZone, room: ClusterRoom, sequence: int, epoch: int) -> None:
        """Make it certain whether a record is in the log; not if the log lacks those before it: reading shows that."""
        try:
            result = await self._link.run(self._link.log.settle, zone.name, sequence, epoch)
        except LogShorter as error:
            log.warning("a version stays in doubt", zone=zone.name, sequence=sequence, cause=str(error))
            return
        if isinstance(result, InDoubt):
            raise LogUnavailable(result.cause)
        room.doubtful = None

    async def _caught_up(
        self, zone: FrontZone, room: ClusterRoom, outcome: Outcome, caught: CaughtUp
    ) -> None:
        room.applied, room.epoch = caught.position.sequence, caught.position.epoch
        room.digest, room.unread_since = caught.position.digest, None
        room.owner = caught.node or room.owner
        room.refused = caught.cause
        self.progress[zone] = Progress(caught.position.sequence, caught.cause)
        if caught.stopped:
            remedy = outcome.problems[0].remedy if outcome.problems else None
            self._events.raise_event(REFUSED, zone.name, caught.cause, remedy=remedy)
            return self._lose(zone)
        self._events.resolve(REFUSED, zone.name)
        room.behind_since = None
        if room.acted and room.owner not in ("", self._node):
            room.acted = False
            self._mailbox.disowned.send(zone)
            for name in OWNER_EVENTS:
                self._events.resolve(name, zone.name, None)
        if caught.applied and outcome.serial is not None:
            self._outcomes.take_over(zone, outcome, "follow")
        if room.keys is None or self._taken.get(zone) == room.epoch:
            await self._prove(zone, room)
        if self._taken.get(zone) == room.epoch and not room.again and not zone.gone:
            self._own(zone, room)
            if zone.serial is not None and not caught.position.digest:
                self._share(zone)
        elif zone in self._taken and self._taken[zone] < room.epoch:
            del self._taken[zone]
            self._lose(zone)
        return None

    async def _prove(self, zone: FrontZone, room: ClusterRoom) -> None:
        room.proved_at = self._clock.monotonic()
        own = room.owned or self._taken.get(zone) == room.epoch
        room.keys = await bind_keys(zone, self._signer, self._shares, self._nodes, hidden=own)

    def prove_some(self) -> None:
        """Prove the keys of some followed zones, those first that were proved longest ago."""
        before = self._clock.monotonic() - PROVE_S
        due = [
            (zone.cluster.proved_at, number, zone, zone.cluster)
            for number, zone in enumerate(self._zones.values())
            if zone.cluster is not None
            and not zone.cluster.owned
            and zone.cluster.applied is not None
            and zone.cluster.proved_at
            < (before if not zone.cluster.keys else before + PROVE_S - RETRY_KEYS_S)
        ]
        for _, _, zone, room in heapq.nsmallest(PROVED_AT_ONCE, due):
            task = asyncio.get_running_loop().create_task(self._prove(zone, room))
            self._proving.add(task)
            task.add_done_callback(partial(self._done, self._proving, zone))

    def _own(self, zone: FrontZone, room: ClusterRoom) -> None:
        if room.log.epoch == room.epoch:
            return
        room.log.epoch, room.owner, room.unheard_since, room.acted = room.epoch, self._node, None, True
        log.info("this node makes the versions of the zone", zone=zone.name, epoch=room.epoch)
        if zone.serial is not None:
            self._mailbox.published.send(zone)
            self._outcomes.wake_when_due(zone)
        self._mailbox.finished.send(zone)
        self._mailbox.wanted.send(zone, "resign" if zone.orphan else "load")

    def _share(self, zone: FrontZone) -> None:
        """Put a zone of a single host into its log as it is: other nodes can follow it from then on.

        If that fails, the zone's next version does it.
        """
        task = asyncio.get_running_loop().create_task(self._share_now(zone))
        self._sharing_now.add(task)
        task.add_done_callback(partial(self._done, self._sharing_now, zone))

    @staticmethod
    def _done(tasks: set[asyncio.Task[None]], zone: FrontZone, task: asyncio.Task[None]) -> None:
        """Report a failure that nothing waits for; the work is done again when it is due."""
        tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ZoneGone):
            log.error("work on a zone of the cluster failed", zone=zone.name, exc_info=error)

    async def _share_now(self, zone: FrontZone) -> None:
        with suppress(ZoneGone):
            outcome = await self._runner.run(zone, self._runner.job(zone, "share"), BULK_OCTETS)
            if outcome.problems:
                log.warning("the zone is not in the log yet", zone=zone.name, cause=outcome.problems[0].cause)
            else:
                log.info("the zone was put into the log of the cluster", zone=zone.name, serial=zone.serial)

    def _lose(self, zone: FrontZone) -> None:
        """Make no more versions of a zone, and send no more NOTIFY for it."""
        if zone.cluster is None:
            return
        if zone.cluster.owned:
            log.info("another node owns the zone", zone=zone.name)
        zone.cluster.log.epoch = None
        if zone.servers is not None:
            zone.servers.withdraw()

    async def close(self) -> None:
        """End all work, before the databases of the zones are closed."""
        self._closed = True
        tasks = {*self._proving, *self._sharing_now}
        for zone in self._zones.values():
            if zone.cluster is not None and zone.cluster.follow is not None:
                tasks.add(zone.cluster.follow)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ready(self, zone: FrontZone) -> str:
        """Return why this node cannot take a zone over now, "" if it can."""
        room = zone.cluster
        if room is None or room.applied is None:
            return "its log was not read yet"
        if room.refused:
            return f"a record of its log is refused: {room.refused}"
        if self._is_unread(room):
            return f"its log cannot be read or applied: {room.unread}"
        if zone.doubt is not None or zone.held is not None or zone.orphan:
            return "it is not served here as it is stored"
        return "its keys were not proved yet" if room.keys is None else room.keys
