"""Evidence from secondaries: which serial each one serves, as seen, and what that says about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype

from dnssecd.core.dns.serial import is_after
from dnssecd.publish.exchange import Outcome, Peer, Timing, exchange, question


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at one server: the serial it serves (None: it serves none, or cannot be asked; ``detail`` says why).

    ``at``: epoch seconds. ``reachable``: it answered something. ``tsig_time``: its clock, where TSIG vouches for it.
    ``signatures``: RDATA of the RRSIGs over its SOA, which tell versions of one serial apart; None: not looked at.
    ``tsig_error``: it answered, and rejects our TSIG so (BADKEY, BADSIG, BADTIME …).
    """

    zone: str
    server: str
    serial: int | None
    at: float
    reachable: bool
    detail: str = ""
    tsig_time: int | None = None
    signatures: frozenset[bytes] | None = None
    tsig_error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A sighting beside what is published and what was seen before.

    ``state``: ``current``, ``behind``, ``ahead`` (it serves a serial we never published: it will take nothing from
    us), ``absent`` (answers, but does not serve the zone) or ``unreachable``. ``backwards``: its serial went
    back since the last look. ``lag_s``: how long it has been behind, 0 when current.
    """

    sighting: Sighting
    state: str
    backwards: bool
    lag_s: float


class WatchHooks:
    """What watching reports; override what is wanted. Called on the event loop."""

    def seen(self, judgement: Judgement) -> None:
        """A server was looked at."""


async def sight(zone: str, peer: Peer, now: Callable[[], float], timing: Timing | None = None) -> Sighting:
    """Ask one server for the SOA of ``zone`` (absolute name) and return what was seen; never raises for a peer."""
    name = dns.name.from_text(zone)
    outcome = await exchange(peer, question(name, dns.rdatatype.SOA, dnssec=True), timing)
    serial = _serial(outcome, name)
    detail = ""
    if serial is None:
        detail = outcome.failure or (f"{outcome.rcode}, no authoritative SOA")
    reachable = outcome.answer is not None or bool(outcome.tsig_error)
    signatures = None if serial is None else _signatures(outcome, name)
    return Sighting(
        zone, peer.name, serial, now(), reachable, detail, outcome.tsig_time, signatures, outcome.tsig_error
    )


def _serial(outcome: Outcome, name: dns.name.Name) -> int | None:
    rrset = outcome.rrset(name, dns.rdatatype.SOA)
    if rrset is None or not outcome.authoritative:
        return None
    return int(cast(Any, rrset[0]).serial)


def _signatures(outcome: Outcome, name: dns.name.Name) -> frozenset[bytes]:
    assert outcome.answer is not None
    found = outcome.answer.get_rrset(
        outcome.answer.answer, name, dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.SOA
    )
    return frozenset(record.to_digestable() for record in found or ())


async def sight_all(
    zone: str, peers: Iterable[Peer], now: Callable[[], float], timing: Timing | None = None
) -> list[Sighting]:
    """Ask all servers of a zone at once."""
    return list(await asyncio.gather(*(sight(zone, peer, now, timing) for peer in peers)))


@dataclass(slots=True)
class _Seen:
    """What is remembered of one server of a zone; ``highest``: the serial it served when it last served one."""

    last: Sighting
    highest: int | None = None
    behind_since: float | None = None


class Ledger:
    """Remembers per zone and server what was last seen, and judges each new sighting by it."""

    def __init__(self, hooks: WatchHooks | None = None) -> None:
        self._hooks = hooks or WatchHooks()
        #: By zone, then by server: with 10,000 zones nothing here may look at all of them.
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._published: dict[str, tuple[int, float]] = {}

    def published(self, zone: str, serial: int, at: float) -> None:
        """Note that ``serial`` is what servers of ``zone`` should come to serve."""
        if self._published.get(zone, (None,))[0] != serial:
            self._published[zone] = (serial, at)

    def forget(self, zone: str, keep: Sequence[str] = ()) -> None:
        """Forget the servers of a zone other than ``keep``; the zone itself when none is kept."""
        kept = {name: seen for name, seen in self._seen.pop(zone, {}).items() if name in keep}
        if kept:
            self._seen[zone] = kept
        if not keep:
            self._published.pop(zone, None)

    def last(self, zone: str) -> list[Sighting]:
        """Return the latest sighting of each server of a zone, by server name."""
        return [seen.last for _, seen in sorted(self._seen.get(zone, {}).items())]

    def record(self, sighting: Sighting) -> Judgement:
        """Take in a sighting, report it, and return what it means."""
        servers = self._seen.setdefault(sighting.zone, {})
        seen = servers.setdefault(sighting.server, _Seen(sighting))
        before, serial = seen.highest, sighting.serial
        backwards = serial is not None and before is not None and is_after(before, serial)
        if serial is not None:
            seen.highest = serial
        seen.last = sighting
        state = self._state(sighting)
        judgement = Judgement(sighting, state, backwards, self._lag(seen, state))
        self._hooks.seen(judgement)
        return judgement

    def _state(self, sighting: Sighting) -> str:
        if sighting.serial is None:
            return "absent" if sighting.reachable else "unreachable"
        published = self._published.get(sighting.zone)
        if published is None or published[0] == sighting.serial:
            return "current"
        return "ahead" if is_after(sighting.serial, published[0]) else "behind"

    def _lag(self, seen: _Seen, state: str) -> float:
        at = seen.last.at
        if state == "current":
            seen.behind_since = None
            return 0.0
        if seen.behind_since is None:
            published = self._published.get(seen.last.zone)
            seen.behind_since = at if published is None else published[1]
        return max(0.0, at - seen.behind_since)
