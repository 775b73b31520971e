"""One kind of event."""

from __future__ import annotations

from msgspec import Struct

from dnssecd.store.event_log import Severity


class EventKind(Struct, frozen=True):
    """An event. meaning: when it fires. effect: on the zone. remedy: what to do. mutable: it can be muted."""

    name: str
    severity: Severity
    meaning: str
    effect: str
    remedy: str
    mutable: bool = True
