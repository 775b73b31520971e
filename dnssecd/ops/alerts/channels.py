"""What the ways by which alerts leave the machine have in common: what they are given, and how they fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

WayName = Literal["mail", "webhook", "command"]
WAYS: tuple[WayName, ...] = ("mail", "webhook", "command")

REASON_MAX = 500


class Undelivered(Exception):
    """A message was not taken. Its text says by whom and why; it holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:REASON_MAX])


class WayDown(Undelivered):
    """The way does not work at present (server unreachable, password refused): nothing can go by it."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Deferred(Undelivered):
    """This message was refused for now; others may be taken."""


class Rejected(Undelivered):
    """This message was refused for good; it would be refused again."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent. id: the same whenever the same is sent. recipients: of mail, else empty."""

    id: str
    body: bytes
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """deferred: recipients to try again; rejected: those that will never be served. Both with the reason."""

    deferred: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)


class Way(Protocol):
    """One way. send() ends within its deadline; it raises WayDown, Deferred or Rejected."""

    @property
    def name(self) -> WayName: ...

    @property
    def target(self) -> str:
        """Where it leads, for people; without secrets."""

    async def send(self, parcel: Parcel) -> Sent: ...


def reason(error: BaseException) -> str:
    """What an exception says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:REASON_MAX]
