"""The rollover engine: run the planner after every commit, sighting, command and wake-up, and carry out its plans.

The planner is pure (core.keys); this is its shell. A plan that changes the published zone becomes a job that
commits the new key set with the version made from it; any other plan is stored immediately. After any
failure, the next plan starts from the stored key set. This module never starts a wait: only evidence does, in
the planner.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import structlog
from msgspec import Struct

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.config.model import Config, ZoneConfig
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.planner import plan_rollover
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
from dnssecd.daemon.rollover.held_by_tokens import note_held
from dnssecd.daemon.rollover.key_service import destroy_key, make_key, prove_key
from dnssecd.daemon.rollover.note_holders import note_holders
from dnssecd.daemon.rollover.notes import notes_of
from dnssecd.daemon.rollover.of_nodes import NotReady, change_of_nodes
from dnssecd.daemon.rollover.planning import PLANS_S, Planning
from dnssecd.daemon.rollover.policy import FOREVER, rollover_policy
from dnssecd.daemon.rollover.spares import with_spares
from dnssecd.daemon.rollover.zone_keys import ZoneKeys
from dnssecd.daemon.zones.gates import Work, shut_for
from dnssecd.daemon.zones.key_holders import Holders, Nodes, Withdraw
from dnssecd.daemon.zones.machine import possible
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.foreign_input import follow_usable_input
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.rekey import removed, store_keyset
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.keychange import KeyChange, Note
from dnssecd.replacing import replace
from dnssecd.store.errors import StoreError
from dnssecd.uninterrupted import to_the_end

ROUNDS_MAX = 8
ZONES_AT_ONCE = 8
RETRY = Backoff(5.0, 300.0)
STORE_ERRORS = (StoreError, OSError)

log = structlog.get_logger("dnssecd.rollover")


class Engine(Struct, frozen=True):
    """The dependencies of the engine.

    ``rekey`` makes a version with a key set; ``resign`` requests a version for the present policy.
    """

    config: Callable[[], Config]
    signer: AsyncSignerClient
    events: EventCore
    clock: Clock
    schedule: Schedule
    rekey: Callable[[FrontZone, KeyChange], Awaitable[Outcome]]
    resign: Callable[[FrontZone], None]
    clock_sure: Callable[[], bool]
    #: The time (s) by which a clock step during a stop of the daemon may have shortened every wait.
    hidden_step_s: Callable[[], int]
    #: Which nodes of the cluster hold a key, and the end of that; None on a single host.
    holders: Holders | None = None
    withdraw: Withdraw | None = None
    #: The keys of the other nodes of the cluster, where each has its own; None on a single host.
    nodes: Nodes | None = None


class RolloverListener:
    """Notifications of the engine; override the methods you need.

    They are called on the event loop; the listener handles its errors.
    """

    def ds_due(self, zone: FrontZone, keyset: Keyset, effects: Sequence[KeyEffect]) -> None:
        """Take committed SubmitDs and WithdrawDs effects: the parent must add or remove DS."""

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Take a plan that was made and carried out; return when (epoch s) the next call is needed at the latest."""
        return None


@dataclass(eq=False)
class Rollovers:
    """The rollovers of all zones. Methods belong to the event loop."""

    engine: Engine
    parents: Callable[[FrontZone], tuple[str, ...]]
    listeners: list[RolloverListener] = field(default_factory=list)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ZONES_AT_ONCE))
    _on_wake: Callable[[FrontZone], None] = field(init=False)

    def __post_init__(self) -> None:
        self._on_wake = self._woken

    def of(self, zone: FrontZone) -> ZoneKeys:
        """Return the data on a zone's keys."""
        if zone.keys is None:
            zone.keys = ZoneKeys()
        return zone.keys

    def committed(self, zone: FrontZone) -> None:
        """Plan again, because a version was committed or a job ended."""
        if zone.gone:
            return
        self.of(zone).stale = True
        self.ask(zone)
        if zone.planning is not None and zone.servers is not None and zone.servers.waiting_for():
            zone.planning.await_sightings()

    def all_seen(self, zone: FrontZone) -> None:
        """Plan without waiting for further sightings: every secondary was seen with the published version."""
        if zone.planning is not None:
            zone.planning.seen.set()

    def ask(self, zone: FrontZone, *, urgent: bool = False) -> "asyncio.Task[None]":
        """Request a plan for a zone; further requests before it is made have no effect.

        urgent: a command waits for it.
        """
        if zone.planning is None:
            zone.planning = Planning()
        asked = zone.planning
        asked.again = True
        if urgent:
            asked.urgent.set()
            asked.seen.set()
        if asked.task is None or asked.task.done():
            asked.task = asyncio.get_running_loop().create_task(self._answer(zone, asked))
            self._tasks.add(asked.task)
            asked.task.add_done_callback(partial(self._ended, zone, asked))
        return asked.task

    def _ended(self, zone: FrontZone, asked: Planning, task: "asyncio.Task[None]") -> None:
        """Report a bug in one zone's plan; other zones are not affected."""
        self._tasks.discard(task)
        if asked.task is task:
            asked.task = None
            loop = asyncio.get_running_loop()
            loop.call_later(PLANS_S + 1.0, self._rest, zone, asked, loop)
        if not task.cancelled() and task.exception() is not None:
            log.error("planning failed", exc_info=task.exception())

    def _rest(self, zone: FrontZone, asked: Planning, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the times of a zone's last plans when they matter no longer; most zones are planned for seldom."""
        if zone.planning is asked and asked.rests(loop.time()):
            zone.planning = None

    def clock_stepped(self, zone: FrontZone) -> None:
        """Restart every wait of a zone, because earlier times are unreliable."""
        zone.stepped = zone.serial is not None and not zone.orphan
        self.committed(zone)

    def forget(self, zone: FrontZone) -> None:
        """Stop planning for a removed zone."""
        if zone.planning is not None and zone.planning.task is not None:
            zone.planning.task.cancel()
        zone.planning = zone.keys = None
        self.engine.schedule.forget(zone, "rollover")

    async def close(self) -> None:
        """Stop planning."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, zone: FrontZone, asked: Planning) -> None:
        while asked.again:
            await asked.gather()
            asked.again = False
            if not possible(zone.state, Work.PLAN) or shut_for(zone, Work.PLAN) or zone.spec.verify_only:
                return
            keys = self.of(zone)
            async with self._free, keys.turn:
                await self._advance(zone, keys)

    async def _advance(self, zone: FrontZone, keys: ZoneKeys) -> None:
        """Plan and act until a plan changes nothing; postpone a step that fails, and try it again later."""
        if zone.gone:
            return
        early = keys.not_before - self.engine.clock.monotonic()
        if early > 0:
            self._wake(zone, self.engine.clock.now() + early)
            return
        try:
            await self._rounds(zone, keys)
            keys.failures, keys.trouble, keys.not_before = 0, "", 0.0
            self.engine.events.resolve("signing-failed", zone.name, "rollover")
        except (SignerError, PutOff) as error:
            self._failed(zone, keys, str(error))
            if isinstance(error, SignerError):
                self.engine.events.raise_event("signing-failed", zone.name, str(error), subject="rollover")
        except STORE_ERRORS as error:
            self._failed(zone, keys, f"{type(error).__name__}: {error}")
            self.engine.events.raise_event("store-failed", zone.name, str(error))
        except Exception as error:  # a bug, reported by `_ended`: the zone is planned for again nevertheless
            self._failed(zone, keys, f"{type(error).__name__}: {error}")
            raise

    def _failed(self, zone: FrontZone, keys: ZoneKeys, why: str) -> None:
        if zone.gone:
            return
        keys.rekeyed()
        keys.trouble = why
        keys.failures += 1
        delay = RETRY.delay_s(keys.failures)
        keys.not_before = self.engine.clock.monotonic() + delay
        log.warning("rollover step postponed", zone=zone.name, cause=why, retry_in_s=delay)
        self._wake(zone, self.engine.clock.now() + delay)

    async def _step_clock(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> None:
        assert keys.evidence is not None
        keys.evidence.doubt_all()
        after = commands.clock_stepped(known.keyset, int(self.engine.clock.now()))
        note = Note("clock stepped", "every wait restarts, from evidence seen from now on")
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
            if await self._follow_nodes(zone, keys, known):
                continue
            if await self._follow_input(zone, keys, known):
                continue
            recount = await keys.count(zone, self.engine.clock)
            now = self.engine.clock.now()
            keys.policy = self.policy(zone)
            evidence = keys.gathered(zone, self.parents(zone), clock_sure=self.engine.clock_sure())
            keys.plan = plan_rollover(known.keyset, keys.policy, evidence, int(now))
            spares = partial(self.engine.signer.keys, zone.origin)
            more = await with_spares(
                keys.plan, evidence, keys.policy, known, spares, shared=bool(zone.spec.share)
            )
            if more is not None:
                evidence = more
                keys.plan = plan_rollover(known.keyset, keys.policy, more, int(now))
            if await self._perform(zone, keys, known, keys.plan):
                noted = _noted(keys, keys.plan)
                if noted is None:
                    continue
                known = noted
            if await self._judge_denial(zone, keys, known):
                continue
            if await note_held(self.engine.signer, zone, keys, now, self.engine.clock.monotonic()):
                continue
            if await note_holders(self.engine.holders, zone, keys, self.engine.clock.monotonic()):
                continue
            await self.keep_evidence(zone, keys)
            self._conclude(zone, known, keys.settled(keys.plan), evidence, recount)
            return
        raise PutOff(f"{ROUNDS_MAX} plans in a row each requested another")

    async def _follow_nodes(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> bool:
        """Sign with the keys of this node, and take over those of the others; return whether the key set changed."""
        engine, now = self.engine, int(self.engine.clock.now())
        try:
            found = await change_of_nodes(engine.nodes, engine.events, zone, known.keyset, now)
        except NotReady as error:
            raise PutOff(str(error)) from None
        if found is None:
            return False
        await (self.publish if found.signs else self.store)(zone, keys, found.change)
        return True

    async def _follow_input(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> bool:
        """Take over foreign keys that came into the input or left it; return whether the key set changed."""
        if known.foreign is None or not zone.spec.foreign_input:
            self.engine.events.resolve("foreign-key-refused", zone.name)
            return False
        after, refused = follow_usable_input(known.keyset, known.foreign, int(self.engine.clock.now()))
        if refused:
            self.engine.events.raise_event("foreign-key-refused", zone.name, "; ".join(refused))
        else:
            self.engine.events.resolve("foreign-key-refused", zone.name)
        if after == known.keyset:
            return False
        await self.store(
            zone, keys, KeyChange(known.keyset, after, (Note("foreign keys of the input changed"),))
        )
        return True

    def policy(self, zone: FrontZone) -> RolloverPolicy:
        """Return the planner's policy for a zone; in a frozen zone nothing is started."""
        return self.policy_by(self.engine.config(), zone.config, zone)

    def policy_by(self, config: Config, given: ZoneConfig, zone: FrontZone) -> RolloverPolicy:
        """Return the planner's policy for a zone under a given configuration."""
        policy = rollover_policy(config, given, self.engine.clock.now())
        margin = min(config.server.clock_tolerance, policy.margin + self.engine.hidden_step_s())
        policy = replace(policy, margin=margin)
        if zone.frozen:
            policy = replace(policy, freeze=((0, FOREVER), *policy.freeze))
        return _shared(policy)

    async def _perform(self, zone: FrontZone, keys: ZoneKeys, known: Committed, plan: Plan) -> bool:
        """Carry out a plan; return whether another plan may be needed now."""
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
                        zone.spec.tag_range,
                    )
                except SignerError as error:
                    trouble = error
        if keyset != known.keyset:
            await self._commit(zone, keys, known, plan, keyset)
        if trouble is not None:
            raise trouble
        return keyset != known.keyset

    async def _judge_denial(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> bool:
        """Start a change of denial, or note why it waits; return whether to plan again."""
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
        else:
            await self._prove(zone, plan.effects, keyset)
            await self.publish(zone, keys, change)
        due = [effect for effect in plan.effects if isinstance(effect, SubmitDs | WithdrawDs)]
        for listener in self.listeners if due else ():
            listener.ds_due(zone, keyset, due)

    async def publish(self, zone: FrontZone, keys: ZoneKeys, change: KeyChange) -> None:
        """Commit a version with a key set; the caller has the zone's turn."""
        outcome = await self.engine.rekey(zone, change)
        keys.rekeyed()
        if outcome.result == "failed":
            raise PutOff("; ".join(problem.cause for problem in outcome.problems))

    async def store(self, zone: FrontZone, keys: ZoneKeys, change: KeyChange) -> None:
        """Store a key set that does not change the published zone; the caller holds the zone's turn."""
        async with zone.jobs.turn:
            now = int(self.engine.clock.now())
            rows = [] if keys.evidence is None else keys.evidence.to_write()
            storing = asyncio.to_thread(store_keyset, zone.database, zone.spec, change, now, rows)
            done = await to_the_end(storing)
        keys.stale = keys.stale or not done or bool(change.removals)
        if done:
            keys.stored(change.after)
            if keys.evidence is not None:
                keys.evidence.written(rows)

    async def _prove(self, zone: FrontZone, effects: Sequence[Effect], keyset: Keyset) -> None:
        """Prove keys that will be published, sign, or be known to the parent: every token must have them."""
        refs = {e.ref for e in effects if isinstance(e, PublishDnskey | SignWith | SubmitDs)}
        for key in keyset.keys:
            if key.foreign or key.revoked or key.keystore in zone.spec.offline:
                continue
            if key.ref in refs:
                await prove_key(self.engine.signer, zone.origin, key.key_id, key.rdata)

    async def _destroy(self, zone: FrontZone, keys: ZoneKeys, known: Committed) -> None:
        """Destroy private keys that the stored key set no longer needs."""
        if not known.removals:
            return
        used = {key.key_id for key in known.keyset.keys}
        for key_id in known.removals:
            if key_id not in used:
                if self.engine.withdraw is not None and not await self.engine.withdraw(zone, key_id):
                    raise PutOff(f"the removal of key {key_id} by the other nodes cannot be requested now")
                await destroy_key(self.engine.signer, zone.origin, key_id)
        async with zone.jobs.turn:
            await to_the_end(asyncio.to_thread(removed, zone.database, frozenset(known.removals)))
        keys.stale = True

    async def keep_evidence(self, zone: FrontZone, keys: ZoneKeys) -> None:
        """Store new evidence; the caller holds the zone's turn."""
        assert keys.evidence is not None
        rows = keys.evidence.to_write()
        if rows:
            async with zone.jobs.turn:
                await to_the_end(asyncio.to_thread(write_evidence, zone.database, rows))
            keys.evidence.written(rows)

    def _conclude(
        self, zone: FrontZone, known: Committed, plan: Plan, evidence: Evidence, recount: float | None
    ) -> None:
        """Report what waits, and schedule the next look."""
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
        if when is None or when >= FOREVER:
            self.engine.schedule.forget(zone, "rollover")
        else:
            self.engine.schedule.wake(zone, "rollover", when, self._on_wake)

    def _woken(self, zone: FrontZone) -> None:
        if not zone.gone:
            self.ask(zone)


@lru_cache(maxsize=256)
def _shared(policy: RolloverPolicy) -> RolloverPolicy:
    """Return the first of equal policies: most zones have the same."""
    return policy


def _noted(keys: ZoneKeys, plan: Plan) -> Committed | None:
    """Return the version with the key set of a plan that was stored and had no effects, else None.

    Such a plan only notes what was seen, as after each version: another one by the same evidence would be equal.
    """
    known = keys.committed
    if plan.effects or keys.stale or known is None or known.keyset != plan.keyset:
        return None
    return known


class PutOff(Exception):
    """A plan could not be carried out now; the text says why."""
