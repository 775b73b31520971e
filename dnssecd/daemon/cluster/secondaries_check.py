"""Prove that the secondaries of a zone can use every node: as a primary to transfer from, and as a sender of NOTIFY.

NOTIFY goes out from the node that is asked: run the check on each node. A secondary refuses NOTIFY from an address that
is no primary of the zone. What a secondary transfers is asked of each node with the secondary's own key.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from dnssecd.config.model import Address, ClusterNode
from dnssecd.control.messages.cluster import NodeCheck, SecondaryCheck, SecondaryChecks
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.apex import soa_rdata
from dnssecd.publish.exchange import Peer, exchange
from dnssecd.publish.notify import Goal, NotifyResult
from dnssecd.publish.source import BY_ROUTE
from dnssecd.publish.watch import sight
from dnssecd.replacing import replace


async def check_secondaries(
    zone: FrontZone, nodes: Mapping[str, ClusterNode], now: Callable[[], float]
) -> SecondaryChecks:
    """Look at all secondaries of a zone, and at all nodes as they do. Raise StoreError, OSError."""
    goal = await asyncio.to_thread(_goal, zone)
    checks = await asyncio.gather(*(_secondary(zone, peer, goal, now) for peer in zone.secondaries))
    asked = [
        _node(zone, name, address, key_of, goal)
        for name, node in nodes.items()
        for address in node.address
        for key_of in _by_key(zone.secondaries)
    ]
    found = await asyncio.gather(*asked)
    good = not any([check.problem for check in checks] + [check.problem for check in found])
    serial = None if goal is None else goal.serial
    return SecondaryChecks(
        zone=zone.name, serial=serial, ok=good, secondaries=list(checks), nodes=list(found)
    )


def _goal(zone: FrontZone) -> Goal | None:
    with zone.database.snapshot() as snapshot:
        soa = snapshot.rrset(APEX, SOA)
        return None if soa is None else Goal(snapshot.serial, soa_rdata(soa), soa.ttl)


def _by_key(secondaries: Iterable[Peer]) -> list[Peer]:
    """Return one secondary for each TSIG key, and one of those without."""
    return list({"" if peer.key is None else peer.key.name: peer for peer in secondaries}.values())


async def _secondary(
    zone: FrontZone, peer: Peer, goal: Goal | None, now: Callable[[], float]
) -> SecondaryCheck:
    if goal is None:
        return SecondaryCheck(secondary=peer.name, problem="the zone has no version on this node yet")
    outcome = await NotifySender(now)(zone.name, peer, goal, None)
    seen = await sight(zone.name, peer, now) if peer.query else None
    serial = None if seen is None else seen.serial
    problem = ""
    if outcome.result is NotifyResult.REFUSED:
        problem = f"it refuses NOTIFY from this node ({outcome.detail}): this node is not one of its primaries there"
    elif outcome.result is not NotifyResult.ANSWERED:
        problem = f"NOTIFY from this node: {outcome.detail}"
    elif seen is not None and serial is None:
        problem = f"it does not serve the zone: {seen.detail}"
    elif serial is not None and serial != goal.serial:
        problem = f"it serves serial {serial}, not {goal.serial}"
    return SecondaryCheck(secondary=peer.name, notify=outcome.result.value, serial=serial, problem=problem)


async def _node(zone: FrontZone, name: str, address: Address, like: Peer, goal: Goal | None) -> NodeCheck:
    """Ask a node for the differences since this version, as a secondary does (RFC 1995 §2); without key for its SOA."""
    key = "" if like.key is None else like.key.name
    node = replace(
        like,
        name=name,
        host=address.host,
        port=address.port,
        source=BY_ROUTE,
        tls=None,
        query=True,
        notify=True,
    )
    serial, problem = await _ask(zone.name, node, goal)
    if serial is not None and goal is not None and serial != goal.serial:
        problem = f"it serves serial {serial}, not {goal.serial}"
    return NodeCheck(node=name, address=str(address), key=key, serial=serial, problem=problem)


async def _ask(zone: str, node: Peer, goal: Goal | None) -> tuple[int | None, str]:
    name = dns.name.from_text(zone)
    transfer = goal is not None and node.key is not None
    query = dns.message.make_query(name, dns.rdatatype.IXFR if transfer else dns.rdatatype.SOA)
    query.flags &= ~dns.flags.RD
    if transfer:
        assert goal is not None
        rdata = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SOA, goal.soa, 0, len(goal.soa))
        query.authority.append(dns.rrset.from_rdata(name, goal.ttl, rdata))
    outcome = await exchange(node, query)
    if outcome.answer is None:
        return None, outcome.failure
    soa = outcome.rrset(name, dns.rdatatype.SOA)
    if soa is None:
        what = "no transfer with the key of the secondary" if transfer else "no SOA"
        return None, f"{outcome.rcode}, {what}"
    return int(cast(Any, soa[0]).serial), ""
