"""Alerts: ``alerts.list``, ``alerts.ack``, ``alerts.test``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from dnssecd.control.messages.base import Answer, Request, Seconds, Time, Zone


class Alert(Answer, frozen=True, kw_only=True):
    """A condition that an operator has to know of."""

    name: str
    zone: Annotated[str | None, Meta(description="the zone; null: the daemon as a whole")]
    subject: Annotated[str | None, Meta(description="what it is about within the zone")]
    severity: str
    cause: str
    effect: str
    remedy: str
    firing: Annotated[bool, Meta(description="the condition holds")]
    first_seen: Time
    last_seen: Time
    count: Annotated[int, Meta(description="how often it was seen since it began")]
    acked_by: Annotated[str | None, Meta(description="user who acknowledged it")]


class Alerts(Answer, frozen=True, kw_only=True):
    """The alerts that fire, worst first, at most 1,000."""

    alerts: list[Alert]


class ListAlerts(Request[Alerts], frozen=True, kw_only=True):
    """List the alerts that fire, of one zone or of all."""

    command: ClassVar[str] = "alerts.list"

    zone: Zone | None = None


class Acknowledged(Answer, frozen=True, kw_only=True):
    """How many alerts were acknowledged."""

    acknowledged: int


class AcknowledgeAlert(Request[Acknowledged], frozen=True, kw_only=True):
    """Acknowledge an alert in one zone, or in all: it is not escalated."""

    command: ClassVar[str] = "alerts.ack"
    changes: ClassVar[bool] = True

    name: Annotated[str, Meta(description="name of the alert")]
    zone: Zone | None = None


class TrialResult(Answer, frozen=True, kw_only=True):
    """The result of the test message on one channel."""

    way: Annotated[str, Meta(description="the channel: mail, webhook or command")]
    target: Annotated[str, Meta(description="server, address or program")]
    to: Annotated[list[str], Meta(description="recipients")]
    ok: bool
    detail: Annotated[str, Meta(description="why it failed")]
    seconds: Seconds


class TrialResults(Answer, frozen=True, kw_only=True):
    """The results of the test message on all channels."""

    results: list[TrialResult]


class TestAlerts(Request[TrialResults], frozen=True, kw_only=True):
    """Send a test message on each configured channel."""

    __test__: ClassVar[bool] = False  # its name begins as those of tests do

    command: ClassVar[str] = "alerts.test"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True
