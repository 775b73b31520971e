"""What a node reports of its cluster: nodes that are away, and what it does for each zone."""

from collections.abc import Iterable, Mapping

from dnssecd.cluster.membership import NodeState
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore

ALONE = "cluster-node-away"


def report_away(
    events: EventCore, configured: Iterable[str], nodes: Mapping[str, NodeState], lease_s: float
) -> None:
    """Report nodes of the configuration that cannot take zones over. lease_s: ``take_over_after``."""
    for name in configured:
        state = nodes.get(name)
        if state is None:
            events.raise_event(ALONE, None, f"node {name} never joined the cluster", subject=name)
        elif state.alive_s <= 0:
            why = f"node {name} has not been seen for {lease_s - state.alive_s:.0f} s"
            events.raise_event(ALONE, None, why, subject=name)
        else:
            events.resolve(ALONE, None, name)


def measure(metrics: ClusterMetrics, zones: Iterable[FrontZone]) -> None:
    """Count zones by what this node does."""
    counts = dict.fromkeys(("owned", "followed", "refused"), 0)
    for zone in zones:
        if zone.cluster is not None:
            role = "refused" if zone.cluster.refused else "owned" if zone.cluster.owned else "followed"
            counts[role] += 1
    for role, count in counts.items():
        metrics.cluster_zones.labels(role).set(count)
