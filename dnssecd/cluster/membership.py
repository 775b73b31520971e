"""The nodes: join under a name, renew the lease by one statement, drain, leave.

All times are the database's. A node that does not renew its lease for ``take_over_after`` may lose its zones; that it
writes nothing afterwards is the business of the log, not of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dnssecd.cluster.database import SYNCHRONOUS, Database, judge_synchronous
from dnssecd.cluster.errors import ClusterError, NameTaken, Superseded

#: Settings of another node, compressed: 10,000 zones need some hundred kilobytes.
SETTINGS_OCTETS_MAX = 16 << 20
#: The owner of exported zones: it never runs, and its lease does not end. No configuration can have this name.
EXPORTED = "(exported)"
#: Seconds between two heartbeats.
BEAT_S = 3.0


class NodeState(NamedTuple):
    """A node as the database has it. alive_s: seconds until its lease ends, negative since it has ended.

    unfit: why it may not own zones, "" if it may.
    """

    name: str
    alive_s: float
    address: list[str]
    version: str
    config_digest: bytes
    draining: bool
    unfit: str
    clock_offset_s: float

    @property
    def may_own(self) -> bool:
        """Whether the node keeps its zones."""
        return self.alive_s > 0 and not self.draining and not self.unfit


class Beat(NamedTuple):
    """What a heartbeat brought: the database's time (epoch seconds), all nodes, and whether zones are to move here.

    unsafe: why a failover of the database could lose commits, "" if it cannot. The database that answered may be
    another one than that of the last heartbeat.
    """

    at: float
    nodes: dict[str, NodeState]
    moves: bool
    unsafe: str = ""


# Other nodes' rows are read in bounded size: another program may have written them.
_STATE = (
    "left(name, 256), extract(epoch FROM alive_until - clock_timestamp())::float8, "
    "ARRAY(SELECT left(a, 100) FROM unnest(address[1:8]) AS a), left(version, 64), substring(config_digest, 1, 64), "
    "draining, left(unfit, 500), clock_offset_s"
)
NODES_MAX = 1000
_JOIN = """
INSERT INTO node (name, incarnation, alive_until, address, version, config_digest, settings, unfit, clock_offset_s)
VALUES (%(name)s, %(incarnation)s::text::uuid, clock_timestamp() + %(lease)s * interval '1 s', %(address)s, %(version)s,
    %(digest)s, %(settings)s, '', 0)
ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, alive_until = excluded.alive_until,
    address = excluded.address, version = excluded.version, config_digest = excluded.config_digest,
    settings = excluded.settings, unfit = ''
WHERE node.alive_until < clock_timestamp() OR node.incarnation::text = %(previous)s
RETURNING name
"""
_BEAT = f"""
WITH beat AS (
    UPDATE node SET alive_until = clock_timestamp() + %(lease)s * interval '1 s', unfit = %(unfit)s,
        clock_offset_s = %(offset)s
    WHERE name = %(name)s AND incarnation = %(incarnation)s::text::uuid RETURNING *)
SELECT extract(epoch FROM clock_timestamp())::float8, EXISTS (SELECT FROM ownership WHERE move_to = %(name)s),
    {SYNCHRONOUS}, {_STATE} FROM beat
UNION ALL (SELECT 0, false, '', '', '', {_STATE} FROM node WHERE name <> %(name)s ORDER BY name LIMIT {NODES_MAX})
"""  # noqa: S608 - constants only


class Membership:
    """This node's row. Methods block; they raise ClusterError."""

    def __init__(self, database: Database, lease_s: float) -> None:
        self._database, self._lease_s = database, lease_s
        self._node, self._incarnation = database.place.node, database.place.incarnation

    def join(
        self,
        address: Sequence[str],
        version: str,
        config_digest: bytes,
        settings: bytes,
        previous: str,
    ) -> None:
        """Take the name. Raise NameTaken while another process has it.

        previous: the incarnation that this state directory had before, "" for none: its process has certainly ended.
        """
        row = {
            "name": self._node,
            "incarnation": self._incarnation,
            "previous": previous,
            "lease": self._lease_s,
            "address": list(address),
            "version": version,
            "digest": config_digest,
            "settings": settings,
        }
        with self._database.session() as session:
            if session.execute(_JOIN, row).fetchone() is not None:
                return
        others = {state.name: state for state in list_nodes(self._database)}
        there = others.get(self._node)
        where = ", ".join(there.address) if there else "unknown"
        raise NameTaken(
            f"a node named {self._node} is running already, at {where}; its lease ends in "
            f"{there.alive_s if there else self._lease_s:.0f} s",
            "give each node its own name in [cluster] node; if that node is dead, wait until its lease ends",
        )

    def publish(self, config_digest: bytes, settings: bytes) -> None:
        """Store the settings of a new configuration."""
        with self._database.session() as session:
            session.execute(
                "UPDATE node SET config_digest = %s, settings = %s WHERE name = %s AND incarnation::text = %s",
                (config_digest, settings, self._node, self._incarnation),
            )

    def beat(self, unfit: str, clock_offset_s: float) -> Beat:
        """Renew the lease; return the state of all nodes. Raise Superseded when another process has the name."""
        row = {
            "name": self._node,
            "incarnation": self._incarnation,
            "lease": self._lease_s,
            "unfit": unfit,
            "offset": clock_offset_s,
        }
        with self._database.session() as session:
            rows = session.execute(_BEAT, row).fetchall()
        states = [NodeState(*found[5:]) for found in rows]
        mine = next((row for row, state in zip(rows, states, strict=True) if state.name == self._node), None)
        if mine is None:
            raise Superseded(
                f"another process joined the cluster as node {self._node}",
                "give each node its own name in [cluster] node; this process owns no zone any more",
            )
        return Beat(mine[0], {state.name: state for state in states}, mine[1], judge_synchronous(*mine[2:5]))

    def leave(self) -> None:
        """End the lease now: this node's zones can be taken over at once."""
        with self._database.session() as session:
            session.execute(
                "UPDATE node SET alive_until = clock_timestamp() WHERE name = %s AND incarnation::text = %s",
                (self._node, self._incarnation),
            )


def list_nodes(database: Database) -> list[NodeState]:
    """Return all nodes that ever joined, by name."""
    with database.session() as session:
        rows = session.execute(f"SELECT {_STATE} FROM node ORDER BY name LIMIT {NODES_MAX}").fetchall()  # noqa: S608
    return [NodeState(*row) for row in rows]


def set_draining(database: Database, node: str, draining: bool) -> None:
    """Let a node's zones be taken over by the others, or end that. Raise ClusterError for an unknown node."""
    with database.session() as session:
        found = session.execute(
            "UPDATE node SET draining = %s WHERE name = %s RETURNING name", (draining, node)
        ).fetchone()
    if found is None:
        raise ClusterError(f"no node {node} has ever joined the cluster", "see `dnssecd node list`")


def settings_of(database: Database, node: str) -> bytes | None:
    """Return what a node published of its configuration; None for an unknown node, and if it is too large."""
    with database.session() as session:
        row = session.execute(
            "SELECT CASE WHEN octet_length(settings) <= %s THEN settings END FROM node WHERE name = %s",
            (SETTINGS_OCTETS_MAX, node),
        ).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])
