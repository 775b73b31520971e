"""Dynamic updates in the front: each zone's messages queue, and what waits together is committed together."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import local

import dns.rcode
import structlog

from dnssecd.clock import Clock
from dnssecd.core.dns.message import FORMERR, FormError
from dnssecd.core.dns.names import BadName, wire_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.core.update.types import NOERROR, NOTAUTH, REFUSED, SERVFAIL, UpdateMessage, UpdatePolicy
from dnssecd.core.verify import ExecutorChecker, inline_checker
from dnssecd.core.zone.grants import Grants, NameGrants
from dnssecd.daemon.zones.gates import Gate, Gates, Work, shut_for
from dnssecd.daemon.zones.machine import Event, happened, possible
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import GONE
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.update_queue import Waiting, ZoneQueue
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.grants import compiled
from dnssecd.pipeline.jobs.load import Tools
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.update import Answer, Committed, Told, Update, commit_updates
from dnssecd.repeats import Repeated, Repeats
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import Request, ServedZone, Verdict
from dnssecd.server.update_message import parse_update
from dnssecd.store.errors import StoreError

THREADS = 2
SIGNER_DEADLINE_S = 5.0
CHECK_DEADLINE_S = 30.0
#: So long an update waits for a key service that is just being started.
SETTLING_S = 5.0
#: Signatures of a group's version are checked so many at a time in a thread beside, while the next are looked up.
CHECK_BATCH = 4
#: A zone's database is tidied when no update has come for so long.
QUIET_S = 0.25

log = structlog.get_logger("dnssecd.updates")


class Updates:
    """The handler of UPDATE requests (server.interfaces.Handler).

    lock: the lock that keeps a zone's jobs apart; committed: takes every outcome that made a version. The mailbox gets
    a version (serial, SOA) the moment it is committed: the secondaries get NOTIFY before the outcome is taken over.
    settled: waits, up to so many seconds, until it is known whether anything can be signed. refused: reports an update
    that was refused, as server.interfaces.Hooks has it. notes: reports updates that operators are to know of.
    """

    def __init__(
        self,
        clock: Clock,
        signer_socket: str,
        lock: Callable[[str], asyncio.Lock],
        committed: Callable[[FrontZone, Outcome], None],
        today: Callable[[int], int],
        counted: Callable[[str], None],
        gates: Gates,
        settled: Callable[[float], Awaitable[None]],
        refused: Callable[[bytes, str, Address, bytes, str], None],
        notes: UpdateNotes,
        mailbox: Mailbox,
    ) -> None:
        self._clock, self._socket, self._lock = clock, signer_socket, lock
        self._committed, self._today, self._counted = committed, today, counted
        self._gates, self._settled, self._refused, self._notes = gates, settled, refused, notes
        self._mailbox = mailbox
        mailbox.removed.subscribe(self.forget)
        self._repeats = Repeats(_tell_again)
        #: Queues that a task works on, or will tidy up after.
        self._active: set[ZoneQueue] = set()
        self._threads = ThreadPoolExecutor(THREADS, "updates")
        self._checks = ThreadPoolExecutor(1, "update-checks")
        self._checker = ExecutorChecker(self._checks, CHECK_DEADLINE_S, CHECK_BATCH)
        self._local = local()

    def start(self) -> None:
        """Begin; belongs to the event loop."""
        self._notes.start()

    async def handle(self, served: ServedZone, request: Request) -> Verdict:
        """Carry out one request; returns its RCODE, and what to tell the client, when the outcome is durable."""
        assert isinstance(served, FrontZone)
        answer = await self._handle(served, request)
        self._counted(dns.rcode.to_text(dns.rcode.Rcode(answer.rcode)))
        if answer.rcode != NOERROR or answer.ignored:
            self._report(served, request, answer)
        return _verdict(answer)

    def _report(self, zone: FrontZone, request: Request, answer: Answer) -> None:
        """Tell operators of an update that was not carried out, or that has less effect than it seems."""
        if answer.rcode != NOERROR and not answer.notable:
            return self._tell(zone, request, answer.rcode, answer.reason)
        client = (
            f"{request.address} with key {wire_to_text(request.key)}" if request.key else f"{request.address}"
        )
        if answer.notable:
            return self._notes.refused(zone.name, client, answer.reason)
        return self._notes.ignored(zone.name, client, answer.ignored)

    def _tell(self, zone: FrontZone, request: Request, rcode: int, reason: str) -> None:
        """Log an update that was not carried out: the first of a kind at once, then a count each minute."""
        if rcode in (REFUSED, NOTAUTH):
            self._refused(zone.origin, "update", request.address, request.key or b"", reason)
            return
        now = self._clock.monotonic()
        self._repeats.flush(now)
        window = self._repeats.first((zone.name, request.key, rcode), now)
        if window is None:
            log.info("update not carried out", zone=zone.name, rcode=rcode, reason=reason)
        else:
            window.add({"reason": reason})

    async def _handle(self, zone: FrontZone, request: Request) -> Answer:
        refusal = self._refusal(zone, request.key)
        if refusal is not None:
            return refusal
        # Its records take long to read: a key that may not update this zone has none of them read.
        try:
            message = parse_update(request.wire)
        except FormError as error:
            return Answer(FORMERR, str(error))
        queue = zone.updates.queue
        if queue is None:
            queue = zone.updates.queue = ZoneQueue()
        if zone.serial is None or not possible(zone.state, Work.UPDATE) or queue.full:
            why = "no version yet" if zone.serial is None else "too many updates are waiting"
            return Answer(SERVFAIL, why)
        update = self._update(zone, request.key, message, queue.serial_max(zone.serial))
        answer = queue.put(update, request.key, zone.spec)
        if queue.task is None:
            queue.task = asyncio.get_running_loop().create_task(self._drain(zone, queue))
        return await answer

    def _refusal(self, zone: FrontZone, key: bytes | None) -> Answer | None:
        """Return the answer to any update that a key may not make of the zone now; None where it may."""
        if zone.config.source == "primaries":
            return Answer(NOTAUTH, "the zone comes from its primaries; update it there")
        if not self._grants_of(zone).of(key):
            return Answer(REFUSED, "no grant")
        gate = shut_for(zone, Work.UPDATE)
        if gate is not None:
            return Answer(REFUSED if gate is Gate.FROZEN else SERVFAIL, gate.value)
        return None

    def _update(self, zone: FrontZone, key: bytes | None, message: UpdateMessage, serial_max: int) -> Update:
        """Return a message with what it must keep to, by the configuration in force."""
        return message, _policy(zone, self._grants_of(zone).of(key), serial_max)

    def _still_allowed(self, zone: FrontZone, queue: ZoneQueue, group: list[Waiting]) -> list[Waiting]:
        """Answer those whose key may no longer update the zone; return the others.

        Configuration and freezes may have changed while they waited. Who revokes a grant must not find it used later.
        """
        allowed = []
        for waiting in group:
            refusal = self._refusal(zone, waiting.key)
            if refusal is not None:
                waiting.give(refusal)
                continue
            if waiting.spec is not zone.spec and zone.serial is not None:
                serial_max = queue.serial_max(zone.serial)
                waiting.update = self._update(zone, waiting.key, waiting.update[0], serial_max)
                waiting.spec = zone.spec
            allowed.append(waiting)
        return allowed

    def _grants_of(self, zone: FrontZone) -> Grants:
        held = zone.updates.grants
        if held is None or held[0] is not zone.spec.grants:
            try:
                made = compiled(zone.spec.grants, zone.origin)
            except (BadName, ValueError) as error:
                log.error("grants cannot be used", zone=zone.name, cause=str(error))
                made = compiled((), zone.origin)
            held = zone.updates.grants = zone.spec.grants, made
        return held[1]

    def forget(self, zone: FrontZone) -> None:
        """Report nothing more of a zone that was removed."""
        self._notes.forget(zone.name)

    async def _drain(self, zone: FrontZone, queue: ZoneQueue, *, tidy: bool = False) -> None:
        """Commit group after group until nothing waits."""
        self._active.add(queue)
        try:
            if tidy:
                await self._tidy(zone)
            while queue.waiting:
                await self._settled(SETTLING_S)
                await queue.gather()
                async with self._lock(zone.name):
                    group = queue.take()
                    held = GONE.reason if zone.gone else self._gates.why_stopped(Work.UPDATE)
                    if not held:
                        group = self._still_allowed(zone, queue, group)
                    if group and not held:
                        queue.put_back(await self._commit(zone, group))
                    for waiting in group if held else ():
                        waiting.give(Answer(SERVFAIL, held))
                queue.ended_at = asyncio.get_running_loop().time()
        finally:
            queue.task = None
            self._tidy_soon(zone, queue)

    def _tidy_soon(self, zone: FrontZone, queue: ZoneQueue) -> None:
        """Have the zone's database looked after when no update has come for a moment: that keeps the disk busy."""
        self._active.discard(queue)
        if zone.gone:
            return
        if queue.tidy is not None:
            queue.tidy.cancel()
            queue.tidy = None
        with suppress(StoreError, OSError):
            if zone.database.untidy:
                queue.tidy = asyncio.get_running_loop().call_later(QUIET_S, self._tidy_now, zone, queue)
                self._active.add(queue)

    def _tidy_now(self, zone: FrontZone, queue: ZoneQueue) -> None:
        queue.tidy = None
        if queue.task is None:
            queue.task = asyncio.get_running_loop().create_task(self._drain(zone, queue, tidy=True))

    async def _tidy(self, zone: FrontZone) -> None:
        async with self._lock(zone.name):
            with suppress(StoreError):  # a full disk, say: the next commit tells of it
                if not zone.gone:
                    await asyncio.get_running_loop().run_in_executor(self._threads, zone.database.checkpoint)

    async def _commit(self, zone: FrontZone, group: list[Waiting]) -> list[Waiting]:
        """Carry out messages in one version; return those that are left for the next one."""
        loop = asyncio.get_running_loop()

        def told(answers: list[Answer], serial: int, soa: RRset) -> None:
            loop.call_soon_threadsafe(self._told, zone, group, answers, serial, soa)

        updates = [waiting.update for waiting in group]
        try:
            done = await loop.run_in_executor(self._threads, self._work, zone, updates, told)
            rest = group[len(done.answers) :]
            group = group[: len(done.answers)]
            answered = all(waiting.answer.done() for waiting in group)
            alone = len(group) == 1 or answered or done.outcome.result != "failed"
            if alone:
                self._committed(zone, done.outcome)
        except ZoneGone:
            for waiting in group:
                waiting.give(GONE)
            return []
        except BaseException as error:
            # A defect of ours: the listener logs it and answers SERVFAIL to each of them. The queue goes on.
            unanswered = [waiting for waiting in group if not waiting.answer.done()]
            for waiting in unanswered:
                waiting.answer.set_exception(error)
            if not unanswered:
                log.error("what follows an update failed", zone=zone.name, exc_info=error)
            return []
        if not alone:
            # One message may be what the version failed for: let it not stand in the way of the others.
            for waiting in group:
                await self._commit(zone, [waiting])
            return rest
        for waiting, answer in zip(group, done.answers, strict=True):
            waiting.give(answer)
        return rest

    def _work(self, zone: FrontZone, updates: list[Update], told: Told) -> Committed:
        now = int(self._clock.now())
        checker = self._checker if len(updates) > 1 else inline_checker
        tools = Tools(self._signer(), checker, now, self._today(now), self._clock.monotonic)
        return commit_updates(zone.database, zone.spec, updates, tools, told)

    def _told(
        self, zone: FrontZone, group: list[Waiting], answers: list[Answer], serial: int, soa: RRset
    ) -> None:
        """A version is committed: NOTIFY first, then the answers; all else can wait."""
        if zone.gone:
            answers = [GONE] * len(answers)
        else:
            self._publish(zone, serial, soa)
        for waiting, answer in zip(
            group, answers, strict=False
        ):  # the rest of the group is for the next version
            waiting.give(answer)

    def _publish(self, zone: FrontZone, serial: int, soa: RRset) -> None:
        if not possible(zone.state, Work.UPDATE):  # found damaged meanwhile: nothing more of it is served
            return
        self._mailbox.committed.send(zone, serial, soa)
        zone.serial = serial
        happened(zone, Event.PUBLISHED)

    def _signer(self) -> SignerClient:
        """Return this thread's connection to the key service."""
        if not hasattr(self._local, "signer"):
            self._local.signer = SignerClient(self._socket, SIGNER_DEADLINE_S)
        signer: SignerClient = self._local.signer
        return signer

    async def close(self) -> None:
        """Let what is being committed end; answer nothing more."""
        for queue in list(self._active):
            if queue.tidy is not None:
                queue.tidy.cancel()
            if queue.task is not None:
                queue.task.cancel()
                await asyncio.gather(queue.task, return_exceptions=True)
        self._notes.close()
        self._threads.shutdown(wait=True)
        self._checks.shutdown(wait=True)


def _tell_again(window: Repeated) -> None:
    assert isinstance(window.kind, tuple)
    zone, rcode = (window.kind[0], window.kind[2]) if len(window.kind) == 3 else (None, None)
    log.info(
        "updates not carried out again",
        zone=zone,
        rcode=rcode,
        count=window.count,
        reasons=window.examples.get("reason", []),
    )


def _verdict(answer: Answer) -> Verdict:
    """Return what the client is told; why something of ours failed is for the log alone."""
    if answer.rcode == NOERROR:
        return Verdict(NOERROR, "; ".join(answer.ignored))
    if answer.rcode == SERVFAIL:
        return Verdict(SERVFAIL)
    return Verdict(answer.rcode, answer.reason)


def _policy(zone: FrontZone, grants: NameGrants, serial_max: int) -> UpdatePolicy:
    """Return what a key's update of the zone must keep to."""
    limits = zone.spec.updates
    return UpdatePolicy(
        grants=grants,
        ttl_max=_ttl_max(zone.spec),
        rrs_per_rrset_max=limits.records,
        types_per_name_max=limits.types,
        names_changed_max=limits.names,
        knot_secondaries=limits.strict,
        allow_missing_glue=zone.spec.allow_missing_glue,
        serial_max=serial_max,
    )


def _ttl_max(spec: ZoneSpec) -> int:
    """Return the largest TTL an update may bring: less than the refresh it leads to, as for every other input."""
    refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, spec.validity_s, 0)
    return max(1, refresh - 1)
