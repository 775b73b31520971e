"""What a seed stands for: TTLs, lags, habits of registry and operator, and what befalls the zone."""

from dataclasses import dataclass
from random import Random

from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.replacing import replace

MINUTE, HOUR, DAY = 60, 3_600, 86_400
MARGIN = 300

ALGORITHMS = (8, 13, 14, 15)
SIZES = {8: 256, 13: 64, 14: 96, 15: 32}


@dataclass(frozen=True)
class Act:
    """Something that happens: `kind` at `at`, with what it needs."""

    at: float
    kind: str
    value: object = None


@dataclass(frozen=True)
class Scenario:
    """All times in seconds."""

    policy: RolloverPolicy
    acts: tuple[Act, ...]
    quiet_at: float
    secondaries: int
    secondary_lag: float
    poll: float
    parents: int
    parent_lag: float
    registry: str  # "cds": it scans; "person": somebody types it in; "never": no DS ever comes
    registry_delay: float
    parents_known: bool
    generate_delay: float
    resign: float
    ttl_zone: int
    ttl_negative: int
    ttl_ds: int
    crash: float  # probability per commit
    forgetful: bool  # evidence is lost at a restart


def make(seed: int, days: float | None = None) -> Scenario:
    """The scenario of a seed; ``days``: of a life so long, with as much happening in each month as in a short one."""
    rng = Random(seed)
    policy = _policy(rng)
    registry = rng.choice(("cds", "person"))
    if rng.random() < 0.1:
        policy = replace(policy, parent=False)  # an island of trust
        registry = "never" if policy.rfc5011 else "person"
    elif rng.random() < 0.1:
        policy, registry = replace(policy, standby_ksk=False), "never"
    quiet = rng.uniform(20, 90) * DAY
    if policy.rfc5011:
        quiet += 60 * DAY
    months = 1 if days is None else max(1, int(days / 60))
    quiet = quiet if days is None else days * DAY
    acts = sorted(
        (act for _ in range(months) for act in _acts(rng, policy, quiet, registry)), key=lambda act: act.at
    )
    acts.append(Act(quiet, "policy", _at_rest(_last_policy(acts, policy))))
    parents_known = registry != "person" or (policy.parent and rng.random() < 0.8)
    ttl_ds = int(log_between(rng, MINUTE, 2 * DAY))
    if not parents_known:  # its TTL cannot be observed: the policy has to know
        policy = replace(policy, parent_ds_ttl=2 * ttl_ds)
        acts = [
            replace(act, value=replace(act.value, parent_ds_ttl=2 * ttl_ds))
            if isinstance(act.value, RolloverPolicy)
            else act
            for act in acts
        ]
    if seed % 4 == 3 and not policy.rfc5011 and registry != "never":
        policy, acts = with_losses(seed, policy, acts, quiet)
    if registry != "never" and policy.parent:
        acts = _with_other_signer(seed, policy, acts, quiet)
    if seed % 8 in (4, 6):
        policy, acts = with_second_node(seed, policy, acts, quiet)
    return Scenario(
        policy=policy,
        acts=tuple(acts),
        quiet_at=quiet,
        secondaries=rng.choice((0, 1, 2, 3)),
        secondary_lag=log_between(rng, 1, DAY),
        poll=log_between(rng, 5 * MINUTE, 12 * HOUR),
        parents=rng.choice((1, 2, 3)),
        parent_lag=log_between(rng, 1, DAY),
        registry=registry,
        registry_delay=log_between(rng, MINUTE, 6 * DAY),
        parents_known=parents_known,
        generate_delay=rng.choice((0.0, 0.0, HOUR, 4 * DAY)),
        resign=rng.choice((0.0, log_between(rng, HOUR, 10 * DAY))),
        ttl_zone=int(log_between(rng, MINUTE, 2 * DAY)),
        ttl_negative=int(log_between(rng, MINUTE, HOUR)),
        ttl_ds=ttl_ds if policy.parent else 1,
        crash=rng.choice((0.0, 0.3)),
        forgetful=rng.random() < 0.3,
    )


def _last_policy(acts: list[Act], policy: RolloverPolicy) -> RolloverPolicy:
    last = next((act.value for act in reversed(acts) if act.kind == "policy"), policy)
    assert isinstance(last, RolloverPolicy)
    return last


def _at_rest(policy: RolloverPolicy) -> RolloverPolicy:
    """Return a policy with which no rollover begins by itself."""
    specs = tuple(replace(spec, lifetime=None) for spec in policy.specs)
    return replace(policy, specs=specs, freeze=())


def with_losses(
    seed: int, policy: RolloverPolicy, acts: list[Act], quiet: float
) -> tuple[RolloverPolicy, list[Act]]:
    """Every fourth seed is about keys that get lost, standby ZSKs, required backups, and a key store for each role.

    From a generator of its own, so that the other seeds stay what they are.
    """
    rng = Random(f"losses {seed}")
    standby, stores, backups = (rng.random() < 0.5 for _ in range(3))

    def changed(one: RolloverPolicy) -> RolloverPolicy:
        specs = tuple(
            replace(spec, keystore="vault") if stores and spec.role is Role.KSK else spec
            for spec in one.specs
        )
        return replace(one, standby_zsk=standby, specs=specs, require_backup=backups)

    acts = [replace(act, value=changed(act.value)) if act.kind == "policy" else act for act in acts]  # type: ignore[arg-type]
    lost = [Act(rng.uniform(0, quiet), "lost", rng.random()) for _ in range(rng.choice((1, 1, 2)))]
    if len(lost) == 2 and rng.random() < 0.5:
        lost[1] = replace(lost[1], at=min(lost[0].at + log_between(rng, MINUTE, 3 * DAY), quiet))
    return changed(policy), sorted([*acts, *lost], key=lambda act: act.at)


def _with_other_signer(seed: int, policy: RolloverPolicy, acts: list[Act], quiet: float) -> list[Act]:
    """Every fourth seed has another signer that joins, often leaves, and rolls its ZSK; from a generator of its own.

    Where it stays, the policy keeps zone and algorithms as they are.
    """
    if seed % 4 != 1 or policy.rfc5011:
        return acts
    rng = Random(f"signers {seed}")
    stays = rng.random() < 0.4
    kept = [act for act in acts if act.kind != "policy" or _keeps(act.value, policy) or not stays]
    if not any(act.kind == "policy" and act.at == quiet for act in kept):
        kept.append(Act(quiet, "policy", _at_rest(_last_policy(kept, policy))))
    joins = rng.uniform(2 * DAY, quiet * 0.5)
    more = [Act(joins, "other joins")]
    more += [
        Act(rng.uniform(joins, quiet * 0.8), rng.choice(("other rolls", "roll zsk", "roll zsk")))
        for _ in range(rng.choice((1, 2, 3)))
    ]
    if not stays:
        leaves = rng.uniform(joins, quiet * 0.9)
        more.append(Act(leaves, "other leaves"))
        if rng.random() < 0.5:
            other = rng.choice([number for number in ALGORITHMS if number != policy.specs[0].algorithm])
            changed = replace(policy, specs=_specs(rng, other))
            more.append(Act(rng.uniform((joins + leaves) / 2, leaves), "policy", changed))
    return sorted([*kept, *more], key=lambda act: act.at)


def with_second_node(
    seed: int, policy: RolloverPolicy, acts: list[Act], quiet: float
) -> tuple[RolloverPolicy, list[Act]]:
    """A fourth of the seeds is of a cluster: two nodes with keys of their own; from a generator of its own."""
    rng = Random(f"nodes {seed}")

    def changed(one: RolloverPolicy) -> RolloverPolicy:
        return replace(one, standby_ksk=False, rfc5011=False)

    acts = [replace(act, value=changed(act.value)) if act.kind == "policy" else act for act in acts]  # type: ignore[arg-type]
    joins = rng.uniform(0, quiet * 0.3)
    more = [Act(joins, "node joins")]
    for _ in range(rng.choice((1, 2, 4, 8))):
        at = rng.uniform(joins, quiet)
        if acts and rng.random() < 0.6:  # while something else is under way
            at = max(joins, min(rng.choice(acts).at + log_between(rng, MINUTE, 10 * DAY), quiet))
        more.append(Act(at, "node takes over"))
        if rng.random() < 0.4:  # and soon back
            more.append(Act(at + log_between(rng, MINUTE, DAY), "node takes over"))
    if rng.random() < 0.3:
        more.append(Act(rng.uniform(quiet / 2, quiet), "node leaves"))
    return changed(policy), sorted([*acts, *more], key=lambda act: act.at)


def _keeps(value: object, policy: RolloverPolicy) -> bool:
    assert isinstance(value, RolloverPolicy)
    algorithms = {spec.algorithm for spec in policy.specs}
    return value.signed and {spec.algorithm for spec in value.specs} == algorithms


def log_between(rng: Random, low: float, high: float) -> float:
    """Spread evenly over the orders of magnitude."""
    return float(low * (high / low) ** rng.random())


def _policy(rng: Random) -> RolloverPolicy:
    return RolloverPolicy(
        specs=_specs(rng, rng.choice(ALGORITHMS)),
        dnskey_ttl=int(log_between(rng, MINUTE, 2 * DAY)),
        propagation_delay=int(log_between(rng, 1, HOUR)),
        parent_propagation_delay=int(log_between(rng, 1, HOUR)),
        parent_ds_ttl=int(log_between(rng, 1, DAY)),
        standby_ksk=rng.random() < 0.25,
        rfc5011=rng.random() < 0.15,
        manual=frozenset(kind for kind in ("zsk", "ksk", "algorithm") if rng.random() < 0.1),
        margin=MARGIN,
        purge=int(log_between(rng, HOUR, 7 * DAY)),
    )


def _specs(rng: Random, algorithm: int) -> tuple[KeySpec, ...]:
    store = rng.choice(("local", "local", "hsm"))
    bits = rng.choice((2048, 3072)) if algorithm == 8 else 0
    if rng.random() < 0.3:
        return (KeySpec(Role.CSK, algorithm, store, _lifetime(rng), bits),)
    return (
        KeySpec(Role.KSK, algorithm, store, _lifetime(rng), bits),
        KeySpec(Role.ZSK, algorithm, store, _lifetime(rng), bits),
    )


def _lifetime(rng: Random) -> int | None:
    return rng.choice((None, int(log_between(rng, 5 * DAY, 60 * DAY))))


COMMANDS = ("roll ksk", "roll ksk", "roll zsk", "compromised", "compromised", "retire", "revoke")
TROUBLES = (
    "restart",
    "lose evidence",
    "clock",
    "drift",
    "secondary out",
    "parent out",
    "ttl",
    "ds ttl",
    "freeze",
)


def _acts(rng: Random, policy: RolloverPolicy, quiet: float, registry: str) -> list[Act]:
    acts = [
        Act(rng.uniform(0, quiet), rng.choice(COMMANDS), rng.random())
        for _ in range(rng.choice((0, 1, 1, 2, 4)))
    ]
    times = sorted(rng.uniform(0, quiet) for _ in range(rng.choice((0, 1, 1, 2, 3))))
    for at in times:
        if rng.random() < 0.4 and len(times) > 1:  # changed again before it has got far
            at = times[0] + log_between(rng, HOUR, 10 * DAY)
        policy = _changed(rng, policy)
        if registry == "never":
            policy = replace(policy, standby_ksk=False)
        acts.append(Act(min(at, quiet), "policy", policy))
    return acts + [_trouble(rng, acts, quiet) for _ in range(rng.choice((0, 2, 5, 10)))]


def _trouble(rng: Random, acts: list[Act], quiet: float) -> Act:
    """Any time; more often soon after something has begun."""
    at = rng.uniform(0, quiet)
    if acts and rng.random() < 0.7:
        at = min(rng.choice(acts).at + log_between(rng, MINUTE, 5 * DAY), quiet)
    return Act(at, rng.choice(TROUBLES), rng.random())


def _changed(rng: Random, policy: RolloverPolicy) -> RolloverPolicy:
    kind = rng.choice(("keys", "keys", "keys", "algorithm", "signed", "standby", "5011", "ttl"))
    match kind:
        case "signed":
            return replace(policy, signed=not policy.signed)
        case "standby":
            return replace(policy, standby_ksk=not policy.standby_ksk)
        case "5011":
            return replace(policy, rfc5011=False)
        case "ttl":
            return replace(policy, dnskey_ttl=int(log_between(rng, MINUTE, 2 * DAY)))
        case "keys":
            return replace(policy, specs=_specs(rng, policy.specs[0].algorithm))
        case _:
            return replace(policy, specs=_specs(rng, rng.choice(ALGORITHMS)))
