"""The events of a cluster: its database, its nodes, and the logs of its zones."""

from __future__ import annotations

from dnssecd.ops.event_kind import EventKind

CLUSTER_KINDS = (
    EventKind(
        "cluster-database-away",
        "error",
        "the database of the cluster cannot be used",
        "stored versions are served; updates are answered SERVFAIL and nothing is signed (see the runway)",
        "make the database reachable; work then continues automatically",
    ),
    EventKind(
        "cluster-node-unfit",
        "error",
        "this node may not make versions of zones",
        "another node takes its zones over; this node still serves them",
        "repair the cause: the clock, or the disk of the zone databases",
    ),
    EventKind(
        "cluster-node-away",
        "warning",
        "a node of the cluster is not running, or cannot reach the database",
        "fewer nodes can take zones over",
        "start the node, or remove it from the configuration of all nodes",
    ),
    EventKind(
        "cluster-config-differs",
        "warning",
        "two nodes of the cluster have different settings",
        "a node does not take over a zone whose settings differ",
        "make the files of all nodes the same, except `node` and what belongs to the host",
    ),
    EventKind(
        "cluster-not-replicated",
        "warning",
        "the database of the cluster has no synchronous standby",
        "a failover of the database can lose updates that were acknowledged",
        "set up a synchronous standby of the database",
    ),
    EventKind(
        "take-over-impossible",
        "warning",
        "no other node of the cluster can take the zone over",
        "if the node that owns the zone is lost, the zone is served, and nothing is signed for it",
        "repair what prevents each of the other nodes",
    ),
    EventKind(
        "key-not-held",
        "warning",
        "a new key is held by fewer nodes of the cluster than the policy requires (held_by_min)",
        "the key is not used yet: a rollover, or the first publication of the zone, waits",
        "start the other nodes, and repair their key services",
    ),
    EventKind(
        "node-key-refused",
        "warning",
        "a key of another node cannot be published beside the zone's keys",
        'that node cannot take the zone over (sharing = "own")',
        "make the settings of all nodes the same; with a key tag that is taken, the node makes another key by itself",
    ),
    EventKind(
        "log-record-refused",
        "critical",
        "this node refuses a version of another node, because it does not verify",
        "this node serves the last version that it verified, and cannot take the zone over",
        "find out on which node the version was damaged; keep the logs of both nodes",
    ),
)
