"""From one request to what is to be done about it: opcode, TSIG, EDNS, access, then the answer or a job.

No I/O and no waiting here. The outcome of :meth:`Dispatcher.handle` is an answer, None (drop silently), a
:class:`Deferred` answer (NOTIFY, UPDATE), or a :class:`TransferJob` (TCP only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dnssecd.core.dns import message as m
from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrtypes import DS, SOA
from dnssecd.core.dns.tsig import TsigKey, strip, verify_request
from dnssecd.server.acl import Address
from dnssecd.server.answer import answer
from dnssecd.server.answer_budget import SMALL_OCTETS, AnswerBudget
from dnssecd.server.clients import client, transfer_client
from dnssecd.server.connections import Standing
from dnssecd.server.deferred import Deferred, Share
from dnssecd.server.interfaces import Handler, Hooks, Request, ServedZone, TransferOut, Verdict, ZoneDirectory
from dnssecd.server.replays import Replayed, Replays, Seen
from dnssecd.server.reply import EMPTY_SIZE, Reply, answer_flags, bare, opt_record, plain, truncated
from dnssecd.server.requests import Exchange, Proved
from dnssecd.server.transfer import TransferJob

Outcome = bytes | Deferred | TransferJob | None
_TSIG_NAMES = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 22: "BADTRUNC", 0: "FORMERR"}
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
        """keys: gives the TSIG keys in force, by lower-cased wire name; now: epoch seconds; known: whether an address
        is a configured peer's.
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

    def handle(self, wire: bytes, address: Address, transport: str, proved: Proved | None = None) -> Outcome:
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
        exchange = Exchange(wire, request, address, transport, proved)
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
        return 0

    def _query(self, exchange: Exchange) -> Outcome:
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
        exchange.show(Standing.CLIENT)
        context = zone.snapshot()
        if context is None:
            return self._plain(exchange, "query", m.SERVFAIL, zone)
        reply = Reply(request, exchange.size_max)
        with context as version:
            rcode, authoritative = answer(version, request, reply)
        wire = self._bounded(exchange, reply.render(rcode, authoritative), rcode, authoritative)
        return self._finish(exchange, "query", wire, rcode, zone)

    def _bounded(self, exchange: Exchange, wire: bytes, rcode: int, authoritative: bool) -> bytes:
        """Return an answer, or a truncated one where it would be one large answer too many by UDP."""
        if len(wire) <= SMALL_OCTETS or exchange.transport != "udp" or exchange.key is not None:
            return wire
        if self._budget.allows(client(exchange.address), len(wire), self._now()):
            return wire
        self._hooks.truncated(exchange.address)
        return truncated(exchange.message, rcode, authoritative)

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
        if not zone.access.transfer.allows(exchange.key, exchange.address):
            return self._refuse(exchange, zone.origin, kind, "access")
        self._accept(exchange, zone, kind)
        if exchange.transport == "udp":
            if kind == "axfr":
                return self._refuse(exchange, zone.origin, kind, "AXFR over UDP")
            return self._ixfr_datagram(exchange, zone, serial)
        return self._job(exchange, zone, kind, serial)

    def _job(self, exchange: Exchange, zone: ServedZone, kind: str, serial: int) -> TransferJob:
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
            transfer_client(exchange.key, exchange.address),
        )

    def _ixfr_datagram(self, exchange: Exchange, zone: ServedZone, serial: int) -> bytes:
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
            return self._refuse(exchange, zone.origin, "notify", "access")
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
            return self._refuse(exchange, zone.origin, "update", "updates are off")
        if exchange.tsig is None:
            # Grants belong to keys: nothing of what is wanted here will be done, so no more of it is read.
            return self._refuse(exchange, zone.origin, "update", "not signed")
        try:
            seen, new = self._replays.enter(
                exchange.tsig, exchange.address, exchange.transport, int(self._now())
            )
        except Replayed:
            return self._refuse(exchange, zone.origin, "update", "replayed")
        if new:
            return self._later(exchange, zone, "update", self._on_update, seen)
        if seen.rcode is None:
            self._hooks.dropped("repeated UPDATE that is being carried out")
            return None
        return self._plain(exchange, "update", seen.rcode, zone)

    def _later(
        self, exchange: Exchange, zone: ServedZone, kind: str, handler: Handler, seen: Seen | None = None
    ) -> Deferred:
        tsig = exchange.tsig
        sender = exchange.key or client(exchange.address)
        dropped = (lambda: self._replays.forget(tsig)) if seen is not None and tsig is not None else None
        return Deferred(
            Share(zone.origin, sender), self._deferred(exchange, zone, kind, handler, seen), dropped
        )

    async def _deferred(
        self, exchange: Exchange, zone: ServedZone, kind: str, handler: Handler, seen: Seen | None = None
    ) -> bytes:
        wire = exchange.wire if exchange.tsig is None else strip(exchange.wire, exchange.tsig)
        request = Request(
            wire, exchange.message, exchange.key, exchange.address, exchange.transport, int(self._now())
        )
        try:
            rcode, text = _verdict(await handler(zone, request))
        except Exception as error:
            self._hooks.failed(zone.origin, kind, error)
            rcode, text = m.SERVFAIL, ""
        if seen is not None:
            seen.rcode = rcode
        return self._plain(exchange, kind, rcode, zone, text)

    def _bare(self, request: m.Message, rcode: int, transport: str) -> bytes:
        self._hooks.answered(b"", "other", rcode, transport)
        return bare(request.header.id, answer_flags(request, rcode))

    def _refuse(self, exchange: Exchange, zone: bytes, kind: str, reason: str) -> bytes:
        self._hooks.refused(zone, kind, exchange.address, exchange.key or b"", reason)
        return self._plain(exchange, kind, m.REFUSED)

    def _not_served(self, exchange: Exchange, kind: str) -> bytes:
        """Answer a request for a zone that is not served here. Strangers do not learn that it is not."""
        self._hooks.refused(b"", kind, exchange.address, exchange.key or b"", "no such zone")
        stranger = exchange.key is None and not self._known(exchange.address)
        return self._plain(exchange, kind, m.REFUSED if stranger else m.NOTAUTH)

    def _accept(self, exchange: Exchange, zone: ServedZone, kind: str) -> None:
        """Note that the zone's access list let a transfer or NOTIFY through."""
        exchange.show(Standing.PEER)
        self._hooks.accepted(zone.origin, kind, exchange.address, exchange.key or b"")

    def _plain(
        self, exchange: Exchange, kind: str, rcode: int, zone: ServedZone | None = None, error_text: str = ""
    ) -> bytes:
        """Return an answer without records. error_text: an Extended DNS Error, as far as there is room for it."""
        room = exchange.size_max - len(exchange.message.question) - EMPTY_SIZE
        wire = plain(exchange.message, rcode, error_text=error_text[: max(room, 0)])
        return self._finish(exchange, kind, wire, rcode, zone)

    def _finish(
        self, exchange: Exchange, kind: str, wire: bytes, rcode: int, zone: ServedZone | None = None
    ) -> bytes:
        self._hooks.answered(b"" if zone is None else zone.origin, kind, rcode, exchange.transport)
        return wire if exchange.signer is None else exchange.signer.sign(wire, int(self._now()))


def _verdict(given: int | Verdict) -> Verdict:
    return Verdict(given) if isinstance(given, int) else given
