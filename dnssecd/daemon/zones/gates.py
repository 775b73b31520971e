"""Gates: conditions that stop work on a zone, and which gate stops which work.

``STOPPED_BY`` is the only place that decides this. Some gates belong to the daemon (clock, key service), the
others to a zone. Work that is not in the table is an error, so that new kinds of work cannot run without an
entry.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from msgspec import Struct


class Gate(Enum):
    """The gates. The value is shown to operators."""

    CLOCK = "the time is in doubt"
    KEY_SERVICE = "the key service does not answer"
    FROZEN = "the zone is frozen"
    HELD = "the zone comes from a backup and waits for a version with a serial after all public ones"
    DOUBT = "the stored version of the zone is not verified"
    UNCONFIGURED = "the configuration does not name the zone"
    OWNER = "another node of the cluster makes the versions of the zone"
    KEYS = "this node took the zone over, and has not signed it with its own keys yet"
    GONE = "the zone was removed"


class Work(Enum):
    """The kinds of work on a zone. The value is the kind of job for workers and metrics."""

    LOAD = "load"
    RESIGN = "resign"
    REKEY = "rekey"
    TRANSFER = "transfer"
    IMPORT = "import"
    ADOPT = "adopt"
    UPDATE = "update"
    RETURN = "return"
    PROVE = "prove"
    VERIFY = "verify"
    LOOK = "look at primaries"
    PLAN = "plan a rollover"
    EXPIRE = "expire"
    FOLLOW = "follow"
    SNAPSHOT = "snapshot"
    SHARE = "share"
    OUTPUT = "output"


#: Which gates stop which work. Work that only reads continues while the time is in doubt. Without a key
#: service other work fails and is tried again; an UPDATE is refused immediately, because its client waits for
#: the answer.
STOPPED_BY: Mapping[Work, frozenset[Gate]] = {
    Work.LOAD: frozenset(
        {Gate.CLOCK, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.OWNER, Gate.KEYS, Gate.GONE}
    ),
    Work.RESIGN: frozenset({Gate.CLOCK, Gate.HELD, Gate.DOUBT, Gate.OWNER, Gate.KEYS, Gate.GONE}),
    Work.REKEY: frozenset({Gate.CLOCK, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.OWNER, Gate.GONE}),
    Work.TRANSFER: frozenset(
        {Gate.CLOCK, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.OWNER, Gate.KEYS, Gate.GONE}
    ),
    Work.IMPORT: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.OWNER, Gate.KEYS, Gate.GONE}),
    Work.ADOPT: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.OWNER, Gate.KEYS, Gate.GONE}),
    Work.UPDATE: frozenset(
        {Gate.CLOCK, Gate.KEY_SERVICE, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.OWNER, Gate.KEYS, Gate.GONE}
    ),
    Work.RETURN: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.OWNER, Gate.KEYS, Gate.GONE}),
    Work.PROVE: frozenset({Gate.GONE}),
    Work.VERIFY: frozenset({Gate.GONE}),
    Work.LOOK: frozenset({Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.OWNER, Gate.GONE}),
    Work.PLAN: frozenset({Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.OWNER, Gate.GONE}),
    Work.EXPIRE: frozenset({Gate.CLOCK, Gate.OWNER, Gate.KEYS, Gate.GONE}),
    Work.FOLLOW: frozenset({Gate.DOUBT, Gate.GONE}),
    Work.OUTPUT: frozenset({Gate.HELD, Gate.DOUBT, Gate.GONE}),
    Work.SNAPSHOT: frozenset({Gate.HELD, Gate.DOUBT, Gate.OWNER, Gate.GONE}),
    Work.SHARE: frozenset({Gate.CLOCK, Gate.HELD, Gate.DOUBT, Gate.OWNER, Gate.GONE}),
}


class Gated(Protocol):
    """A zone with its gates."""

    frozen: bool
    orphan: bool
    gone: bool

    @property
    def owned(self) -> bool:
        """Return whether this node may make versions of it."""

    @property
    def signed_elsewhere(self) -> bool:
        """Return whether its signatures are still those of the node that owned it before."""

    @property
    def held(self) -> object | None:
        """Return a value other than None if the zone was restored from a backup."""

    @property
    def doubt(self) -> object | None:
        """Return a value other than None if the zone is not verified."""


#: In the order in which they are reported.
_OF_ZONE: tuple[tuple[Gate, Callable[[Gated], bool]], ...] = (
    (Gate.GONE, lambda zone: zone.gone),
    (Gate.DOUBT, lambda zone: zone.doubt is not None),
    (Gate.HELD, lambda zone: zone.held is not None),
    (Gate.UNCONFIGURED, lambda zone: zone.orphan),
    (Gate.OWNER, lambda zone: not zone.owned),
    (Gate.KEYS, lambda zone: zone.signed_elsewhere),
    (Gate.FROZEN, lambda zone: zone.frozen),
)


def shut_for(zone: Gated, work: Work) -> Gate | None:
    """Return the zone's own gate that stops a kind of work, or None; raise KeyError for work without entry."""
    gates = STOPPED_BY[work]
    return next((gate for gate, shut in _OF_ZONE if gate in gates and shut(zone)), None)


#: Says why a gate is shut ("": it is open).
Why = Callable[[], str]


class Gates(Struct, frozen=True):
    """The daemon's gates. ``clock`` and ``key_service`` say why they are shut now ("": open)."""

    clock: Why
    key_service: Why

    def why_stopped(self, work: Work) -> str:
        """Return which gate of the daemon stops a kind of work now ("": none); raise KeyError."""
        gates = STOPPED_BY[work]
        why = self.clock() if Gate.CLOCK in gates else ""
        return why or (self.key_service() if Gate.KEY_SERVICE in gates else "")

    def why_job_stopped(self, kind: str) -> str:
        """Return which gate of the daemon stops a worker's job now ("": none); raise ValueError for an unknown kind."""
        return self.why_stopped(Work(kind))
