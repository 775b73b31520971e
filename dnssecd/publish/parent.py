"""The parent's servers: found or configured, and what DS each one serves (RFC 4035 §3.1.4.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from msgspec import Struct

from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question
from dnssecd.replacing import replace

DNS_PORT = 53


class DsRecord(Struct, frozen=True, order=True):
    """One DS record."""

    key_tag: int
    algorithm: int
    digest_type: int
    digest: bytes


class ParentAnswer(Struct, frozen=True):
    """The answer of one parent server. ``ds`` is None if there is no usable answer; ``failure`` says why.

    An empty ``ds`` is an authoritative "there is none". ``ttl`` is that of the DS RRset; ``at`` is epoch seconds.
    """

    server: str
    ds: tuple[DsRecord, ...] | None
    ttl: int
    at: float
    failure: str = ""
    ns: tuple[str, ...] | None = (
        None  # names of the delegation's NS RRset; None: not asked, or no usable answer
    )
    ns_ttl: int = 0


class ParentUnknown(Exception):
    """The parent's servers could not be found; the text names the step and the reason."""


def resolver(servers: Sequence[tuple[str, int]] = ()) -> dns.asyncresolver.Resolver:
    """Return a resolver that uses ``servers`` (IP address, port), or the system's when there are none.

    Raises ParentUnknown when the system has none configured.
    """
    try:
        made = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise ParentUnknown(f"no resolver: {error}") from error
    if servers:
        made.nameservers = [host for host, _ in servers]
        made.nameserver_ports = dict(servers)
    made.timeout, made.lifetime = 3.0, 8.0
    return made


async def find_parent_servers(
    zone: str, asking: dns.asyncresolver.Resolver, port: int = DNS_PORT, timeout_s: float = 30.0
) -> list[Peer]:
    """Return every address of every server of the zone's parent; raises ParentUnknown.

    A server whose addresses cannot be found is left out if another server has one.
    """
    name = dns.name.from_text(zone)
    if name == dns.name.root:
        raise ParentUnknown("the root has no parent")
    try:
        async with asyncio.timeout(timeout_s):
            parent = await dns.asyncresolver.zone_for_name(name.parent(), resolver=asking)
            servers = await asking.resolve(parent, "NS", search=False)
            targets = [cast(Any, record).target for record in servers]
            found = await asyncio.gather(*(_addresses(target, asking, port) for target in targets))
    except (dns.exception.DNSException, OSError, TimeoutError) as error:
        raise ParentUnknown(f"looking for the servers of the parent of {zone}: {_reason(error)}") from error
    peers = [peer for some in found for peer in some]
    if not peers:
        raise ParentUnknown(f"no server of the parent {parent} has an address")
    return peers


async def _addresses(target: dns.name.Name, asking: dns.asyncresolver.Resolver, port: int) -> list[Peer]:
    peers = []
    for rtype in ("A", "AAAA"):
        try:
            answer = await asking.resolve(target, rtype, search=False)
        except (dns.exception.DNSException, OSError):
            continue
        peers += [Peer(f"{target} [{record}]", str(record), port) for record in answer]
    return peers


async def ask_ds(
    zone: str, server: Peer, now: Callable[[], float], timing: Timing | None = None, *, tcp: bool = False
) -> ParentAnswer:
    """Ask one server for the DS of ``zone``; faults of the peer do not raise."""
    name = dns.name.from_text(zone)
    outcome = await exchange(server, question(name, dns.rdatatype.DS, dnssec=True), timing, tcp=tcp)
    failure = _failure(outcome)
    if failure:
        return ParentAnswer(server.name, None, 0, now(), failure)
    rrset = outcome.rrset(name, dns.rdatatype.DS)
    if rrset is None:
        return ParentAnswer(server.name, (), 0, now())
    records = [cast(Any, record) for record in rrset]
    ds = sorted(DsRecord(r.key_tag, int(r.algorithm), int(r.digest_type), bytes(r.digest)) for r in records)
    return ParentAnswer(server.name, tuple(ds), int(rrset.ttl), now())


async def ask_all_ds(
    zone: str, servers: Sequence[Peer], now: Callable[[], float], timing: Timing | None = None
) -> list[ParentAnswer]:
    """Ask all servers at once."""
    return list(await asyncio.gather(*(ask_ds(zone, server, now, timing) for server in servers)))


async def ask_delegation(
    zone: str, server: Peer, now: Callable[[], float], timing: Timing | None = None
) -> ParentAnswer:
    """Ask one server for DS and NS of ``zone``, over TCP; faults of the peer do not raise."""
    answer = await ask_ds(zone, server, now, timing, tcp=True)
    name = dns.name.from_text(zone)
    outcome = await exchange(server, question(name, dns.rdatatype.NS), timing, tcp=True)
    message = outcome.answer
    if message is None or message.rcode() != dns.rcode.NOERROR:
        return answer
    for section in (message.authority, message.answer):
        for rrset in section:
            if rrset.name == name and rrset.rdtype == dns.rdatatype.NS:
                names = sorted({cast(Any, record).target.to_text().lower() for record in rrset})
                return replace(answer, ns=tuple(names), ns_ttl=int(rrset.ttl))
    return answer


def _failure(outcome: Outcome) -> str:
    """Return why an answer about DS cannot be used, or an empty text."""
    answer = outcome.answer
    if answer is None:
        return outcome.failure
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return outcome.rcode
    if not outcome.authoritative:
        return "not authoritative for the parent zone"
    return ""


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
