"""A zone on a virtual clock: real planner, pipeline, key service, store and verifier; only the world is assumed.

Secondaries follow after a lag, the parent after a delay, re-signing happens when it is due. Every version is judged
by the verifier before it is committed, as in the daemon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence, ParentSight, SecondarySight
from dnssecd.core.keys.keyset import Key, Keyset, ds_rdata
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import GenerateKey, Plan, RemoveKey, RolloverPolicy
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.rekey import rekey, store_keyset
from dnssecd.pipeline.version.committed import Committed, count_signatures, read_committed
from dnssecd.pipeline.version.keychange import KeyChange
from dnssecd.replacing import replace
from tests.pipeline_zone import ZONE, PipelineZone

HOUR, DAY = 3_600, 86_400
STRIDE = HOUR


@dataclass(frozen=True)
class Made:
    """A version: when, by which job, how many signatures were made for it."""

    at: int
    kind: str
    serial: int
    signatures: int


@dataclass
class SimulatedZone:
    """`run` lets time pass; `policy` may be changed on the way."""

    zone: PipelineZone
    policy: RolloverPolicy
    lag: int = 60
    ds_delay: int | None = 2 * HOUR
    text: str = ZONE
    ttl_ds: int = DAY
    made: list[Made] = field(default_factory=list)
    ds: tuple[bytes, ...] = ()
    ds_wanted: tuple[bytes, ...] = ()
    ds_asked: int = 0
    plan: Plan | None = None
    _committed: list[tuple[int, int]] = field(default_factory=list)  # (when, serial)
    _next_due: int | None = None

    @property
    def now(self) -> int:
        return self.zone.now

    def load(self) -> None:
        self._note("load", self.zone.load(self.text))

    def known(self) -> Committed:
        found = read_committed(self.zone.db)
        assert found is not None
        return found

    @property
    def keyset(self) -> Keyset:
        return self.known().keyset

    def key(self, role: Role, goal: Goal = Goal.PRESENT) -> Key:
        return next(key for key in reversed(self.keyset.keys) if key.role is role and key.goal is goal)

    def present(self) -> list[Key]:
        """Keys some record of which may be held."""
        return [
            key
            for key in self.keyset.keys
            if any(key.record(rec).state is not State.HIDDEN for rec in key.records)
        ]

    def tell(self, change: Any) -> None:
        """Apply a command to the stored keys."""
        known = self.known()
        assert store_keyset(
            self.zone.db, self.zone.spec, KeyChange(known.keyset, change(known.keyset)), self.now
        )

    def evidence(self) -> Evidence:
        known = self.known()
        served = [serial for at, serial in self._committed if at + self.lag <= self.now]
        sight = SecondarySight("ns1", served[-1] if served else None, self.now)
        parents = (ParentSight("parent", self.ds, self.ttl_ds, self.now),) if self.policy.parent else ()
        _, counts = count_signatures(self.zone.db, known.keyset.keys)
        return Evidence(
            serial=known.serial,
            committed=known.at,
            secondaries=(sight,),
            parents=parents,
            signatures=counts,
            ttl_dnskey=known.ttl_dnskey,
            ttl_zone=known.ttl_zone,
            ttl_negative=known.ttl_negative,
        )

    def step(self) -> None:
        """Everything that is to be done now."""
        self._parent_acts()
        if self._next_due is not None and self._next_due + STRIDE <= self.now:
            self._note("resign", self.zone.resign())
        for _ in range(12):
            known = self.known()
            plan = self.plan = plan_rollover(known.keyset, self.policy, self.evidence(), self.now)
            keyset = plan.keyset
            for effect in plan.effects:
                if isinstance(effect, GenerateKey):
                    keyset = self._generate(keyset, effect)
            if keyset == known.keyset:
                return
            self._commit(known, plan, keyset)
        raise AssertionError("twelve plans in a row each requested another")

    def run(self, seconds: int, until: Any = None) -> bool:
        """Let time pass from one thing that happens to the next; True when `until()` came true before the end."""
        end = self.now + seconds
        while True:
            self.step()
            if until is not None and until():
                return True
            when = self._next()
            if when > end:
                self.zone.now = end
                return until is None
            self.zone.now = max(when, self.now + 1)

    def settled(self) -> bool:
        """Whether nothing is under way."""
        moving = (State.RUMOURED, State.UNRETENTIVE)
        return not any(key.record(rec).state in moving for key in self.keyset.keys for rec in key.records)

    def _next(self) -> int:
        wakes = [self.now + DAY]
        assert self.plan is not None
        if self.plan.next_wake is not None:
            wakes.append(self.plan.next_wake)
        wakes += [at + self.lag for at, _ in self._committed if at + self.lag > self.now]
        if self._next_due is not None:
            wakes.append(self._next_due + STRIDE)
        if self.ds_wanted != self.ds and self.ds_delay is not None:
            wakes.append(self.ds_asked + self.ds_delay)
        return min(max(wake, self.now + 1) for wake in wakes)

    def _parent_acts(self) -> None:
        keyset = self.keyset
        wanted = tuple(sorted(ds_rdata(keyset.apex, key.rdata) for key in keyset.keys if key.ds.visible))
        if wanted != self.ds_wanted:
            self.ds_wanted, self.ds_asked = wanted, self.now
        if self.ds_delay is not None and self.now >= self.ds_asked + self.ds_delay:
            self.ds = self.ds_wanted

    def _generate(self, keyset: Keyset, request: GenerateKey) -> Keyset:
        info = self.zone.signer.generate(
            self.zone.spec.origin,
            request.role.value,  # type: ignore[arg-type]
            request.algorithm,
            store=request.keystore,
            bits=request.bits,
            idempotency=request.request_id,
        )
        return commands.generated(keyset, request, info.id, info.public_key, self.now)

    def _commit(self, known: Committed, plan: Plan, keyset: Keyset) -> None:
        removals = tuple(effect.key_id for effect in plan.effects if isinstance(effect, RemoveKey))
        change = KeyChange(known.keyset, keyset, removals=removals)
        if plan.republish:
            self._note("rekey", rekey(self.zone.db, self.zone.spec, change, self.zone.tools()))
        else:
            assert store_keyset(self.zone.db, self.zone.spec, change, self.now)

    def _note(self, kind: str, outcome: Outcome) -> None:
        assert outcome.result in ("published", "unchanged"), (kind, outcome.problems, outcome.violations[:5])
        self._next_due = outcome.next_due
        if outcome.result == "published":
            assert outcome.serial is not None
            self.made.append(Made(self.now, kind, outcome.serial, outcome.signatures))
            self._committed.append((self.now, outcome.serial))


def simulated_zone(
    home: Path, socket: str, policy: RolloverPolicy, text: str = ZONE, **spec: Any
) -> SimulatedZone:
    """Return a zone that was just loaded for the first time."""
    zone = PipelineZone(home, socket)
    wishes = tuple((key.role.value, key.algorithm, key.keystore, key.bits) for key in policy.specs)
    zone.spec = _with(zone.spec, wishes, dnskey_ttl=policy.dnskey_ttl, cds=policy.parent, **spec)
    made = SimulatedZone(zone, policy, text=text)
    made.load()
    return made


def _with(spec: Any, wishes: Sequence[tuple[str, int, str, int]], **changes: Any) -> Any:
    import msgspec

    from dnssecd.pipeline.jobs.spec import KeyWish

    return msgspec.structs.replace(spec, keys=tuple(KeyWish(*wish) for wish in wishes), **changes)


def records(zone: SimulatedZone, role: Role, rec: Rec) -> list[str]:
    """The states of one record of all keys of a role, in the order in which the keys were made."""
    return [key.record(rec).state.value for key in zone.keyset.keys if key.role is role]


__all__ = ["DAY", "HOUR", "Made", "SimulatedZone", "records", "replace", "simulated_zone"]
