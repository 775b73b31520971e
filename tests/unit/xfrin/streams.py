"""Answers to AXFR and IXFR built by hand: sound ones and ones that lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dnssecd.core.dns.names import text_to_wire
from dnssecd.ingest.xfrin import Inbound, Received
from dnssecd.server.update_rdata import RdataReader

ZONE = "example."
ORIGIN = text_to_wire(ZONE)
AXFR, IXFR = 252, 251
A, NS, CNAME, SOA, TXT, DS, RRSIG, NSEC, DNSKEY, NSEC3PARAM, CDS, ZONEMD = (
    1, 2, 5, 6, 16, 43, 46, 47, 48, 51, 59, 63,
)  # fmt: skip


class RR(NamedTuple):
    """One RR; owner is a wire name, compressed or not."""

    owner: bytes
    rtype: int
    rdata: bytes
    ttl: int = 300
    rclass: int = 1

    def wire(self) -> bytes:
        fixed = self.rtype.to_bytes(2, "big") + self.rclass.to_bytes(2, "big") + self.ttl.to_bytes(4, "big")
        return self.owner + fixed + len(self.rdata).to_bytes(2, "big") + self.rdata


def name(text: str) -> bytes:
    """A name in the zone."""
    return text_to_wire(f"{text}.{ZONE}" if text else ZONE)


def soa_rdata(serial: int, minimum: int = 300) -> bytes:
    return name("ns") + name("host") + b"".join(n.to_bytes(4, "big") for n in (serial, 60, 30, 600, minimum))


def soa(serial: int, owner: bytes = ORIGIN, minimum: int = 300) -> RR:
    return RR(owner, SOA, soa_rdata(serial, minimum))


def a(owner: str, last: int, ttl: int = 300) -> RR:
    return RR(name(owner), A, bytes((192, 0, 2, last)), ttl)


NS_RR = RR(ORIGIN, NS, text_to_wire("ns.other."))


def message(
    rrs: Sequence[RR], qtype: int = AXFR, *, mid: int = 1, flags: int = 0x8400, question: bool = True
) -> bytes:
    """One message of an answer."""
    counts = (int(question), len(rrs), 0, 0)
    head = b"".join(n.to_bytes(2, "big") for n in (mid, flags, *counts))
    body = ORIGIN + qtype.to_bytes(2, "big") + b"\x00\x01" if question else b""
    return head + body + b"".join(rr.wire() for rr in rrs)


def receive(messages: Iterable[bytes], base: int | None = None, **more: object) -> Received:
    """What the automaton makes of an answer."""
    inbound = Inbound(ORIGIN, base, RdataReader, **more)  # type: ignore[arg-type]
    for wire in messages:
        inbound.feed(wire)
    return inbound.finish()
