"""One kind of event."""

from __future__ import annotations

from dataclasses import dataclass

from dnssecd.store.event_log import Severity


@dataclass(frozen=True, slots=True)
class EventKind:
    """An event. meaning: when it fires. effect: on the zone. remedy: what to do. mutable: it can be muted."""

    name: str
    severity: Severity
    meaning: str
    effect: str
    remedy: str
    mutable: bool = True
