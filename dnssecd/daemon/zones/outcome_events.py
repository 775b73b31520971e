"""Raise and resolve events from the outcomes of jobs."""

from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.outcome import Outcome, Problem

#: The events that a load or re-signing may raise, and those that a successful end resolves.
INPUT_EVENTS = ("input-error", "ttl-rejected", "delta-guard", "input-stale")
REVIEW_EVENTS = ("review-waiting", "review-rejected", "review-failed")
#: The subject of a review of a version without new content, which is resolved separately.
RENEWAL = "renewal"
WORK_EVENTS = ("verification-failed", "signing-failed", "store-failed", "key-missing")
WARNING_EVENTS = ("refresh-capped", "grant-overlap")

_KNOWN = {"worker-died": "store-failed", "file-changing": "input-error"}


def report(events: EventCore, outcome: Outcome, *, load: bool) -> None:
    """Raise the events of problems, and resolve those of solved ones."""
    zone = outcome.zone
    raised = set()
    for problem in (*outcome.problems, *outcome.warnings):
        name = _KNOWN.get(problem.event, problem.event)
        if name in (*REVIEW_EVENTS, *INPUT_EVENTS, *WORK_EVENTS, *WARNING_EVENTS):
            raised.add(name)
            subject = "" if load or name not in REVIEW_EVENTS else RENEWAL
            cause = _cause(outcome, problem)
            events.raise_event(name, zone, cause, subject=subject, remedy=problem.remedy or None)
    if outcome.result in ("published", "unchanged") or raised.intersection(REVIEW_EVENTS):
        for name in REVIEW_EVENTS:
            if name not in raised:
                events.resolve(name, zone, "" if load else RENEWAL)
    if outcome.result in ("published", "unchanged"):
        good = (*WORK_EVENTS, *INPUT_EVENTS, *WARNING_EVENTS) if load else WORK_EVENTS
        for name in good:
            if name not in raised:
                events.resolve(name, zone)


def report_sweep(events: EventCore, zone: str, faults: list[Problem]) -> None:
    """Raise the findings on the published version, separately from those on new versions."""
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
