"""Ask a secondary or parent server one question: the outcome is data, every wait is bounded.

UDP first, TCP when the answer is truncated. A failure is an outcome, not an exception, because a secondary
that does not answer is a normal case. The cost of an answer is bounded (publish.answerform), and a large
answer is decoded in a thread, so that the event loop does not wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
from msgspec import Struct

from dnssecd.core.dns.message_names import HEADER_OCTETS
from dnssecd.core.dns.tsig import TsigPeerError
from dnssecd.publish.answerform import TCP_OCTETS_MAX, UDP_OCTETS_MAX, UnwantedAnswer, check_size, is_answer
from dnssecd.publish.source import BY_ROUTE, Source, local_address
from dnssecd.publish.tls_client import HANDSHAKE_S, TlsTarget, client
from dnssecd.tls import TlsFailed, TlsFault

T = TypeVar("T")
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

UNSIGNED = "the answer is not signed although the question was"
_TC = 2

#: One octet more than an answer may have, so that a longer one is recognized.
_DATAGRAM_MAX = UDP_OCTETS_MAX + 1
#: Answers up to the UDP size that dnssecd announces are decoded directly: a few milliseconds at most.
_AT_ONCE_OCTETS = 1232
#: Its one thread starts with the first large answer.
_DECODER = ThreadPoolExecutor(1, thread_name_prefix="answers")


#: Errors after which another key of the peer is tried: during a change, one side has the new key first.
_OTHER_KEY = frozenset({"BADKEY", "BADSIG"})


@dataclass(frozen=True, slots=True)
class PeerKey:
    """A TSIG key shared with a peer; ``name`` and ``algorithm`` in presentation format."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)

    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """Return the key in dnspython's form."""
        key = dns.tsig.Key(self.name, self.secret, dns.name.from_text(self.algorithm))
        return {key.name: key}


class Peer(Struct, frozen=True):
    """A server to contact: its name in the configuration, IP address, port, and TSIG key if it has one.

    ``source``: the local addresses to send from. ``notify``: the key of NOTIFY; True: ``key``, False: none.
    ``query``: False: it gets NOTIFY but no queries. ``others``: further keys, used if it does not have ``key``.
    ``tls``: NOTIFY and queries use TLS.
    """

    name: str
    host: str
    port: int = 53
    key: PeerKey | None = None
    source: Source = BY_ROUTE
    notify: PeerKey | bool = True
    query: bool = True
    others: tuple[PeerKey, ...] = ()
    tls: TlsTarget | None = None

    @property
    def keys(self) -> tuple[PeerKey, ...]:
        """Return its keys for queries and transfers, the one to try first at first."""
        return () if self.key is None else (self.key, *self.others)

    @property
    def notify_keys(self) -> tuple[PeerKey | None, ...]:
        """Return the keys for NOTIFY, likewise; None: not signed."""
        if self.notify is True:
            return self.keys or (None,)
        return (self.notify_key,)

    @property
    def notify_key(self) -> PeerKey | None:
        """Return the TSIG key that NOTIFY is signed with."""
        return self.notify if isinstance(self.notify, PeerKey) else self.key if self.notify else None


class Timing(Struct, frozen=True):
    """Deadlines of one exchange: seconds and number of UDP attempts, seconds for all of a TCP attempt."""

    udp_s: float = 2.0
    udp_attempts: int = 2
    tcp_s: float = 5.0


class Reply(Struct, Generic[A], frozen=True):
    """The outcome of a question: a verified answer, or why there is none."""

    answer: A | None
    failure: str = ""
    #: BADKEY, BADSIG, BADTIME or BADTRUNC: the peer answered and rejects the TSIG of the request.
    tsig_error: str = ""
    #: Why a TLS connection failed; None: it did not, or was not used.
    tls_fault: TlsFault | None = None
    #: The name of the TSIG key that the answer is signed with.
    key: str = ""


class Asked(Protocol[A_co]):
    """A question in the form in which it is sent, and how its answer is read."""

    def wire(self, key: PeerKey | None) -> bytes:
        """Return the message, signed with a key."""
        ...

    async def read(self, item: bytes, octets_max: int) -> A_co:
        """Return the verified answer; raise UnwantedAnswer, or the errors of a peer that rejects our TSIG."""
        ...


class Outcome(Reply[dns.message.Message], frozen=True):
    """The outcome of a question that dnspython reads."""

    @property
    def rcode(self) -> str:
        """Return the RCODE as text, empty without an answer."""
        return "" if self.answer is None else dns.rcode.to_text(self.answer.rcode())

    @property
    def authoritative(self) -> bool:
        """Tell whether the answer is authoritative for the zone."""
        return self.answer is not None and bool(self.answer.flags & dns.flags.AA)

    @property
    def tsig_time(self) -> int | None:
        """Return the time of the peer's clock, from its verified TSIG, epoch seconds."""
        return self.answer.tsig[0].time_signed if self.answer is not None and self.answer.tsig else None

    def rrset(self, name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        """Return an RRset of the answer section."""
        if self.answer is None:
            return None
        return self.answer.get_rrset(self.answer.answer, name, dns.rdataclass.IN, rtype)


def question(
    zone: dns.name.Name, rtype: dns.rdatatype.RdataType, dnssec: bool = False
) -> dns.message.QueryMessage:
    """Return a query without RD, with EDNS."""
    query = dns.message.make_query(zone, rtype, use_edns=0, want_dnssec=dnssec, payload=1232)
    query.flags &= ~dns.flags.RD
    return query


async def exchange(
    peer: Peer, query: dns.message.Message, timing: Timing | None = None, *, tcp: bool = False
) -> Outcome:
    """Send ``query`` to ``peer``, signed if it has a key; return the outcome within the deadlines.

    tcp: skip UDP, because its answers can be forged by an attacker on the path.
    """
    reply = await ask(peer, _Query(query), timing, tcp=tcp)
    return Outcome(reply.answer, reply.failure, reply.tsig_error, reply.tls_fault, reply.key)


async def ask(peer: Peer, asked: Asked[A], timing: Timing | None = None, *, tcp: bool = False) -> Reply[A]:
    """Ask as :func:`exchange` does, and let ``asked`` read the answer."""
    reply: Reply[A] = Reply(None, "no answer")
    for key in peer.keys or (None,):
        reply = await _ask(peer, key, asked, timing or Timing(), tcp)
        if reply.tsig_error not in _OTHER_KEY:
            break
    return reply


async def _ask(peer: Peer, key: PeerKey | None, asked: Asked[A], timing: Timing, tcp: bool) -> Reply[A]:
    wire = asked.wire(key)
    try:
        answer: A | None
        if peer.tls is not None:
            answer = await asked.read(await _tls(peer.tls, wire, timing.tcp_s), TCP_OCTETS_MAX)
        else:
            item = b"" if tcp else await _udp(peer, wire, timing)
            answer = await asked.read(item, UDP_OCTETS_MAX) if item else None
            if answer is None or item[2] & _TC:
                answer = await asked.read(await _tcp(peer, wire, timing.tcp_s), TCP_OCTETS_MAX)
        return Reply(answer, key="" if key is None else key.name)
    except TlsFailed as failed:
        return Reply(None, str(failed), tls_fault=failed.fault)
    except TimeoutError:
        return Reply(None, "no answer in time")
    except OSError as error:
        return Reply(None, error.strerror or str(error) or type(error).__name__)
    except asyncio.IncompleteReadError:
        return Reply(None, "the connection was closed before the answer")
    except (dns.tsig.PeerError, TsigPeerError) as error:
        code = error.code if isinstance(error, TsigPeerError) else _tsig_error(error)
        return Reply(None, rejected_tsig(key, code), code)
    except UnwantedAnswer as error:
        return Reply(None, str(error))


def _tsig_error(error: dns.tsig.PeerError) -> str:
    known = {
        dns.tsig.PeerBadKey: "BADKEY",
        dns.tsig.PeerBadSignature: "BADSIG",
        dns.tsig.PeerBadTime: "BADTIME",
        dns.tsig.PeerBadTruncation: "BADTRUNC",
    }
    return known.get(type(error), str(error))


_TSIG_MEANING = {
    "BADKEY": "the peer does not have this key, or has it with another algorithm",
    "BADSIG": "the peer has a different secret for this key",
    "BADTIME": "the clocks of the two hosts differ by more than five minutes",
    "BADTRUNC": "the peer requires a longer MAC",
}


def rejected_tsig(key: PeerKey | None, code: str) -> str:
    """Return the message for a peer that rejects the TSIG of our request with this error (RFC 8945 §5.2)."""
    named = "" if key is None else f' of key "{key.name}" ({key.algorithm})'
    meaning = _TSIG_MEANING.get(code)
    return f"it rejects the TSIG{named}: {code}" + (f" ({meaning})" if meaning else "")


async def _udp(peer: Peer, wire: bytes, timing: Timing) -> bytes:
    def accept(item: bytes) -> bytes | None:
        return item if is_answer(item, wire) else None

    return await ask_udp(peer, wire, accept, timing)


async def ask_udp(peer: Peer, wire: bytes, accept: Callable[[bytes], T | None], timing: Timing) -> T:
    """Send ``wire`` and return the result of ``accept`` for the answer; raise TimeoutError, OSError, or its errors.

    Datagrams for which ``accept`` returns None (late or forged ones) are ignored. A plain socket sends the
    question before the first await: a commit reaches the secondary sooner if its NOTIFY does not wait.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in peer.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        if (local := local_address(peer.source, peer.host, peer.port)) is not None:
            sock.bind(local)
        sock.connect((peer.host, peer.port))
        for attempt in range(1, timing.udp_attempts + 1):
            sock.send(wire)
            try:
                async with asyncio.timeout(timing.udp_s):
                    while (accepted := accept(await loop.sock_recv(sock, _DATAGRAM_MAX))) is None:
                        await asyncio.sleep(0)  # let other tasks run, even if an answer has arrived already
                    return accepted
            except TimeoutError:
                if attempt == timing.udp_attempts:
                    raise
        raise TimeoutError


async def _tcp(peer: Peer, wire: bytes, tcp_s: float) -> bytes:
    async with asyncio.timeout(tcp_s):
        local = local_address(peer.source, peer.host, peer.port)
        reader, writer = await asyncio.open_connection(peer.host, peer.port, local_addr=local)
        try:
            writer.write(len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(await reader.readexactly(2), "big")
            # Of an answer that is too long, only enough is read to recognize that.
            item = await reader.readexactly(min(size, TCP_OCTETS_MAX + 1))
        finally:
            writer.close()
    return _answering(item, wire)


async def _tls(target: TlsTarget, wire: bytes, tcp_s: float) -> bytes:
    async with asyncio.timeout(tcp_s + HANDSHAKE_S):
        item, _ = await client().ask(target, wire, TCP_OCTETS_MAX)
    return _answering(item, wire)


def _answering(item: bytes, wire: bytes) -> bytes:
    """Return an item of a stream that answers ``wire``; raise UnwantedAnswer."""
    if len(item) < HEADER_OCTETS:
        raise UnwantedAnswer("bad answer (cut short): shorter than a header")
    if not is_answer(item, wire):
        raise UnwantedAnswer("it answers another question")
    return item


class _Query(Asked[dns.message.Message]):
    """A question in dnspython's form."""

    def __init__(self, query: dns.message.Message) -> None:
        self._query = query

    def wire(self, key: PeerKey | None) -> bytes:
        if key is not None:
            self._query.use_tsig(cast(Any, key.keyring()))
        return self._query.to_wire()

    async def read(self, item: bytes, octets_max: int) -> dns.message.Message:
        return await _decoded(item, self._query, octets_max)


async def _decoded(wire: bytes, query: dns.message.Message, octets_max: int) -> dns.message.Message:
    """Return the decoded answer; raise UnwantedAnswer, or PeerError for a peer that rejects our TSIG."""
    check_form(wire, octets_max)
    if len(wire) <= _AT_ONCE_OCTETS:
        answer = _decode(wire, query)
    else:
        answer = await asyncio.get_running_loop().run_in_executor(_DECODER, _decode, wire, query)
    if not query.is_response(answer):
        raise UnwantedAnswer("it answers another question")
    return answer


def _decode(wire: bytes, query: dns.message.Message) -> dns.message.Message:
    keyring = cast(Mapping[Any, Any] | None, query.keyring)
    try:
        answer = dns.message.from_wire(wire, keyring=keyring, request_mac=query.mac)
        unsigned = query.keyring is not None and not answer.had_tsig
    except dns.tsig.PeerError:
        raise
    except dns.exception.DNSException as error:
        raise bad_answer(wire, str(error) or type(error).__name__) from error
    if unsigned:
        raise bad_answer(wire, UNSIGNED)
    return answer


def check_form(wire: bytes, octets_max: int) -> None:
    """Raise UnwantedAnswer, with the RCODE, for an answer that would take too long to decode, or is malformed."""
    try:
        check_size(wire, octets_max)
    except UnwantedAnswer as error:
        raise bad_answer(wire, str(error)) from None


def bad_answer(wire: bytes, why: str) -> UnwantedAnswer:
    """Return the error for an answer that must not be used."""
    return UnwantedAnswer(f"bad answer ({_rcode(wire)}): {why}")


def _rcode(wire: bytes) -> str:
    """Return the RCODE of a message that could not be decoded."""
    return dns.rcode.to_text(dns.rcode.Rcode(wire[3] & 15))
