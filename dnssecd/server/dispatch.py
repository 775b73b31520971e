"""From one request to what is to be done about it: opcode, TSIG, EDNS, access, then the answer or a job.

No I/O and no waiting here. The outcome of :meth:`Dispatcher.handle` is an answer, None (drop silently), a
coroutine that gives the answer later (NOTIFY, UPDATE), or a :class:`TransferJob` (TCP only).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from dnssecd.core.rrtypes import DS, SOA
from dnssecd.server import message as m
from dnssecd.server.acl import Address
from dnssecd.server.answer import answer
from dnssecd.server.interfaces import Handler, Hooks, Request, ServedZone, TransferOut, ZoneDirectory
from dnssecd.server.reply import (
    PLAIN_UDP_SIZE,
    UDP_SIZE,
    Reply,
    answer_flags,
    bare,
    opt_record,
    plain,
)
from dnssecd.server.transfer import TransferJob
from dnssecd.server.tsig import AnswerSigner, TsigKey, parse_rdata, strip, verify_request
from dnssecd.server.update_message import check_form

Outcome = bytes | Coroutine[Any, Any, bytes] | TransferJob | None
_TSIG_NAMES = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 0: "FORMERR"}
_UNANSWERED_TYPES = frozenset({0, m.TYPE_OPT, m.TYPE_TSIG, 253, 254})


class _Exchange:
    """One request on its way to an answer."""

    __slots__ = ("address", "key", "message", "signer", "transport", "wire")

    def __init__(self, wire: bytes, message: m.Message, address: Address, transport: str) -> None:
        self.wire = wire
        self.message = message
        self.address = address
        self.transport = transport
        self.key: bytes | None = None
        self.signer: AnswerSigner | None = None

    @property
    def reserve(self) -> int:
        return 0 if self.signer is None else self.signer.reserve

    @property
    def size_max(self) -> int:
        """Octets the answer may take before TSIG."""
        if self.transport == "tcp":
            return 65_535 - self.reserve
        edns = self.message.edns
        return (PLAIN_UDP_SIZE if edns is None else min(edns.udp_size, UDP_SIZE)) - self.reserve


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
    ) -> None:
        """keys: gives the TSIG keys in force, by lower-cased wire name; now: epoch seconds."""
        self._zones = zones
        self._keys = keys
        self._transfers = transfers
        self._now = now
        self._hooks = hooks
        self._on_notify = on_notify
        self._on_update = on_update

    def handle(self, wire: bytes, address: Address, transport: str) -> Outcome:
        """Return the outcome of one message from ``address`` over ``udp`` or ``tcp``."""
        if len(wire) < m.HEADER_SIZE or wire[2] & 0x80:
            self._hooks.dropped("runt" if len(wire) < m.HEADER_SIZE else "response")
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
        exchange = _Exchange(wire, request, address, transport)
        try:
            return self._handle(exchange)
        except Exception as error:
            self._hooks.failed(request.qname, "request", error)
            return self._finish(exchange, "other", plain(request, m.SERVFAIL), m.SERVFAIL)

    def _handle(self, exchange: _Exchange) -> Outcome:
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

    def _authenticate(self, exchange: _Exchange) -> int:
        if exchange.message.tsig is None:
            return 0
        verdict = verify_request(exchange.wire, exchange.message, self._keys(), int(self._now()))
        exchange.signer = verdict.signer
        if verdict.key is None:
            key = exchange.message.tsig.name
            self._hooks.refused(b"", "tsig", exchange.address, key, _TSIG_NAMES[verdict.error])
            return verdict.rcode
        exchange.key = verdict.key.name
        return 0

    def _query(self, exchange: _Exchange) -> Outcome:
        request = exchange.message
        if request.qtype == m.TYPE_TKEY:
            return self._plain(exchange, "query", m.NOTIMP)
        if request.qtype in _UNANSWERED_TYPES:
            return self._plain(exchange, "query", m.FORMERR)
        if request.qclass != m.CLASS_IN:
            return self._refuse(exchange, b"", "query", "class")
        if request.qtype in (m.TYPE_AXFR, m.TYPE_IXFR):
            return self._transfer(exchange)
        zone = self._enclosing(request.qname, request.qtype)
        if zone is None:
            return self._refuse(exchange, b"", "query", "no such zone")
        if not zone.access.query.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, "query", "access")
        context = zone.snapshot()
        if context is None:
            return self._plain(exchange, "query", m.SERVFAIL, zone)
        reply = Reply(request, exchange.size_max)
        with context as version:
            rcode, authoritative = answer(version, request, reply)
        return self._finish(exchange, "query", reply.render(rcode, authoritative), rcode, zone)

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

    def _transfer(self, exchange: _Exchange) -> Outcome:
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
            return self._plain(exchange, kind, m.NOTAUTH)
        if not zone.access.transfer.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, kind, "access")
        if exchange.transport == "udp":
            if kind == "axfr":
                return self._refuse(exchange, zone.origin, kind, "AXFR over UDP")
            return self._ixfr_datagram(exchange, zone, serial)
        return self._job(exchange, zone, kind, serial)

    def _job(self, exchange: _Exchange, zone: ServedZone, kind: str, serial: int) -> TransferJob:
        request, transfers = exchange.message, self._transfers
        opt = b"" if request.edns is None else opt_record(0, request.edns.dnssec_ok)
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
        )

    def _ixfr_datagram(self, exchange: _Exchange, zone: ServedZone, serial: int) -> bytes:
        request = exchange.message
        context = zone.snapshot()
        if context is None:
            return self._plain(exchange, "ixfr", m.SERVFAIL, zone)
        opt = b"" if request.edns is None else opt_record(0, request.edns.dnssec_ok)
        flags = answer_flags(request, m.NOERROR, True)
        with context as version:
            wire = self._transfers.ixfr_datagram(
                version, request.header.id, flags, request.question, len(opt), serial, exchange.size_max
            )
        if opt:
            wire = wire[:11] + b"\x01" + wire[12:] + opt
        return self._finish(exchange, "ixfr", wire, m.NOERROR, zone)

    def _notify(self, exchange: _Exchange) -> Outcome:
        request = exchange.message
        if request.qclass != m.CLASS_IN or request.qtype != SOA:
            return self._plain(exchange, "notify", m.FORMERR)
        zone = self._zones(request.qname)
        if zone is None:
            return self._plain(exchange, "notify", m.NOTAUTH)
        if not zone.access.notify.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, "notify", "access")
        if self._on_notify is None:
            return self._plain(exchange, "notify", m.NOTIMP, zone)
        return self._deferred(exchange, zone, "notify", self._on_notify)

    def _update(self, exchange: _Exchange) -> Outcome:
        request = exchange.message
        if request.qclass != m.CLASS_IN or request.qtype != SOA:
            return self._plain(exchange, "update", m.FORMERR)
        zone = self._zones(request.qname)
        if zone is None:
            return self._plain(exchange, "update", m.NOTAUTH)
        if self._on_update is None:
            return self._refuse(exchange, zone.origin, "update", "updates are off")
        if exchange.key is None:
            # Grants belong to keys: what is wanted here will not be done, so nobody can have us read much of it.
            try:
                check_form(exchange.wire)
            except m.FormError:
                return self._plain(exchange, "update", m.FORMERR, zone)
            exchange.wire = exchange.wire[:6] + bytes(6) + request.question
        return self._deferred(exchange, zone, "update", self._on_update)

    async def _deferred(self, exchange: _Exchange, zone: ServedZone, kind: str, handler: Handler) -> bytes:
        message = exchange.message
        wire = (
            exchange.wire
            if message.tsig is None
            else strip(exchange.wire, parse_rdata(exchange.wire, message.tsig))
        )
        request = Request(wire, message, exchange.key, exchange.address, exchange.transport, int(self._now()))
        try:
            rcode = await handler(zone, request)
        except Exception as error:
            self._hooks.failed(zone.origin, kind, error)
            rcode = m.SERVFAIL
        return self._plain(exchange, kind, rcode, zone)

    def _bare(self, request: m.Message, rcode: int, transport: str) -> bytes:
        self._hooks.answered(b"", "other", rcode, transport)
        return bare(request.header.id, answer_flags(request, rcode))

    def _refuse(self, exchange: _Exchange, zone: bytes, kind: str, reason: str) -> bytes:
        self._hooks.refused(zone, kind, exchange.address, exchange.key or b"", reason)
        return self._plain(exchange, kind, m.REFUSED)

    def _plain(self, exchange: _Exchange, kind: str, rcode: int, zone: ServedZone | None = None) -> bytes:
        return self._finish(exchange, kind, plain(exchange.message, rcode), rcode, zone)

    def _finish(
        self, exchange: _Exchange, kind: str, wire: bytes, rcode: int, zone: ServedZone | None = None
    ) -> bytes:
        self._hooks.answered(b"" if zone is None else zone.origin, kind, rcode, exchange.transport)
        return wire if exchange.signer is None else exchange.signer.sign(wire, int(self._now()))
