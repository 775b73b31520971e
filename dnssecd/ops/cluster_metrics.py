"""Metrics of a node of a cluster; on a single host they stay empty."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ClusterMetrics:
    """Metrics of ``[cluster]``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.database_up = Gauge(
            "dnssecd_cluster_database_up",
            "1 while this node's last heartbeat reached the database of the cluster; 0 also on a single host",
            registry=registry,
        )
        self.cluster_zones = Gauge(
            "dnssecd_cluster_zones",
            "Zones by what this node does: owned (it makes the versions), followed, refused (a record does not verify)",
            ("role",),
            registry=registry,
        )
        self.alone = Gauge(
            "dnssecd_cluster_zones_without_successor",
            "Zones of this node that no other node can take over now",
            registry=registry,
        )
        self.clock_offset = Gauge(
            "dnssecd_cluster_clock_offset_seconds",
            "By how much the clock of the database is ahead of this node's",
            registry=registry,
        )
        self.takeovers = Counter(
            "dnssecd_cluster_takeovers_total", "Zones that this node took over", registry=registry
        )
        self.given_up = Counter(
            "dnssecd_cluster_zones_given_up_total",
            "Zones that this node could not sign any more, and gave to a node that can",
            registry=registry,
        )
        self.failures = Counter(
            "dnssecd_cluster_failures_total",
            "Unexpected failures of this node's work for the cluster, by task; each begins again",
            ("task",),
            registry=registry,
        )
        self.log_troubles = Counter(
            "dnssecd_cluster_log_troubles_total",
            "Versions that the log did not take, by kind: fenced (another node owns the zone), in-doubt (the answer "
            "was lost), behind (in the log, but not in the local database)",
            ("kind",),
            registry=registry,
        )
        self.keys_refused = Counter(
            "dnssecd_cluster_keys_refused_total",
            "Keys of zones that could not be given to another node, taken from it or removed; each is tried again",
            registry=registry,
        )
