"""The daemon as a whole: ``status``, ``clock.confirm``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.base import Answer, Message, Request, Time, Zone
from dnssecd.control.messages.zones import ZoneStatus


class KeyServiceState(Answer, frozen=True, kw_only=True):
    """How the key service is run, and its state."""

    mode: Annotated[str, Meta(description='"service", or "child": a child of the daemon')]
    state: str


class Delivery(Answer, frozen=True, kw_only=True):
    """The state of one channel for alerts."""

    way: Annotated[str, Meta(description="the channel: mail, webhook or command")]
    target: Annotated[str, Meta(description="server, address or program")]
    working: bool
    waiting: Annotated[int, Meta(description="messages in its queue")]
    oldest: Annotated[Time | None, Meta(description="when the oldest message in the queue was made")]
    last_delivered: Time | None
    error: str | None


class Status(Answer, frozen=True, kw_only=True):
    """What is served, and what is wrong."""

    zones: list[ZoneStatus]
    alerts: list[Alert]
    version: Annotated[str, Meta(description="version of the daemon")]
    pid: Annotated[int, Meta(description="process of the daemon")]
    started_at: Time
    signer: KeyServiceState
    clock_suspect: Annotated[bool, Meta(description="the time is in doubt: nothing is signed")]
    clock: Annotated[str, Meta(description="why the time is in doubt")]
    delivery: Annotated[list[Delivery], Meta(description="the channels for alerts")]


class ShowStatus(Request[Status], frozen=True, kw_only=True):
    """Show the state of one zone or of all."""

    command: ClassVar[str] = "status"

    zone: Zone | None = None


class ClockConfirmed(Answer, frozen=True, kw_only=True):
    """Whether the time was in doubt."""

    changed: bool
    doubt: Annotated[str, Meta(description="why it was in doubt")]
    message: Message


class ConfirmClock(Request[ClockConfirmed], frozen=True, kw_only=True):
    """Confirm that the time is right after it was in doubt: signing continues."""

    command: ClassVar[str] = "clock.confirm"
    changes: ClassVar[bool] = True
