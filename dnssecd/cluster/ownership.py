"""Who owns a zone: first claims, take-over, and moves, each by an ownership record in the zone's own log.

Record and row are written by one statement: a zone changes hands once for each epoch, however many nodes try. The
record takes the next sequence, which a paused owner still wants; so its next append fails when it wakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from dnssecd.cluster.database import Database
from dnssecd.cluster.errors import ClusterError
from dnssecd.cluster.schema import LOCK

#: Zones of one statement: it holds their locks, and has to end within the deadline of a statement.
BATCH = 1000


class Owner(NamedTuple):
    """The owner of a zone since a record. since: epoch seconds. move_to: the node that is to take it, "" for none."""

    zone: str
    node: str
    epoch: int
    sequence: int
    since: float
    move_to: str


class Taken(NamedTuple):
    """A zone that this node owns from now on; sequence: of the ownership record."""

    zone: str
    epoch: int
    sequence: int


class Target(NamedTuple):
    """The node that is to take a zone; before: the node that was to take it until now, "" for none."""

    node: str
    before: str


_ME = """
me AS (SELECT name, incarnation FROM node WHERE name = %(node)s AND incarnation = %(incarnation)s::text::uuid
    AND alive_until > clock_timestamp() AND NOT draining AND unfit = '')
"""
_RECORD = """
INSERT INTO log (zone, sequence, epoch, kind, node, incarnation, digest, octets, body)
SELECT f.zone, f.sequence + 1, f.epoch + 1, 'ownership', me.name, me.incarnation, '', 0, '' FROM free f, me
ON CONFLICT DO NOTHING RETURNING zone, sequence, epoch
"""
_TAKE = f"""
WITH {_ME},
wanted AS (SELECT * FROM unnest(%(zones)s::text[], %(applied)s::bigint[], %(digests)s::text[])
    AS w (zone, applied, digest)),
free AS (
    SELECT o.zone, o.epoch, w.applied AS sequence
    FROM wanted w JOIN ownership o ON o.zone = w.zone JOIN node n ON n.name = o.node, me
    WHERE o.node <> me.name AND (o.move_to = me.name OR n.alive_until < clock_timestamp() OR n.unfit <> ''
        OR n.draining)
        AND w.applied = (SELECT max(l.sequence) FROM log l WHERE l.zone = w.zone)
        AND (w.digest = '' OR w.digest = coalesce((SELECT l.digest FROM log l WHERE l.zone = w.zone AND l.digest <> ''
            ORDER BY l.sequence DESC LIMIT 1), w.digest))
    FOR UPDATE OF o SKIP LOCKED),
taken AS ({_RECORD})
UPDATE ownership o SET node = %(node)s, epoch = t.epoch, sequence = t.sequence, since = clock_timestamp(),
    move_to = NULL
FROM taken t WHERE o.zone = t.zone RETURNING o.zone, o.epoch, o.sequence
"""  # noqa: S608 - constants only
_CLAIM = f"""
WITH {_ME},
free AS (
    SELECT w.zone, 0::bigint AS epoch, coalesce((SELECT max(l.sequence) FROM log l WHERE l.zone = w.zone), 0)
        AS sequence
    FROM unnest(%(zones)s::text[]) AS w (zone)
    WHERE NOT EXISTS (SELECT FROM ownership o WHERE o.zone = w.zone)),
taken AS ({_RECORD})
INSERT INTO ownership (zone, node, epoch, sequence) SELECT zone, %(node)s, epoch, sequence FROM taken
RETURNING zone, epoch, sequence
"""  # noqa: S608 - constants only
_GIVE_UP = """
UPDATE ownership o SET move_to = w.target
FROM unnest(%(zones)s::text[], %(targets)s::text[], %(before)s::text[]) AS w (zone, target, before)
WHERE o.zone = w.zone AND o.node = %(node)s AND coalesce(o.move_to, '') = w.before RETURNING o.zone
"""
_WITHDRAW = """
UPDATE ownership o SET move_to = NULL FROM unnest(%(zones)s::text[], %(targets)s::text[]) AS w (zone, target)
WHERE o.zone = w.zone AND o.node = %(node)s AND o.move_to = w.target RETURNING o.zone
"""
_OWNERS = "SELECT zone, node, epoch, sequence, extract(epoch FROM since)::float8, coalesce(move_to, '') FROM ownership"


class Ownership:
    """The owners of all zones, as one node changes them. Methods block; they raise ClusterError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._node, self._incarnation = database.place.node, database.place.incarnation

    def claim(self, zones: Sequence[str]) -> list[Taken]:
        """Become the first owner of zones that have none; return those that this node got."""
        return self._in_batches(_CLAIM, [(zone, 0, "") for zone in zones])

    def take_over(self, zones: Mapping[str, int], digests: Mapping[str, str] | None = None) -> list[Taken]:
        """Become the owner of zones whose owner is dead, drains or may not own, or that are to move here.

        zones: each with the sequence up to which this node has verified and applied the log; one that has newer records
        is not taken. digests: of the last record up to there that has octets, as far as they are known; a zone whose
        log has another one is not taken: this node has records that the log lost.
        """
        known = digests or {}
        return self._in_batches(
            _TAKE, [(zone, applied, known.get(zone, "")) for zone, applied in zones.items()]
        )

    # One node at a time: a statement for many zones would fail as a whole if another node took one of them meanwhile.
    def _in_batches(self, statement: str, zones: Sequence[tuple[str, int, str]]) -> list[Taken]:
        taken: list[Taken] = []
        for start in range(0, len(zones), BATCH):
            batch = zones[start : start + BATCH]
            row = {
                "node": self._node,
                "incarnation": self._incarnation,
                "zones": [zone for zone, _, _ in batch],
                "applied": [applied for _, applied, _ in batch],
                "digests": [digest for _, _, digest in batch],
            }
            with self._database.session() as session, session.transaction():
                session.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK + 1,))
                taken += [Taken(*found) for found in session.execute(statement, row).fetchall()]
        return taken


def owners(database: Database) -> dict[str, Owner]:
    """Return the owner of each zone."""
    with database.session() as session:
        return {row[0]: Owner(*row) for row in session.execute(_OWNERS).fetchall()}


def owner_of(database: Database, zone: str) -> Owner | None:
    """Return the owner of a zone, None if it has none."""
    with database.session() as session:
        row = session.execute(f"{_OWNERS} WHERE zone = %s", (zone,)).fetchone()
    return None if row is None else Owner(*row)


def move(database: Database, zone: str, node: str) -> Owner:
    """Let a node take a zone over as soon as it has applied all of its log. Raise ClusterError."""
    owner = owner_of(database, zone)
    if owner is None:
        raise ClusterError(f"{zone} has no owner in the cluster", "see `dnssecd zone owner`")
    with database.session() as session:
        known = session.execute("SELECT FROM node WHERE name = %s", (node,)).fetchone()
        if known is None:
            raise ClusterError(f"no node {node} has ever joined the cluster", "see `dnssecd node list`")
        target = None if owner.node == node else node
        session.execute("UPDATE ownership SET move_to = %s WHERE zone = %s", (target, zone))
        session.execute("SELECT pg_notify('dnssecd_log', '')")
    return owner


def moves(database: Database, zones: Sequence[str]) -> dict[str, str]:
    """Return the node that is to take each of some zones; not the zones that none is to take."""
    with database.session() as session:
        rows = session.execute(
            "SELECT zone, left(move_to, 256) FROM ownership WHERE zone = ANY(%s) AND move_to IS NOT NULL",
            (list(zones),),
        ).fetchall()
    return dict(rows)


def give_up(database: Database, node: str, zones: Mapping[str, Target]) -> list[str]:
    """Let other nodes take zones of a node over; return those zones.

    Not those that it does not own any more, and those for which a person or program named another node meanwhile.
    """
    row = {
        "node": node,
        "zones": list(zones),
        "targets": [target.node for target in zones.values()],
        "before": [target.before for target in zones.values()],
    }
    with database.session() as session:
        given = [zone for (zone,) in session.execute(_GIVE_UP, row).fetchall()]
        session.execute("SELECT pg_notify('dnssecd_log', '')")
    return given


def withdraw(database: Database, node: str, zones: Mapping[str, str]) -> list[str]:
    """Let a node keep zones that others were to take (zones: which node each) and have not; return those zones."""
    row = {"node": node, "zones": list(zones), "targets": list(zones.values())}
    with database.session() as session:
        return [zone for (zone,) in session.execute(_WITHDRAW, row).fetchall()]


def preferred(zone: str, nodes: Iterable[str]) -> str:
    """Return which of several nodes takes a zone first: the zones of a dead node spread over the others ("" of none).

    The highest hash of (node, zone) wins, so that the choice for a zone does not depend on the other zones.
    """
    return max(nodes, key=lambda node: sha256(f"{node} {zone}".encode()).digest(), default="")
