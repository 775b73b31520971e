"""One round of transfers for a zone: the next primary and IXFR or AXFR, until one provides a good zone.

IXFR is requested once. If the differences do not fit, or lead to a bad zone, the whole zone is fetched: the
primary's journal may be damaged but its zone good. If the whole zone of a primary is bad, the next primary
follows. So a round ends after at most one IXFR and one AXFR from each primary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.transfer import IXFR_UNUSABLE, TRANSFER_BROKEN

#: Problems with content that another transfer may not have.
_BAD_CONTENT = frozenset({"input-error", "ttl-rejected", "delta-guard"})
#: A version made of differences may fail only because of the differences.
_BAD_DIFFERENCES = _BAD_CONTENT | {IXFR_UNUSABLE, TRANSFER_BROKEN, "verification-failed"}


class PassedOver(NamedTuple):
    """A primary whose whole zone was rejected, and the outcome of the job."""

    primary: str
    outcome: Outcome


class TransferRound:
    """The remaining primaries, the latest serial first; ``base``: the serial for IXFR, None for AXFR."""

    def __init__(self, names: Sequence[str], base: int | None) -> None:
        self.names = list(names)
        self.base = base
        #: The rejected primaries, in order.
        self.passed: list[PassedOver] = []
        #: Why differences were not used; "" if they were, or were not requested.
        self.unusable = ""

    def no_differences(self) -> None:
        """Continue with AXFR: the primary has no differences."""
        self.base = None

    def took(self, primary: str, base: int | None, outcome: Outcome) -> Outcome | None:
        """Take the outcome of a job on a transfer from ``primary``; return the round's outcome, None: continue."""
        event = outcome.problems[0].event if outcome.problems else ""
        if base is not None and event in _BAD_DIFFERENCES:
            self.unusable = outcome.problems[0].cause
            self.base = None
            return None
        if event not in _BAD_CONTENT and event != TRANSFER_BROKEN:
            return outcome
        self.passed.append(PassedOver(primary, outcome))
        self.names = [name for name in self.names if name != primary]
        return None if self.names else self.verdict()

    def failed(self, outcome: Outcome) -> Outcome:
        """Return the round's outcome if no primary remains; ``outcome`` says why the last transfer failed."""
        return self.verdict(*outcome.problems) if self.passed else outcome

    def verdict(self, *more: Problem) -> Outcome:
        """Return the outcome of the last rejected zone, with the reasons for rejecting the others."""
        first = next(
            (p.outcome for p in self.passed if p.outcome.result == "rejected"), self.passed[0].outcome
        )
        others = [p.outcome.problems[0] for p in self.passed if p.outcome is not first]
        problem = as_event(first.problems[0])
        cause = "; ".join([problem.cause, *(other.cause for other in (*others, *more))])
        return msgspec.structs.replace(first, problems=(Problem(problem.event, cause, problem.remedy),))


def as_event(problem: Problem) -> Problem:
    """Return why a primary's zone was rejected, under the name of an event."""
    if problem.event != TRANSFER_BROKEN:
        return problem
    return Problem("input-error", f"the zone could not be transferred: {problem.cause}", problem.remedy)
