"""The digest: a daily or weekly mail that shows that alerts arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from dnssecd.core.utc import about, minute
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


class Facts(Struct, frozen=True):
    """The state of the daemon. Times are epoch seconds.

    served, waiting: numbers of zones. runway: (seconds, zone) of the zone whose first RRSIG expires soonest.
    coming: (when, zone, what), soonest first. since: start of the daemon. signer: state of the key service.
    """

    served: int = 0
    waiting: int = 0
    runway: tuple[float, str] | None = None
    coming: Sequence[tuple[float, str, str]] = ()
    since: float | None = None
    signer: str = ""


class Mailed(Struct, frozen=True):
    """Numbers of messages since the last digest, on all channels; waiting: now."""

    delivered: int = 0
    waiting: int = 0
    failed: int = 0


def due_at(rhythm: Rhythm, last: float | None, started_at: float) -> float | None:
    """Return when the next digest is due (in the past: immediately); None: never. *last*: time of the last one.

    The first digest is sent soon after the first start of the daemon, so that a wrong set-up is noticed early.
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
    """Return the text of the digest."""
    zones = facts.served + facts.waiting
    count = f"{zones} zone" + ("" if zones == 1 else "s")
    state = "all well" if not firing else f"{len(firing)} alert" + ("s fire" if len(firing) > 1 else " fires")
    lines = [
        *words.wrap(f"dnssecd on {words.one_line(sender.host)} is running and can send mail."),
        *words.wrap(
            f"This digest is sent {rhythm}. If it does not arrive, alerts do not arrive either. Then run on that host:"
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
        shown = f"{about(left)} until the first signature expires ({zone})"
        rows.append(("Runway", shown if left > 0 else f"EXPIRED {about(-left)} ago ({zone})"))
    if facts.signer:
        rows.append(("Signer", facts.signer))
    if facts.since is not None:
        rows.append(("Up since", f"{minute(facts.since)} ({words.ago(facts.since, at)})"))
    failed = f", {mailed.failed} rejected" if mailed.failed else ""
    rows.append(("Messages", f"{mailed.delivered} delivered, {mailed.waiting} waiting{failed}"))
    lines = []
    for name, value in rows:
        first, *rest = words.wrap(value, 11)
        lines += [f"{name + ':':11}{first[11:]}", *rest]
    return lines


def _firing(firing: Sequence[Event], at: float) -> list[str]:
    if not firing:
        return ["No alert fires."]
    lines = [f"Firing now ({len(firing)})"]
    for event in firing[:EVENTS_SHOWN]:
        about_ = f" ({event.subject})" if event.subject else ""
        lines += words.wrap(f"{event.severity.upper()} {event.name} {place(event)}{about_}", 2)
        seen = f", acknowledged by {event.acked_by}" if event.acked_by else ""
        lines += words.wrap(f"since {minute(event.first_seen)}{seen}", 4)
        lines += words.wrap(event.cause.partition("\n")[0], 4)
    if len(firing) > EVENTS_SHOWN:
        lines.append(f"  and {len(firing) - EVENTS_SHOWN} more: dnssecd alerts list")
    return lines


def _coming(coming: Sequence[tuple[float, str, str]]) -> list[str]:
    if not coming:
        return ["Nothing is scheduled."]
    lines = ["Coming up"]
    for when, zone, what in coming[:COMING_SHOWN]:
        lines += words.wrap(f"{minute(when)}  {zone}  {what}".rstrip(), 2)
    return lines
