"""Forward UPDATE and NOTIFY to the node that owns the zone, and return its answer (RFC 2136 §6).

The owner gets the message of the client as it is, with its TSIG record: all nodes share the keys, and a message that
is sent to several nodes has the same MAC at each, so that the owner carries it out once (server/replays.py). A request
that comes back to the node that forwarded it, because two nodes disagree on the owner, ends there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256

import structlog

from dnssecd.config.model import Address, ClusterConfig
from dnssecd.core.dns.message import REFUSED, SERVFAIL, FormError, parse
from dnssecd.core.dns.message_names import HEADER_OCTETS
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, TsigKey, parse_rdata, sign_request
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish.answerform import is_answer
from dnssecd.server.clients import client
from dnssecd.server.interfaces import Handler, Request, ServedZone, Verdict

#: A client waits about this long for the answer to an UPDATE.
DEADLINE_S = 5.0
#: For a connection to an address of the owner, if there is another one: packets to an address may simply be lost.
CONNECT_S = 1.0
#: An answer to UPDATE or NOTIFY has a header, a question, a TSIG and perhaps an EDNS error.
ANSWER_OCTETS_MAX = 4096
#: Requests that are being forwarded. A sender may have as many as are left free, and so a late one finds some; an owner
#: that does not answer may hold three quarters of them. Further ones are answered SERVFAIL.
WAITING_MAX = 256
OWNER_SHARE = 3

log = structlog.get_logger("dnssecd.cluster")


class Forward:
    """Forwards requests for zones of other nodes. Belongs to the event loop."""

    def __init__(
        self,
        config: ClusterConfig,
        keys: Callable[[], Mapping[bytes, TsigKey]],
        now: Callable[[], float],
        counted: Callable[[str], None],
    ) -> None:
        """keys: the TSIG keys by name (wire form); counted: gets "answered", "failed" or "returned" each time."""
        self._config, self._keys, self._now, self._counted = config, keys, now, counted
        self._waiting: set[bytes] = set()
        self._places: Counter[object] = Counter()

    def around(self, handler: Handler) -> Handler:
        """Return a handler that forwards requests for zones of other nodes, and gives all others to ``handler``."""

        async def handle(served: ServedZone, request: Request) -> int | Verdict:
            assert isinstance(served, FrontZone)
            owner = self.owner_of(served)
            return await (self.forward(served, request, owner) if owner else handler(served, request))

        return handle

    def owner_of(self, zone: FrontZone) -> str:
        """Return the other node that owns a zone, "" if this node does, or if it is not known."""
        room = zone.cluster
        if room is None or room.owned or room.owner == self._config.node:
            return ""
        return room.owner if room.owner in self._config.nodes else ""

    async def forward(self, zone: FrontZone, request: Request, owner: str) -> Verdict:
        """Return the owner's RCODE; SERVFAIL if it does not answer in time."""
        mark = sha256(request.wire).digest()
        sender, holder = ("sender", request.key or client(request.address)), ("owner", owner)
        free = WAITING_MAX - len(self._waiting)
        crowded = self._places[sender] >= free or self._places[holder] >= OWNER_SHARE * free
        if mark in self._waiting or crowded:
            self._counted("returned" if mark in self._waiting else "failed")
            return Verdict(SERVFAIL, "the owner of the zone changes, or too many requests are forwarded")
        self._waiting.add(mark)
        self._places.update((sender, holder))
        try:
            async with asyncio.timeout(DEADLINE_S):
                rcode = await self._ask(request, self._config.nodes[owner].address)
        except (OSError, TimeoutError, FormError, TsigError, asyncio.IncompleteReadError) as error:
            self._counted("failed")
            log.info(
                "request not forwarded", zone=zone.name, owner=owner, cause=str(error) or type(error).__name__
            )
            return Verdict(SERVFAIL, f"the node {owner}, which owns the zone, does not answer")
        finally:
            self._waiting.discard(mark)
            self._places.subtract((sender, holder))
            self._places = +self._places
        self._counted("answered")
        return Verdict(rcode, f"refused by the node {owner}, which owns the zone" if rcode == REFUSED else "")

    async def _ask(self, request: Request, addresses: tuple[Address, ...]) -> int:
        """Return the RCODE of the first address that can be reached."""
        wire, verifier = self._signed(request)
        reader, writer = await _connect(addresses)
        try:
            return await self._converse(reader, writer, wire, verifier)
        finally:
            writer.close()

    def _signed(self, request: Request) -> tuple[bytes, AnswerVerifier | None]:
        if request.key is None:
            return request.wire, None
        key = self._keys().get(request.key)
        if key is None:
            raise TsigError("the key of the request was removed from the configuration")
        if not request.signed:
            wire, mac = sign_request(request.wire, key, int(self._now()))
            return wire, AnswerVerifier(key, mac)
        record = parse(request.signed).tsig
        assert record is not None, "it was verified"
        return request.signed, AnswerVerifier(key, parse_rdata(request.signed, record).mac)

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: bytes,
        verifier: AnswerVerifier | None,
    ) -> int:
        writer.write(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(await reader.readexactly(2))
        answer = await reader.readexactly(min(size, ANSWER_OCTETS_MAX + 1))
        if not HEADER_OCTETS <= len(answer) <= ANSWER_OCTETS_MAX or not is_answer(answer, wire):
            raise FormError("it does not answer the request")
        if verifier is not None:
            answer = verifier.accept(answer, int(self._now()))
        return parse(answer).header.flags & 0xF


async def _connect(addresses: tuple[Address, ...]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that can be reached. Raise OSError."""
    for address in addresses[:-1]:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(address.host, address.port)
        except OSError:  # a TimeoutError as well: the next one may be reachable
            continue
    return await asyncio.open_connection(addresses[-1].host, addresses[-1].port)
