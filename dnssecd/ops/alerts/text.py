"""The text of a mail about one alert: what happened, effect, what to do, since when, what follows."""

from __future__ import annotations

from dnssecd.core.utc import about, minute
from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.first_look import fill_zone, first_look
from dnssecd.ops.alerts.lifecycle import Alert, Step, escalates_at, reminds_at
from dnssecd.ops.alerts.note import Note, Sender, Written
from dnssecd.ops.alerts.text_many import many
from dnssecd.ops.event_kinds import EVENT_KINDS
from dnssecd.replacing import replace
from dnssecd.store.event_log import Event

_DETAILS_MAX = 20_000
_OVER: tuple[Step, ...] = ("resolved", "passed")
_ZONE_REMOVED = "The zone was removed from dnssecd, and this alert ends with it. The alert was:"


def write(note: Note, sender: Sender) -> Written:
    """Return the text of *note*."""
    alert, step = note.due[0]
    single = len(note.due) == 1
    runway = note.runs_until(alert.event.zone)
    lines = _one(alert, step, note.details[0], note.at, sender, runway) if single else many(note)
    return Written(subject(note), "\n".join([*lines, *footer(sender, alert.event.name)]) + "\n")


def subject(note: Note) -> str:
    """Return the subject: zone, severity and event of the worst alert, and the number of others."""
    alert, step = note.due[0]
    event = alert.event
    head = f"{event.severity.upper()} {place(event)} {event.name}"
    if step in _OVER:
        how = "REMOVED" if event.zone_removed else "RESOLVED"
        head = f"{how}: {place(event)} {event.name}"
    elif step == "acknowledged":
        head = f"ACKNOWLEDGED by {event.acked_by}: {place(event)} {event.name}"
    elif step == "reminder":
        head = f"REMINDER {alert.reminders + 1}: {head}"
    elif step in ("changed", "escalated"):
        head = f"{step.upper()}: {head}"
    if event.subject:
        head += f" ({event.subject})"
    more = f" and {len(note.due) - 1} more" if len(note.due) > 1 else ""
    return words.one_line(f"[dnssecd] {head}", 180) + more


def place(event: Event) -> str:
    """Return the zone of an event, or ``daemon``."""
    return event.zone or "daemon"


def footer(sender: Sender, name: str = "") -> list[str]:
    """Return the lines with the sender and the section of the documentation."""
    more = f"\nMore: {sender.section(name)}" if name else ""
    return ["", "-- ", f"dnssecd {sender.version} on {words.one_line(sender.host)}{more}"]


def _one(
    alert: Alert, step: Step, details: str, at: float, sender: Sender, valid_until: float | None
) -> list[str]:
    event = alert.event
    lines = [*_news(alert, step, at), *_facts(alert, step, at), *runway(valid_until, at)]
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
    """Return the first lines: what changed, and the meaning of the event."""
    event = alert.event
    kind = EVENT_KINDS.get(event.name)
    meaning = words.wrap(words.sentence(kind.meaning if kind else event.name))
    lasted = about(at - alert.opened_at)
    seen = f"acknowledged by {event.acked_by}" if event.acked_by else "not acknowledged"
    news = {
        "changed": _what_changed(alert),
        "reminder": f"This alert has been firing for {lasted}; {seen}.",
        "escalated": f"You get this escalation because the alert has been firing for {lasted}; {seen}.",
        "acknowledged": f"{event.acked_by} has acknowledged this alert.",
        "resolved": _ZONE_REMOVED if event.zone_removed else "Resolved. The alert was:",
        "passed": _ZONE_REMOVED
        if event.zone_removed
        else "Resolved before the first message: the alert fired only briefly.",
    }.get(step)
    if news is None:
        return [*meaning, ""]
    return [*words.wrap(news), *([] if step == "resolved" else [""]), *meaning, ""]


def _what_changed(alert: Alert) -> str:
    if alert.told_severity not in (None, alert.event.severity):
        return f"The severity increased from {alert.told_severity}."
    return "Still failing, for a different reason:"


def _facts(alert: Alert, step: Step, at: float) -> list[str]:
    event = alert.event
    facts = [("Zone", event.zone or "none (the alert concerns the daemon)")]
    if event.subject:
        facts.append(("About", event.subject))
    facts += [("Severity", event.severity), ("Event", event.name)]
    if step in _OVER:
        end = event.resolved_at if event.resolved_at is not None else at
        lasted = f"to {minute(end)} ({about(end - event.first_seen)}), {words.times(event.count)}"
        facts += [("From", minute(event.first_seen)), ("", lasted)]
    else:
        since = f"{minute(event.first_seen)} ({words.ago(event.first_seen, at)})"
        facts += [("Since", since), ("", words.times(event.count))]
    if alert.deadline is not None and step not in _OVER:
        left = alert.deadline - at
        shown = f"in {about(left)}" if left > 0 else f"{about(-left)} ago"
        facts.append(("Deadline", f"{minute(alert.deadline)} ({shown})"))
    if event.acked_by and event.acked_at is not None and step not in _OVER:
        facts.append(("Acked by", f"{event.acked_by}, {minute(event.acked_at)}"))
    return [f"{name + ':' if name else '':11}{words.one_line(value)}" for name, value in facts]


def runway(valid_until: float | None, at: float) -> list[str]:
    """Return the lines that say how long the zone is valid if nothing is done; none if that is unknown."""
    if valid_until is None:
        return []
    left = valid_until - at
    if left <= 0:
        return words.wrap(f"Runway:    none: the first signature expired {about(-left)} ago")
    first, *rest = words.wrap(f"valid for {about(left)} more, even if nothing is done", 11)
    return [f"Runway:    {first.lstrip()}", *rest]


def _nothing_left(event: Event, step: Step) -> list[str]:
    if event.zone_removed:
        return words.wrap(
            "dnssecd no longer checks the zone, and does not know whether the problem is solved."
        )
    if step == "passed":
        return words.wrap(
            "No immediate action needed. It can happen again: look for the cause during working hours."
        )
    return ["No action needed."]


def ack_command(event: Event) -> str:
    """Return the command that acknowledges an event."""
    return f"dnssecd alerts ack {event.name}" + (f" {event.zone}" if event.zone else "")


def _acknowledge(alert: Alert) -> list[str]:
    if alert.silenced:
        return []
    lines = ["Acknowledge", words.command(ack_command(alert.event), 4)]
    if not alert.mutable:
        lines += words.wrap("This alert cannot be muted: it is repeated until it is resolved.", 2)
    return lines


def _next(alert: Alert, step: Step, at: float, sender: Sender) -> list[str]:
    """Return what follows without a reaction, as far as it is certain."""
    if alert.silenced:
        return []
    after = alert.escalated_at
    escalation = max(escalates_at(alert, sender.settings), at)
    lines = []
    if step != "escalated" and after is None:
        to = " and ".join(sender.escalate_to) or "the same people, as an escalation"
        unless = "acknowledged" if alert.mutable else "resolved"
        lines.append(f"If it is not {unless}, it is escalated to {to} at {minute(escalation)}.")
    told = _as_told(alert, at)
    reminder = reminds_at(told)
    if after is not None or step == "escalated" or reminder < escalation:
        lines.append(f"Next reminder: {minute(reminder)}.")
    return ["", *(row for line in lines for row in words.wrap(line))]


def _as_told(alert: Alert, at: float) -> Alert:
    return replace(alert, told_at=at, retry_at=None)
