"""Alerts as JSON, for the webhook and the command.

    {"version": 1, "kind": "trouble" | "reminder" | "escalation" | "over" | "digest" | "test", "id": str,
     "host": str, "at": epoch seconds, "summary": str,
     "alerts": [{"name", "zone", "subject", "severity", "state", "cause", "effect", "remedy", "look", "since",
                 "last_seen", "count", "acked_by", "resolved_at", "details", "valid_until", "docs"}],
     "more": how many alerts were left out}

zone, subject, acked_by, resolved_at, details, valid_until: null if absent. valid_until: epoch seconds, when the zone's
first RRSIG expires if nothing is done. docs: where the event is documented. state: as in lifecycle.Step. A message can
be sent twice; it has the same id then.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.first_look import fill_zone, first_look
from dnssecd.ops.alerts.grouping import Due
from dnssecd.ops.alerts.note import Note, Sender

ALERTS_MAX = 50
_DETAILS_MAX = 5_000


def encode(kind: str, id: str, sender: Sender, at: float, summary: str, **more: Any) -> bytes:
    """Return the JSON of one message."""
    head = {"version": 1, "kind": kind, "id": id, "host": sender.host, "at": at, "summary": summary}
    return msgspec.json.encode(head | {"alerts": [], "more": 0} | more)


def note_payload(note: Note, id: str, sender: Sender, summary: str) -> bytes:
    """Return the JSON of a message about alerts."""
    shown = list(zip(note.due, note.details, strict=True))[:ALERTS_MAX]
    alerts = [
        _alert(due, details)
        | {
            "valid_until": note.runs_until(due[0].event.zone),
            "docs": sender.section(due[0].event.name),
        }
        for due, details in shown
    ]
    return encode(
        note.kind, id, sender, note.at, summary, alerts=alerts, more=max(0, len(note.due) - ALERTS_MAX)
    )


def _alert(due: Due, details: str) -> dict[str, Any]:
    event = due[0].event
    return {
        "name": event.name,
        "zone": event.zone or None,
        "subject": words.one_line(event.subject) or None,
        "severity": event.severity,
        "state": due[1],
        "cause": words.clean(event.cause),
        "effect": words.clean(fill_zone(event.effect, event.zone)),
        "remedy": words.clean(fill_zone(event.remedy, event.zone)),
        "look": list(first_look(event)),
        "since": event.first_seen,
        "last_seen": event.last_seen,
        "count": event.count,
        "acked_by": event.acked_by or None,
        "resolved_at": event.resolved_at,
        "details": words.clean(details[:_DETAILS_MAX]) or None,
    }
