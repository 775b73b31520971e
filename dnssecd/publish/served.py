"""Ask a public server of a zone for DNSKEY and SOA with their signatures, as a validator would."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.verify.served import ServedApex
from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question


class Served(Struct, frozen=True):
    """The answers of one server. ``apex`` None: no judgement is possible, ``failure`` says why."""

    server: str
    apex: ServedApex | None
    failure: str = ""


async def ask_served(zone: str, server: Peer, timing: Timing | None = None) -> Served:
    """Ask one server; faults of the peer do not raise."""
    name = dns.name.from_text(zone)
    types = (dns.rdatatype.DNSKEY, dns.rdatatype.SOA)
    answers = await asyncio.gather(
        *(exchange(server, question(name, rtype, dnssec=True), timing) for rtype in types)
    )
    failure = next((why for why in map(_failure, answers) if why), "")
    if failure:
        return Served(server.name, None, failure)
    (dnskey, dnskey_sigs), (soa, soa_sigs) = (
        _read(name, answer, rtype) for answer, rtype in zip(answers, types, strict=True)
    )
    return Served(server.name, ServedApex(dnskey, dnskey_sigs, soa, soa_sigs))


def _failure(outcome: Outcome) -> str:
    """Return why an answer cannot be judged: only authoritative answers have the original TTLs."""
    if outcome.answer is None:
        return outcome.failure
    if outcome.answer.rcode() != dns.rcode.NOERROR:
        return outcome.rcode
    return "" if outcome.authoritative else "not authoritative for the zone"


def _read(
    name: dns.name.Name, outcome: Outcome, rtype: dns.rdatatype.RdataType
) -> tuple[RRset | None, Rrsigs | None]:
    rrset = outcome.rrset(name, rtype)
    answer = outcome.answer
    assert answer is not None
    sigs = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, dns.rdatatype.RRSIG, covers=rtype)
    return (
        None if rrset is None else RRset(APEX, rtype, int(rrset.ttl), _pack(rrset)),
        None if sigs is None else Rrsigs(APEX, rtype, int(sigs.ttl), _pack(sigs)),
    )


def _pack(rrset: dns.rrset.RRset) -> bytes:
    return pack(cast(Any, record).to_digestable() for record in rrset)
