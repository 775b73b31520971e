"""The states that a zone can be in, the events that move it, and the work that is possible in each.

This module is pure, and the only place that says so; docs/zone-states.md is made from it. A state is *what is served
and why*. Frozen and unconfigured are no states: a zone in any state can be either, and they stop some work
(``gates.py``). An event or a kind of work without an entry is an error.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from dnssecd.daemon.zones.gates import Work


class State(Enum):
    """The states, in the words that operators read."""

    WAITING = "waiting"
    SERVED = "served"
    EXPIRED = "expired"
    HELD = "held"
    IN_DOUBT = "in doubt"
    GONE = "gone"


MEANING: Mapping[State, str] = {
    State.WAITING: "no version was made yet; nothing is served",
    State.SERVED: "the last verified version is served",
    State.EXPIRED: "no primary confirmed it for longer than SOA expire; its version is kept, and not served",
    State.HELD: "it comes from a backup; nothing is served before a version above all that is public was made",
    State.IN_DOUBT: "its database is not as it was left, or is damaged; nothing is served before all of it is verified",
    State.GONE: "it was removed; a zone that comes back under the same name is another zone",
}


class Event(Enum):
    """What moves a zone."""

    RECALLED = "its stored version is as it was left, or was verified whole"
    CHANGED = "its database is not as it was left"
    RESTORED = "its stored version comes from a backup"
    EMPTY = "nothing was published in its database"
    PUBLISHED = "a verified version was committed"
    DAMAGED = "its version no longer verifies"
    SILENT = "no primary confirmed it for SOA expire"
    CONFIRMED = "a primary confirmed it, or expiry is no longer followed"
    REMOVED = "it was removed"


#: Event -> the state after it, for each state.
TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.WAITING: {
        Event.RECALLED: State.SERVED,
        Event.CHANGED: State.IN_DOUBT,
        Event.RESTORED: State.HELD,
        Event.EMPTY: State.WAITING,
        Event.PUBLISHED: State.SERVED,
        Event.SILENT: State.WAITING,
        Event.CONFIRMED: State.WAITING,
        Event.REMOVED: State.GONE,
    },
    State.SERVED: {
        Event.PUBLISHED: State.SERVED,
        Event.DAMAGED: State.IN_DOUBT,
        Event.SILENT: State.EXPIRED,
        Event.CONFIRMED: State.SERVED,
        Event.REMOVED: State.GONE,
    },
    State.EXPIRED: {
        Event.PUBLISHED: State.EXPIRED,
        Event.SILENT: State.EXPIRED,
        Event.DAMAGED: State.IN_DOUBT,
        Event.CONFIRMED: State.SERVED,
        Event.REMOVED: State.GONE,
    },
    State.HELD: {
        Event.EMPTY: State.WAITING,
        Event.PUBLISHED: State.SERVED,
        Event.SILENT: State.HELD,
        Event.CONFIRMED: State.HELD,
        Event.REMOVED: State.GONE,
    },
    State.IN_DOUBT: {
        Event.RECALLED: State.SERVED,
        Event.CHANGED: State.IN_DOUBT,
        Event.RESTORED: State.HELD,
        Event.EMPTY: State.WAITING,
        Event.SILENT: State.IN_DOUBT,
        Event.CONFIRMED: State.IN_DOUBT,
        Event.REMOVED: State.GONE,
    },
    State.GONE: {},
}

_INPUT = frozenset({Work.LOAD, Work.TRANSFER, Work.IMPORT, Work.ADOPT, Work.LOOK})
_KEPT_SIGNED = frozenset({Work.RESIGN, Work.REKEY, Work.PLAN, Work.VERIFY, Work.PROVE, Work.EXPIRE})

#: The work that is possible in each state, where no gate stops it.
POSSIBLE: Mapping[State, frozenset[Work]] = {
    # RESIGN, too: a stored version that could not be read at the start is found again.
    State.WAITING: _INPUT | {Work.EXPIRE, Work.RESIGN},
    State.SERVED: _INPUT | _KEPT_SIGNED | {Work.UPDATE},
    State.EXPIRED: _INPUT | _KEPT_SIGNED,
    State.HELD: frozenset({Work.RETURN}),
    State.IN_DOUBT: frozenset({Work.PROVE}),
    State.GONE: frozenset(),
}

#: In these states other work comes first, whatever was asked for: afterwards a load is asked for.
FIRST: Mapping[State, Work] = {State.IN_DOUBT: Work.PROVE, State.HELD: Work.RETURN}


class Impossible(AssertionError):
    """An event, or work, in a state that has no entry for it: a fault of ours."""


def after(state: State, event: Event) -> State:
    """Return the state after an event; Impossible."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise Impossible(f"a zone that is {state.value}: {event.value}") from None


def possible(state: State, work: Work) -> bool:
    """Tell whether some work is possible in a state. Gates are asked apart."""
    return work in POSSIBLE[state]


def instead(state: State, work: Work) -> Work:
    """Return what is done in a state when some work is asked for."""
    return FIRST.get(state, work)


class Flags(Protocol):
    """A zone, as far as its state goes."""

    state: State
    gone: bool
    expired: bool
    serial: int | None

    @property
    def held(self) -> object | None:
        """Not None: it comes from a backup."""

    @property
    def doubt(self) -> object | None:
        """Not None: it is not verified."""


def state_of(zone: Flags) -> State:
    """Return the state by what is known of a zone: what its ``state`` has to agree with."""
    if zone.gone:
        return State.GONE
    if zone.doubt is not None:
        return State.IN_DOUBT
    if zone.held is not None:
        return State.HELD
    if zone.serial is None:
        return State.WAITING
    return State.EXPIRED if zone.expired else State.SERVED


def happened(zone: Flags, event: Event) -> None:
    """Move a zone; Impossible. One that expired before it was read again has expired still."""
    state = after(zone.state, event)
    if state is State.SERVED and zone.expired:
        state = after(state, Event.SILENT)
    zone.state = state
