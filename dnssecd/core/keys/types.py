"""The input and output types of the rollover planner: policy, effects, blockers."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Goal, Rec, Role, State

MARGIN_S = 300
PURGE_S = 7 * 86_400
RSA_ALGORITHMS = frozenset({5, 7, 8, 10})


class KeySpec(Struct, frozen=True):
    """A key the policy wants.  `bits`: RSA only, 0 for any; `lifetime` in seconds, None for unlimited."""

    role: Role
    algorithm: int
    keystore: str = "local"
    lifetime: int | None = None
    bits: int = 0

    def fits(self, key: Key) -> bool:
        """Whether a key is of the kind that is wanted (age left aside)."""
        size_fits = self.algorithm not in RSA_ALGORITHMS or self.bits in (0, key.bits)
        return (
            key.role is self.role
            and key.algorithm == self.algorithm
            and key.keystore == self.keystore
            and size_fits
            and not key.revoked
            and not key.foreign
        )


class RolloverPolicy(Struct, frozen=True):
    """A zone's policy as far as keys go.  Durations in seconds; delays and TTLs are floors.

    `signed` false: the zone is to be insecure.  `parent` false: an island of trust, no DS.  `margin` is
    added to every wait: it has to cover clock steps that go undetected.  `purge`: how long a key is kept that
    no validator can need.  `manual`: what needs an approval (zsk, ksk, algorithm).  `freeze`: (from, until) epoch s.
    `given`: no key is ever made; each new key is one of the spare keys.  `require_backup`: a key is not used
    before there is evidence of a backup of it.  `holders_min`: a key in one of the `shared` key stores is not
    used before that number of nodes of the cluster hold it.
    """

    specs: tuple[KeySpec, ...]
    signed: bool = True
    parent: bool = True
    dnskey_ttl: int = 3_600
    propagation_delay: int = 300
    parent_propagation_delay: int = 3_600
    parent_ds_ttl: int = 86_400
    standby_ksk: bool = False
    standby_zsk: bool = False
    given: bool = False
    require_backup: bool = False
    holders_min: int = 1
    shared: frozenset[str] = frozenset()
    rfc5011: bool = False
    manual: frozenset[str] = frozenset()
    freeze: tuple[tuple[int, int], ...] = ()
    margin: int = MARGIN_S
    purge: int = PURGE_S


class GenerateKey(Struct, frozen=True):
    """Make a key, then add it with `commands.generated`.

    Repeated by every plan until that was done; the same `request_id` asks for the same key.
    `commands.generated` refuses a key with a tag (with or without REVOKE) that the set has.
    """

    request_id: str
    role: Role
    algorithm: int
    bits: int
    keystore: str
    goal: Goal
    reason: str
    urgent: bool = False


class KeyEffect(Struct, frozen=True):
    """Something to do with one key, or (RecordReached) something that came true of it."""

    ref: str
    tag: int


class UseSpare(KeyEffect, frozen=True):
    """A spare key joins the zone's keys; no key is made."""


class PublishDnskey(KeyEffect, frozen=True):
    """Its DNSKEY joins the DNSKEY RRset."""


class WithdrawDnskey(KeyEffect, frozen=True):
    """Its DNSKEY leaves the DNSKEY RRset."""


class SignDnskeyWith(KeyEffect, frozen=True):
    """It signs the DNSKEY RRset from now on."""


class StopSigningDnskey(KeyEffect, frozen=True):
    """It signs the DNSKEY RRset no longer."""


class SignWith(KeyEffect, frozen=True):
    """It signs zone data from now on."""


class RetireSignatures(KeyEffect, frozen=True):
    """Its signatures over zone data are to be replaced by its successor's, or removed where there is none."""


class SubmitDs(KeyEffect, frozen=True):
    """The parent is to have its DS."""


class WithdrawDs(KeyEffect, frozen=True):
    """The parent is to drop its DS."""


class RevokeKey(KeyEffect, frozen=True):
    """It is published with the REVOKE bit from now on (RFC 5011), and has another tag so."""


class RemoveKey(KeyEffect, frozen=True):
    """No validator can need the key any more; destroy it."""

    key_id: str
    keystore: str


class GoalChanged(KeyEffect, frozen=True):
    """For the history: a key comes into use, or retires."""

    goal: Goal
    reason: str


class RecordReached(KeyEffect, frozen=True):
    """For the history: evidence and time moved a record; nothing to publish."""

    rec: Rec
    state: State
    witnesses: tuple[str, ...]


Effect = GenerateKey | KeyEffect

STEP_EFFECTS: Mapping[tuple[Rec, Event], type[KeyEffect]] = MappingProxyType(
    {
        (Rec.DNSKEY, Event.PUBLISH): PublishDnskey,
        (Rec.DNSKEY, Event.WITHDRAW): WithdrawDnskey,
        (Rec.KRRSIG, Event.PUBLISH): SignDnskeyWith,
        (Rec.KRRSIG, Event.WITHDRAW): StopSigningDnskey,
        (Rec.ZRRSIG, Event.PUBLISH): SignWith,
        (Rec.ZRRSIG, Event.WITHDRAW): RetireSignatures,
        (Rec.DS, Event.PUBLISH): SubmitDs,
        (Rec.DS, Event.WITHDRAW): WithdrawDs,
    }
)


class Gate(StrEnum):
    """What refused a step."""

    POLICY = "policy"
    SAFETY = "safety"
    TIME = "time"
    APPROVAL = "approval"
    FREEZE = "freeze"
    CEREMONY = "ceremony"
    BACKUP = "backup"
    HOLDERS = "holders"


class Missing(Struct, frozen=True, gc=False):
    """One piece of evidence: from whom, the answer seen and the one wanted, when it is looked at next."""

    whom: str
    seen: str
    wanted: str
    next_look: int | None = None


class Blocker(Struct, frozen=True, gc=False):
    """Why something waits.

    `until` (epoch s) is when time alone ends it, `since` when the wait began; `token` is what
    `commands.approve` takes.  `event` None: a warning about the key set as it is.
    """

    gate: Gate
    rule: str
    detail: str
    ref: str = ""
    tag: int = 0
    rec: Rec | None = None
    event: Event | None = None
    missing: tuple[Missing, ...] = ()
    since: int | None = None
    until: int | None = None
    token: str = ""


class Plan(Struct, frozen=True, gc=False):
    """Effects in order, when to plan again at the latest (None: only on news), why what waits, the new keyset.

    `republish`: the zone needs a new version; `keyset` is to be stored in the transaction that commits it.
    `shown`: whether what changes shows in some RRset; None: the effects say. `next_change`: when time alone next
    allows something, without looks for what does not report itself.
    """

    effects: tuple[Effect, ...]
    next_wake: int | None
    blockers: tuple[Blocker, ...]
    keyset: Keyset
    shown: bool | None = None
    next_change: int | None = None

    @property
    def republish(self) -> bool:
        """Whether what is published changes (DS changes too: CDS and CDNSKEY follow them)."""
        if self.shown is not None:
            return self.shown
        return any(isinstance(effect, PUBLISHING) for effect in self.effects)


PUBLISHING: tuple[type[KeyEffect], ...] = (*STEP_EFFECTS.values(), RevokeKey)
