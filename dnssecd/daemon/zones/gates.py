"""Gates: what can stop the work on a zone, and which gate stops which work.

``STOPPED_BY`` is the only place that says so. Some gates belong to the daemon (its clock, the key service), the others
to a zone. Work that is not in the table is an error: nothing new runs before somebody has decided what stops it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Gate(Enum):
    """What can be shut. The value is shown to operators."""

    CLOCK = "the time is in doubt"
    KEY_SERVICE = "the key service does not answer"
    FROZEN = "the zone is frozen"
    HELD = "the zone comes from a backup and waits for a serial above all that is public"
    DOUBT = "what is stored of the zone is not verified"
    UNCONFIGURED = "the configuration does not name the zone"
    GONE = "the zone was removed"


class Work(Enum):
    """What is done for a zone. The value is the kind of job, as workers and metrics name it."""

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


#: The gates of the daemon; all others are a zone's.
OF_DAEMON = frozenset({Gate.CLOCK, Gate.KEY_SERVICE})

#: Which gates stop which work. Work that reads and signs nothing goes on while the time is in doubt. Without a key
#: service other work fails and is tried again; a client that sends an UPDATE waits for its answer, and gets it at once.
STOPPED_BY: Mapping[Work, frozenset[Gate]] = {
    Work.LOAD: frozenset({Gate.CLOCK, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.GONE}),
    Work.RESIGN: frozenset({Gate.CLOCK, Gate.HELD, Gate.DOUBT, Gate.GONE}),
    Work.REKEY: frozenset({Gate.CLOCK, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.GONE}),
    Work.TRANSFER: frozenset({Gate.CLOCK, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.GONE}),
    Work.IMPORT: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.GONE}),
    Work.ADOPT: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.GONE}),
    Work.UPDATE: frozenset({Gate.CLOCK, Gate.KEY_SERVICE, Gate.FROZEN, Gate.HELD, Gate.DOUBT, Gate.GONE}),
    Work.RETURN: frozenset({Gate.CLOCK, Gate.DOUBT, Gate.GONE}),
    Work.PROVE: frozenset({Gate.GONE}),
    Work.VERIFY: frozenset({Gate.GONE}),
    Work.LOOK: frozenset({Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.GONE}),
    Work.PLAN: frozenset({Gate.HELD, Gate.DOUBT, Gate.UNCONFIGURED, Gate.GONE}),
    Work.EXPIRE: frozenset({Gate.CLOCK, Gate.GONE}),
}


class Gated(Protocol):
    """A zone, as far as gates go."""

    frozen: bool
    orphan: bool
    gone: bool

    @property
    def held(self) -> object | None:
        """Not None: it came out of a backup."""

    @property
    def doubt(self) -> object | None:
        """Not None: it is not verified."""


#: In the order in which they are reported.
_OF_ZONE: tuple[tuple[Gate, Callable[[Gated], bool]], ...] = (
    (Gate.GONE, lambda zone: zone.gone),
    (Gate.DOUBT, lambda zone: zone.doubt is not None),
    (Gate.HELD, lambda zone: zone.held is not None),
    (Gate.UNCONFIGURED, lambda zone: zone.orphan),
    (Gate.FROZEN, lambda zone: zone.frozen),
)


def shut_for(zone: Gated, work: Work) -> Gate | None:
    """Return the zone's own gate that stops some work, or None; KeyError for work that has no entry."""
    gates = STOPPED_BY[work]
    return next((gate for gate, shut in _OF_ZONE if gate in gates and shut(zone)), None)


def shut_gates(zone: Gated) -> frozenset[Gate]:
    """Return all of the zone's own gates that are shut."""
    return frozenset(gate for gate, shut in _OF_ZONE if shut(zone))


#: Says why a gate is shut ("": it is open).
Why = Callable[[], str]


@dataclass(frozen=True)
class Gates:
    """The daemon's gates. ``clock`` and ``key_service`` say why they are shut now ("": open)."""

    clock: Why
    key_service: Why

    def why_stopped(self, work: Work) -> str:
        """Say which gate of the daemon stops some work now ("": none); KeyError for work that has no entry."""
        gates = STOPPED_BY[work]
        why = self.clock() if Gate.CLOCK in gates else ""
        return why or (self.key_service() if Gate.KEY_SERVICE in gates else "")

    def why_job_stopped(self, kind: str) -> str:
        """Say which gate of the daemon stops a worker's job now ("": none); ValueError for an unknown kind."""
        return self.why_stopped(Work(kind))
