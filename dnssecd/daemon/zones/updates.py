"""Dynamic updates in the daemon: each zone's messages queue, and queued updates are committed together."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from threading import local

import dns.rcode
import structlog

from dnssecd.clock import Clock
from dnssecd.core.dns.message import FORMERR, FormError
from dnssecd.core.dns.names import BadName, wire_to_text
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.update.types import NOERROR, NOTAUTH, REFUSED, SERVFAIL, UpdateMessage
from dnssecd.core.verify import inline_checker
from dnssecd.core.zone.grants import Grants
from dnssecd.daemon.zones.gates import Gate, Gates, Work, shut_for
from dnssecd.daemon.zones.machine import Event, happened, possible
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import GONE
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.update_policy import update_policy
from dnssecd.daemon.zones.update_queue import Waiting, ZoneQueue
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.peer import KeyServicePlace
from dnssecd.pipeline.jobs.grants import compiled
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.update import Answer, Committed, Told, Update, commit_updates
from dnssecd.repeats import Repeated, Repeats
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import Request, ServedZone, Verdict
from dnssecd.server.reasons import Refusal
from dnssecd.server.update_message import parse_update
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end

THREADS = 2
SIGNER_DEADLINE_S = 5.0
#: How long an update waits for a key service that is starting.
SETTLING_S = 5.0
#: A zone's database is tidied when no update has arrived for this long.
QUIET_S = 0.25
STOPPING = Answer(SERVFAIL, "dnssecd is stopping")

log = structlog.get_logger("dnssecd.updates")


class Updates:
    """The handler of UPDATE requests (server.interfaces.Handler).

    committed: takes every outcome that made a version. The mailbox gets a version (serial, SOA) as soon as it
    is committed: NOTIFY is sent before metrics and catalogue are updated. settled: waits, up to the given
    seconds, until it is known whether signing is possible. refused: reports a refused update, as in
    server.interfaces.Hooks. notes: reports updates that operators should know of.
    """

    def __init__(
        self,
        clock: Clock,
        key_service: KeyServicePlace,
        committed: Callable[[FrontZone, Outcome], None],
        today: Callable[[int], int],
        counted: Callable[[str], None],
        gates: Gates,
        settled: Callable[[float], Awaitable[None]],
        refused: Callable[[bytes, str, Address, bytes, Refusal, str], None],
        notes: UpdateNotes,
        mailbox: Mailbox,
    ) -> None:
        self._clock, self._key_service = clock, key_service
        self._committed, self._today, self._counted = committed, today, counted
        self._gates, self._settled, self._refused, self._notes = gates, settled, refused, notes
        self._mailbox = mailbox
        self._repeats = Repeats(_tell_again)
        self._closing = False
        #: Queues with a running or tidying task.
        self._active: set[ZoneQueue] = set()
        self._threads = ThreadPoolExecutor(THREADS, "updates")
        self._local = local()

    def start(self) -> None:
        """Start; call it on the event loop."""
        self._notes.start()

    async def handle(self, served: ServedZone, request: Request) -> Verdict:
        """Carry out one request; return its RCODE, and a text for the client, when the outcome is durable."""
        assert isinstance(served, FrontZone)
        answer = await self._handle(served, request)
        self._counted(_rcode_text(answer.rcode))
        if answer.rcode != NOERROR or answer.ignored:
            self._report(served, request, answer)
        return _verdict(answer)

    def _report(self, zone: FrontZone, request: Request, answer: Answer) -> None:
        """Report an update to operators that was not carried out, or has less effect than it seems."""
        if answer.rcode != NOERROR and not answer.notable:
            return self._tell(zone, request, answer)
        client = (
            f"{request.address} with key {wire_to_text(request.key)}" if request.key else f"{request.address}"
        )
        if answer.notable:
            return self._notes.refused(zone, client, answer.reason)
        return self._notes.ignored(zone, client, answer.ignored)

    def _tell(self, zone: FrontZone, request: Request, answer: Answer) -> None:
        """Log an update that was not carried out: the first of a kind immediately, then a count each minute."""
        if answer.rcode in (REFUSED, NOTAUTH):
            key = request.key or b""
            self._refused(zone.origin, "update", request.address, key, answer.refusal, answer.reason)
            return
        now = self._clock.monotonic()
        self._repeats.flush(now)
        window = self._repeats.first((zone.name, request.key, answer.rcode), now)
        if window is None:
            log.info("update not carried out", zone=zone.name, rcode=answer.rcode, reason=answer.reason)
        else:
            window.add({"reason": answer.reason})

    async def _handle(self, zone: FrontZone, request: Request) -> Answer:
        refusal = self._refusal(zone, request.key)
        if refusal is not None:
            return refusal
        # Its records take long to parse: if the key may not update this zone, they are not parsed.
        try:
            message = parse_update(request.wire)
        except FormError as error:
            return Answer(FORMERR, str(error))
        queue = zone.updates.queue
        if queue is None:
            queue = zone.updates.queue = ZoneQueue()
        if self._closing:
            return STOPPING
        if zone.serial is None or not possible(zone.state, Work.UPDATE) or queue.full:
            why = "no version yet" if zone.serial is None else "too many updates are waiting"
            return Answer(SERVFAIL, why)
        update = self._update(zone, request.key, message, queue.serial_max(zone.serial))
        answer = queue.put(update, request.key, zone.spec)
        if queue.task is None:
            queue.task = asyncio.get_running_loop().create_task(self._drain(zone, queue))
        return await answer

    def _refusal(self, zone: FrontZone, key: bytes | None) -> Answer | None:
        """Return the refusal for any update by a key of the zone now; None if the key may update it."""
        if zone.config.source == "primaries":
            return Answer(NOTAUTH, "the zone comes from its primaries; update it there")
        if not self._grants_of(zone).of(key):
            return Answer(REFUSED, "no grant", refusal=Refusal.NO_GRANT)
        gate = shut_for(zone, Work.UPDATE)
        if gate is not None:
            rcode = REFUSED if gate is Gate.FROZEN else SERVFAIL
            return Answer(rcode, gate.value, refusal=Refusal.FROZEN)
        return None

    def _update(self, zone: FrontZone, key: bytes | None, message: UpdateMessage, serial_max: int) -> Update:
        """Return a message with its policy from the configuration in force."""
        return message, update_policy(zone.spec, self._grants_of(zone).of(key), serial_max)

    def _still_allowed(self, zone: FrontZone, queue: ZoneQueue, group: list[Waiting]) -> list[Waiting]:
        """Answer messages whose key may no longer update the zone; return the others.

        Configuration and freezes may have changed while they waited. A revoked grant must not be used later.
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

    async def _drain(self, zone: FrontZone, queue: ZoneQueue, *, tidy: bool = False) -> None:
        """Commit group after group until nothing waits."""
        self._active.add(queue)
        try:
            if tidy:
                await self._tidy(zone)
            while queue.waiting and not self._closing:
                await self._settled(SETTLING_S)
                await queue.gather()
                async with zone.jobs.turn:
                    group = queue.take()
                    held = GONE.reason if zone.gone else self._gates.why_stopped(Work.UPDATE)
                    if not held:
                        group = self._still_allowed(zone, queue, group)
                    if group and not held:
                        queue.committing = True
                        try:
                            queue.put_back(await self._commit(zone, queue, group))
                        finally:
                            queue.committing = False
                    for waiting in group if held else ():
                        waiting.give(Answer(SERVFAIL, held))
                queue.ended_at = asyncio.get_running_loop().time()
        finally:
            if self._closing:
                queue.answer_all(STOPPING)
            queue.task = None
            self._tidy_soon(zone, queue)

    def _tidy_soon(self, zone: FrontZone, queue: ZoneQueue) -> None:
        """Tidy the zone's database when no update has arrived for a moment, because that keeps the disk busy."""
        self._active.discard(queue)
        if zone.gone or self._closing:
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
        async with zone.jobs.turn:
            with suppress(StoreError):  # for example a full disk: the next commit reports it
                if not zone.gone:
                    loop = asyncio.get_running_loop()
                    await to_the_end(loop.run_in_executor(self._threads, zone.database.checkpoint))

    async def _commit(self, zone: FrontZone, queue: ZoneQueue, group: list[Waiting]) -> list[Waiting]:
        """Carry out messages in one version; return those for the next one."""
        loop = asyncio.get_running_loop()

        def told(answers: list[Answer], serial: int, soa: RRset) -> None:
            loop.call_soon_threadsafe(self._told, zone, queue, group, answers, serial, soa)

        updates = [waiting.update for waiting in group]
        try:
            done = await loop.run_in_executor(self._threads, self._work, zone, updates, told)
            rest = group[len(done.answers) :]
            group = group[: len(done.answers)]
            answered = all(waiting.answer.done() for waiting in group)
            alone = len(group) == 1 or answered or done.outcome.result != "failed"
            alone = alone or done.outcome.failed_by_log  # no message is to blame
            if alone:
                self._committed(zone, done.outcome)
        except ZoneGone:
            for waiting in group:
                waiting.give(GONE)
            return []
        except Exception as error:
            # A bug: the listener logs it and answers SERVFAIL to each of them. The queue continues.
            unanswered = [waiting for waiting in group if not waiting.answer.done()]
            for waiting in unanswered:
                waiting.answer.set_exception(error)
            if not unanswered:
                log.error("work after an update failed", zone=zone.name, exc_info=error)
            return []
        if not alone:
            # One message may have caused the failure of the version: it must not block the others.
            for waiting in group:
                if waiting.late:
                    waiting.expire()
                elif self._closing:
                    waiting.give(STOPPING)
                else:
                    for one in self._still_allowed(zone, queue, [waiting]):
                        await self._commit(zone, queue, [one])
            return rest
        for waiting, answer in zip(group, done.answers, strict=True):
            waiting.give(answer)
        return rest

    def _work(self, zone: FrontZone, updates: list[Update], told: Told) -> Committed:
        now = int(self._clock.now())
        # Not in another thread: checking a signature holds Python's lock.
        tools = Tools(self._signer(), inline_checker, now, self._today(now), self._clock.monotonic)
        return commit_updates(zone.database, zone.spec, updates, tools, told)

    def _told(
        self,
        zone: FrontZone,
        queue: ZoneQueue,
        group: list[Waiting],
        answers: list[Answer],
        serial: int,
        soa: RRset,
    ) -> None:
        """Send NOTIFY for a committed version, then the answers; other work comes later."""
        queue.answered(len(answers))
        if zone.gone:
            answers = [GONE] * len(answers)
        else:
            self._publish(zone, serial, soa, min(waiting.received_at for waiting in group[: len(answers)]))
        for waiting, answer in zip(
            group, answers, strict=False
        ):  # the rest of the group is for the next version
            waiting.give(answer)

    def _publish(self, zone: FrontZone, serial: int, soa: RRset, received_at: float) -> None:
        if not possible(zone.state, Work.UPDATE):  # found damaged meanwhile: it is no longer served
            return
        self._mailbox.committed.send(zone, serial, soa, received_at)
        zone.serial = serial
        happened(zone, Event.PUBLISHED)

    def _signer(self) -> SignerClient:
        """Return this thread's connection to the key service."""
        if not hasattr(self._local, "signer"):
            self._local.signer = SignerClient(
                self._key_service.path, SIGNER_DEADLINE_S, owners=self._key_service.owners
            )
        signer: SignerClient = self._local.signer
        return signer

    async def close(self) -> None:
        """Wait for running commits and their answers; carry out no further updates: they are answered SERVFAIL."""
        self._closing = True
        for queue in list(self._active):
            if queue.tidy is not None:
                queue.tidy.cancel()
            if queue.task is not None:
                if not queue.committing:  # a commit is carried to its end: a thread cannot be stopped
                    queue.task.cancel()
                await asyncio.gather(queue.task, return_exceptions=True)
        self._notes.close()
        self._threads.shutdown(wait=True)


@cache
def _rcode_text(rcode: int) -> str:
    return dns.rcode.to_text(dns.rcode.Rcode(rcode))


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
    """Return the text for the client; the cause of a failure of dnssecd is only logged."""
    if answer.rcode == NOERROR:
        return Verdict(NOERROR, "; ".join(answer.ignored))
    if answer.rcode == SERVFAIL:
        return Verdict(SERVFAIL)
    return Verdict(answer.rcode, answer.reason)
