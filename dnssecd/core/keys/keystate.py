"""The automaton of one DNSSEC record of one key.

A key is up to four records: its DNSKEY, the signatures it makes over zone data (zrrsig), the signatures it
makes over the DNSKEY RRset (krrsig) and its DS at the parent.  What the world may hold of a record is one of
four states (M. Mekking, Y. Schaeffer, "Flexible and Robust Key Rollover"):

* hidden: no validator holds it and none can fetch it;
* rumoured: it is published; some validators hold it, others hold sets from before;
* omnipresent: every set a validator can hold has it;
* unretentive: it is withdrawn; some validators may hold it still.

`TRANSITIONS` is the whole automaton.  Steps are ours to decide (publish, withdraw) and are checked against
the safety rules; facts are what evidence and time tell us.  `docs/key-states.md` is generated from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from dnssecd.replacing import replace


class State(StrEnum):
    """What validators may hold of a record."""

    HIDDEN = "hidden"
    RUMOURED = "rumoured"
    OMNIPRESENT = "omnipresent"
    UNRETENTIVE = "unretentive"


class Rec(StrEnum):
    """The records a key is made of."""

    DNSKEY = "dnskey"
    ZRRSIG = "zrrsig"
    KRRSIG = "krrsig"
    DS = "ds"


class Role(StrEnum):
    """What a key signs: the DNSKEY RRset (ksk), the zone's data (zsk) or both (csk)."""

    KSK = "ksk"
    ZSK = "zsk"
    CSK = "csk"


class Goal(StrEnum):
    """Where a key is to get to: in use, known to the parent only, or gone."""

    PRESENT = "present"
    STANDBY = "standby"
    ABSENT = "absent"


class Event(StrEnum):
    """What moves a record from one state to another."""

    PUBLISH = "publish"  # step
    WITHDRAW = "withdraw"  # step
    SETTLE = "settle"  # fact: seen everywhere and the older sets' TTL has passed
    FADE = "fade"  # fact: seen nowhere and its own TTL has passed
    UNSETTLE = "unsettle"  # fact: a server was seen that lacks what it had
    REAPPEAR = "reappear"  # fact: a server was seen that has what was gone


STEPS: frozenset[Event] = frozenset({Event.PUBLISH, Event.WITHDRAW})

TRANSITIONS: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.HIDDEN: MappingProxyType(
            {Event.PUBLISH: State.RUMOURED, Event.REAPPEAR: State.UNRETENTIVE},
        ),
        State.RUMOURED: MappingProxyType(
            {Event.SETTLE: State.OMNIPRESENT, Event.WITHDRAW: State.UNRETENTIVE},
        ),
        State.OMNIPRESENT: MappingProxyType(
            {Event.WITHDRAW: State.UNRETENTIVE, Event.UNSETTLE: State.RUMOURED},
        ),
        State.UNRETENTIVE: MappingProxyType(
            {Event.FADE: State.HIDDEN, Event.PUBLISH: State.RUMOURED},
        ),
    }
)

RECORDS: Mapping[Role, tuple[Rec, ...]] = MappingProxyType(
    {
        Role.KSK: (Rec.DNSKEY, Rec.KRRSIG, Rec.DS),
        Role.ZSK: (Rec.DNSKEY, Rec.ZRRSIG),
        Role.CSK: (Rec.DNSKEY, Rec.KRRSIG, Rec.ZRRSIG, Rec.DS),
    }
)

VISIBLE: frozenset[State] = frozenset({State.RUMOURED, State.OMNIPRESENT})


class RecordState(Struct, frozen=True, gc=False):
    """One record's state and the evidence for it.

    Steps are numbered (`Keyset.step`), so that the order of changes survives a clock that goes back.
    `serial` is the zone serial in which the last step was published (a DS: in which its CDS was),
    `published` when (epoch s), `seen` when the last missing piece of evidence arrived; `ttl` is the largest
    TTL that a copy from before the step can have (s), `witnesses` says who showed what.  `beside`: of a signature over
    DNSKEY sets that no validator depends on, since each such set has one of another key that all validators can use.
    """

    state: State = State.HIDDEN
    changed: int = 0
    first_in: int = 0  # step of the first publication since it was last hidden
    step_in: int = 0  # step of the latest publication
    step_out: int = 0  # step of the latest withdrawal
    full: bool = False  # it was omnipresent when it was withdrawn: every set up to `step_out` has it
    serial: int | None = None
    published: int | None = None
    seen: int | None = None
    ttl: int = 0
    witnesses: tuple[str, ...] = ()
    beside: bool = False

    @property
    def visible(self) -> bool:
        """Whether we publish it now."""
        return self.state in VISIBLE


HIDDEN = RecordState()


def advance(record: RecordState, event: Event, step: int, now: int) -> RecordState:
    """Return the record after ``event``; KeyError for an event that the table does not allow.  Pure."""
    new = TRANSITIONS[record.state][event]
    if event is Event.PUBLISH:
        first = record.first_in if record.state is State.UNRETENTIVE else step
        return RecordState(new, now, first, step, 0)
    if event is Event.WITHDRAW:
        full = record.state is State.OMNIPRESENT
        return RecordState(new, now, record.first_in, record.step_in, step, full)
    settled = event in (Event.SETTLE, Event.FADE)
    return replace(
        record,
        state=new,
        changed=now,
        full=record.full and event is not Event.REAPPEAR,
        seen=record.seen if settled else None,
        witnesses=record.witnesses if settled else (),
    )
