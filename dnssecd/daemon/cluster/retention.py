"""Keep the logs short: the owner of a zone puts a snapshot into a log that grew, and removes what no node needs.

One look at all logs of this node for each round; a zone takes a worker only when its snapshot is due.
"""

import asyncio
import os
from collections.abc import Mapping

import structlog
from prometheus_client import Counter

from dnssecd.cluster import retention
from dnssecd.cluster.errors import ClusterError, DatabaseRefused
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.zones.gates import Work, shut_for
from dnssecd.daemon.zones.job_runner import JobRunner
from dnssecd.daemon.zones.machine import possible
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.pipeline.workers.pool import BULK_OCTETS

ROUND_S = 60.0
#: Snapshots, and logs that are pruned, in a round: the database and the workers have other work.
SNAPSHOTS_MAX, PRUNED_MAX = 4, 200

log = structlog.get_logger("dnssecd.cluster")


class LogRetention:
    """Runs as a task of the daemon."""

    def __init__(
        self, link: ClusterLink, zones: Mapping[str, FrontZone], runner: JobRunner, failures: Counter
    ) -> None:
        """failures: a counter by task."""
        self._link, self._zones, self._runner, self._failures = link, zones, runner, failures
        self._database, self._node = link.database, link.config.node

    async def run(self, round_s: float = ROUND_S) -> None:
        """Look after the logs until cancelled."""
        while True:
            await asyncio.sleep(round_s)
            try:
                await self.look()
            except DatabaseRefused as error:
                self._failures.labels("retention").inc()
                log.warning("the logs of zones cannot be shortened", cause=error.what)
            except ClusterError as error:  # the heartbeat reports it
                log.info("the logs of zones are not shortened now", cause=error.what)

    async def look(self) -> None:
        """Put the snapshots that are due into the logs of this node's zones, and remove records. Raise ClusterError."""
        large = await self._link.run(retention.large_logs, self._database, self._node)
        due = [zone for name, size in large.items() if (zone := self._due(name, size)) is not None]
        for zone in due[:SNAPSHOTS_MAX]:
            await self._keep_snapshot(zone)
        names = await self._link.run(retention.prunable, self._database, self._node, PRUNED_MAX)
        for name in names:
            await self._prune(name)

    async def _prune(self, name: str) -> None:
        """Remove records of one log; those of others are removed as well if that fails. Raise DatabaseAway."""
        try:
            count = await self._link.run(retention.prune, self._database, name)
        except DatabaseRefused as error:
            self._failures.labels("retention").inc()
            log.warning("records of the log cannot be removed", zone=name, cause=error.what)
            return
        if count:
            log.info("records of the log were removed", zone=name, records=count)

    def _due(self, name: str, size: retention.LogSize) -> FrontZone | None:
        zone = self._zones.get(name)
        if zone is None or zone.serial is None or not possible(zone.state, Work.SNAPSHOT):
            return None
        if shut_for(zone, Work.SNAPSHOT) is not None:
            return None
        try:
            octets = os.stat(zone.spec.database).st_size
        except OSError:  # reported by the part that uses the database
            return None
        return zone if size.wants_snapshot(octets) else None

    async def _keep_snapshot(self, zone: FrontZone) -> None:
        try:
            outcome = await self._runner.run(zone, self._runner.job(zone, "snapshot"), BULK_OCTETS)
        except ZoneGone:
            return
        if outcome.problems:
            log.warning("no snapshot of the zone in its log", zone=zone.name, cause=outcome.problems[0].cause)
        else:
            log.info("snapshot of the zone put into its log", zone=zone.name, serial=zone.serial)
