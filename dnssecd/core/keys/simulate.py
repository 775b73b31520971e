"""A zone's roll-overs ahead of time: the real planner on a virtual clock.

The world is assumed, not random: secondaries follow after a lag, the parent after a delay, signatures are replaced
in a given time.  A heap of wake-ups drives it, so 400 days cost what happens in them.  What people do is assumed to be
done at once, and is one of the events: a backup is confirmed, a DNSKEY is brought to another signer, a ceremony is
held.  What is not known here ends a forecast, and is in `Simulation.waits`.
"""

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct

from dnssecd.core.dns.serial import increment, latest
from dnssecd.core.keys.evidence import (
    Evidence,
    KeyBackup,
    ParentSight,
    SecondarySight,
    SignatureCount,
    SignerSight,
    SpareKey,
)
from dnssecd.core.keys.goals import KEYS_GIVEN
from dnssecd.core.keys.keyset import (
    DIGEST_SHA256,
    DIGEST_SHA384,
    Key,
    Keyset,
    KeysetError,
    SigningView,
    ds_rdata,
    published,
    signing_view,
)
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.requests import generated
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.core.keys.types import (
    Blocker,
    Effect,
    Gate,
    GenerateKey,
    GoalChanged,
    KeyEffect,
    Plan,
    RecordReached,
    RolloverPolicy,
)
from dnssecd.replacing import replace

PUBLIC_KEY_OCTETS = {8: 260, 10: 260, 13: 64, 14: 96, 15: 32, 16: 57}
PLANS_MAX = 100_000
DAY_S = 86_400

#: Events that are acts of people, beside the changes of DS.
CONFIRM_BACKUP = "confirm backup"
BRING_DNSKEY = "bring dnskey"
HOLD_CEREMONY = "hold ceremony"
#: Rules that wait for servers of other signers to have our keys, or for a signer to leave.
_BRING = frozenset({"signers-have-key", "signers-exchanged"})
_LEFT = "signer-left"


class Outage(Struct, frozen=True):
    """From when to when (epoch s) something does not follow: "secondaries", "parent" or "signer"."""

    what: str
    start: int
    stop: int


class Assumptions(Struct, frozen=True):
    """Seconds.  `ds_delay`: from CDS to the new DS set at the parent; None: it never comes.

    `resign`: how long it takes until a new key's signatures have replaced the old ones'.
    `ds`: the DS RRset (RDATA) that the parent was seen to serve; None: unknown, so what the key states say.
    `spares`, `backups`, `signers`, `signer_ns`, `ns`, `ahead` are as in `Evidence`: what is known now.
    `parent_ns`: the names in the delegation, and their TTL; None: not known.  `signer_delay`: from our new DNSKEY to
    its being served by the other signers; None: they never follow.
    """

    secondary_lag: int = 60
    ds_delay: int | None = DAY_S
    resign: int = 14 * DAY_S
    ttl_dnskey: int = 3_600
    ttl_zone: int = 86_400
    ttl_negative: int = 3_600
    ttl_ds: int = 86_400
    outages: tuple[Outage, ...] = ()
    ds: tuple[bytes, ...] | None = None
    spares: tuple[SpareKey, ...] = ()
    backups: tuple[KeyBackup, ...] = ()
    ahead: SignedAhead | None = None
    signers: tuple[SignerSight, ...] = ()
    signer_ns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ns: tuple[str, ...] = ()
    parent_ns: tuple[tuple[str, ...], int] | None = None
    signer_delay: int | None = DAY_S


class SimEvent(Struct, frozen=True):
    """One line of the calendar (`at` epoch s).

    `stand_in`: 0 for a key there is; the first, second, … key of its role still to be made has a made-up tag.
    """

    at: int
    role: str
    key_tag: int
    event: str
    detail: str
    stand_in: int = 0


class Span(Struct, frozen=True):
    """How long one record of one key was in one state; `stop` None: to the end."""

    ref: str
    role: Role
    label: str
    rec: Rec
    state: State
    start: int
    stop: int | None


class Wait(Struct, frozen=True):
    """What the forecast cannot see the end of, and since when (epoch s) it holds a step back."""

    at: int
    detail: str


class Simulation(Struct, frozen=True):
    """The calendar, the states over time, what the zone's keys are in the end, and what still waits then."""

    events: tuple[SimEvent, ...]
    spans: tuple[Span, ...]
    keyset: Keyset
    waits: tuple[Wait, ...] = ()


@dataclass
class _World:
    """What is assumed to be out there; never leaves `simulate`."""

    assume: Assumptions
    now: int
    serial: int
    committed: int
    ds: tuple[bytes, ...]
    wakes: list[int]
    reached: int = 0  # when the secondaries have the last version
    ds_next: tuple[int, tuple[bytes, ...]] | None = None
    began: dict[str, int] = field(default_factory=dict)  # ref -> when its signatures began to come, or to go
    stand_ins: dict[str, tuple[Role, int]] = field(default_factory=dict)  # key id -> the n-th of its role
    backups: list[KeyBackup] = field(default_factory=list)
    brought: dict[str, tuple[bytes, int]] = field(
        default_factory=dict
    )  # ref -> DNSKEY, served by others from when
    ceremony: bool = False  # people began to hold ceremonies: all that is wanted is signed
    waits: dict[tuple[str, str], Wait] = field(default_factory=dict)  # (rule, ref)

    def number(self, key_id: str) -> int:
        """SimEvent.stand_in of a key."""
        return self.stand_ins.get(key_id, (Role.ZSK, 0))[1]

    def at(self, what: str, when: int) -> int:
        """Return the time, postponed to the end of an outage."""
        for outage in sorted(self.assume.outages, key=lambda outage: outage.start):
            if outage.what == what and outage.start <= when < outage.stop:
                when = outage.stop
        heapq.heappush(self.wakes, when)
        return when


class Unwanted(Exception):
    """The simulation was ended: its result is not wanted any more."""


def simulate(
    keyset: Keyset,
    policy: RolloverPolicy,
    assume: Assumptions,
    start: int,
    stop: int,
    wanted: Callable[[], bool] = lambda: True,
) -> Simulation:
    """Everything the planner would do from `start` to `stop` (epoch s).  Pure; same arguments, same answer.

    `wanted` is asked at each wake-up; once it says no, Unwanted is raised.
    """
    policy = replace(policy, holders_min=1)  # the other nodes prove a key within seconds
    serial = _latest_serial(keyset)
    ds = _believed_ds(keyset) if assume.ds is None else tuple(sorted(assume.ds))
    world = _World(assume, start, serial, start, ds, [start], backups=list(assume.backups))
    _ask_parent(keyset, world)
    keyset = _catch_up(keyset, serial, start)
    events: list[SimEvent] = []
    open_spans: dict[tuple[str, Rec], Span] = {}
    spans: list[Span] = []
    for _ in range(PLANS_MAX):
        if not world.wakes or world.wakes[0] > stop:
            break
        if not wanted():
            raise Unwanted
        world.now = heapq.heappop(world.wakes)
        while world.wakes and world.wakes[0] == world.now:
            heapq.heappop(world.wakes)
        keyset = _wake(keyset, policy, world, events)
        _draw(keyset, world, open_spans, spans)
    waits = tuple(sorted(world.waits.values(), key=lambda wait: wait.at))
    return Simulation(tuple(events), (*spans, *open_spans.values()), keyset, waits)


def _believed_ds(keyset: Keyset) -> tuple[bytes, ...]:
    """Return the DS RRset at the parent as far as the key states show it."""
    there = (State.OMNIPRESENT, State.UNRETENTIVE)
    return tuple(sorted(ds_rdata(keyset.apex, key.rdata) for key in keyset.keys if key.ds.state in there))


def _latest_serial(keyset: Keyset) -> int:
    known = [key.record(rec).serial for key in keyset.keys for rec in key.records]
    return latest(*(serial for serial in known if serial is not None), 1)


def _catch_up(keyset: Keyset, serial: int, now: int) -> Keyset:
    """Return the key set with steps that were planned and not yet committed as committed now."""
    return published(keyset, serial, now)


def _wake(keyset: Keyset, policy: RolloverPolicy, world: _World, events: list[SimEvent]) -> Keyset:
    if world.ds_next is not None and world.ds_next[0] <= world.now:
        world.ds = world.ds_next[1]
        world.ds_next = None
    plan = plan_rollover(keyset, policy, _evidence(keyset, world), world.now)
    requests = [effect for effect in plan.effects if isinstance(effect, GenerateKey)]
    _note((keyset, plan.keyset), plan.effects, policy, world, events)
    _act(plan, world, events)
    keyset = plan.keyset
    for request in requests:
        keyset = _generate(keyset, request, world, events)
    if plan.republish:
        keyset = _publish(keyset, policy, world)
    elif plan.shown is False:
        _ask_parent(keyset, world)
    if requests:
        heapq.heappush(world.wakes, world.now)
    if plan.next_change is not None:  # what a look would find is not in this world
        heapq.heappush(world.wakes, plan.next_change)
    return keyset


def _act(plan: Plan, world: _World, events: list[SimEvent]) -> None:
    """Do at once what people are to do, and keep what cannot be done or known here."""
    waits = {}
    for blocker in plan.blockers:
        if blocker.gate is Gate.BACKUP:
            _confirm_backup(plan.keyset, blocker, world, events)
        elif blocker.gate is Gate.CEREMONY and blocker.until is None and not world.ceremony:
            world.ceremony = True
            events.append(_act_event(plan.keyset.find(blocker.ref), HOLD_CEREMONY, blocker.detail, world))
            heapq.heappush(world.wakes, world.now)
        elif blocker.until is None and _is_endless(plan.keyset, blocker, world.assume):
            place = blocker.rule, blocker.ref
            since = world.waits[place].at if place in world.waits else world.now
            waits[place] = Wait(since, blocker.detail)
        elif blocker.rule in _BRING and blocker.missing and world.assume.signer_delay is not None:
            _bring(plan.keyset, world.assume.signer_delay, world, events)
    world.waits = waits


def _is_endless(keyset: Keyset, blocker: Blocker, assume: Assumptions) -> bool:
    """Return whether nothing that is known here ends a wait."""
    if blocker.rule == KEYS_GIVEN:
        return True
    key = keyset.find(blocker.ref)
    if blocker.rule == _LEFT:
        return key is not None and key.left is None
    known = {sight.name for sight in assume.signers if sight.dnskeys is not None}
    whom = {missing.whom for missing in blocker.missing}
    return blocker.rule in _BRING and bool(whom) and (assume.signer_delay is None or not whom <= known)


def _act_event(key: Key | None, what: str, detail: str, world: _World) -> SimEvent:
    if key is None:
        return SimEvent(world.now, "", 0, what, detail)
    return SimEvent(world.now, key.role.value, key.tag, what, detail, world.number(key.key_id))


def _confirm_backup(keyset: Keyset, blocker: Blocker, world: _World, events: list[SimEvent]) -> None:
    key = keyset.find(blocker.ref)
    if key is None or any(backup.key_id == key.key_id for backup in world.backups):
        return
    world.backups.append(KeyBackup(key.key_id, world.now, "assumed"))
    events.append(_act_event(key, CONFIRM_BACKUP, blocker.detail, world))
    heapq.heappush(world.wakes, world.now)


def _bring(keyset: Keyset, delay: int, world: _World, events: list[SimEvent]) -> None:
    """Bring the other signers those of our zone-signing keys that one of their servers lacks."""
    served = [dict(sight.dnskeys) for sight in world.assume.signers if sight.dnskeys is not None]
    for key in keyset.keys:
        ours = Rec.ZRRSIG in key.records and key.dnskey.visible and not key.foreign
        if ours and key.ref not in world.brought and any(key.rdata not in one for one in served):
            world.brought[key.ref] = key.rdata, world.at("signers", world.now + delay)
            detail = "the other signers publish it, too"
            events.append(_act_event(key, BRING_DNSKEY, detail, world))


def _signer_sights(world: _World) -> tuple[SignerSight, ...]:
    """Return what the servers of other signers serve: what they were seen to, and what was brought to them since."""
    ours = {rdata: since for rdata, since in world.brought.values() if since <= world.now}
    return tuple(
        sight
        if sight.dnskeys is None
        else replace(sight, dnskeys=tuple((ours | dict(sight.dnskeys)).items()), at=world.now)
        for sight in world.assume.signers
    )


def _evidence(keyset: Keyset, world: _World) -> Evidence:
    served = world.serial if world.reached <= world.now else (world.serial - 1) % (1 << 32)
    assume = world.assume
    ns, ns_ttl = assume.parent_ns or (None, 0)
    return Evidence(
        serial=world.serial,
        committed=world.committed,
        secondaries=(SecondarySight("the secondaries", served, world.now),),
        parents=(ParentSight("the parent", world.ds, assume.ttl_ds, world.now, ns=ns, ns_ttl=ns_ttl),),
        signatures=tuple(_count(key, world) for key in keyset.keys if Rec.ZRRSIG in key.records),
        ttl_dnskey=assume.ttl_dnskey,
        ttl_zone=assume.ttl_zone,
        ttl_negative=assume.ttl_negative,
        ahead=None if world.ceremony else assume.ahead,
        spares=assume.spares,
        backups=tuple(world.backups),
        signers=_signer_sights(world),
        signer_ns=assume.signer_ns,
        ns=assume.ns,
    )


def _count(key: Key, world: _World) -> SignatureCount:
    """All at once at the end of the time that replacing takes."""
    done = world.began.get(key.ref, 0) <= world.now
    if key.zrrsig.visible:
        return SignatureCount(key.ref, 1, 0 if done else 1)
    return SignatureCount(key.ref, 0 if done else 1, 1)


def _publish(keyset: Keyset, policy: RolloverPolicy, world: _World) -> Keyset:
    world.serial = increment(world.serial)
    world.committed = world.now
    world.reached = world.at("secondaries", world.now + world.assume.secondary_lag)
    view = signing_view(keyset, cds=policy.parent)
    _begin_signatures(keyset, view, world)
    _ask_parent(keyset, world)
    return published(keyset, world.serial, world.now)


def _ask_parent(keyset: Keyset, world: _World) -> None:
    """Ask the parent for a DS RRset, which it publishes after its delay; what it has of a wanted key stays."""
    wanted = _wanted_ds(keyset, world.ds)
    aim = world.ds_next[1] if world.ds_next is not None else world.ds
    if wanted != aim and world.assume.ds_delay is not None and (wanted or not keyset.signed):
        world.ds_next = (world.at("parent", world.now + world.assume.ds_delay), wanted)


def _wanted_ds(keyset: Keyset, there: tuple[bytes, ...]) -> tuple[bytes, ...]:
    wanted: set[bytes] = set()
    for key in keyset.keys:
        if key.ds.visible:
            # Parents may serve another digest, or several: those of a key that is wanted need no change.
            forms = {ds_rdata(keyset.apex, key.rdata, digest) for digest in (DIGEST_SHA256, DIGEST_SHA384)}
            wanted |= forms & set(there) or {ds_rdata(keyset.apex, key.rdata)}
    return tuple(sorted(wanted))


def _begin_signatures(keyset: Keyset, view: SigningView, world: _World) -> None:
    """Begin to make or remove signatures: at once for a first key or the last of its algorithm, else step by step."""
    gradual = {key.algorithm for key in view.retiring_keys}
    for key in keyset.keys:
        if key.zrrsig.changed == world.now and key.zrrsig.state in (State.RUMOURED, State.UNRETENTIVE):
            slow = key.algorithm in gradual and not view.urgent
            world.began[key.ref] = world.at("signer", world.now + (world.assume.resign if slow else 0))


def _generate(keyset: Keyset, request: GenerateKey, world: _World, events: list[SimEvent]) -> Keyset:
    """Return the public key of a stand-in for a key to be made; its tag is not that of the real key."""
    for attempt in range(16):
        public = _stand_in(f"{request.request_id} {attempt}", PUBLIC_KEY_OCTETS.get(request.algorithm, 64))
        try:
            keyset = generated(keyset, request, f"{request.request_id}@{world.now}", public, world.now)
        except KeysetError:
            continue
        key = keyset.keys[-1]
        detail = f"{request.reason}; algorithm {request.algorithm}, key store {request.keystore}"
        number = 1 + sum(role is key.role for role, _ in world.stand_ins.values())
        world.stand_ins[key.key_id] = key.role, number
        events.append(SimEvent(world.now, key.role.value, key.tag, "generate", detail, number))
        return keyset
    raise AssertionError("sixteen stand-in keys in a row collided")


def _stand_in(seed: str, octets: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(octets)


def _note(
    keysets: tuple[Keyset, Keyset],
    effects: tuple[Effect, ...],
    policy: RolloverPolicy,
    world: _World,
    events: list[SimEvent],
) -> None:
    """Note the effects of a plan; ``keysets``: before and after it."""
    roles = {key.key_id: key.role.value for keyset in keysets for key in keyset.keys}
    for effect in effects:
        if isinstance(effect, KeyEffect):
            name, detail = describe(effect)
            if not policy.parent:
                detail = ANCHORS.get(name, detail)
            key_id = effect.ref.removesuffix("/revoked")
            number = world.number(key_id)
            events.append(SimEvent(world.now, roles[key_id], effect.tag, name, detail, number))


EVENT_NAMES = {
    "PublishDnskey": "publish dnskey",
    "WithdrawDnskey": "withdraw dnskey",
    "SignDnskeyWith": "sign dnskey set",
    "StopSigningDnskey": "stop signing dnskey set",
    "SignWith": "sign zone",
    "RetireSignatures": "retire signatures",
    "SubmitDs": "submit ds",
    "WithdrawDs": "withdraw ds",
    "RevokeKey": "revoke",
    "RemoveKey": "remove",
    "UseSpare": "use spare key",
}
#: What stands for the DS in an island of trust.
ANCHORS = {
    "submit ds": "Validators are to have its trust anchor",
    "withdraw ds": "Validators are to drop its trust anchor",
}


def describe(effect: KeyEffect) -> tuple[str, str]:
    """Name and detail of an effect, for people and for JSON."""
    if isinstance(effect, GoalChanged):
        return f"goal {effect.goal.value}", effect.reason
    if isinstance(effect, RecordReached):
        return f"{effect.rec.value} {effect.state.value}", "; ".join(effect.witnesses)
    return EVENT_NAMES[type(effect).__name__], (type(effect).__doc__ or "").strip().rstrip(".")


def label_of(key: Key, name: int | str) -> str:
    """Return a key's label in pictures.  `name`: its tag, or the number of a key to be made."""
    revoked = ", revoked" if key.revoked else ""
    return f"{key.role.value.upper()} {name}, algorithm {key.algorithm}{revoked}"


def _draw(keyset: Keyset, world: _World, open_spans: dict[tuple[str, Rec], Span], spans: list[Span]) -> None:
    now = world.now
    for key in keyset.keys:
        for rec in key.records:
            old = open_spans.get((key.ref, rec))
            state = key.record(rec).state
            if old is not None and old.state is state:
                continue
            if old is not None:
                spans.append(replace(old, stop=now))
            number = world.number(key.key_id)
            label = label_of(key, f"new-{number}" if number else key.tag)
            open_spans[key.ref, rec] = Span(key.ref, key.role, label, rec, state, now, None)
    present = {key.ref for key in keyset.keys}
    for ref, rec in [at for at in open_spans if at[0] not in present]:
        spans.append(replace(open_spans.pop((ref, rec)), stop=now))
