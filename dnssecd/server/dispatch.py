"""The dispatcher: it checks opcode, TSIG, EDNS and access of one request, then makes the answer or a job.

It does no I/O and does not wait. The outcome of :meth:`Dispatcher.handle` is an answer, None (drop silently),
a :class:`Deferred` answer (NOTIFY, UPDATE), or a :class:`TransferJob` (TCP only).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from dnssecd.core.dns import message as m
from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrtypes import DS, SOA
from dnssecd.core.dns.tsig import TsigKey, strip, verify_request
from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.acl import Address, Channel
from dnssecd.server.answer import answer
from dnssecd.server.answer_budget import SMALL_OCTETS, AnswerBudget
from dnssecd.server.clients import client, transfer_client
from dnssecd.server.connections import Standing
from dnssecd.server.cookies import Cookies
from dnssecd.server.deferred import Deferred, Share
from dnssecd.server.interfaces import Handler, Hooks, Request, ServedZone, TransferOut, Verdict, ZoneDirectory
from dnssecd.server.options import expire, zone_version
from dnssecd.server.reasons import Drop, Refusal
from dnssecd.server.replays import Replayed, Replays, Seen
from dnssecd.server.reply import (
    EMPTY_SIZE,
    NOT_AUTHORITATIVE,
    NOT_READY,
    NOT_SUPPORTED,
    OTHER,
    PROHIBITED,
    Ede,
    Reply,
    answer_flags,
    bare,
    ede_option,
    opt_record,
    option,
    plain,
    truncated,
)
from dnssecd.server.requests import Exchange, Proved
from dnssecd.server.transfer import TransferJob

Outcome = bytes | Deferred | TransferJob | None
_TSIG_NAMES = {
    16: Refusal.BADSIG,
    17: Refusal.BADKEY,
    18: Refusal.BADTIME,
    22: Refusal.BADTRUNC,
    0: Refusal.FORMERR,
}
_NO_VERSION = Ede(NOT_READY, "no version of the zone can be served now")
_STRANGER = Ede(PROHIBITED)
_REFUSED = {
    Refusal.ACCESS: Ede(PROHIBITED),
    Refusal.NOT_SIGNED: Ede(PROHIBITED, "updates must be signed"),
    Refusal.NOT_OVER_TLS: Ede(PROHIBITED, Refusal.NOT_OVER_TLS.value),
    Refusal.CERTIFICATE: Ede(PROHIBITED, Refusal.CERTIFICATE.value),
    Refusal.REPLAYED: Ede(PROHIBITED, "a repetition of an earlier update"),
    Refusal.UPDATES_OFF: Ede(NOT_SUPPORTED),
    Refusal.AXFR_OVER_UDP: Ede(NOT_SUPPORTED, Refusal.AXFR_OVER_UDP.value),
    Refusal.CLASS: Ede(NOT_SUPPORTED),
    Refusal.NO_SUCH_ZONE: Ede(NOT_AUTHORITATIVE),
}
_UNANSWERED_TYPES = frozenset({0, m.TYPE_OPT, m.TYPE_TSIG, 253, 254})


class Dispatcher:
    """Answers requests for the zones of a directory."""

    def __init__(
        self,
        zones: ZoneDirectory,
        keys: Callable[[], Mapping[bytes, TsigKey]],
        transfers: TransferOut,
        now: Callable[[], float],
        hooks: Hooks,
        on_notify: Handler | None = None,
        on_update: Handler | None = None,
        known: Callable[[Address], bool] = lambda address: False,
    ) -> None:
        """Take the providers of zones, keys and time.

        keys: gives the TSIG keys in force, by lower-cased wire name; now: epoch seconds; known: whether an
        address is a configured peer's.
        """
        self._zones = zones
        self._keys = keys
        self._transfers = transfers
        self._now = now
        self._hooks = hooks
        self._on_notify = on_notify
        self._on_update = on_update
        self._known = known
        self._replays = Replays()
        self._budget = AnswerBudget()
        self._cookies = Cookies(secrets.token_bytes(16))

    def handle(
        self,
        wire: bytes,
        address: Address,
        transport: str,
        proved: Proved | None = None,
        channel: Channel | None = None,
    ) -> Outcome:
        """Return the outcome of one message from ``address`` over ``udp`` or ``tcp``; channel: of TLS over TCP."""
        if len(wire) < m.HEADER_SIZE or wire[2] & 0x80:
            self._hooks.dropped(Drop.RUNT if len(wire) < m.HEADER_SIZE else Drop.RESPONSE)
            return None
        header = m.parse_header(wire)
        request = m.Message(header)
        if header.opcode not in (m.QUERY, m.NOTIFY, m.UPDATE):
            return self._bare(request, m.NOTIMP, transport)
        if transport == "udp" and len(wire) > m.UDP_REQUEST_MAX:
            return self._bare(request, m.FORMERR, transport)
        try:
            request = m.parse(wire)
        except m.FormError:
            return self._bare(request, m.FORMERR, transport)
        exchange = Exchange(wire, request, address, transport, proved, channel)
        try:
            return self._handle(exchange)
        except Exception as error:
            self._hooks.failed(request.qname, "request", error)
            return self._finish(exchange, "other", plain(request, m.SERVFAIL), m.SERVFAIL)

    def _handle(self, exchange: Exchange) -> Outcome:
        request = exchange.message
        rcode = self._authenticate(exchange)
        if rcode:
            return self._plain(exchange, "other", rcode)
        if request.edns is not None and request.edns.version:
            return self._plain(exchange, "other", m.BADVERS)
        if not request.question:
            return self._plain(exchange, "other", m.FORMERR)
        if request.signed0:
            return self._plain(exchange, "other", m.REFUSED)
        if request.header.opcode == m.QUERY:
            return self._query(exchange)
        if request.header.opcode == m.NOTIFY:
            return self._notify(exchange)
        return self._update(exchange)

    def _authenticate(self, exchange: Exchange) -> int:
        record = exchange.message.tsig
        if record is None:
            return 0
        verdict = verify_request(exchange.wire, exchange.message, self._keys(), int(self._now()))
        exchange.signer = verdict.signer
        if verdict.key is None:
            zone = self._zones(exchange.message.qname) if exchange.message.question else None
            origin, name = b"" if zone is None else zone.origin, lower(record.name)
            self._hooks.refused(origin, "tsig", exchange.address, name, _TSIG_NAMES[verdict.error])
            return verdict.rcode
        exchange.key, exchange.tsig = verdict.key.name, verdict.tsig
        exchange.show(Standing.PEER)
        self._hooks.authenticated(verdict.key.name, exchange.address)
        return 0

    def _query(self, exchange: Exchange) -> Outcome:
        request = exchange.message
        if request.qtype == m.TYPE_TKEY:
            return self._plain(exchange, "query", m.NOTIMP)
        if request.qtype in _UNANSWERED_TYPES:
            return self._plain(exchange, "query", m.FORMERR)
        if request.qclass != m.CLASS_IN:
            return self._refuse(exchange, b"", "query", Refusal.CLASS)
        if request.qtype in (m.TYPE_AXFR, m.TYPE_IXFR):
            return self._transfer(exchange)
        zone = self._enclosing(request.qname, request.qtype)
        if zone is None:
            return self._refuse(exchange, b"", "query", Refusal.NO_SUCH_ZONE)
        if not zone.access.query.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, "query", Refusal.ACCESS)
        exchange.show(Standing.CLIENT)
        self._answer_cookie(exchange)
        context = zone.snapshot()
        if context is None:
            return self._plain(exchange, "query", m.SERVFAIL, zone, _NO_VERSION)
        reply = Reply(request, exchange.size_max)
        with context as version:
            self._describe(exchange, zone, version)
            rcode, authoritative = answer(version, request, reply)
        wire = reply.render(rcode, authoritative, exchange.options)
        wire = self._bounded(exchange, wire, rcode, authoritative)
        return self._finish(exchange, "query", wire, rcode, zone)

    def _bounded(self, exchange: Exchange, wire: bytes, rcode: int, authoritative: bool) -> bytes:
        """Return an answer, or a truncated one if the client's budget of large UDP answers is spent."""
        if len(wire) <= SMALL_OCTETS or exchange.transport != "udp":
            return wire
        if exchange.key is not None or exchange.address_proven:
            return wire
        if self._budget.allows(client(exchange.address), len(wire), self._now()):
            return wire
        self._hooks.truncated(exchange.address)
        return truncated(exchange.message, rcode, authoritative, exchange.options)

    def _describe(self, exchange: Exchange, zone: ServedZone, version: ServedVersion) -> None:
        """Add the options that the request asks for about the version that answers it."""
        edns = exchange.message.edns
        if edns is None:
            return
        if edns.zoneversion:
            exchange.options += zone_version(version)
        if edns.expire and exchange.message.qname == zone.origin:
            exchange.options += expire(exchange.message.qtype, version, zone.expires_at, self._now())

    def _answer_cookie(self, exchange: Exchange) -> None:
        """Add a server cookie to the answer of a client that an access list allows (RFC 7873)."""
        edns = exchange.message.edns
        if edns is None or not edns.cookie:
            return
        data, exchange.address_proven = self._cookies.answer(edns.cookie, exchange.address, self._now())
        exchange.options += option(m.OPTION_COOKIE, data)

    def _enclosing(self, name: bytes, qtype: int) -> ServedZone | None:
        """Return the closest zone at or above a name; for DS at an apex the parent, if it is served here."""
        position, own = 0, None
        while True:
            zone = self._zones(name[position:])
            if zone is not None and (qtype != DS or position):
                return zone
            own = own or zone
            if not name[position]:
                return own
            position += name[position] + 1

    def _transfer(self, exchange: Exchange) -> Outcome:
        request = exchange.message
        kind = "axfr" if request.qtype == m.TYPE_AXFR else "ixfr"
        serial = 0
        if kind == "ixfr":
            try:
                serial = m.ixfr_serial(exchange.wire, request)
            except m.FormError:
                return self._plain(exchange, kind, m.FORMERR)
        zone = self._zones(request.qname)
        if zone is None:
            return self._not_served(exchange, kind)
        refused = zone.access.refuse_transfer(exchange.key, exchange.address, exchange.channel)
        if refused is not None:
            return self._refuse(exchange, zone.origin, kind, *refused)
        self._accept(exchange, zone, kind)
        if exchange.transport == "udp":
            if kind == "axfr":
                return self._refuse(exchange, zone.origin, kind, Refusal.AXFR_OVER_UDP)
            return self._ixfr_datagram(exchange, zone, serial)
        return self._job(exchange, zone, kind, serial)

    def _job(self, exchange: Exchange, zone: ServedZone, kind: str, serial: int) -> TransferJob:
        request, transfers = exchange.message, self._transfers
        if request.edns is not None and request.edns.expire and (context := zone.snapshot()) is not None:
            with context as version:
                self._describe(exchange, zone, version)
        opt = b"" if request.edns is None else opt_record(0, request.edns.dnssec_ok, exchange.options)
        common = (
            request.header.id,
            answer_flags(request, m.NOERROR, True),
            request.question,
            exchange.reserve + len(opt),
        )

        def seal(wire: bytes, first: bool) -> bytes:
            if first and opt:
                wire = wire[:11] + bytes((wire[11] + 1,)) + wire[12:] + opt
            return wire if exchange.signer is None else exchange.signer.sign(wire, int(self._now()))

        return TransferJob(
            zone,
            exchange.address,
            (lambda version: transfers.axfr(version, *common))
            if kind == "axfr"
            else (lambda version: transfers.ixfr(version, *common, serial)),
            seal,
            lambda rcode: self._plain(exchange, kind, rcode, zone),
            serial if kind == "ixfr" else None,
            transfer_client(exchange.key, exchange.address),
        )

    def _ixfr_datagram(self, exchange: Exchange, zone: ServedZone, serial: int) -> bytes:
        request = exchange.message
        context = zone.snapshot()
        if context is None:
            return self._plain(exchange, "ixfr", m.SERVFAIL, zone, _NO_VERSION)
        flags = answer_flags(request, m.NOERROR, True)
        with context as version:
            self._describe(exchange, zone, version)
            opt = b"" if request.edns is None else opt_record(0, request.edns.dnssec_ok, exchange.options)
            wire = self._transfers.ixfr_datagram(
                version, request.header.id, flags, request.question, len(opt), serial, exchange.size_max
            )
        if opt:
            wire = wire[:11] + b"\x01" + wire[12:] + opt
        wire = self._bounded(exchange, wire, m.NOERROR, True)
        return self._finish(exchange, "ixfr", wire, m.NOERROR, zone)

    def _notify(self, exchange: Exchange) -> Outcome:
        request = exchange.message
        if request.qclass != m.CLASS_IN or request.qtype != SOA:
            return self._plain(exchange, "notify", m.FORMERR)
        zone = self._zones(request.qname)
        if zone is None:
            return self._not_served(exchange, "notify")
        if not zone.access.notify.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, "notify", Refusal.ACCESS)
        self._accept(exchange, zone, "notify")
        if self._on_notify is None:
            return self._plain(exchange, "notify", m.NOTIMP, zone)
        return self._later(exchange, zone, "notify", self._on_notify)

    def _update(self, exchange: Exchange) -> Outcome:
        request = exchange.message
        if request.qclass != m.CLASS_IN or request.qtype != SOA:
            return self._plain(exchange, "update", m.FORMERR)
        zone = self._zones(request.qname)
        if zone is None:
            return self._not_served(exchange, "update")
        if self._on_update is None:
            return self._refuse(exchange, zone.origin, "update", Refusal.UPDATES_OFF)
        if exchange.tsig is None:
            # Grants belong to keys: an unsigned update cannot be allowed, so it is not parsed further.
            return self._refuse(exchange, zone.origin, "update", Refusal.NOT_SIGNED)
        try:
            seen, new = self._replays.enter(
                exchange.tsig, exchange.address, exchange.transport, int(self._now())
            )
        except Replayed as replayed:
            if replayed.pending:  # another node may have sent it back, because the owner of the zone changes
                return self._plain(exchange, "update", m.SERVFAIL, zone)
            return self._refuse(exchange, zone.origin, "update", Refusal.REPLAYED)
        if new:
            return self._later(exchange, zone, "update", self._on_update, seen)
        if seen.rcode is None:
            self._hooks.dropped(Drop.REPETITION)
            return None
        return self._plain(exchange, "update", seen.rcode, zone)

    def _later(
        self, exchange: Exchange, zone: ServedZone, kind: str, handler: Handler, seen: Seen | None = None
    ) -> Deferred:
        tsig = exchange.tsig
        sender = exchange.key or client(exchange.address)
        dropped = (lambda: self._replays.forget(tsig)) if seen is not None and tsig is not None else None
        return Deferred(Share(zone, sender), self._deferred(exchange, zone, kind, handler, seen), dropped)

    async def _deferred(
        self, exchange: Exchange, zone: ServedZone, kind: str, handler: Handler, seen: Seen | None = None
    ) -> bytes:
        wire = exchange.wire if exchange.tsig is None else strip(exchange.wire, exchange.tsig)
        request = Request(
            wire,
            exchange.message,
            exchange.key,
            exchange.address,
            exchange.transport,
            int(self._now()),
            exchange.wire,
        )
        try:
            rcode, text = _verdict(await handler(zone, request))
        except Exception as error:
            self._hooks.failed(zone.origin, kind, error)
            rcode, text = m.SERVFAIL, ""
        if seen is not None:
            seen.rcode = rcode
        return self._plain(exchange, kind, rcode, zone, Ede(OTHER, text) if text else None)

    def _bare(self, request: m.Message, rcode: int, transport: str) -> bytes:
        self._hooks.answered(b"", "other", rcode, transport)
        return bare(request.header.id, answer_flags(request, rcode))

    def _refuse(self, exchange: Exchange, zone: bytes, kind: str, reason: Refusal, detail: str = "") -> bytes:
        self._hooks.refused(zone, kind, exchange.address, exchange.key or b"", reason, detail)
        error = _STRANGER if self._is_stranger(exchange) else _REFUSED.get(reason)
        return self._plain(exchange, kind, m.REFUSED, error=error)

    def _is_stranger(self, exchange: Exchange) -> bool:
        """Tell whether the client must not learn which zones are served, or why it is refused."""
        return exchange.key is None and not self._known(exchange.address)

    def _not_served(self, exchange: Exchange, kind: str) -> bytes:
        """Answer a request for a zone that is not served here. Strangers do not learn the reason."""
        self._hooks.refused(b"", kind, exchange.address, exchange.key or b"", Refusal.NO_SUCH_ZONE)
        if self._is_stranger(exchange):
            return self._plain(exchange, kind, m.REFUSED, error=_STRANGER)
        return self._plain(exchange, kind, m.NOTAUTH, error=Ede(NOT_AUTHORITATIVE))

    def _accept(self, exchange: Exchange, zone: ServedZone, kind: str) -> None:
        """Note that the zone's access list let a transfer or NOTIFY through."""
        exchange.show(Standing.PEER)
        self._hooks.accepted(zone.origin, kind, exchange.address, exchange.key or b"")

    def _plain(
        self,
        exchange: Exchange,
        kind: str,
        rcode: int,
        zone: ServedZone | None = None,
        error: Ede | None = None,
    ) -> bytes:
        """Return an answer without records. error: its text is cut to the room there is."""
        options = exchange.options
        if error is not None:
            room = exchange.size_max - len(exchange.message.question) - EMPTY_SIZE - len(options)
            options += ede_option(error, room)
        wire = plain(exchange.message, rcode, options=options)
        return self._finish(exchange, kind, wire, rcode, zone)

    def _finish(
        self, exchange: Exchange, kind: str, wire: bytes, rcode: int, zone: ServedZone | None = None
    ) -> bytes:
        self._hooks.answered(b"" if zone is None else zone.origin, kind, rcode, exchange.transport)
        return wire if exchange.signer is None else exchange.signer.sign(wire, int(self._now()))


def _verdict(given: int | Verdict) -> Verdict:
    return Verdict(given) if isinstance(given, int) else given
