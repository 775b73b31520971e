"""The interface of the channels that deliver alerts: their input and their failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct, field

ChannelName = Literal["mail", "webhook", "command"]
CHANNELS: tuple[ChannelName, ...] = ("mail", "webhook", "command")

REASON_MAX = 500


class Undelivered(Exception):
    """A message was not accepted. The text has the server and the reason; it contains no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:REASON_MAX])


class ChannelDown(Undelivered):
    """The channel does not work now (server unreachable, password refused): it can deliver nothing."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Deferred(Undelivered):
    """This message was refused temporarily; others may be accepted."""


class Rejected(Undelivered):
    """This message was refused permanently."""


class Parcel(Struct, frozen=True):
    """A message to send. id: the same when the message is sent again. recipients: for mail only."""

    id: str
    body: bytes
    recipients: tuple[str, ...] = ()


class Sent(Struct, frozen=True):
    """The result. deferred: recipients to try again; rejected: recipients refused permanently. With reasons."""

    deferred: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)


class Channel(Protocol):
    """One channel. send() returns within its deadline or raises ChannelDown, Deferred or Rejected."""

    @property
    def name(self) -> ChannelName:
        """The kind of the channel."""

    @property
    def target(self) -> str:
        """The server or program, for messages; without secrets."""

    async def send(self, parcel: Parcel) -> Sent:
        """Send a message."""


def reason(error: BaseException) -> str:
    """Return the text of an exception on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:REASON_MAX]
