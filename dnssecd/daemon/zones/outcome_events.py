"""From how a job ended to the events that fire and resolve."""

from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.outcome import Outcome, Problem

#: Events a finished load or re-signing may raise, and which of them a good end resolves.
INPUT_EVENTS = ("input-error", "ttl-rejected", "delta-guard")
WORK_EVENTS = ("verification-failed", "signing-failed", "store-failed", "key-missing")
WARNING_EVENTS = ("refresh-capped", "grant-overlap")

_KNOWN = {"worker-died": "store-failed", "file-changing": "input-error"}


def report(events: EventCore, outcome: Outcome, *, load: bool) -> None:
    """Raise what is wrong and resolve what is right again."""
    zone = outcome.zone
    raised = set()
    for problem in (*outcome.problems, *outcome.warnings):
        name = _KNOWN.get(problem.event, problem.event)
        if name in (*INPUT_EVENTS, *WORK_EVENTS, *WARNING_EVENTS):
            raised.add(name)
            events.raise_event(name, zone, _cause(outcome, problem), remedy=problem.remedy or None)
    if outcome.result in ("published", "unchanged"):
        good = (*WORK_EVENTS, *INPUT_EVENTS, *WARNING_EVENTS) if load else WORK_EVENTS
        for name in good:
            if name not in raised:
                events.resolve(name, zone)


def report_sweep(events: EventCore, zone: str, faults: list[Problem]) -> None:
    """Raise what the verification of the published version found, apart from that of new versions."""
    for problem in faults:
        events.raise_event(
            "verification-failed",
            zone,
            problem.cause,
            subject="published version",
            remedy=problem.remedy or None,
        )
    if not faults:
        events.resolve("verification-failed", zone, "published version")


def _cause(outcome: Outcome, problem: Problem) -> str:
    if problem.event != "verification-failed" or len(outcome.violations) < 2:
        return problem.cause
    return problem.cause + "\n" + "\n".join(outcome.violations[:10])
