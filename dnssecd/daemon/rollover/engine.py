"""The roll-over engine: asks the planner after every commit, sighting, command and wake-up, and does what it says.

The planner is pure (core.rollover); this is its shell. A plan that changes what is published becomes a job that
commits the new key set with the version made from it; any other is stored at once. Whatever goes wrong, the next
plan starts from what is stored. Nothing here starts a wait: only evidence does, in the planner.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config, ZoneConfig
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.simulate import describe
from dnssecd.core.keys.types import (
    Effect,
    GenerateKey,
    KeyEffect,
    Plan,
    PublishDnskey,
    RemoveKey,
    RolloverPolicy,
    SignWith,
    SubmitDs,
    WithdrawDs,
)
from dnssecd.daemon.rollover.denial import held_change, used_approvals, wanted_change
from dnssecd.daemon.rollover.evidence import write_evidence
from dnssecd.daemon.rollover.key_service import destroy_key, make_key, prove_key
from dnssecd.daemon.rollover.policy import FOREVER, rollover_policy
from dnssecd.daemon.rollover.zone_keys import ZoneKeys
from dnssecd.daemon.zones.gates import Work, shut_for
from dnssecd.daemon.zones.machine import possible
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.rekey import removed, store_keyset
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.keychange import KeyChange, Note
from dnssecd.store.errors import StoreError

COALESCE_S = 0.05
#: Plans made in a row before they are spread out: so many within so long. A stream of updates brings a version and
#: a sighting of it every few milliseconds, and a plan for each would stand in the way of the next.
PLANS_MAX, PLANS_S = 5, 5.0
ROUNDS_MAX = 8
ZONES_AT_ONCE = 8
RETRY_FIRST_S = 5.0
RETRY_LAST_S = 300.0
STORE_ERRORS = (StoreError, OSError)

log = structlog.get_logger("dnssecd.rollover")


@dataclass(frozen=True)
class Engine:
    """What the engine works with. ``lock`` keeps a zone's jobs apart.

    ``rekey`` makes a version with a key set, ``resign`` asks for one that is as the policy now wants it.
    """

    config: Callable[[], Config]
    signer: AsyncSignerClient
    events: EventCore
    clock: Clock
    schedule: Schedule
    lock: Callable[[str], asyncio.Lock]
    rekey: Callable[[FrontZone, KeyChange], Awaitable[Outcome]]
    resign: Callable[[FrontZone], None]
    clock_sure: Callable[[], bool]
    #: What a step of the clock while the daemon was stopped can have taken off every wait (s).
    hidden_step_s: Callable[[], int]


class RolloverListener:
    """What others may want to know; override what is wanted. Called on the event loop, errors are theirs."""

    def ds_due(self, zone: FrontZone, keyset: Keyset, effects: Sequence[KeyEffect]) -> None:
        """The parent is to get, or to drop, DS: SubmitDs and WithdrawDs effects, committed."""

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """A plan was made and carried out. Return when (epoch s) to be told again at the latest."""
        return None


@dataclass(eq=False, slots=True)
class Planning:
    """When a zone's next plan is made. ``task`` makes plans while they are asked for (``again``)."""

    task: "asyncio.Task[None] | None" = None
    again: bool = False
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    planned: deque[float] = field(
        default_factory=lambda: deque(maxlen=PLANS_MAX)
    )  # when, on the loop's clock

    async def gather(self) -> None:
        """Wait for more to be asked, the longer the more plans there were lately, unless somebody waits."""
        await asyncio.sleep(COALESCE_S)
        now = asyncio.get_running_loop().time()
        if len(self.planned) == PLANS_MAX and self.planned[0] + PLANS_S > now:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.planned[0] + PLANS_S - now):
                    await self.urgent.wait()
        self.urgent.clear()
        self.planned.append(asyncio.get_running_loop().time())


@dataclass(eq=False)
class Rollovers:
    """All zones' roll-overs. Methods belong to the event loop."""

    engine: Engine
    parents: Callable[[FrontZone], tuple[str, ...]]
    listeners: list[RolloverListener] = field(default_factory=list)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ZONES_AT_ONCE))

    def of(self, zone: FrontZone) -> ZoneKeys:
        """Return what is remembered of a zone's keys."""
        if zone.keys is None:
            zone.keys = ZoneKeys()
        return zone.keys

    def committed(self, zone: FrontZone) -> None:
        """A version was committed, or a job ended: look at the zone again."""
        if zone.gone:
            return
        self.of(zone).stale = True
        self.ask(zone)

    def ask(self, zone: FrontZone, *, urgent: bool = False) -> "asyncio.Task[None]":
        """Have the planner asked about a zone soon; asking twice before that is asking once.

        urgent: somebody waits for it.
        """
        if zone.planning is None:
            zone.planning = Planning()
        asked = zone.planning
        asked.again = True
        if urgent:
            asked.urgent.set()
        if asked.task is None or asked.task.done():
            asked.task = asyncio.get_running_loop().create_task(self._answer(zone, asked))
            self._tasks.add(asked.task)
            asked.task.add_done_callback(self._ended)
        return asked.task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A defect of ours in one zone's plan is told, and stays that zone's."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("planning failed", exc_info=task.exception())

    def clock_stepped(self, zone: FrontZone) -> None:
        """Begin every wait of a zone anew: no time from before can be relied on."""
        zone.stepped = zone.serial is not None and not zone.orphan
        self.committed(zone)

    def forget(self, zone: FrontZone) -> None:
        """Plan nothing more for a zone that was removed."""
        if zone.planning is not None and zone.planning.task is not None:
            zone.planning.task.cancel()
        zone.planning = zone.keys = None
        self.engine.schedule.forget(f"rollover {zone.name}")

    async def close(self) -> None:
        """Plan nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, zone: FrontZone, asked: Planning) -> None:
        while asked.again:
            await asked.gather()
            asked.again = False
            if not possible(zone.state, Work.PLAN) or shut_for(zone, Work.PLAN):
                return
            keys = self.of(zone)
            async with self._free, keys.turn:
                await self._advance(zone, keys)

    async def _advance(self, zone: FrontZone, keys: ZoneKeys) -> None:
        """Plan and act until a plan asks for nothing more; put off what fails, and leave it at that for a while."""
        if zone.gone:
            return
        early = keys.not_before - self.engine.clock.monotonic()
        if early > 0:
            self._wake(zone, self.engine.clock.now() + early)
            return
        try:
            await self._rounds(zone, keys)
            keys.failures, keys.trouble, keys.not_before = 0, "", 0.0
            self.engine.events.resolve("signing-failed", zone.name, "roll-over")
        except (SignerError, _PutOff) as error:
            self._failed(zone, keys, str(error))
            if isinstance(error, SignerError):
                self.engine.events.raise_event("signing-failed", zone.name, str(error), subject="roll-over")
        except STORE_ERRORS as error:
            self._failed(zone, keys, f"{type(error).__name__}: {error}")
            self.engine.events.raise_event("store-failed", zone.name, str(error))

    def _failed(self, zone: FrontZone, keys: ZoneKeys, why: str) -> None:
        if zone.gone:
            return
        keys.rekeyed()
        keys.trouble = why
        delay = min(RETRY_FIRST_S * 2 ** min(keys.failures, 10), RETRY_LAST_S)
        keys.failures += 1
        keys.not_before = self.engine.clock.monotonic() + delay
        log.warning("roll-over step put off", zone=zone.name, cause=why, retry_in_s=delay)
        self._wake(zone, self.engine.clock.now() + delay)

    async def _step_clock(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> None:
        assert keys.evidence is not None
        keys.evidence.doubt_all()
        after = commands.clock_stepped(known.keyset, int(self.engine.clock.now()))
        note = Note("clock stepped", "every wait begins anew, from evidence seen from now on")
        await self.store(zone, keys, KeyChange(known.keyset, after, (note,)))
        zone.stepped = keys.stale

    async def _rounds(self, zone: FrontZone, keys: ZoneKeys) -> None:
        for _ in range(ROUNDS_MAX):
            known = await keys.known(zone, self.engine.clock.now())
            if known is None:
                return
            if zone.stepped:
                await self._step_clock(zone, keys, known)
                continue
            await self._destroy(zone, keys, known)
            recount = await keys.count(zone, self.engine.clock)
            now = self.engine.clock.now()
            keys.policy = self.policy(zone)
            evidence = keys.gathered(zone, self.parents(zone), clock_sure=self.engine.clock_sure())
            keys.plan = plan_rollover(known.keyset, keys.policy, evidence, int(now))
            if await self._perform(zone, keys, known, keys.plan):
                continue
            if await self._judge_denial(zone, keys, known):
                continue
            await self.keep_evidence(zone, keys)
            self._conclude(zone, known, keys.plan, evidence, recount)
            return
        raise _PutOff(f"{ROUNDS_MAX} plans in a row each asked for more")

    def policy(self, zone: FrontZone) -> RolloverPolicy:
        """Return the planner's policy for a zone; nothing is begun in a frozen one."""
        return self.policy_by(self.engine.config(), zone.config, zone)

    def policy_by(self, config: Config, given: ZoneConfig, zone: FrontZone) -> RolloverPolicy:
        """Return what the planner's policy for a zone is under a configuration."""
        policy = rollover_policy(config, given, self.engine.clock.now())
        margin = min(config.server.clock_tolerance, policy.margin + self.engine.hidden_step_s())
        policy = replace(policy, margin=margin)
        if not zone.frozen:
            return policy
        return replace(policy, freeze=((0, FOREVER), *policy.freeze))

    async def _perform(self, zone: FrontZone, keys: ZoneKeys, known: Committed, plan: Plan) -> bool:
        """Carry a plan out; tell whether there may be more to plan now."""
        keyset, trouble = plan.keyset, None
        for request in plan.effects:
            if isinstance(request, GenerateKey):
                try:
                    keyset = await make_key(
                        self.engine.signer,
                        zone.origin,
                        keyset,
                        request,
                        int(self.engine.clock.now()),
                        zone.spec.share,
                    )
                except SignerError as error:
                    trouble = error
        if keyset != known.keyset:
            await self._commit(zone, keys, known, plan, keyset)
        if trouble is not None:
            raise trouble
        return keyset != known.keyset

    async def _judge_denial(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> bool:
        """Let a change of denial happen, or tell why it waits; tell whether to plan again."""
        assert keys.plan is not None
        assert keys.policy is not None
        spent = used_approvals(zone, known.keyset, known)
        if spent:
            after = known.keyset
            for token in spent:
                after = commands.used(after, token)
            await self.store(zone, keys, KeyChange(known.keyset, after))
            return True
        blocker = held_change(zone, known, keys.policy, int(self.engine.clock.now()))
        change = wanted_change(zone, known)
        if blocker is not None:
            wakes = [at for at in (keys.plan.next_wake, blocker.until) if at is not None]
            keys.plan = replace(
                keys.plan, blockers=(*keys.plan.blockers, blocker), next_wake=min(wakes, default=None)
            )
        elif change != keys.denial_asked:
            keys.denial_asked = change
            if change:
                log.info("denial changes", zone=zone.name, change=change)
                self.engine.resign(zone)
        return False

    async def _commit(
        self, zone: FrontZone, keys: ZoneKeys, known: Committed, plan: Plan, keyset: Keyset
    ) -> None:
        removals = tuple(effect.key_id for effect in plan.effects if isinstance(effect, RemoveKey))
        change = KeyChange(known.keyset, keyset, notes_of(plan.effects, keyset, known.keyset), removals)
        if not plan.republish:
            await self.store(zone, keys, change)
            return
        await self._prove(zone, plan.effects, keyset)
        outcome = await self.engine.rekey(zone, change)
        keys.rekeyed()
        if outcome.result == "failed":
            raise _PutOff("; ".join(problem.cause for problem in outcome.problems))
        due = [effect for effect in plan.effects if isinstance(effect, SubmitDs | WithdrawDs)]
        for listener in self.listeners if due else ():
            listener.ds_due(zone, keyset, due)

    async def store(self, zone: FrontZone, keys: ZoneKeys, change: KeyChange) -> None:
        """Store a key set that publishes nothing new; the caller has the zone's turn."""
        async with self.engine.lock(zone.name):
            done = await asyncio.to_thread(
                store_keyset, zone.database, zone.spec, change, int(self.engine.clock.now())
            )
        keys.stale = keys.stale or not done or bool(change.removals)
        if done:
            keys.stored(change.after)

    async def _prove(self, zone: FrontZone, effects: Sequence[Effect], keyset: Keyset) -> None:
        """Keys about to be published, to sign, or to be known to the parent: every token has to have them."""
        refs = {e.ref for e in effects if isinstance(e, PublishDnskey | SignWith | SubmitDs)}
        for key in keyset.keys:
            if key.ref in refs and not key.revoked:
                await prove_key(self.engine.signer, zone.origin, key.key_id, key.rdata)

    async def _destroy(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> None:
        """Destroy private keys that a stored key set has done without."""
        if not known.removals:
            return
        used = {key.key_id for key in known.keyset.keys}
        for key_id in known.removals:
            if key_id not in used:
                await destroy_key(self.engine.signer, zone.origin, key_id)
        async with self.engine.lock(zone.name):
            await asyncio.to_thread(removed, zone.database, frozenset(known.removals))
        keys.stale = True

    async def keep_evidence(self, zone: FrontZone, keys: ZoneKeys) -> None:
        """Store what was seen that is news; the caller has the zone's turn."""
        assert keys.evidence is not None
        rows = keys.evidence.to_write()
        if rows:
            async with self.engine.lock(zone.name):
                await asyncio.to_thread(write_evidence, zone.database, rows)
            keys.evidence.written(rows)

    def _conclude(
        self, zone: FrontZone, known: Committed, plan: Plan, evidence: Evidence, recount: float | None
    ) -> None:
        """Tell what waits, and see to it that somebody looks again."""
        if zone.gone:
            return
        now = self.engine.clock.now()
        wakes = [
            plan.next_wake,
            *(each.planned(zone, known.keyset, plan, evidence) for each in self.listeners),
        ]
        if recount is not None:
            wakes.append(now + max(0.0, recount - self.engine.clock.monotonic()))
        self._wake(zone, min((wake for wake in wakes if wake is not None), default=None))

    def _wake(self, zone: FrontZone, when: float | None) -> None:
        place = f"rollover {zone.name}"
        if when is None or when >= FOREVER:
            self.engine.schedule.forget(place)
        else:
            self.engine.schedule.wake(place, when, partial(self._woken, zone))

    def _woken(self, zone: FrontZone) -> None:
        if not zone.gone:
            self.ask(zone)


class _PutOff(Exception):
    """A plan could not be carried out now; the text says why."""


def notes_of(effects: Sequence[Effect], *keysets: Keyset) -> tuple[Note, ...]:
    """Return the history entries for what a plan does."""
    roles = {key.ref: key.role.value for keyset in keysets for key in keyset.keys}
    notes = []
    for effect in effects:
        if isinstance(effect, GenerateKey):
            detail = f"algorithm {effect.algorithm}, key store {effect.keystore}: {effect.reason}"
            notes.append(Note(f"{effect.role.value} made", detail))
        elif isinstance(effect, KeyEffect):
            with suppress(KeyError):
                what, detail = describe(effect)
                notes.append(Note(f"{roles[effect.ref]} {effect.tag}: {what}", detail))
    return tuple(notes)
