"""The interfaces of the server to the rest of the daemon: zones, transfers, handlers, hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from msgspec import Struct

from dnssecd.core.dns.message import Message
from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.acl import Address, ZoneAccess
from dnssecd.server.reasons import Drop, Refusal, TransferEnd
from dnssecd.tls import TlsFailed


class ServedZone(Protocol):
    """A configured zone."""

    @property
    def origin(self) -> bytes:
        """The zone name, wire form, lower-cased."""
        ...

    @property
    def access(self) -> ZoneAccess:
        """Return the access lists: who may query, transfer, notify."""
        ...

    @property
    def expires_at(self) -> float | None:
        """Return when the zone stops being served if no primary confirms it (epoch seconds); None: never."""
        ...

    def snapshot(self) -> AbstractContextManager[ServedVersion] | None:
        """Return the version to serve, or None while there is none (the answer is SERVFAIL).

        One thread at a time uses a snapshot, but not always the thread that made it; several are open at
        once. Its content does not change until it is closed.
        """
        ...


#: Maps a lower-cased wire name to the zone of exactly that name, or None.
ZoneDirectory = Callable[[bytes], ServedZone | None]


class Transfer(Protocol):
    """An answer of many messages, without TSIG; ``messages`` is consumed in slices, by different threads."""

    @property
    def kind(self) -> str:
        """Return the form that was chosen: ``axfr``, ``ixfr``, ``axfr-style`` or ``current``."""
        ...

    @property
    def messages(self) -> Iterator[bytes]:
        """Return the messages in order."""
        ...


class TransferOut(Protocol):
    """The makers of transfer messages (publish.xfrout fits as a module).

    ``flags`` is the second header word of each message, ``question`` the question section in wire form;
    ``reserve`` octets of each message must stay free.
    """

    def axfr(
        self, version: ServedVersion, message_id: int, flags: int, question: bytes, reserve: int
    ) -> Transfer:
        """Return the whole zone as messages (RFC 5936)."""

    def ixfr(
        self,
        version: ServedVersion,
        message_id: int,
        flags: int,
        question: bytes,
        reserve: int,
        client_serial: int,
    ) -> Transfer:
        """Return the answer to an IXFR request over TCP (RFC 1995 §4)."""

    def ixfr_datagram(
        self,
        version: ServedVersion,
        message_id: int,
        flags: int,
        question: bytes,
        reserve: int,
        client_serial: int,
        size_max: int,
    ) -> bytes:
        """Return the one message that answers an IXFR request over UDP."""


class Request(Struct, frozen=True):
    """A request as handlers see it.

    ``wire`` is the whole message without its TSIG record (Original ID restored); ``key`` is the proven TSIG
    key's name (lower-cased wire form) or None; ``transport`` is ``udp`` or ``tcp``; ``received`` is epoch seconds.
    ``signed`` is the message as it came, with its TSIG record; empty for a request of the daemon itself.
    """

    wire: bytes
    message: Message
    key: bytes | None
    address: Address
    transport: str
    received: int
    signed: bytes = b""


class Verdict(NamedTuple):
    """The result of a request: RCODE, and the text of an Extended DNS Error (RFC 8914), empty for none."""

    rcode: int
    text: str = ""


class EndedTransfer(Struct, frozen=True):
    """A transfer that is over; kind as in Transfer."""

    zone: bytes
    kind: str
    address: Address
    serial: int
    messages: int
    octets: int
    seconds: float
    outcome: TransferEnd | Drop


#: Takes (zone, request) and returns the RCODE once the outcome is certain. NOTIFY: the access list has
#: already allowed the sender. UPDATE: only the zone section has been checked; the handler checks the grants.
Handler = Callable[[ServedZone, Request], Awaitable[int | Verdict]]


class Hooks:
    """Reports of the server; override the methods you need. They are called on the event loop and must not block.

    Zones and keys are lower-cased wire names; ``b""`` where there is none.
    """

    def answered(self, zone: bytes, kind: str, rcode: int, transport: str) -> None:
        """Report an answer. kind: query, notify, update, axfr, ixfr or other."""

    def refused(
        self, zone: bytes, kind: str, address: Address, key: bytes, reason: Refusal, detail: str = ""
    ) -> None:
        """Report a request refused by the access list, by TSIG or by a bound; ``detail``: more than the reason."""

    def accepted(self, zone: bytes, kind: str, address: Address, key: bytes) -> None:
        """Report a transfer or NOTIFY that the zone's access list allows."""

    def authenticated(self, key: bytes, address: Address) -> None:
        """Report a request with a verified TSIG key."""

    def dropped(self, reason: Drop) -> None:
        """Report a packet or connection that was dropped without an answer."""

    def truncated(self, address: Address) -> None:
        """Report a UDP answer truncated because its client, with an unverified address, had many large answers."""

    def exhausted(self, error: OSError) -> None:
        """Report that no connection can be accepted for now: the process, or the system, is out of descriptors."""

    def handshake(self, address: Address, failure: TlsFailed | None) -> None:
        """Report a TLS handshake with a client: done, or why it failed."""

    def connections(self, open_now: int) -> None:
        """Report a changed number of TCP connections."""

    def transfer_started(self, zone: bytes, kind: str, address: Address, serial: int) -> None:
        """Report the beginning of a transfer; kind as in Transfer."""

    def transfer_ended(self, transfer: EndedTransfer) -> None:
        """Report the end of a transfer."""

    def failed(self, zone: bytes, kind: str, error: BaseException) -> None:
        """Report an unexpected exception while answering, a bug in dnssecd; the client got SERVFAIL."""
