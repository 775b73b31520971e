"""The servers of a zone's other signers (RFC 8901): the DNSKEY RRset that each one serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import dns.name
import dns.rdatatype
from msgspec import Struct

from dnssecd.publish.exchange import Peer, Timing, exchange, question


class SignerAnswer(Struct, frozen=True):
    """The answer of one server: DNSKEY RDATA; None if there is no usable answer, ``failure`` says why.

    ``ttl`` is that of the DNSKEY RRset, ``at`` epoch seconds.
    """

    server: str
    signer: str
    dnskeys: tuple[bytes, ...] | None
    ttl: int
    at: float
    failure: str = ""


async def ask_dnskeys(
    zone: str, signer: str, server: Peer, now: Callable[[], float], timing: Timing | None = None
) -> SignerAnswer:
    """Ask one server for the DNSKEY RRset of ``zone``, over TCP; faults of the peer do not raise."""
    name = dns.name.from_text(zone)
    outcome = await exchange(server, question(name, dns.rdatatype.DNSKEY), timing, tcp=True)
    rrset = outcome.rrset(name, dns.rdatatype.DNSKEY)
    if rrset is None or not outcome.authoritative:
        failure = outcome.failure or (outcome.rcode if outcome.rcode != "NOERROR" else "no DNSKEY RRset")
        return SignerAnswer(server.name, signer, None, 0, now(), failure)
    rdatas = tuple(sorted(cast(Any, record).to_digestable() for record in rrset))
    return SignerAnswer(server.name, signer, rdatas, int(rrset.ttl), now())
