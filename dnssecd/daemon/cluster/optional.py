"""The parts of a cluster if there is ``[cluster]``: without it, nothing of them is loaded."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.core.dns.tsig import TsigKey
from dnssecd.daemon.key_service import SignerLink
from dnssecd.daemon.zones.job_runner import JobRunner
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore
from dnssecd.server.interfaces import Handler
from dnssecd.store.version_log import NodeLog
from dnssecd.store.zone_log import ZoneLog

if TYPE_CHECKING:
    from dnssecd.daemon.cluster.admin import ClusterAdmin
    from dnssecd.daemon.cluster.key_shares import KeyShares
    from dnssecd.daemon.cluster.link import ClusterLink
    from dnssecd.daemon.cluster.node import ClusterNode
    from dnssecd.daemon.cluster.node_keys import NodeKeys


def link_of(config: Config) -> "ClusterLink | None":
    """Return the link to the cluster; None on a single host."""
    if config.cluster is None:
        return None
    from dnssecd.daemon.cluster.link import ClusterLink

    return ClusterLink(config.cluster, config.server.state_dir)


def admin_of(node: "ClusterNode | None", zones: Mapping[str, FrontZone]) -> "ClusterAdmin | None":
    """Return what operators see and change of the cluster; None on a single host."""
    if node is None:
        return None
    from dnssecd.daemon.cluster.admin import ClusterAdmin

    return ClusterAdmin(node, zones)


def log_of(zone: FrontZone) -> ZoneLog[NodeLog] | None:
    """Return the log of a zone; None on a single host."""
    return None if zone.cluster is None else zone.cluster.log


def lease_runs(link: "ClusterLink | None", clock: Clock) -> Callable[[], bool]:
    """Return what tells whether this node surely has its lease; a single host needs none."""
    if link is None:
        return lambda: True
    return lambda: link.lease_runs(clock.monotonic())


def forwarder(
    link: "ClusterLink | None",
    keys: Callable[[], Mapping[bytes, TsigKey]],
    clock: Clock,
    forwarded: Counter,
) -> Callable[[Handler], Handler]:
    """Return how a handler of requests becomes one that forwards those for zones of other nodes."""
    if link is None:
        return lambda handler: handler
    from dnssecd.daemon.cluster.forward import Forward

    return Forward(link.config, keys, clock.now, lambda outcome: forwarded.labels(outcome).inc()).around


def shares_of(
    link: "ClusterLink | None",
    config: Callable[[], Config],
    zones: Mapping[str, FrontZone],
    signer: AsyncSignerClient,
    metrics: ClusterMetrics,
) -> "KeyShares | None":
    """Return what brings keys to the other nodes; None on a single host."""
    if link is None:
        return None
    from dnssecd.daemon.cluster.key_shares import KeyShares

    return KeyShares(link, config, zones, signer, metrics)


def keys_of(node: "ClusterNode | None") -> "NodeKeys | None":
    """Return what looks after keys of each node's own; None on a single host."""
    return None if node is None else node.keys


def node_of(
    link: "ClusterLink | None",
    config: Callable[[], Config],
    zones: Mapping[str, FrontZone],
    runner: JobRunner,
    outcomes: Outcomes,
    signer: SignerLink,
    events: EventCore,
    clock: Clock,
    mailbox: Mailbox,
    metrics: ClusterMetrics,
    shares: "KeyShares | None",
) -> "ClusterNode | None":
    """Return this node of the cluster; None on a single host."""
    if link is None or shares is None:
        return None
    from dnssecd.daemon.cluster.followers import Followers
    from dnssecd.daemon.cluster.keys import bind_keys
    from dnssecd.daemon.cluster.node import ClusterNode
    from dnssecd.daemon.cluster.node_keys import NodeKeys
    from dnssecd.daemon.cluster.retention import LogRetention
    from dnssecd.daemon.cluster.step_down import StepDown

    keys = NodeKeys(link, config, zones, signer.client, events, clock, mailbox, metrics)
    followers = Followers(
        link,
        zones,
        runner,
        outcomes,
        signer.place,
        signer.client,
        shares,
        keys,
        events,
        clock,
        mailbox,
        metrics,
    )
    keeper = LogRetention(link, zones, runner, metrics.failures)
    prove = partial(bind_keys, signer=signer.client, shares=shares, nodes=keys, hidden=False)
    step_down = StepDown(link, zones, signer.why_unusable, prove, clock, metrics)
    return ClusterNode(
        link, config, zones, followers, events, clock, keeper, metrics, shares, keys, step_down
    )
