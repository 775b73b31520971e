"""What the server needs from the rest of the daemon: zones, transfers, handlers, hooks. Wired in daemon.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dnssecd.core.dns.message import Message
from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.acl import Address, ZoneAccess


class ServedZone(Protocol):
    """A configured zone."""

    @property
    def origin(self) -> bytes:
        """The zone name, wire form, lower-cased."""
        ...

    @property
    def access(self) -> ZoneAccess:
        """Who may query, transfer, notify."""
        ...

    def snapshot(self) -> AbstractContextManager[ServedVersion] | None:
        """Return the version to serve, or None while there is none (the answer is SERVFAIL).

        A snapshot is used by one thread at a time, but not always by the one that made it; several are open at
        once. What it shows does not change until it is left.
        """
        ...


#: From a lower-cased wire name to the zone of exactly that name, or None.
ZoneDirectory = Callable[[bytes], ServedZone | None]


class Transfer(Protocol):
    """An answer of many messages, unsigned; ``messages`` is consumed in slices, between which a thread may change."""

    @property
    def kind(self) -> str:
        """Which form was chosen: ``axfr``, ``ixfr``, ``axfr-style`` or ``current``."""
        ...

    @property
    def messages(self) -> Iterator[bytes]:
        """The messages in order."""
        ...


class TransferOut(Protocol):
    """The makers of transfer messages (publish.xfrout fits as a module).

    ``flags`` is the second header word of each message, ``question`` the question section in wire form;
    ``reserve`` octets of each message must stay free.
    """

    def axfr(
        self, version: ServedVersion, message_id: int, flags: int, question: bytes, reserve: int
    ) -> Transfer: ...

    def ixfr(
        self,
        version: ServedVersion,
        message_id: int,
        flags: int,
        question: bytes,
        reserve: int,
        client_serial: int,
    ) -> Transfer: ...

    def ixfr_datagram(
        self,
        version: ServedVersion,
        message_id: int,
        flags: int,
        question: bytes,
        reserve: int,
        client_serial: int,
        size_max: int,
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request as handlers see it.

    ``wire`` is the whole message without its TSIG record (Original ID restored); ``key`` is the proven TSIG
    key's name (lower-cased wire form) or None; ``transport`` is ``udp`` or ``tcp``; ``received`` is epoch seconds.
    """

    wire: bytes
    message: Message
    key: bytes | None
    address: Address
    transport: str
    received: int


class Verdict(NamedTuple):
    """What comes of a request: RCODE, and what the client is told besides (RFC 8914), empty for nothing."""

    rcode: int
    text: str = ""


#: Takes (zone, request) and returns the RCODE once the outcome is certain. NOTIFY: the zone accepts it from this
#: sender already. UPDATE: nothing was checked but the zone section, grants are the handler's.
Handler = Callable[[ServedZone, Request], Awaitable[int | Verdict]]


class Hooks:
    """What the server reports; subclass and override what is wanted. Called on the event loop, must not block.

    Zones and keys are lower-cased wire names; ``b""`` where there is none.
    """

    def answered(self, zone: bytes, kind: str, rcode: int, transport: str) -> None:
        """An answer was made. kind: query, notify, update, axfr, ixfr or other."""

    def refused(self, zone: bytes, kind: str, address: Address, key: bytes, reason: str) -> None:
        """A request was turned away: by the access list, TSIG (reason names the error) or a bound."""

    def accepted(self, zone: bytes, kind: str, address: Address, key: bytes) -> None:
        """A transfer or NOTIFY was let through by the zone's access list."""

    def dropped(self, reason: str) -> None:
        """A packet or connection was dropped without an answer."""

    def truncated(self, address: Address) -> None:
        """An answer by UDP was truncated: the client had many large ones, and its address is not proven."""

    def exhausted(self, error: OSError) -> None:
        """No connection can be accepted for a moment: the process, or the system, is out of descriptors."""

    def connections(self, open_now: int) -> None:
        """The number of TCP connections changed."""

    def transfer_started(self, zone: bytes, kind: str, address: Address, serial: int) -> None:
        """A transfer begins; kind as in Transfer."""

    def transfer_ended(
        self,
        zone: bytes,
        kind: str,
        address: Address,
        serial: int,
        messages: int,
        octets: int,
        seconds: float,
        outcome: str,
    ) -> None:
        """A transfer ended; outcome: ``done``, or what stopped it."""

    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        """Answering raised an exception that is our fault; the client got SERVFAIL."""
