"""A small hand-driven daemon: commits what the plan wants, and is told what was seen."""

from dataclasses import dataclass, field

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Confirmation, Evidence, ParentSight, SecondarySight, SignatureCount
from dnssecd.core.keys.keyset import Key, Keyset, SigningKey, ds_rdata, published, signing_view
from dnssecd.core.keys.keystate import Goal, Rec, Role, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.types import GenerateKey, KeySpec, Plan, RolloverPolicy
from dnssecd.pipeline.jobs.rekey import changes_zone
from dnssecd.replacing import replace

APEX = b"\x07example\x00"
HOUR, DAY = 3_600, 86_400
ALGORITHM = 13


def ksk_zsk(algorithm: int = ALGORITHM, **kwargs: object) -> tuple[KeySpec, ...]:
    return (
        KeySpec(Role.KSK, algorithm, **kwargs),  # type: ignore[arg-type]
        KeySpec(Role.ZSK, algorithm, **kwargs),  # type: ignore[arg-type]
    )


def key_ids(keys: tuple[SigningKey, ...]) -> tuple[str, ...]:
    return tuple(key.key_id for key in keys)


def csk(algorithm: int = ALGORITHM) -> tuple[KeySpec, ...]:
    return (KeySpec(Role.CSK, algorithm),)


def policy(specs: tuple[KeySpec, ...] | None = None, **kwargs: object) -> RolloverPolicy:
    return RolloverPolicy(ksk_zsk() if specs is None else specs, **kwargs)  # type: ignore[arg-type]


@dataclass
class Bench:
    """Time moves only by `wait`; servers follow only when told to."""

    policy: RolloverPolicy
    now: int = 1_000_000
    keyset: Keyset = field(default_factory=lambda: Keyset(APEX))
    serial: int = 10
    secondaries: tuple[str, ...] = ("ns1", "ns2")
    parents: tuple[str, ...] = ("a.parent", "b.parent")
    evidence: Evidence = field(default_factory=Evidence)
    plan: Plan | None = None
    effects: list[object] = field(default_factory=list)
    signed: frozenset[str] = frozenset()
    signed_cds: tuple[SigningKey, ...] = ()

    def __post_init__(self) -> None:
        self.evidence = Evidence(
            serial=self.serial,
            committed=self.now,
            secondaries=tuple(SecondarySight(name) for name in self.secondaries),
            parents=tuple(ParentSight(name) for name in self.parents),
            ttl_dnskey=HOUR,
            ttl_zone=DAY,
            ttl_negative=600,
        )

    def step(self) -> Plan:
        """Plan until nothing changes, committing and making keys on the way."""
        for _ in range(10):
            plan = plan_rollover(self.keyset, self.policy, self.counted(), self.now)
            self.effects += plan.effects
            assert plan.republish or not changes_zone(self.keyset, plan.keyset, cds=True)
            self.keyset = plan.keyset
            requests = [effect for effect in plan.effects if isinstance(effect, GenerateKey)]
            for request in requests:
                self.generate(request)
            if plan.republish:
                self.commit()
            if not requests and not plan.republish:
                self.plan = plan
                return plan
        raise AssertionError("no rest after ten plans")

    def generate(self, request: GenerateKey) -> Key:
        octets = {8: 260, 13: 64, 15: 32}[request.algorithm]
        public = request.request_id.encode().ljust(octets, b".")
        self.keyset = commands.generated(self.keyset, request, request.request_id, public, self.now)
        return self.keyset.keys[-1]

    def commit(self) -> None:
        self.serial += 1
        self.keyset = published(self.keyset, self.serial, self.now)
        self.signed_cds = signing_view(self.keyset).cds_keys
        self.signed = frozenset(key.ref for key in self.keyset.keys if key.zrrsig.visible)
        self.evidence = replace(self.evidence, serial=self.serial, committed=self.now)

    def counted(self) -> Evidence:
        counts = tuple(
            SignatureCount(key.ref, 5 * (key.ref in self.signed), 5 * (key.ref not in self.signed))
            for key in self.keyset.keys
            if Rec.ZRRSIG in key.records
        )
        return replace(self.evidence, signatures=counts)

    def secondaries_follow(self, *names: str, serial: int | None = None) -> None:
        serial = self.serial if serial is None else serial
        self.evidence = replace(
            self.evidence,
            secondaries=tuple(
                SecondarySight(sight.name, serial, self.now)
                if sight.name in (names or self.secondaries)
                else sight
                for sight in self.evidence.secondaries
            ),
        )

    def parent_serves(
        self, *keys: Key, names: tuple[str, ...] = (), ttl: int = HOUR, digest: int = 2
    ) -> None:
        ds = tuple(ds_rdata(APEX, key.rdata, digest) for key in keys)
        self.evidence = replace(
            self.evidence,
            parents=tuple(
                ParentSight(sight.name, ds, ttl, self.now) if sight.name in (names or self.parents) else sight
                for sight in self.evidence.parents
            ),
        )

    def parent_follows(self) -> None:
        self.parent_serves(*(key for key in self.keyset.keys if key.ds.visible))

    def confirm(self, key: Key, present: bool) -> None:
        word = Confirmation(key.ref, present, self.now, "alice")
        self.evidence = replace(self.evidence, confirmations=(*self.evidence.confirmations, word))

    def wait(self, seconds: int) -> Plan:
        self.now += seconds
        return self.step()

    def settle(self, rounds: int = 40, gap: int = 6 * HOUR) -> Plan:
        """Everybody follows all the time, until nothing moves for some rounds."""
        plan = self.step()
        for _ in range(rounds):
            self.secondaries_follow()
            self.parent_follows()
            plan = self.wait(gap)
        return plan

    def key(self, role: Role, goal: Goal = Goal.PRESENT) -> Key:
        return next(
            key
            for key in reversed(self.keyset.keys)
            if key.role is role and key.goal is goal and not key.revoked
        )

    def state(self, key: Key, rec: Rec) -> State:
        found = self.keyset.find(key.ref)
        assert found is not None
        return found.record(rec).state

    def rules(self) -> set[str]:
        assert self.plan is not None
        return {blocker.rule for blocker in self.plan.blockers}


def running(specs: tuple[KeySpec, ...] | None = None, **kwargs: object) -> Bench:
    """A zone that has been signed and secure for some time."""
    bench = Bench(policy(specs, **kwargs))
    bench.settle()
    assert all(
        key.record(rec).state is State.OMNIPRESENT
        for key in bench.keyset.keys
        if key.goal is Goal.PRESENT
        for rec in key.records
    ), bench.plan
    bench.effects.clear()
    return bench
