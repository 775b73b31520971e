"""Alerts as mail that can be read at 3 a.m.: what happened, effect, what to do, since when, what comes next."""

from __future__ import annotations

from dataclasses import replace

from dnssecd.durations import about
from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.first_look import fill_zone, first_look
from dnssecd.ops.alerts.lifecycle import Alert, Step, escalates_at, reminds_at
from dnssecd.ops.alerts.note import Note, Sender, Written
from dnssecd.ops.alerts.text_many import many
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.store.event_log import Event

_DETAILS_MAX = 20_000
_OVER: tuple[Step, ...] = ("resolved", "passed")
_ZONE_REMOVED = "The zone was removed from dnssecd, and this alert ends with it. It was this:"


def write(note: Note, sender: Sender) -> Written:
    """The text of *note*."""
    alert, step = note.due[0]
    single = len(note.due) == 1
    lines = _one(alert, step, note.details[0], note.at, sender) if single else many(note)
    return Written(subject(note), "\n".join([*lines, *footer(sender, alert.event.name)]) + "\n")


def subject(note: Note) -> str:
    """Zone, severity and event of the worst; how many more there are."""
    alert, step = note.due[0]
    event = alert.event
    head = f"{event.severity.upper()} {place(event)} {event.name}"
    if step in _OVER:
        how = "REMOVED" if event.zone_removed else "RESOLVED"
        head = f"{how}: {place(event)} {event.name}"
    elif step == "acknowledged":
        head = f"SEEN by {event.acked_by}: {place(event)} {event.name}"
    elif step == "reminder":
        head = f"REMINDER {alert.reminders + 1}: {head}"
    elif step in ("changed", "escalated"):
        head = f"{step.upper()}: {head}"
    if event.subject:
        head += f" ({event.subject})"
    more = f" and {len(note.due) - 1} more" if len(note.due) > 1 else ""
    return words.one_line(f"[dnssecd] {head}", 180) + more


def place(event: Event) -> str:
    return event.zone or "daemon"


def footer(sender: Sender, name: str = "") -> list[str]:
    """Who wrote this, and where more is to be read."""
    more = f"\nMore: docs/operations.md, {name}" if name else ""
    return ["", "-- ", f"dnssecd {sender.version} on {words.one_line(sender.host)}{more}"]


def _one(alert: Alert, step: Step, details: str, at: float, sender: Sender) -> list[str]:
    event = alert.event
    lines = [*_news(alert, step, at), *_facts(alert, step, at)]
    lines += ["", "What it was" if step in _OVER else "What happened", *words.wrap(event.cause, 2)]
    if step in _OVER:
        lines += ["", *_nothing_left(event, step)]
        return [*lines, "", *words.clean(details[:_DETAILS_MAX]).splitlines()] if details else lines
    lines += ["", "Effect", *words.wrap(words.sentence(fill_zone(event.effect, event.zone)), 2)]
    lines += ["", "What to do", *words.advice(fill_zone(event.remedy, event.zone), 2)]
    lines += ["", "Look first", *(words.command(text, 4) for text in first_look(event))]
    if step != "acknowledged":
        lines += ["", *_acknowledge(alert), *_next(alert, step, at, sender)]
    if details:
        lines += ["", "Details", *words.clean(details[:_DETAILS_MAX]).splitlines()]
    return lines


def _news(alert: Alert, step: Step, at: float) -> list[str]:
    """The first lines: what is new about it, and what it is."""
    event = alert.event
    kind = EVENT_KINDS.get(event.name)
    meaning = words.wrap(words.sentence(kind.meaning if kind else event.name))
    lasted = about(at - alert.opened_at)
    seen = f"{event.acked_by} has seen it" if event.acked_by else "nobody has acknowledged it"
    still = f"it is not over, though {event.acked_by} has seen it" if event.acked_by else seen
    news = {
        "changed": _what_changed(alert),
        "reminder": f"This has been so for {lasted}; {seen}.",
        "escalated": f"You get this because it has been so for {lasted} and {still}.",
        "acknowledged": f"{event.acked_by} has seen this and takes care of it.",
        "resolved": _ZONE_REMOVED if event.zone_removed else "It is over. It was this:",
        "passed": _ZONE_REMOVED
        if event.zone_removed
        else "This came and went: it was over before anybody could be told.",
    }.get(step)
    if news is None:
        return [*meaning, ""]
    return [*words.wrap(news), *([] if step == "resolved" else [""]), *meaning, ""]


def _what_changed(alert: Alert) -> str:
    if alert.told_severity not in (None, alert.event.severity):
        return f"It has become worse: it was {alert.told_severity}."
    return "It goes on, with another cause than before."


def _facts(alert: Alert, step: Step, at: float) -> list[str]:
    event = alert.event
    facts = [("Zone", event.zone or "none: the daemon as a whole")]
    if event.subject:
        facts.append(("About", event.subject))
    facts += [("Severity", event.severity), ("Event", event.name)]
    if step in _OVER:
        end = event.resolved_at if event.resolved_at is not None else at
        lasted = f"to {words.moment(end)} ({about(end - event.first_seen)}), {words.times(event.count)}"
        facts += [("From", words.moment(event.first_seen)), ("", lasted)]
    else:
        since = f"{words.moment(event.first_seen)} ({words.ago(event.first_seen, at)})"
        facts += [("Since", since), ("", words.times(event.count))]
    if alert.deadline is not None and step not in _OVER:
        left = alert.deadline - at
        shown = f"in {about(left)}" if left > 0 else f"{about(-left)} ago"
        facts.append(("Deadline", f"{words.moment(alert.deadline)} ({shown})"))
    if event.acked_by and event.acked_at is not None and step not in _OVER:
        facts.append(("Seen by", f"{event.acked_by}, {words.moment(event.acked_at)}"))
    return [f"{name + ':' if name else '':11}{words.one_line(value)}" for name, value in facts]


def _nothing_left(event: Event, step: Step) -> list[str]:
    if event.zone_removed:
        return words.wrap("dnssecd looks at the zone no more, and cannot say whether this is over.")
    if step == "passed":
        return words.wrap("Nothing is to be done at once. It may come again: look for its cause by daylight.")
    return ["Nothing is left to do."]


def ack_command(event: Event) -> str:
    return f"dnssecd alerts ack {event.name}" + (f" {event.zone}" if event.zone else "")


def _acknowledge(alert: Alert) -> list[str]:
    if alert.silenced:
        return []
    lines = ["Say that you take care of it", words.command(ack_command(alert.event), 4)]
    if not alert.mutable:
        lines += words.wrap("This alert cannot be muted: it is repeated until it is over.", 2)
    return lines


def _next(alert: Alert, step: Step, at: float, sender: Sender) -> list[str]:
    """What happens if nobody does anything, as far as it is certain."""
    if alert.silenced:
        return []
    after = alert.escalated_at
    escalation = max(escalates_at(alert, sender.settings), at)
    lines = []
    if step != "escalated" and after is None:
        to = " and ".join(sender.escalate_to) or "the same people, as an escalation"
        lines.append(f"If nobody acts, it goes to {to} at {words.moment(escalation)}.")
    told = _as_told(alert, at)
    reminder = reminds_at(told)
    if after is not None or step == "escalated" or reminder < escalation:
        lines.append(f"Next reminder: {words.moment(reminder)}.")
    return ["", *(row for line in lines for row in words.wrap(line))]


def _as_told(alert: Alert, at: float) -> Alert:
    return replace(alert, told_at=at, retry_at=None)
