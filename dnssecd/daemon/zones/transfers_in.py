"""Transfers in: fetch a zone from its primaries, one after another, until a worker accepts a primary's zone.

The fetcher receives the transfer into a file; a zone worker parses, signs and commits it. Only small messages
pass through this process.
"""

from contextlib import suppress
from itertools import count
from pathlib import Path

import structlog

from dnssecd.daemon.zones.transfer_round import TransferRound
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.fetch.link import FetchLink
from dnssecd.pipeline.fetch.plan import Fetched, FetchKey, FetchLimits, FetchPeer, FetchPlan
from dnssecd.pipeline.jobs.input import TransferJob
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.publish.exchange import Peer

#: The limit of octets of one transfer, if none is configured: an absolute one, a minimum for every zone, and
#: a multiple of the held zone's database.
TRANSFER_MAX = 4 << 30
TRANSFER_SMALL_MAX = 64 << 20
GROWTH_MAX = 4

log = structlog.get_logger("dnssecd.primaries")


class TransfersIn:
    """Fetches zones. Files that transfers of an earlier process left in ``state_dir`` are removed (OSError)."""

    def __init__(self, jobs: ZoneJobs, metrics: Metrics, state_dir: Path) -> None:
        self._jobs, self._metrics = jobs, metrics
        self._directory = state_dir / "transfers"
        self._link = FetchLink()
        self._files = count()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for left in self._directory.iterdir():
            left.unlink()

    async def fetch(
        self,
        zone: FrontZone,
        turn: TransferRound,
        peers: list[Peer],
        *,
        replace: bool,
        floor: int | None,
    ) -> Outcome:
        """Fetch from one primary after another; return the outcome of the round; raise ZoneGone.

        replace: fetch the whole zone, with any serial and any changes.
        """
        path = self._directory / f"{next(self._files)}"
        outcome = None
        try:
            while outcome is None:
                outcome = await self._attempt(zone, turn, peers, replace, floor, path)
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return outcome

    async def close(self) -> None:
        """End the fetcher."""
        await self._link.close()

    async def _attempt(
        self,
        zone: FrontZone,
        turn: TransferRound,
        peers: list[Peer],
        replace: bool,
        floor: int | None,
        path: Path,
    ) -> Outcome | None:
        """Fetch once, and apply the transfer; return the outcome of the round, None while it continues."""
        plan = self._plan(zone, [peer for peer in peers if peer.name in turn.names], turn.base, path, replace)
        fetched = await self._link.fetch(plan)
        zone.check()
        self._count(zone, fetched)
        if fetched.result == "failed":
            return turn.failed(_failed(zone, "; ".join(str(attempt) for attempt in fetched.attempts)))
        if fetched.result == "current":
            turn.no_differences()  # it answered differently a moment ago
            return None
        asked = turn.base if fetched.result == "ixfr" else None
        job = TransferJob(
            path=str(path), primary=fetched.primary, base=asked, replace=replace, serial_floor=floor
        )
        outcome = await self._jobs.take(zone, "transfer", fetched.octets, transfer=job)
        ended = turn.took(fetched.primary, asked, outcome)
        if ended is None:
            kind = "differences cannot be used" if asked is not None else "zone of a primary rejected"
            log.warning(kind, zone=zone.name, primary=fetched.primary, cause=outcome.problems[0].cause)
        return ended

    def _plan(
        self, zone: FrontZone, peers: list[Peer], base: int | None, path: Path, replace: bool
    ) -> FetchPlan:
        primaries = tuple(map(fetch_peer, peers))
        limits = FetchLimits(octets=_transfer_octets_max(zone, trusted=replace))
        return FetchPlan(origin=zone.origin, primaries=primaries, path=str(path), base=base, limits=limits)

    def _count(self, zone: FrontZone, fetched: Fetched) -> None:
        metric = self._metrics.server.transfers_in
        for attempt in fetched.attempts:
            metric.labels("failed").inc()
            log.warning("transfer in failed", zone=zone.name, primary=attempt.primary, cause=str(attempt))
        if fetched.result in ("failed", "current"):
            return
        kind = "axfr" if fetched.whole else "ixfr"
        metric.labels(kind).inc()
        log.info(
            "transfer in",
            zone=zone.name,
            primary=fetched.primary,
            kind=kind,
            messages=fetched.messages,
            octets=fetched.octets,
            transport="tls" if fetched.tls else "tcp",
            tsig=fetched.key or None,
            **({"tls_session": "reused" if fetched.reused else "new"} if fetched.tls else {}),
        )


def fetch_peer(peer: Peer) -> FetchPeer:
    """Return a primary for the fetcher."""
    if peer.key is None:
        return FetchPeer(peer.name, peer.host, peer.port, source=peer.source, tls=peer.tls)
    others = tuple(FetchKey(key.name, key.algorithm, key.secret) for key in peer.others)
    key = peer.key.name, peer.key.algorithm, peer.key.secret
    return FetchPeer(peer.name, peer.host, peer.port, *key, peer.source, others, peer.tls)


def _transfer_octets_max(zone: FrontZone, *, trusted: bool) -> int:
    """Return the largest allowed transfer: as configured, else a multiple of the held zone.

    trusted: an operator accepts any change of the zone, so the held zone does not limit it.
    """
    if zone.config.max_transfer_mib is not None:
        return zone.config.max_transfer_mib << 20
    if zone.serial is None or trusted:
        return TRANSFER_MAX
    try:
        held = Path(zone.spec.database).stat().st_size
    except OSError:
        return TRANSFER_MAX
    # The database holds the signatures and an index too: it is larger than the zone as a primary sends it.
    return min(max(TRANSFER_SMALL_MAX, GROWTH_MAX * held), TRANSFER_MAX)


def _failed(zone: FrontZone, cause: str) -> Outcome:
    problem = Problem(
        "input-error",
        f"the zone could not be transferred: {cause}",
        "check that the named primaries have the zone, and allow this host to transfer it",
    )
    return Outcome(zone=zone.name, result="failed", problems=(problem,))
