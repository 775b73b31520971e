"""Push the DS RRset of a delegation to a server of the parent by dynamic update (RFC 2136), signed with TSIG.

One UPDATE replaces the whole DS RRset, on condition that the delegation exists. The push is complete when a
query to the same server returns exactly that set. If the server has the set already, the push changes nothing
and succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update
from msgspec import Struct

from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question

VERIFY_S = (0.0, 0.2, 1.0, 3.0)
LABELS_MAX = 32

_WHY = {
    dns.rcode.NXRRSET: "there is no delegation (NS) for the zone; the DS was not added",
    dns.rcode.NXDOMAIN: "there is no delegation (NS) for the zone; the DS was not added",
    dns.rcode.NOTAUTH: "it is not the primary of the parent zone, or does not know our TSIG key",
    dns.rcode.REFUSED: "it does not allow this update: is our TSIG key allowed to change the DS?",
    dns.rcode.NOTIMP: "it does not support dynamic updates",
}


class Pushed(Struct, frozen=True):
    """The result of a push. ``ok``: the server has the set; ``changed``: it did not before; ``detail``: its answer."""

    ok: bool
    changed: bool
    detail: str


async def push_ds(
    zone: str,
    wanted: Sequence[bytes],
    server: Peer,
    ttl: int,
    *,
    may_be_empty: bool = False,
    timing: Timing | None = None,
) -> Pushed:
    """Make ``wanted`` (DS RDATA) the DS RRset of ``zone`` at ``server``, the primary of its parent.

    ttl: of a new RRset, in seconds; an existing RRset keeps its TTL. An empty set, which makes the zone
    insecure, is pushed only if it ``may_be_empty``. Faults of the server do not raise.
    """
    if not wanted and not may_be_empty:
        return Pushed(False, False, "an empty DS set was not explicitly requested; nothing was pushed")
    name = dns.name.from_text(zone)
    parent, failure = await _parent(name, server, timing)
    if parent is None:
        return Pushed(False, False, failure)
    goal = frozenset(wanted)
    before, failure = await _served(name, server, timing)
    if failure:
        return Pushed(False, False, failure)
    if _set_of(before) == goal:
        return Pushed(True, False, f"{server.name} has the set already")
    update = _update(name, parent, wanted, ttl if before is None else before.ttl)
    outcome = await exchange(server, update, timing)
    if outcome.answer is None or outcome.answer.rcode() != dns.rcode.NOERROR:
        return Pushed(False, False, f"{server.name}: {_why(outcome)}")
    return await _verify(name, server, goal, timing)


def _update(
    name: dns.name.Name, parent: dns.name.Name, wanted: Sequence[bytes], ttl: int
) -> dns.update.UpdateMessage:
    """Return one UPDATE: if there is an NS RRset, it replaces the DS RRset; otherwise it changes nothing."""
    update = dns.update.UpdateMessage(parent)
    update.present(name, "NS")
    update.delete(name, "DS")
    for rdata in wanted:
        update.add(name, ttl, _rdata(rdata))
    return update


def _rdata(wire: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DS, wire, 0, len(wire))


async def _verify(name: dns.name.Name, server: Peer, goal: frozenset[bytes], timing: Timing | None) -> Pushed:
    seen: dns.rrset.RRset | None = None
    failure = ""
    for pause_s in VERIFY_S:
        await asyncio.sleep(pause_s)
        seen, failure = await _served(name, server, timing)
        if not failure and _set_of(seen) == goal:
            return Pushed(True, True, f"{server.name} accepted the update and serves the set")
    what = failure or f"it serves {_tags(seen)}"
    return Pushed(False, True, f"{server.name} accepted the update, but then: {what}")


async def _parent(
    name: dns.name.Name, server: Peer, timing: Timing | None
) -> tuple[dns.name.Name | None, str]:
    """Return the apex, from its SOA, of the zone at ``server`` that has the delegation; or why it is unknown."""
    failure = "the root has no parent"
    above = name
    for _ in range(LABELS_MAX):
        if above == dns.name.root:
            break
        above = above.parent()
        outcome = await exchange(server, question(above, dns.rdatatype.SOA), timing)
        if outcome.answer is None:
            return None, f"{server.name}: {outcome.failure}"
        apex = _soa_owner(outcome, above)
        if apex is not None:
            return apex, ""
        failure = f"{server.name} is not authoritative for a parent of {name} ({outcome.rcode})"
    return None, failure


def _soa_owner(outcome: Outcome, above: dns.name.Name) -> dns.name.Name | None:
    if outcome.answer is None or not outcome.authoritative:
        return None
    for rrset in (*outcome.answer.answer, *outcome.answer.authority):
        if rrset.rdtype == dns.rdatatype.SOA and above.is_subdomain(rrset.name):
            return rrset.name
    return None


async def _served(
    name: dns.name.Name, server: Peer, timing: Timing | None
) -> tuple[dns.rrset.RRset | None, str]:
    outcome = await exchange(server, question(name, dns.rdatatype.DS, dnssec=True), timing)
    answer = outcome.answer
    if answer is None:
        return None, f"{server.name}: {outcome.failure}"
    if not outcome.authoritative or answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None, f"{server.name}: {outcome.rcode}, not authoritative for the DS of {name}"
    return outcome.rrset(name, dns.rdatatype.DS), ""


def _set_of(rrset: dns.rrset.RRset | None) -> frozenset[bytes]:
    return frozenset(cast(Any, record).to_digestable() for record in rrset or ())


def _tags(rrset: dns.rrset.RRset | None) -> str:
    tags = sorted(cast(Any, record).key_tag for record in rrset or ())
    return "DS " + ", ".join(map(str, tags)) if tags else "no DS"


def _why(outcome: Outcome) -> str:
    if outcome.answer is None:
        return outcome.failure
    return f"{outcome.rcode}: " + _WHY.get(outcome.answer.rcode(), "the update failed")
