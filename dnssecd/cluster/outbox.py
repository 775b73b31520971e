"""Effects outside (DS push, NOTIFY(CDS), hooks, mail): written with the record, carried out after the commit, marked.

The owner of a zone carries them out. One whose outcome is not known, because the node died between carrying it out and
the mark, is repeated with the same key, from which a receiver tells that it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dnssecd.cluster.database import Database


class OpenEffect(NamedTuple):
    """An effect that is not marked as done. tries: how often it was begun. made_at: epoch seconds."""

    id: int
    zone: str
    sequence: int
    kind: str
    key: str
    body: bytes
    made_at: float
    tries: int


_BEGIN = """
UPDATE outbox SET tries = tries + 1, tried_at = clock_timestamp()
WHERE id IN (
    SELECT b.id FROM outbox b JOIN ownership o ON o.zone = b.zone
    WHERE b.done_at IS NULL AND o.node = %(node)s
        AND (b.tried_at IS NULL OR b.tried_at < clock_timestamp() - %(again)s * interval '1 s')
        AND NOT EXISTS (SELECT FROM outbox e WHERE e.zone = b.zone AND e.kind = b.kind AND e.done_at IS NULL
            AND e.id < b.id)
    ORDER BY b.id LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED)
RETURNING id, zone, sequence, kind, key, body, extract(epoch FROM made_at)::float8, tries
"""


class Outbox:
    """The effects of the zones that a node owns. Methods block; they raise ClusterError."""

    def __init__(self, database: Database, node: str) -> None:
        self._database, self._node = database, node

    def begin(self, again_s: float, limit: int = 100) -> list[OpenEffect]:
        """Return effects to carry out now, the oldest of each zone and kind; a begun one is returned after again_s."""
        row = {"node": self._node, "again": again_s, "limit": limit}
        with self._database.session() as session:
            rows = session.execute(_BEGIN, row, binary=True).fetchall()
        return sorted((OpenEffect(*row) for row in rows), key=lambda effect: effect.id)

    def done(self, effects: Sequence[OpenEffect]) -> None:
        """Mark effects as carried out."""
        with self._database.session() as session:
            session.execute(
                "UPDATE outbox SET done_at = clock_timestamp(), failure = '' WHERE id = ANY(%s)",
                ([effect.id for effect in effects],),
            )

    def failed(self, effect: OpenEffect, cause: str) -> None:
        """Note why an effect could not be carried out; it is tried again."""
        with self._database.session() as session:
            session.execute("UPDATE outbox SET failure = %s WHERE id = %s", (cause[:500], effect.id))

    def waiting(self) -> int:
        """Return how many effects of all zones are not done."""
        with self._database.session() as session:
            row = session.execute("SELECT count(*) FROM outbox WHERE done_at IS NULL").fetchone()
        assert row is not None
        return int(row[0])

    def forget(self, older_than_s: float, limit: int = 1000) -> int:
        """Remove effects that were done long ago; return how many."""
        with self._database.session() as session:
            found = session.execute(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE done_at < clock_timestamp() - "
                "%s * interval '1 s' LIMIT %s)",
                (older_than_s, limit),
            )
            return found.rowcount
