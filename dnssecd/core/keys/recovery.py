"""When a key is compromised: what dnssecd does, what operators have to do, when it is over and what it costs.

The planner needs no other way for this: `compromised` makes the key unfit, lifts approvals and freezes, and has its
signatures replaced at once.  What cannot be hurried is what validators hold.
"""

from msgspec import Struct

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.requests import compromised
from dnssecd.core.keys.simulate import (
    BRING_DNSKEY,
    CONFIRM_BACKUP,
    HOLD_CEREMONY,
    Assumptions,
    SimEvent,
    Simulation,
    simulate,
)
from dnssecd.core.keys.types import RolloverPolicy

HORIZON_S = 90 * 86_400


class RecoveryStep(Struct, frozen=True):
    """Expected at `at` (epoch s; None: now); `who` is "people" or "dnssecd"."""

    at: int | None
    who: str
    text: str


class RecoveryPlan(Struct, frozen=True):
    """`safe_at` (epoch s): from when no validator trusts the key; None: not within 90 days as things stand."""

    tag: int
    safe_at: int | None
    costs: tuple[str, ...]
    steps: tuple[RecoveryStep, ...]


def recovery_plan(
    keyset: Keyset, policy: RolloverPolicy, assume: Assumptions, now: int, ref: str
) -> RecoveryPlan:
    """Return the plan for one key; KeysetError if there is no such key.  Pure."""
    after = compromised(keyset, ref)
    key = after.find(ref)
    assert key is not None
    ahead = simulate(after, policy, assume, now, now + HORIZON_S)
    safe_at = _safe_at(key, ahead, now)
    return RecoveryPlan(key.tag, safe_at, _costs(key, keyset, policy), _steps(key, ahead, safe_at))


def _safe_at(key: Key, ahead: Simulation, now: int) -> int | None:
    """Return when no validator trusts the key: a KSK is trusted by its DS, a ZSK by its place in the DNSKEY set."""
    rec = Rec.DNSKEY if key.role is Role.ZSK else Rec.DS
    if key.record(rec).state is State.HIDDEN:
        return now
    gone = [
        span.start
        for span in ahead.spans
        if (span.ref, span.rec) == (key.ref, rec) and span.state is State.HIDDEN
    ]
    return max(gone, default=None)


def _costs(key: Key, keyset: Keyset, policy: RolloverPolicy) -> tuple[str, ...]:
    costs = [
        "Until then anyone who has the private key can forge signed answers for this zone. If the key were removed "
        "faster, the zone would fail validation for all resolvers that still have the old records in a cache.",
    ]
    if key.role is not Role.KSK:
        costs.append("All signatures by the key are replaced at once: one transfer of nearly the whole zone.")
    if key.role is not Role.ZSK:
        costs.append("The parent has to change the DS set; every hour it takes is an hour more of exposure.")
        standby = any(other.goal.value == "standby" and other.ref != key.ref for other in keyset.keys)
        if not standby:
            costs.append("There is no standby key whose DS the parent has already (standby_ksk = true).")
    if policy.manual or policy.freeze:
        costs.append("Approvals and freeze windows do not apply to this rollover.")
    return tuple(costs)


PEOPLE_BEFORE = (
    "Find out how the key got out and close that hole first: the new key lives in the same place.",
    "Keep what shows when it began: `dnssecd key audit`, the key store's own log, `dnssecd zone history`.",
)
PEOPLE_AFTER = (
    "Look for answers forged meanwhile: certificates issued (certificate transparency), mail and log-ins diverted.",
    "Destroy every copy of the old private key, backups included; check the others in the same key store.",
    "Tell those who trust the zone directly (configured trust anchors), if anybody does.",
)


def _steps(key: Key, ahead: Simulation, safe_at: int | None) -> tuple[RecoveryStep, ...]:
    before = tuple(RecoveryStep(None, "people", text) for text in PEOPLE_BEFORE)
    steps = [*before, *named_steps(ahead, safe_at)]
    if safe_at is not None:
        steps.append(RecoveryStep(safe_at, "dnssecd", f"no validator trusts key tag {key.tag} any more"))
    return (*steps, *(RecoveryStep(safe_at, "people", text) for text in PEOPLE_AFTER))


def named_steps(ahead: Simulation, until: int | None) -> tuple[RecoveryStep, ...]:
    """Return what dnssecd and the parent do, up to a time (None: all of it)."""
    steps = []
    for event in ahead.events:
        if until is not None and event.at > until:
            break
        if event.event in ("submit ds", "withdraw ds"):
            verb = "add" if event.event == "submit ds" else "remove"
            text = f"have the parent {verb} the DS of {_name(event)} (`dnssecd ds show`), without delay"
            steps.append(RecoveryStep(event.at, "people", text))
        elif event.event in PEOPLE_TEXTS:
            text = PEOPLE_TEXTS[event.event].format(_name(event))
            steps.append(RecoveryStep(event.at, "people", text))
        elif event.event in STEP_TEXTS:
            steps.append(RecoveryStep(event.at, "dnssecd", STEP_TEXTS[event.event].format(_name(event))))
    return tuple(steps)


def _name(event: SimEvent) -> str:
    """Return the name of an event's key: a key that is still to be made has no tag yet."""
    if not event.stand_in:
        return f"key tag {event.key_tag}"
    return f"the new {event.role}" if event.stand_in == 1 else f"new {event.role} number {event.stand_in}"


PEOPLE_TEXTS = {
    BRING_DNSKEY: "have the other signers publish {} (`dnssecd key list`), without delay",
    HOLD_CEREMONY: "hold a ceremony: `dnssecd ksr export`, `dnssecd skr import`",
    CONFIRM_BACKUP: "back up {}: `dnssecd key backup`, then `key backup --confirm FILE`",
}
STEP_TEXTS = {
    "use spare key": "takes {}, a spare key",
    "generate": "makes {}",
    "publish dnskey": "publishes {}",
    "sign zone": "signs the whole zone with {}",
    "withdraw dnskey": "withdraws the DNSKEY of {}",
    "revoke": "publishes {} with the REVOKE bit",
}
