"""The states of a zone, the events that change them, and the work that is possible in each.

This module is pure, and the only place that defines them; docs/zone-states.md is generated from it. A state
is *what is served, and why*. Frozen and unconfigured are not states: a zone in any state can be either, and
they stop some work (``gates.py``). An event or a kind of work without entry is an error.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from dnssecd.daemon.zones.gates import Work


class State(Enum):
    """The states; the values are shown to operators."""

    WAITING = "waiting"
    SERVED = "served"
    EXPIRED = "expired"
    HELD = "held"
    IN_DOUBT = "in doubt"
    GONE = "gone"


MEANING: Mapping[State, str] = {
    State.WAITING: "there is no version yet; nothing is served",
    State.SERVED: "the last verified version is served",
    State.EXPIRED: "no primary has confirmed it for longer than SOA expire; its version is kept, but not "
    "served",
    State.HELD: "it comes from a backup; nothing is served before it has a version with a serial after all "
    "public ones",
    State.IN_DOUBT: "its database was changed or is damaged; nothing is served before the whole zone is "
    "verified",
    State.GONE: "it was removed; a zone that is added under the same name is another zone",
}


class Event(Enum):
    """The events that change the state."""

    RECALLED = "its stored version is unchanged, or was verified as a whole"
    CHANGED = "its database was changed"
    RESTORED = "its stored version comes from a backup"
    EMPTY = "its database has no published version"
    PUBLISHED = "a verified version was committed"
    DAMAGED = "its version no longer verifies"
    SILENT = "no primary has confirmed it for SOA expire"
    CONFIRMED = "a primary confirmed it, or expiry is no longer followed"
    REMOVED = "it was removed"


#: For each state: event -> next state.
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
_KEPT_SIGNED = frozenset(
    {
        Work.RESIGN,
        Work.REKEY,
        Work.PLAN,
        Work.VERIFY,
        Work.PROVE,
        Work.EXPIRE,
        Work.SNAPSHOT,
        Work.SHARE,
        Work.OUTPUT,
    }
)

#: The work that is possible in each state, if no gate stops it.
POSSIBLE: Mapping[State, frozenset[Work]] = {
    # RESIGN, too: it finds a stored version that could not be read at start.
    State.WAITING: _INPUT | {Work.EXPIRE, Work.RESIGN, Work.FOLLOW},
    State.SERVED: _INPUT | _KEPT_SIGNED | {Work.UPDATE, Work.FOLLOW},
    State.EXPIRED: _INPUT | _KEPT_SIGNED | {Work.FOLLOW},
    State.HELD: frozenset({Work.RETURN}),
    State.IN_DOUBT: frozenset({Work.PROVE}),
    State.GONE: frozenset(),
}

#: In these states this work replaces any requested work; afterwards a load is requested.
FIRST: Mapping[State, Work] = {State.IN_DOUBT: Work.PROVE, State.HELD: Work.RETURN}


class Impossible(AssertionError):
    """An event, or work, in a state without entry for it: a bug in dnssecd."""


def after(state: State, event: Event) -> State:
    """Return the state after an event; raise Impossible."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise Impossible(f"a zone that is {state.value}: {event.value}") from None


def possible(state: State, work: Work) -> bool:
    """Tell whether a kind of work is possible in a state; gates are checked separately."""
    return work in POSSIBLE[state]


def instead(state: State, work: Work) -> Work:
    """Return the work that is done in a state instead of the requested work."""
    return FIRST.get(state, work)


class Flags(Protocol):
    """A zone with the fields that determine its state."""

    state: State
    gone: bool
    expired: bool
    serial: int | None

    @property
    def held(self) -> object | None:
        """Return a value other than None if the zone comes from a backup."""

    @property
    def doubt(self) -> object | None:
        """Return a value other than None if the zone is not verified."""


def state_of(zone: Flags) -> State:
    """Return the state according to a zone's fields; its ``state`` must agree with it."""
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
    """Change a zone's state; raise Impossible. A zone that expired before it was read again is still expired."""
    state = after(zone.state, event)
    if state is State.SERVED and zone.expired:
        state = after(state, Event.SILENT)
    zone.state = state
