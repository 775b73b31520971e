"""Check the database of a cluster before, and while, nodes use it: login, tables, standby, clock, nodes."""

from __future__ import annotations

from typing import NamedTuple

from dnssecd.clock import Clock
from dnssecd.cluster.database import Database, check_synchronous, shown
from dnssecd.cluster.errors import ClusterError
from dnssecd.cluster.membership import list_nodes
from dnssecd.cluster.schema import check_schema
from dnssecd.config.model import ClusterConfig


class Finding(NamedTuple):
    """One thing that was checked. remedy: "" if it is good."""

    what: str
    good: bool
    detail: str
    remedy: str = ""


def check_cluster(database: Database, cluster: ClusterConfig, tolerance: int, clock: Clock) -> list[Finding]:
    """Return all findings; tolerance: [server] clock_tolerance (s). The first failure of the connection ends it."""
    findings: list[Finding] = []
    try:
        with database.own_session() as session:
            row = session.execute("SHOW server_version").fetchone()
            findings.append(Finding("database", True, f"{shown(database.place)}, version {row and row[0]}"))
            begun = clock.now()
            row = session.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            assert row is not None
            findings.append(_clock(row[0] - (begun + clock.now()) / 2, tolerance))
            findings.append(_standby(check_synchronous(session), required=cluster.require_synchronous))
            state = check_schema(session)
            findings.append(Finding("tables", True, f"version {state.version}"))
        findings.append(_nodes(database, cluster))
    except ClusterError as error:
        what = "tables" if findings else "database"
        findings.append(Finding(what, False, error.what, error.remedy))
    return findings


def _clock(offset: float, tolerance: int) -> Finding:
    if abs(offset) <= tolerance:
        return Finding("clock", True, f"it differs from the database's by {offset:+.2f} s")
    return Finding(
        "clock",
        False,
        f"it differs from the database's by {offset:+.0f} s (clock_tolerance: {tolerance} s)",
        "set the clock that is wrong; until then this node may not own zones",
    )


def _standby(why_not: str, *, required: bool) -> Finding:
    if not why_not:
        return Finding("standby", True, "commits wait for a synchronous standby")
    if required:
        return Finding("standby", False, why_not, "set one up, or write require_synchronous = false")
    return Finding("standby", True, f"{why_not}; require_synchronous = false")


def _nodes(database: Database, cluster: ClusterConfig) -> Finding:
    alive = {state.name for state in list_nodes(database) if state.alive_s > 0}
    away = [name for name in cluster.nodes if name not in alive]
    if away:
        return Finding("nodes", False, f"not running: {', '.join(away)}", "start dnssecd there")
    return Finding("nodes", True, f"running: {', '.join(cluster.nodes)}")
