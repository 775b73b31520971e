"""The text of a mail about several alerts: a section for each kind of event with its zones, limited in length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from dnssecd.core.utc import about, minute
from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.first_look import FIRST_LOOK, fill_zone, first_look
from dnssecd.ops.alerts.grouping import Due
from dnssecd.ops.alerts.lifecycle import Alert, Step
from dnssecd.ops.alerts.note import Note
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.store.event_log import Event

SHOWN_PER_KIND = 20
KINDS_SHOWN = 20
_DETAILS_MAX = 20_000
_CAUSE_MAX = 300

_OPENING = {
    "trouble": "{count} alerts, worst first.",
    "reminder": "{count} alerts still fire, worst first; they were reported before.",
    "escalation": "You get this escalation because these {count} alerts are neither resolved nor acknowledged.",
    "over": "{count} alerts are resolved or acknowledged.",
}


def many(note: Note) -> list[str]:
    """Return the lines of a mail about several alerts."""
    lines = words.wrap(_OPENING[note.kind].format(count=len(note.due)))
    sections = [list(found) for _, found in groupby(note.due, key=lambda due: due[0].event.name)]
    for section in sections[:KINDS_SHOWN]:
        lines += ["", *_section(section, note)]
    if len(sections) > KINDS_SHOWN:
        lines += ["", *words.wrap(f"{len(sections) - KINDS_SHOWN} more kinds: dnssecd alerts list")]
    return [*lines, *_details(note)]


def _section(due: Sequence[Due], note: Note) -> list[str]:
    event = due[0][0].event
    kind = EVENT_KINDS.get(event.name)
    bad = [alert for alert, step in due if step not in ("resolved", "passed", "acknowledged")]
    over = all(step in ("resolved", "passed") for _, step in due)
    lines = [f"{'RESOLVED' if over else event.severity.upper()} {event.name}"]
    lines += words.wrap(words.sentence(kind.meaning if kind else event.name))
    for alert, step in due[:SHOWN_PER_KIND]:
        lines += ["", *_item(alert, step, note.at, note.runs_until(alert.event.zone))]
    if len(due) > SHOWN_PER_KIND:
        more = due[SHOWN_PER_KIND:]
        lines += ["", f"  and {len(more)} more of this kind; all: dnssecd alerts list"]
    return [*lines, *_advice(bad)] if bad else lines


def _item(alert: Alert, step: Step, at: float, valid_until: float | None) -> list[str]:
    event = alert.event
    name = (event.zone or "daemon") + (f" ({event.subject})" if event.subject else "")
    return [
        *words.wrap(f"{words.one_line(name)}, {_when(alert, step, at)}", 2),
        *words.wrap(_short(event.cause), 4),
        *(words.wrap(_runway(valid_until - at), 4) if valid_until is not None else ()),
    ]


def _runway(left: float) -> str:
    if left <= 0:
        return f"runway: none, the first signature expired {about(-left)} ago"
    return f"runway: valid for {about(left)} more, even if nothing is done"


def _short(cause: str) -> str:
    return cause if len(cause) <= _CAUSE_MAX else cause[:_CAUSE_MAX] + " …"


def _when(alert: Alert, step: Step, at: float) -> str:
    event = alert.event
    if step in ("resolved", "passed"):
        end = event.resolved_at if event.resolved_at is not None else at
        after = about(end - event.first_seen)
        return f"zone removed after {after}" if event.zone_removed else f"resolved after {after}"
    if step == "acknowledged":
        return f"acknowledged by {event.acked_by}"
    since = f"since {minute(event.first_seen)} ({words.ago(event.first_seen, at)})"
    changed = ", changed" if step == "changed" else ""
    return since + changed + (f", acknowledged by {event.acked_by}" if event.acked_by else "")


def _advice(alerts: Sequence[Alert]) -> list[str]:
    """Return effect, remedy and commands: once if they are the same for all, with ZONE if zones differ."""
    events = [alert.event for alert in alerts]
    zones = {event.zone for event in events}
    zone = events[0].zone if len(zones) == 1 else "ZONE"
    lines = [""]
    for effect in _distinct(fill_zone(event.effect, zone) for event in events):
        lines += words.wrap(f"Effect: {words.stop(effect)}", 2)
    for remedy in _distinct(fill_zone(event.remedy, zone) for event in events):
        lines += words.advice(f"to do: {remedy}", 2)
    lines += ["  Look first:", *(words.command(text, 4) for text in _look(events[0], zone))]
    ack = f"dnssecd alerts ack {events[0].name}" + (f" {zone}" if zone else "")
    return [*lines, "  Acknowledge:", words.command(ack, 4)]


def _look(event: Event, zone: str) -> tuple[str, ...]:
    return FIRST_LOOK.get(event.name, ("dnssecd status",)) if zone == "ZONE" else first_look(event)


def _distinct(texts: Iterable[str]) -> list[str]:
    """Return at most three different texts, so that the list stays readable."""
    return list(dict.fromkeys(texts))[:3]


def _details(note: Note) -> list[str]:
    lines: list[str] = []
    left = _DETAILS_MAX
    for (alert, _), text in zip(note.due, note.details, strict=True):
        if text and left > 0:
            event = alert.event
            lines += ["", f"Details of {event.name} {event.zone or 'daemon'}"]
            lines += words.clean(text[:left]).splitlines()
            left -= len(text)
    return lines
