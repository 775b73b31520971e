"""The place of the logs, as the configuration has it."""

from __future__ import annotations

from dnssecd.config.model import ClusterConfig
from dnssecd.store.log_place import LogPlace


def place_of(cluster: ClusterConfig, incarnation: str = "") -> LogPlace:
    """Return where the logs of a cluster are, for one process of this node."""
    return LogPlace(
        node=cluster.node,
        uri=cluster.database,
        incarnation=incarnation,
        password_file="" if cluster.password_file is None else str(cluster.password_file),
        sslmode=cluster.sslmode,
        sslrootcert="" if cluster.sslrootcert is None else str(cluster.sslrootcert),
        require_synchronous=cluster.require_synchronous,
    )
