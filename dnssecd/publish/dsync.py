"""NOTIFY(CDS) to the parent (RFC 9859): find where the parent takes notifications of new CDS, and send them.

A notification only makes the parent act sooner, and the parent checks everything itself; so DSYNC records are
used without validation (RFC 9859 §5). Send it when all public servers have the CDS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
from msgspec import Struct

from dnssecd.publish.exchange import Peer, Timing, exchange, question

SCHEME_NOTIFY = 1
LABEL = b"_dsync"
ENDPOINTS_MAX = 4
ADDRESSES_MAX = 4
SERVERS_MAX = 3
LOOKUPS_MAX = 4
#: RFC 1996 §3.6: repeated until answered; these are the repetitions of one attempt, the caller makes further
#: attempts.
TIMING = Timing(udp_s=3.0, udp_attempts=3, tcp_s=5.0)


class Found(Struct, frozen=True):
    """An answer: the RRset; or None with the owner of the SOA that denies it; or a failure."""

    rrset: dns.rrset.RRset | None = None
    soa: dns.name.Name | None = None
    failure: str = ""


Lookup = Callable[[dns.name.Name, dns.rdatatype.RdataType], Awaitable[Found]]


class Endpoint(Struct, frozen=True, order=True):
    """Where the parent takes NOTIFY(CDS): host name and port; ``at``: the name of the DSYNC RRset."""

    target: str
    port: int
    at: str


class Notified(Struct, frozen=True):
    """The result. ``offered``: the parent has an endpoint; ``ok``: one acknowledged; ``detail``: which, or why not."""

    offered: bool
    ok: bool
    detail: str


class DsyncUnknown(Exception):
    """It is unknown whether the parent takes notifications; the text says why."""


def by_resolver(asking: dns.asyncresolver.Resolver) -> Lookup:
    """Look up RRsets by a resolver; its lifetime is the deadline."""

    async def lookup(name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> Found:
        try:
            answer = await asking.resolve(name, rtype, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            return Found(soa=_soa(cast(Any, error).response(name)))
        except (dns.exception.DNSException, OSError) as error:
            return Found(failure=str(error) or type(error).__name__)
        if answer.rrset is None:
            return Found(soa=_soa(answer.response))
        return Found(answer.rrset)

    return lookup


def by_servers(servers: Sequence[Peer], then: Lookup | None = None, timing: Timing | None = None) -> Lookup:
    """Ask the parent's own servers; ``then``, if given, is asked for names they are not authoritative for."""

    async def lookup(name: dns.name.Name, rtype: dns.rdatatype.RdataType) -> Found:
        failure = "no server of the parent is known"
        for server in servers[:SERVERS_MAX]:
            outcome = await exchange(server, question(name, rtype), timing)
            answer = outcome.answer
            if answer is None:
                failure = f"{server.name}: {outcome.failure}"
            elif not outcome.authoritative or answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                failure = f"{server.name}: {outcome.rcode}, not authoritative for {name}"
            else:
                return Found(outcome.rrset(name, rtype), _soa(answer))
        return Found(failure=failure) if then is None else await then(name, rtype)

    return lookup


async def find_endpoints(zone: str, lookup: Lookup) -> list[Endpoint]:
    """Return where to send NOTIFY(CDS) for ``zone``; empty: the parent takes none. Raise DsyncUnknown.

    RFC 9859 §4.1. Several endpoints are alternatives: one of them must acknowledge.
    """
    owner = dns.name.from_text(zone)
    if len(owner) < 2:
        return []
    labels = owner.labels
    name = dns.name.Name((labels[0], LABEL, *labels[1:]))
    inferred = False
    for _ in range(LOOKUPS_MAX):
        found = await lookup(name, dns.rdatatype.DSYNC)
        if found.failure:
            raise DsyncUnknown(f"looking for DSYNC at {name}: {found.failure}")
        if found.rrset is not None:
            return _endpoints(found.rrset)
        behind = dns.name.Name(name.labels[name.labels.index(LABEL) + 1 :])
        parent = found.soa
        if not inferred and parent is not None and parent != behind and behind.is_subdomain(parent):
            name, inferred = dns.name.Name((*owner.relativize(parent).labels, LABEL, *parent.labels)), True
        elif name.labels[0] != LABEL:
            name = dns.name.Name((LABEL, *behind.labels))
        else:
            return []
    return []


def _endpoints(rrset: dns.rrset.RRset) -> list[Endpoint]:
    records = [cast(Any, record) for record in rrset]
    return sorted(
        Endpoint(str(r.target), int(r.port), str(rrset.name))
        for r in records
        if r.rrtype == dns.rdatatype.CDS and int(r.scheme) == SCHEME_NOTIFY
    )[:ENDPOINTS_MAX]


def notify_message(zone: str) -> dns.message.Message:
    """Return NOTIFY(CDS): QTYPE is CDS even if the parent reads CDNSKEY (RFC 9859 §4)."""
    message = dns.message.make_query(dns.name.from_text(zone), dns.rdatatype.CDS)
    message.set_opcode(dns.opcode.NOTIFY)
    message.flags |= dns.flags.AA
    message.flags &= ~dns.flags.RD
    return message


async def _no_differences() -> str:
    return ""


async def notify_parent(
    zone: str,
    lookup: Lookup,
    timing: Timing = TIMING,
    differences: Callable[[], Awaitable[str]] = _no_differences,
) -> Notified:
    """Find the parent's endpoints and notify them until one acknowledges; faults of peers do not raise.

    differences: returns why the parent would not find the zone's servers alike (RFC 9975); then nothing is sent.
    """
    try:
        endpoints = await find_endpoints(zone, lookup)
    except DsyncUnknown as error:
        return Notified(False, False, str(error))
    if not endpoints:
        return Notified(False, True, "the parent has no DSYNC record for CDS")
    why = await differences()
    if why:
        return Notified(True, False, f"not sent: {why}")
    failures = []
    for endpoint in endpoints:
        peers = await _addresses(endpoint, lookup)
        if not peers:
            failures.append(f"{endpoint.target} has no address")
        for peer in peers:
            outcome = await exchange(peer, notify_message(zone), timing)
            if outcome.answer is not None and outcome.answer.rcode() == dns.rcode.NOERROR:
                return Notified(True, True, f"acknowledged by {peer.name} port {peer.port}")
            failures.append(f"{peer.name} port {peer.port}: {outcome.failure or outcome.rcode}")
    return Notified(True, False, "; ".join(failures))


async def _addresses(endpoint: Endpoint, lookup: Lookup) -> list[Peer]:
    peers: list[Peer] = []
    for rtype in (dns.rdatatype.AAAA, dns.rdatatype.A):
        found = await lookup(dns.name.from_text(endpoint.target), rtype)
        for record in found.rrset or ():
            if record.rdtype == rtype:
                peers.append(Peer(f"{endpoint.target} [{record}]", str(record), endpoint.port))
    return peers[:ADDRESSES_MAX]


def _soa(response: dns.message.Message) -> dns.name.Name | None:
    for rrset in response.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return rrset.name
    return None
