"""Evidence from secondaries: the serial that each one was seen to serve, and its judgement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.publish.exchange import Peer, Timing, ask
from dnssecd.publish.soa_look import SOA_NUMBERS, ApexQuestion
from dnssecd.replacing import replace
from dnssecd.tls import TlsFault


class Sighting(Struct, frozen=True, gc=False):
    """One look at one server: the serial that it serves; None: it serves none or does not answer (see ``detail``).

    ``at``: epoch seconds. ``reachable``: it sent an answer. ``tsig_time``: its clock, from a verified TSIG.
    ``signatures``: RDATA of the RRSIGs over its SOA, which distinguish versions with one serial; None: not
    queried. ``tsig_error``: the error (BADKEY, BADSIG, BADTIME …) with which it rejects our TSIG.
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
    #: Why TLS failed; ``over_tls``: the look used TLS.
    tls_fault: TlsFault | None = None
    over_tls: bool = False
    #: The name of the TSIG key of the answer.
    key: str = ""


class Judgement(Struct, frozen=True):
    """A sighting compared with the published version and with earlier sightings.

    ``state``: ``current``, ``behind``, ``ahead`` (it serves a serial that dnssecd never published, and will
    not transfer from dnssecd), ``absent`` (answers, but does not serve the zone) or ``unreachable``.
    ``backwards``: its serial decreased since the last look. ``lag_s``: how long it has been behind, 0 when
    current.
    """

    sighting: Sighting
    state: str
    backwards: bool
    lag_s: float


class WatchHooks:
    """Reports of the watch; override the methods you need. They are called on the event loop."""

    def seen(self, judgement: Judgement) -> None:
        """Report a look at a server."""


async def sight(zone: str, peer: Peer, now: Callable[[], float], timing: Timing | None = None) -> Sighting:
    """Ask one server for the SOA of ``zone`` (absolute name); faults of the peer do not raise."""
    reply = await ask(peer, ApexQuestion(zone, SOA, now, dnssec=True), timing)
    answer, serial, signatures = reply.answer, None, None
    if answer is not None and answer.rdatas and answer.authoritative:
        serial = int.from_bytes(answer.rdatas[-1][-SOA_NUMBERS:][:4])
        signatures = answer.signatures
    detail = ""
    if serial is None:
        detail = reply.failure or (f"{'' if answer is None else answer.rcode}, no authoritative SOA")
    return Sighting(
        zone,
        peer.name,
        serial,
        now(),
        answer is not None or bool(reply.tsig_error),
        detail,
        None if answer is None else answer.tsig_time,
        signatures,
        reply.tsig_error,
        reply.tls_fault,
        peer.tls is not None,
        reply.key,
    )


@dataclass(slots=True)
class _Seen:
    """The state of one server of a zone; ``highest``: the serial it served when it last served one."""

    last: Sighting
    highest: int | None = None
    behind_since: float | None = None


class Ledger:
    """Remembers of one zone what each of its servers was last seen to serve, and judges each new sighting by it.

    It does not keep the signatures.
    """

    __slots__ = ("_hooks", "_published", "_seen")

    def __init__(self, hooks: WatchHooks | None = None) -> None:
        self._hooks = hooks or WatchHooks()
        #: By server.
        self._seen: dict[str, _Seen] = {}
        self._published: tuple[int, float] | None = None

    def published(self, serial: int, at: float) -> None:
        """Note that ``serial`` is what the servers should come to serve."""
        if self._published is None or self._published[0] != serial:
            self._published = (serial, at)

    def forget(self) -> None:
        """Forget what was seen and published."""
        self._seen.clear()
        self._published = None

    def last(self) -> list[Sighting]:
        """Return the latest sighting of each server, by server name."""
        return [seen.last for _, seen in sorted(self._seen.items())]

    def record(self, sighting: Sighting) -> Judgement:
        """Take in a sighting, report it, and return what it means."""
        seen = self._seen.get(sighting.server)
        if seen is None:
            seen = self._seen[sighting.server] = _Seen(sighting)
        before, serial = seen.highest, sighting.serial
        backwards = serial is not None and before is not None and is_after(before, serial)
        if serial is not None:
            seen.highest = serial
        # What only evidence needs takes as much as all else.
        seen.last = sighting if sighting.signatures is None else replace(sighting, signatures=None)
        state = self._state(sighting)
        judgement = Judgement(sighting, state, backwards, self._lag(seen, state))
        self._hooks.seen(judgement)
        return judgement

    def _state(self, sighting: Sighting) -> str:
        if sighting.serial is None:
            return "absent" if sighting.reachable else "unreachable"
        published = self._published
        if published is None or published[0] == sighting.serial:
            return "current"
        return "ahead" if is_after(sighting.serial, published[0]) else "behind"

    def _lag(self, seen: _Seen, state: str) -> float:
        at = seen.last.at
        if state == "current":
            seen.behind_since = None
            return 0.0
        if seen.behind_since is None:
            seen.behind_since = at if self._published is None else self._published[1]
        return max(0.0, at - seen.behind_since)
