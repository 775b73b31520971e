"""One round of transfers for a zone: which primary is asked next, by IXFR or AXFR, until one gives a good zone.

IXFR is asked for once. Where the differences do not fit, or make no good zone, the zone is fetched whole: the
primary's journal may be damaged and its zone sound. A primary whose whole zone is not good is passed over for the next.
So a round ends after at most one IXFR and one AXFR from each primary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.transfer import IXFR_UNUSABLE, TRANSFER_BROKEN

#: What a job says of content that another transfer may not have.
_BAD_CONTENT = frozenset({"input-error", "ttl-rejected", "delta-guard"})
#: A version that was made of differences may fail for their sake alone.
_BAD_DIFFERENCES = _BAD_CONTENT | {IXFR_UNUSABLE, TRANSFER_BROKEN, "verification-failed"}


class PassedOver(NamedTuple):
    """A primary whose whole zone was not taken, and how the job ended."""

    primary: str
    outcome: Outcome


class TransferRound:
    """The primaries still to be asked, the latest serial first; ``base``: the serial for IXFR, None for AXFR."""

    def __init__(self, names: Sequence[str], base: int | None) -> None:
        self.names = list(names)
        self.base = base
        #: The primaries passed over, in order.
        self.passed: list[PassedOver] = []
        #: Why differences were not used, "" where they were or were not asked for.
        self.unusable = ""

    def no_differences(self) -> None:
        """Go on with AXFR: the primary has no differences after all."""
        self.base = None

    def took(self, primary: str, base: int | None, outcome: Outcome) -> Outcome | None:
        """Take the end of a job on what ``primary`` sent for ``base``; return the round's outcome, None: go on."""
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
        """Return the round's outcome where no primary is left that sends anything; ``outcome`` says why not."""
        return self.verdict(*outcome.problems) if self.passed else outcome

    def verdict(self, *more: Problem) -> Outcome:
        """Return the outcome of the latest zone that was rejected, with why the others were not taken either."""
        first = next(
            (p.outcome for p in self.passed if p.outcome.result == "rejected"), self.passed[0].outcome
        )
        others = [p.outcome.problems[0] for p in self.passed if p.outcome is not first]
        problem = as_event(first.problems[0])
        cause = "; ".join([problem.cause, *(other.cause for other in (*others, *more))])
        return msgspec.structs.replace(first, problems=(Problem(problem.event, cause, problem.remedy),))


def as_event(problem: Problem) -> Problem:
    """Return why a primary's zone was not taken, under the name of an event."""
    if problem.event != TRANSFER_BROKEN:
        return problem
    return Problem("input-error", f"the zone could not be transferred: {problem.cause}", problem.remedy)
