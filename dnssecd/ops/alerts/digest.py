"""The heartbeat: a digest, daily or weekly, that proves that alerts arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnssecd.durations import about
from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.lifecycle import DAY, HOUR
from dnssecd.ops.alerts.note import Sender, Written
from dnssecd.ops.alerts.text import footer, place
from dnssecd.store.event_log import Event

Rhythm = Literal["daily", "weekly", "never"]

#: Digests go out at 06:00 UTC, weekly ones on Mondays (the epoch was a Thursday).
_HOUR_S = 6 * HOUR
_MONDAY_S = 4 * DAY
FIRST_AFTER_S = 60.0
EVENTS_SHOWN = 30
COMING_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Facts:
    """What the daemon says of itself. Times are epoch seconds.

    served, waiting: numbers of zones. runway: (seconds, zone) of the zone whose first RRSIG expires soonest.
    coming: (when, zone, what), soonest first. since: when the daemon was started. signer: how the key service is.
    """

    served: int = 0
    waiting: int = 0
    runway: tuple[float, str] | None = None
    coming: Sequence[tuple[float, str, str]] = ()
    since: float | None = None
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Mailed:
    """Messages since the last digest, all ways together; waiting: now."""

    delivered: int = 0
    waiting: int = 0
    failed: int = 0


def due_at(rhythm: Rhythm, last: float | None, started_at: float) -> float | None:
    """When the next digest goes out (at once where that has passed); None: never. *last*: when the last one did.

    The first one goes out soon after the daemon was first started, so that a fault in the set-up shows then.
    """
    if rhythm == "never":
        return None
    if last is None:
        return started_at + FIRST_AFTER_S
    period, shift = (DAY, _HOUR_S) if rhythm == "daily" else (7 * DAY, _MONDAY_S + _HOUR_S)
    return (last - shift) // period * period + period + shift


def write(
    facts: Facts, firing: Sequence[Event], mailed: Mailed, rhythm: Rhythm, at: float, sender: Sender
) -> Written:
    """The digest's text."""
    zones = facts.served + facts.waiting
    count = f"{zones} zone" + ("" if zones == 1 else "s")
    state = "all well" if not firing else f"{len(firing)} alert" + ("s fire" if len(firing) > 1 else " fires")
    lines = [
        *words.wrap(f"dnssecd runs on {words.one_line(sender.host)}, and its messages arrive."),
        *words.wrap(
            f"This digest is sent {rhythm}. When it stops coming, alerts do not come either: then try on that host"
        ),
        "    dnssecd alerts test",
        "",
        *_state(facts, mailed, at),
        "",
        *_firing(firing, at),
        "",
        *_coming(facts.coming),
        *footer(sender),
    ]
    subject = words.one_line(f"[dnssecd] {sender.host}: {state}, {count}")
    return Written(subject, "\n".join(lines) + "\n")


def _state(facts: Facts, mailed: Mailed, at: float) -> list[str]:
    waiting = f", {facts.waiting} not yet published" if facts.waiting else ""
    rows = [("Zones", f"{facts.served} served{waiting}")]
    if facts.runway is not None:
        left, zone = facts.runway
        shown = f"{about(left)} until the first signature of all expires ({zone})"
        rows.append(("Runway", shown if left > 0 else f"EXPIRED {about(-left)} ago ({zone})"))
    if facts.signer:
        rows.append(("Signer", facts.signer))
    if facts.since is not None:
        rows.append(("Up since", f"{words.moment(facts.since)} ({words.ago(facts.since, at)})"))
    failed = f", {mailed.failed} rejected" if mailed.failed else ""
    rows.append(("Messages", f"{mailed.delivered} delivered, {mailed.waiting} waiting{failed}"))
    lines = []
    for name, value in rows:
        first, *rest = words.wrap(value, 11)
        lines += [f"{name + ':':11}{first[11:]}", *rest]
    return lines


def _firing(firing: Sequence[Event], at: float) -> list[str]:
    if not firing:
        return ["Nothing is wrong."]
    lines = [f"Firing now ({len(firing)})"]
    for event in firing[:EVENTS_SHOWN]:
        about_ = f" ({event.subject})" if event.subject else ""
        lines += words.wrap(f"{event.severity.upper()} {event.name} {place(event)}{about_}", 2)
        seen = f", seen by {event.acked_by}" if event.acked_by else ""
        lines += words.wrap(f"since {words.moment(event.first_seen)}{seen}", 4)
        lines += words.wrap(event.cause.partition("\n")[0], 4)
    if len(firing) > EVENTS_SHOWN:
        lines.append(f"  and {len(firing) - EVENTS_SHOWN} more: dnssecd alerts list")
    return lines


def _coming(coming: Sequence[tuple[float, str, str]]) -> list[str]:
    if not coming:
        return ["Nothing is planned."]
    lines = ["Coming up"]
    for when, zone, what in coming[:COMING_SHOWN]:
        lines += words.wrap(f"{words.moment(when)}  {zone}  {what}".rstrip(), 2)
    return lines
