"""A message about alerts before it is text, and the data that its texts need."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from dnssecd.ops.alerts.grouping import Due, Group
from dnssecd.ops.alerts.lifecycle import Settings


class Sender(Struct, frozen=True):
    """The sender. escalate_to: the recipients of an escalation, for display. docs_url: of docs/operations.md."""

    host: str
    version: str
    settings: Settings = field(default_factory=Settings)
    escalate_to: tuple[str, ...] = ()
    docs_url: str = ""

    def section(self, name: str) -> str:
        """Return where the documentation of an event is: its address, or the document."""
        return f"{self.docs_url}#{name}" if self.docs_url else f"docs/operations.md, {name}"


class Note(Struct, frozen=True):
    """One message about alerts, worst first. at: epoch seconds. details: additional text for each, or "".

    valid_until: pairs of zone and time (epoch seconds) when its first RRSIG expires if nothing is done.
    """

    kind: Group
    at: float
    due: Sequence[Due]
    details: Sequence[str]
    valid_until: Sequence[tuple[str, float]] = ()

    def runs_until(self, zone: str) -> float | None:
        """Return when the first RRSIG of a zone expires; None: unknown, or the zone has none."""
        return dict(self.valid_until).get(zone)


class Written(Struct, frozen=True):
    """Subject and body as plain text, in lines of at most 72 columns; words and commands are not broken."""

    subject: str
    body: str
