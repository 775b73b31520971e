"""What the log keeps: how far each node is, snapshots for nodes that start, and which records may go.

A record goes when a snapshot holds what it wrote and each live node has applied it. The newest record always stays, so
that the next sequence is known. A node that was away for longer than ``AWAY_S`` starts from the snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from dnssecd.cluster import chunks
from dnssecd.cluster.chunks import Stored
from dnssecd.cluster.database import Database
from dnssecd.cluster.membership import EXPORTED
from dnssecd.store.version_log import Position, Record

#: A node whose lease ended longer ago is not waited for.
AWAY_S = 86_400
#: A new snapshot is due when the records since the last are this many times as large as it.
SNAPSHOT_RATIO = 2
#: Zones whose logs are looked at, and records that are removed, in one statement: it must end within its deadline.
ZONES_AT_ONCE, RECORDS_AT_ONCE = 500, 500
#: Statements that remove records of one zone in a round: other zones have their turn.
PIECES_MAX = 200
#: Small logs are left alone.
SNAPSHOT_OCTETS_MIN = 4 << 20

_APPLIED = """
INSERT INTO applied (node, zone, sequence, refused, why_not)
SELECT %(node)s, w.zone, w.sequence, w.refused, w.why_not
FROM unnest(%(zones)s::text[], %(sequences)s::bigint[], %(refused)s::text[], %(why_not)s::text[])
    AS w (zone, sequence, refused, why_not)
ON CONFLICT (node, zone) DO UPDATE SET sequence = excluded.sequence, refused = excluded.refused,
    why_not = excluded.why_not, at = clock_timestamp()
"""
#: A version of dnssecd that stores no why_not leaves it empty: its nodes count as able.
_WITHOUT_SUCCESSOR = """
SELECT o.zone,
    ARRAY(SELECT a.node FROM applied a WHERE a.zone = o.zone AND a.node = ANY(%(others)s::text[]) ORDER BY a.node),
    ARRAY(SELECT left(coalesce(nullif(a.refused, ''), a.why_not), 200) FROM applied a
        WHERE a.zone = o.zone AND a.node = ANY(%(others)s::text[]) ORDER BY a.node)
FROM ownership o
WHERE o.node = %(node)s AND NOT EXISTS (
    SELECT FROM applied a JOIN node n ON n.name = a.node
    WHERE a.zone = o.zone AND a.node = ANY(%(others)s::text[]) AND n.alive_until > clock_timestamp()
        AND NOT n.draining AND n.unfit = '' AND a.refused = '' AND a.why_not = '')
"""
_ABLE = """
SELECT a.zone, array_agg(a.node ORDER BY a.node) FROM applied a JOIN node n ON n.name = a.node
WHERE a.zone = ANY(%(zones)s::text[]) AND a.node = ANY(%(others)s::text[]) AND n.alive_until > clock_timestamp()
    AND NOT n.draining AND n.unfit = '' AND a.refused = '' AND a.why_not = ''
GROUP BY a.zone
"""
_SIZE = """
SELECT coalesce(sum(l.octets), 0)::bigint, coalesce(max(s.octets), 0), coalesce(max(s.sequence), 0)
FROM log l LEFT JOIN snapshot s ON s.zone = l.zone
WHERE l.zone = %s AND l.sequence > coalesce(s.sequence, 0)
"""
#: Zone by zone, by index: records that are to be removed are not read.
_LARGE = """
SELECT o.zone, r.octets, coalesce(s.octets, 0)
FROM (SELECT zone FROM ownership WHERE node = %s AND zone > %s ORDER BY zone LIMIT %s) o
LEFT JOIN snapshot s ON s.zone = o.zone
CROSS JOIN LATERAL (SELECT coalesce(sum(l.octets), 0)::bigint AS octets FROM log l
    WHERE l.zone = o.zone AND l.sequence > coalesce(s.sequence, 0)) r
ORDER BY o.zone
"""
_PRUNABLE = """
SELECT s.zone FROM ownership o JOIN snapshot s ON s.zone = o.zone
WHERE o.node = %s AND EXISTS (SELECT FROM log l WHERE l.zone = s.zone AND l.sequence <= s.sequence
    AND l.sequence < (SELECT max(n.sequence) FROM log n WHERE n.zone = s.zone))
LIMIT %s
"""
_PUT = """
INSERT INTO snapshot (zone, sequence, epoch, upload, digest, octets, node) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (zone) DO UPDATE SET sequence = excluded.sequence, epoch = excluded.epoch, upload = excluded.upload,
    digest = excluded.digest, octets = excluded.octets, node = excluded.node, at = clock_timestamp()
WHERE snapshot.sequence < excluded.sequence
RETURNING zone
"""
_GET = "SELECT sequence, epoch, node, digest, octets, upload FROM snapshot WHERE zone = %s"
_FLOOR = """
SELECT least(s.sequence, (SELECT max(l.sequence) - 1 FROM log l WHERE l.zone = s.zone),
    (SELECT min(coalesce(a.sequence, 0)) FROM node n LEFT JOIN applied a ON a.node = n.name AND a.zone = s.zone
        WHERE n.alive_until > clock_timestamp() - %(away)s * interval '1 s' AND n.name <> %(exported)s))
FROM snapshot s WHERE s.zone = %(zone)s
"""
_PRUNE = """
WITH gone AS (DELETE FROM log WHERE zone = %(zone)s AND sequence <= least(%(floor)s,
    (SELECT min(sequence) FROM log WHERE zone = %(zone)s) + %(records)s - 1) RETURNING upload),
chunks AS (DELETE FROM chunk WHERE upload IN (SELECT upload FROM gone WHERE upload IS NOT NULL))
SELECT count(*) FROM gone
"""


class Progress(NamedTuple):
    """How far a node is in a zone's log. refused: why it does not apply the next record, "" if it does.

    why_not: why it could not take the zone over, "" if it could: what concerns the zone alone, not the whole node.
    """

    sequence: int
    refused: str = ""
    why_not: str = ""


class LogSize(NamedTuple):
    """Octets of the records since the snapshot, and of the snapshot (0: there is none)."""

    records: int
    snapshot: int

    def wants_snapshot(self, zone_octets: int) -> bool:
        """Tell whether a new snapshot is due; zone_octets: the size of the zone."""
        return self.records > max(SNAPSHOT_RATIO * max(zone_octets, self.snapshot), SNAPSHOT_OCTETS_MIN)


def report_applied(database: Database, node: str, zones: Mapping[str, Progress]) -> None:
    """Store how far a node is in the logs of zones."""
    row = {
        "node": node,
        "zones": list(zones),
        "sequences": [progress.sequence for progress in zones.values()],
        "refused": [progress.refused for progress in zones.values()],
        "why_not": [progress.why_not for progress in zones.values()],
    }
    with database.session() as session:
        session.execute(_APPLIED, row)


def progress_of(database: Database, zone: str) -> dict[str, Progress]:
    """Return how far each node is in a zone's log."""
    with database.session() as session:
        rows = session.execute(
            "SELECT node, sequence, left(refused, 500), left(why_not, 500) FROM applied WHERE zone = %s",
            (zone,),
        ).fetchall()
    return {node: Progress(*row) for node, *row in rows}


def without_successor(database: Database, node: str, others: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the zones of a node that none of the others could take over now; why, for those others that have them."""
    row = {"node": node, "others": list(others)}
    with database.session() as session:
        rows = session.execute(_WITHOUT_SUCCESSOR, row).fetchall()
    return {zone: dict(zip(names, whys, strict=True)) for zone, names, whys in rows}


def able_nodes(database: Database, zones: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """Return which of other nodes could take zones over now, as they reported it; not the zones that none could."""
    with database.session() as session:
        rows = session.execute(_ABLE, {"zones": list(zones), "others": list(others)}).fetchall()
    return {zone: list(nodes) for zone, nodes in rows}


def log_size(database: Database, zone: str) -> LogSize:
    """Return the size of a zone's log."""
    with database.session() as session:
        row = session.execute(_SIZE, (zone,)).fetchone()
    assert row is not None
    return LogSize(int(row[0]), int(row[1]))


def large_logs(database: Database, node: str) -> dict[str, LogSize]:
    """Return the logs of a node's zones that are not small."""
    found: dict[str, LogSize] = {}
    after = ""
    while True:
        with database.session() as session:
            rows = session.execute(_LARGE, (node, after, ZONES_AT_ONCE)).fetchall()
        sizes = {zone: LogSize(int(records), int(snapshot)) for zone, records, snapshot in rows}
        found |= {zone: size for zone, size in sizes.items() if size.records > SNAPSHOT_OCTETS_MIN}
        if len(rows) < ZONES_AT_ONCE:
            return found
        after = rows[-1][0]


def prunable(database: Database, node: str, limit: int) -> list[str]:
    """Return zones of a node with records that a snapshot replaces; some node may still need them."""
    with database.session() as session:
        return [zone for (zone,) in session.execute(_PRUNABLE, (node, limit)).fetchall()]


class Snapshot(NamedTuple):
    """Where a node without the records up to ``sequence`` starts."""

    sequence: int
    epoch: int
    node: str
    digest: str
    octets: int
    upload: UUID

    @property
    def stored(self) -> Stored:
        """Where its octets are."""
        return Stored(self.octets, self.upload, b"")


def put_snapshot(database: Database, zone: str, at: Position, record: Record, node: str) -> bool:
    """Store what the log up to a position amounts to; False if a newer snapshot is there."""
    with database.session() as session, session.transaction():
        old = session.execute("SELECT upload FROM snapshot WHERE zone = %s FOR UPDATE", (zone,)).fetchone()
        upload = chunks.upload(session, record.chunks())
        row = (zone, at.sequence, at.epoch, upload, record.digest, record.octets, node)
        if session.execute(_PUT, row).fetchone() is None:
            session.execute("DELETE FROM chunk WHERE upload = %s", (upload,))
            return False
        if old is not None:
            session.execute("DELETE FROM chunk WHERE upload = %s", old)
    return True


def find_snapshot(database: Database, zone: str) -> Snapshot | None:
    """Return the newest snapshot of a zone, None if there is none."""
    with database.session() as session:
        row = session.execute(_GET, (zone,)).fetchone()
    return None if row is None else Snapshot(*row)


def prune(database: Database, zone: str, away_s: float = AWAY_S) -> int:
    """Remove records that no live node needs any more, many thousands at most; return their number."""
    with database.session() as session:
        row = session.execute(_FLOOR, {"zone": zone, "away": away_s, "exported": EXPORTED}).fetchone()
    if row is None or row[0] is None or row[0] <= 0:
        return 0
    piece = {"zone": zone, "floor": row[0], "records": RECORDS_AT_ONCE}
    count = 0
    for _ in range(PIECES_MAX):
        with database.session() as session:
            found = session.execute(_PRUNE, piece).fetchone()
        if found is None or not found[0]:
            break
        count += int(found[0])
    return count
