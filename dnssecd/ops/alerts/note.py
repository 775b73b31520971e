"""What is to be said to people: a note, before it is text, and what its texts need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dnssecd.ops.alerts.grouping import Due, Group
from dnssecd.ops.alerts.lifecycle import Settings

Kind = Group | Literal["digest", "test"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks. escalate_to: whom an escalation reaches, for people to read."""

    host: str
    version: str
    settings: Settings = field(default_factory=Settings)
    escalate_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """One message about alerts, worst first. at: epoch seconds. details: more text for each, "" for none."""

    kind: Group
    at: float
    due: Sequence[Due]
    details: Sequence[str]


@dataclass(frozen=True, slots=True)
class Written:
    """Subject and body, plain text, lines of at most 72 columns (but words and commands are never broken)."""

    subject: str
    body: str
