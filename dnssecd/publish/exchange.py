"""Asking a secondary or parent server something: one question, one outcome as data, every wait bounded.

UDP first, TCP when the answer is truncated. What goes wrong is an outcome, not an exception: a secondary that is
not there yet is part of normal life. What an answer can cost is bounded (publish.answerform), and one that is not
small is decoded in a thread, so that the event loop has its turn meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig

from dnssecd.core.dns.message_names import HEADER_OCTETS
from dnssecd.publish.answerform import TCP_OCTETS_MAX, UDP_OCTETS_MAX, UnwantedAnswer, check_size, is_answer
from dnssecd.publish.source import BY_ROUTE, Source, local_address

T = TypeVar("T")

#: One octet more than an answer may have, so that a longer one is seen to be longer.
_DATAGRAM_MAX = UDP_OCTETS_MAX + 1
#: What fits into a datagram as we ask for it is decoded at once: a few milliseconds at the very most.
_AT_ONCE_OCTETS = 1232
#: Its one thread starts with the first large answer.
_DECODER = ThreadPoolExecutor(1, thread_name_prefix="answers")


@dataclass(frozen=True, slots=True)
class PeerKey:
    """A TSIG key for talking to a peer; ``name`` and ``algorithm`` in presentation format."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)

    def keyring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """Return the key as dnspython wants it."""
        key = dns.tsig.Key(self.name, self.secret, dns.name.from_text(self.algorithm))
        return {key.name: key}


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to talk to: its name in the configuration, IP address, port and TSIG key if it wants one.

    ``source``: the local addresses to send from. ``notify``: the key of NOTIFY; True: ``key``, False: none.
    ``query``: False: it takes NOTIFY and is asked nothing.
    """

    name: str
    host: str
    port: int = 53
    key: PeerKey | None = None
    source: Source = BY_ROUTE
    notify: PeerKey | bool = True
    query: bool = True

    @property
    def notify_key(self) -> PeerKey | None:
        """The TSIG key that NOTIFY is signed with."""
        return self.notify if isinstance(self.notify, PeerKey) else self.key if self.notify else None


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines of one exchange in seconds: each UDP attempt, how many of those, all of a TCP attempt."""

    udp_s: float = 2.0
    udp_attempts: int = 2
    tcp_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a question: a verified answer, or why there is none."""

    answer: dns.message.Message | None
    failure: str = ""
    #: BADKEY, BADSIG, BADTIME or BADTRUNC: the peer answered, and rejects our TSIG.
    tsig_error: str = ""

    @property
    def rcode(self) -> str:
        """The RCODE as text, empty without an answer."""
        return "" if self.answer is None else dns.rcode.to_text(self.answer.rcode())

    @property
    def authoritative(self) -> bool:
        """Tell whether the server speaks as an authority for the zone."""
        return self.answer is not None and bool(self.answer.flags & dns.flags.AA)

    @property
    def tsig_time(self) -> int | None:
        """The peer's clock as its TSIG vouches for it, epoch seconds."""
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

    tcp: do not begin with UDP, whose answers anybody on the way can forge.
    """
    timing = timing or Timing()
    if peer.key is not None:
        query.use_tsig(cast(Any, peer.key.keyring()))
    try:
        wire = query.to_wire()
        answer = None if tcp else await _udp(peer, query, wire, timing)
        if answer is None or answer.flags & dns.flags.TC:
            answer = await _tcp(peer, query, wire, timing.tcp_s)
        return Outcome(answer)
    except TimeoutError:
        return Outcome(None, "no answer in time")
    except OSError as error:
        return Outcome(None, error.strerror or str(error) or type(error).__name__)
    except asyncio.IncompleteReadError:
        return Outcome(None, "the connection was closed before the answer")
    except dns.tsig.PeerError as error:
        code = _tsig_error(error)
        return Outcome(None, rejected_tsig(peer.key, code), code)
    except UnwantedAnswer as error:
        return Outcome(None, str(error))


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
    "BADSIG": "the peer has another secret for this key",
    "BADTIME": "the clocks of the two hosts differ by more than five minutes",
    "BADTRUNC": "the peer wants a longer MAC",
}


def rejected_tsig(key: PeerKey | None, code: str) -> str:
    """Return the sentence for a peer that answered and rejects our TSIG with this error (RFC 8945 §5.2)."""
    named = "" if key is None else f' of key "{key.name}" ({key.algorithm})'
    meaning = _TSIG_MEANING.get(code)
    return f"it rejects the TSIG{named}: {code}" + (f" ({meaning})" if meaning else "")


async def _udp(peer: Peer, query: dns.message.Message, wire: bytes, timing: Timing) -> dns.message.Message:
    def accept(item: bytes) -> bytes | None:
        return item if is_answer(item, wire) else None

    return await _decoded(await ask_udp(peer, wire, accept, timing), query, UDP_OCTETS_MAX)


async def ask_udp(peer: Peer, wire: bytes, accept: Callable[[bytes], T | None], timing: Timing) -> T:
    """Send ``wire`` and return what ``accept`` makes of the answer; TimeoutError, OSError, and what it raises.

    Datagrams for which it returns None are none (late, forged): they are passed over. A plain socket, so that the
    question is on its way before anything is waited for: a NOTIFY is what a commit's way to the secondary begins with.
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
                        await asyncio.sleep(0)  # others get their turn, whatever is there already
                    return accepted
            except TimeoutError:
                if attempt == timing.udp_attempts:
                    raise
        raise TimeoutError


async def _tcp(peer: Peer, query: dns.message.Message, wire: bytes, tcp_s: float) -> dns.message.Message:
    async with asyncio.timeout(tcp_s):
        local = local_address(peer.source, peer.host, peer.port)
        reader, writer = await asyncio.open_connection(peer.host, peer.port, local_addr=local)
        try:
            writer.write(len(wire).to_bytes(2, "big") + wire)
            size = int.from_bytes(await reader.readexactly(2), "big")
            # Of one that is too long no more is read than shows it.
            item = await reader.readexactly(min(size, TCP_OCTETS_MAX + 1))
        finally:
            writer.close()
    if len(item) < HEADER_OCTETS:
        raise UnwantedAnswer("bad answer (cut short): shorter than a header")
    if not is_answer(item, wire):
        raise UnwantedAnswer("it answers another question")
    return await _decoded(item, query, TCP_OCTETS_MAX)


async def _decoded(wire: bytes, query: dns.message.Message, octets_max: int) -> dns.message.Message:
    """Return the answer, decoded; raises UnwantedAnswer, and PeerError for a peer that rejects our TSIG."""
    try:
        check_size(wire, octets_max)
    except UnwantedAnswer as error:
        raise UnwantedAnswer(f"bad answer ({_rcode(wire)}): {error}") from None
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
        raise UnwantedAnswer(f"bad answer ({_rcode(wire)}): {error or type(error).__name__}") from error
    if unsigned:
        raise UnwantedAnswer(f"bad answer ({_rcode(wire)}): not signed although the question was")
    return answer


def _rcode(wire: bytes) -> str:
    """The RCODE of a message that could not be decoded."""
    return dns.rcode.to_text(dns.rcode.Rcode(wire[3] & 15))
