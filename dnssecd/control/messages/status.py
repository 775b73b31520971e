"""The daemon as a whole: ``status``, ``clock.confirm``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.base import Answer, Message, Request, Seconds, Time, Zone
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


class TsigKeyUse(Answer, frozen=True, kw_only=True):
    """The use of one of several TSIG keys of a peer, since the daemon started."""

    peer: Annotated[str, Meta(description="a secondary or primary")]
    key: str
    received_at: Annotated[Time | None, Meta(description="when the peer last signed a request with it")]
    sent_at: Annotated[Time | None, Meta(description="when the peer last accepted a request signed with it")]


class Verdict(Answer, frozen=True, kw_only=True):
    """All of the status in one sentence, and the numbers behind it."""

    level: Annotated[
        Literal["ok", "warning", "critical"], Meta(description="the worst alert; errors are warnings here")
    ] = "ok"
    text: str = ""
    zones: int = 0
    zones_served: int = 0
    zones_wrong: Annotated[int, Meta(description="zones with an alert of severity warning or worse")] = 0
    zones_waiting_for_person: int = 0
    zones_noted: Annotated[int, Meta(description="zones with a note")] = 0
    secondaries: Annotated[int, Meta(description="pairs of a zone and a public server")] = 0
    secondaries_current: Annotated[int, Meta(description="how many of them serve the current serial")] = 0
    keys: int = 0
    runway_seconds: Annotated[Seconds | None, Meta(description="of the zone with the shortest one")] = None
    runway_zone: Zone | None = None
    next_act_at: Annotated[Time | None, Meta(description="when a person has to act next")] = None
    next_act: Annotated[str | None, Meta(description="what is then to be done")] = None


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
    verdict: Verdict = Verdict()
    tsig_keys: Annotated[
        list[TsigKeyUse], Meta(description="the keys of each peer that has several, during a change of keys")
    ] = field(default_factory=list)


class ShowStatus(Request[Status], frozen=True, kw_only=True, omit_defaults=True):
    """Show the state of one zone or of all."""

    command: ClassVar[str] = "status"

    zone: Zone | None = None
    notable: Annotated[
        bool,
        Meta(
            description="list only zones with an alert or a task for a person, and a few of those that have only a "
            "note; the verdict is on all"
        ),
    ] = False


class ClockConfirmed(Answer, frozen=True, kw_only=True):
    """Whether the time was in doubt."""

    changed: bool
    doubt: Annotated[str, Meta(description="why it was in doubt")]
    message: Message


class ConfirmClock(Request[ClockConfirmed], frozen=True, kw_only=True):
    """Confirm that the time is right after it was in doubt: signing continues."""

    command: ClassVar[str] = "clock.confirm"
    changes: ClassVar[bool] = True
