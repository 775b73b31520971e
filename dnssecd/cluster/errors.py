"""Errors of the cluster: what failed, whose fault it is, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be used as asked. ``what`` happened; ``remedy``: what to do next."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class DatabaseAway(ClusterError):
    """The database did not answer in time, or the connection to it broke: the outcome of a write is unknown."""


class DatabaseRefused(ClusterError):
    """The database refused the connection or the statement; nothing was written."""


class SchemaMissing(ClusterError):
    """The database has no tables of dnssecd, or older ones than this program needs."""


class SchemaTooNew(ClusterError):
    """The tables were made by a newer dnssecd that this program does not understand; nothing was changed."""


class NameTaken(ClusterError):
    """Another running node has this name."""


class Superseded(ClusterError):
    """Another process joined the cluster under this node's name; this process may write no more."""


class NotReplicated(ClusterError):
    """The database has no synchronous standby, and the configuration requires one."""
