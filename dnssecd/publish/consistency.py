"""Do all public servers of a zone give the same CDS and CDNSKEY? A parent that finds differences changes nothing.

RFC 9975 has the parent query all servers of the delegation; NOTIFY(CDS) is sent when it will find them alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.name
import dns.rcode
import dns.rdatatype

from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question

TYPES = (dns.rdatatype.CDS, dns.rdatatype.CDNSKEY)


async def find_inconsistency(zone: str, servers: Sequence[Peer], timing: Timing | None = None) -> str:
    """Return why a parent would not find consistent CDS and CDNSKEY, "" if it would; faults of peers do not raise.

    servers: the public servers that may be queried; without any there is nothing to compare.
    """
    name = dns.name.from_text(zone)
    for rtype in TYPES:
        outcomes = await asyncio.gather(
            *(exchange(server, question(name, rtype), timing) for server in servers)
        )
        found: list[tuple[Peer, frozenset[bytes]]] = []
        for server, outcome in zip(servers, outcomes, strict=True):
            why = _failure(outcome)
            if why:
                return f"{server.name} gives no {rtype.name} RRset: {why}"
            found.append((server, _rdatas(outcome, name, rtype)))
        for server, rdatas in found:
            if rdatas != found[0][1]:
                return f"{found[0][0].name} and {server.name} serve different {rtype.name} RRsets"
        if found and rtype == dns.rdatatype.CDS and not found[0][1]:
            return f"{found[0][0].name} serves no CDS"
    return ""


def _failure(outcome: Outcome) -> str:
    if outcome.answer is None:
        return outcome.failure
    if outcome.answer.rcode() != dns.rcode.NOERROR:
        return outcome.rcode
    return "" if outcome.authoritative else "it is not authoritative"


def _rdatas(outcome: Outcome, name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> frozenset[bytes]:
    return frozenset(record.to_digestable() for record in outcome.rrset(name, rtype) or ())
