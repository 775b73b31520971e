"""The log of each zone (store.version_log): append at the next sequence, or learn that another node has it; read.

One statement appends. ``UNIQUE (zone, sequence)`` decides between two nodes, the trigger refuses a record of an epoch
that has passed. When the outcome is not known, the same call again gives it: a record is found again by its digest and
by the incarnation of its writer. A look alone cannot tell, because the first statement may still be in transit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

import psycopg

from dnssecd.cluster import chunks, retention
from dnssecd.cluster.chunks import Stored
from dnssecd.cluster.database import NO_STANDBY, Database, Session, translate
from dnssecd.cluster.errors import ClusterError, DatabaseAway, DatabaseRefused, NotReplicated
from dnssecd.cluster.schema import CHANNEL, FENCED, GAP
from dnssecd.store.log_place import LogPlace
from dnssecd.store.version_log import (
    Appended,
    Fenced,
    InDoubt,
    Kind,
    LogRecord,
    LogShorter,
    LogUnavailable,
    Position,
    Record,
    Result,
)

#: Records fetched at a time, with their octets unless they are in chunks.
READ_AT_ONCE = 50
_KINDS = {kind: kind.name.lower() for kind in Kind}
_BY_NAME = {name: kind for kind, name in _KINDS.items()}
#: A database that was promoted since the last heartbeat may have no standby of its own: nothing is written there.
_REPLICATED = "(NOT %(synchronous)s::bool OR trim(current_setting('synchronous_standby_names')) <> '')"
_APPEND = f"""
WITH appended AS (
    INSERT INTO log (zone, sequence, epoch, kind, node, incarnation, digest, octets, upload, body)
    SELECT %(zone)s, %(sequence)s, %(epoch)s, %(kind)s, %(node)s, %(incarnation)s::text::uuid, %(digest)s,
        %(octets)s, %(upload)s, %(body)s
    WHERE {_REPLICATED}
    ON CONFLICT DO NOTHING RETURNING zone, sequence),
effects AS (
    INSERT INTO outbox (zone, sequence, kind, key, body)
    SELECT a.zone, a.sequence, e.kind, e.key, e.body
    FROM appended a, unnest(%(kinds)s::text[], %(keys)s::text[], %(bodies)s::bytea[]) AS e (kind, key, body)
    ON CONFLICT (key) DO NOTHING)
SELECT count(*) = 1, {_REPLICATED} FROM appended
"""  # noqa: S608 - constants only
_FIND = "SELECT digest, kind, incarnation::text, node, epoch FROM log WHERE zone = %s AND sequence = %s"
_OWNER = "SELECT node, epoch FROM ownership WHERE zone = %s"
#: The size of a row is looked at before it is read.
_READ = """
SELECT sequence, epoch, kind, left(node, 256), left(digest, 65), octets, upload,
    CASE WHEN octet_length(body) <= %s THEN body END
FROM log WHERE zone = %s AND sequence > %s ORDER BY sequence LIMIT %s
"""
_HEADS = """
SELECT o.zone, h.sequence FROM ownership o
CROSS JOIN LATERAL (SELECT max(l.sequence) AS sequence FROM log l WHERE l.zone = o.zone) h
WHERE h.sequence IS NOT NULL
"""
#: All that was committed since a position: transactions below the oldest that still ran then had ended before.
_NEWS = """
SELECT NULL::text, NULL::bigint, pg_snapshot_xmin(pg_current_snapshot())::text
UNION ALL SELECT zone, max(sequence), NULL FROM log
WHERE transaction >= %s::text::xid8 AND incarnation::text <> %s GROUP BY zone
"""
#: The newest record with octets up to a sequence; a record that a snapshot replaced is no longer there.
_DIGEST = """
SELECT digest FROM log WHERE zone = %s AND sequence <= %s AND digest <> '' ORDER BY sequence DESC LIMIT 1
"""
_END = f"SELECT (SELECT max(sequence) FROM log WHERE zone = %s), ({_DIGEST})"  # noqa: S608 - constants only


class _Row(NamedTuple):
    sequence: int
    epoch: int
    kind: str
    node: str
    digest: str
    octets: int
    upload: UUID | None
    body: bytes | None


class PostgresLog:
    """The logs of all zones, as one process of a node writes and reads them. Methods block; any thread may call them.

    The methods of store.version_log raise LogUnavailable, the others ClusterError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._node, self._incarnation = database.place.node, database.place.incarnation
        #: Why the database refused the last record, "" if it took it; how many it refused. For any thread to read.
        self.refusal, self.refusals = "", 0

    def append(self, zone: str, sequence: int, epoch: int, record: Record) -> Result:
        """Append a record of the owner of ``epoch``, with its effects. The same again, after InDoubt, is Appended."""
        row = {
            "zone": zone,
            "sequence": sequence,
            "epoch": epoch,
            "kind": _KINDS[record.kind],
            "digest": record.digest,
            "octets": record.octets,
            "kinds": [effect.kind for effect in record.effects],
            "keys": [effect.key for effect in record.effects],
            "bodies": [effect.document for effect in record.effects],
        }
        with self._available():
            try:
                result = self._append(row, record)
            except DatabaseRefused as error:
                self.refusal = f"{error.what}; {error.remedy}"
                self.refusals += 1
                raise
        if isinstance(result, Appended):
            self.refusal = ""
        return result

    def settle(self, zone: str, sequence: int, epoch: int) -> Result:
        """Take a sequence with a record without octets, so that a record in transit cannot get it any more."""
        row = {"zone": zone, "sequence": sequence, "epoch": epoch, "kind": _KINDS[Kind.BLANK], "digest": ""}
        row |= {"octets": 0, "kinds": [], "keys": [], "bodies": []}
        with self._available():
            return self._append(row, None)

    def _append(self, row: dict[str, object], record: Record | None) -> Result:
        row |= {"node": self._node, "incarnation": self._incarnation, "upload": None, "body": b""}
        row["synchronous"] = self._database.place.require_synchronous
        with self._database.session() as session:
            session.unreplicated = False
            try:
                won = self._insert(session, row, record)
                found = None if won else self._conflict(session, row)
            except psycopg.Error as error:
                return self._failed(error, session, str(row["zone"]))
            if session.unreplicated:
                return InDoubt("the database did not wait for its standby")
            return found or Appended()

    def _insert(self, session: Session, row: dict[str, object], record: Record | None) -> bool:
        if record is None or record.octets <= chunks.INLINE_MAX:
            row["body"] = b"" if record is None else b"".join(record.chunks())
            return _won(session.execute(_APPEND, row).fetchone())
        with session.transaction():
            row["upload"] = chunks.upload(session, record.chunks())
            won = _won(session.execute(_APPEND, row).fetchone())
            if not won:
                raise psycopg.Rollback()
        return won

    def _conflict(self, session: Session, row: dict[str, object]) -> Fenced | None:
        """Return who has the sequence; None if it is our own record, of a call whose outcome was not known."""
        found = session.execute(_FIND, (row["zone"], row["sequence"])).fetchone()
        ours = (row["digest"], row["kind"], self._incarnation)
        if found is not None and found[:3] == ours:
            # That commit may have been interrupted before the standby had it. This one waits for all before it.
            session.execute("UPDATE node SET unfit = unfit WHERE name = %s", (self._node,))
            return None
        return self._owner(session, str(row["zone"]))

    @staticmethod
    def _owner(session: Session, zone: str) -> Fenced:
        owner = session.execute(_OWNER, (zone,)).fetchone()
        return Fenced() if owner is None else Fenced(*owner)

    def _failed(self, error: psycopg.Error, session: Session, zone: str) -> Result:
        if error.sqlstate == FENCED:
            try:
                return self._owner(session, zone)
            except psycopg.Error:
                return Fenced()
        if error.sqlstate == GAP:
            raise LogShorter(
                f"the log of {zone} lacks the record before this one: the database of the cluster went back in time"
            ) from error
        failure = translate(error, self._database.place, session)
        if isinstance(failure, DatabaseAway):
            return InDoubt(failure.what)
        raise failure from error

    def put_snapshot(self, zone: str, at: Position, record: Record) -> Result:
        """Keep a snapshot of the zone's database as it was at ``at``. Fenced: the log has another record there."""
        with self._available():
            with self._database.session() as session:
                found = session.execute(_DIGEST, (zone, at.sequence)).fetchone()
            if found is not None and found[0] != at.digest:
                with self._database.session() as session:
                    return self._owner(session, zone)
            retention.put_snapshot(self._database, zone, at, record, self._node)
            return Appended()

    def read(self, zone: str, after: int, digest: str = "") -> Iterator[LogRecord]:
        """Yield the records after a sequence, in order, up to the last; a snapshot first if the next is not kept."""
        with self._available():
            rows = self._rows(zone, after)
            if after and not (rows and rows[0].digest):
                self._check_standing(zone, after, digest)
            if not rows or rows[0].sequence != after + 1:
                found = retention.find_snapshot(self._database, zone)
                if found is not None and found.sequence > after:
                    after = found.sequence
                    rows = self._rows(zone, after)
                    octets = self._octets(found.stored)
                    yield LogRecord(
                        after, found.epoch, Kind.SNAPSHOT, found.node, found.digest, octets, found.octets
                    )
            while rows:
                for row in rows:
                    octets = self._octets(Stored(*row[5:]))
                    yield LogRecord(
                        row.sequence,
                        row.epoch,
                        _kind(row, zone),
                        row.node,
                        row.digest,
                        octets,
                        row.octets,
                    )
                after = rows[-1].sequence
                rows = self._rows(zone, after)
                if rows and rows[0].sequence != after + 1:
                    raise LogUnavailable(
                        f"{zone}: records were replaced by a snapshot meanwhile; they are read again"
                    )

    def _check_standing(self, zone: str, after: int, digest: str) -> None:
        """Raise LogShorter if the log does not have the record at which this node is."""
        with self._database.session() as session:
            row = session.execute(_END, (zone, zone, after)).fetchone()
        end, found = row or (None, None)
        if (end or 0) < after:
            raise LogShorter(
                f"the log of {zone} ends at record {end or 0}, and this node has {after}: the database of the cluster "
                "went back in time"
            )
        if digest and found not in (None, digest):
            raise LogShorter(
                f"the log of {zone} has other records up to {after} than this node: the database of the cluster went "
                "back in time, and another node made versions since"
            )

    def _rows(self, zone: str, after: int) -> list[_Row]:
        with self._database.session() as session:
            rows = session.execute(
                _READ, (chunks.INLINE_MAX, zone, after, READ_AT_ONCE), binary=True
            ).fetchall()
        return [_Row(*row) for row in rows]

    def _octets(self, stored: Stored) -> Iterator[bytes]:
        with self._available():
            yield from chunks.read(self._database, stored)

    @contextmanager
    def _available(self) -> Iterator[None]:
        """Turn errors of the cluster into those of a log."""
        try:
            yield
        except ClusterError as error:
            raise LogUnavailable(f"{error.what}; {error.remedy}") from error

    def heads(self) -> dict[str, int]:
        """Return the newest sequence of each zone that has an owner."""
        with self._database.session() as session:
            return dict(session.execute(_HEADS).fetchall())

    def heads_of(self, zones: Sequence[str]) -> dict[str, int]:
        """Return the newest sequence of each of these zones that has a log."""
        with self._database.session() as session:
            rows = session.execute(
                "SELECT zone, max(sequence) FROM log WHERE zone = ANY(%s) GROUP BY zone", (list(zones),)
            )
            return dict(rows.fetchall())

    def news(self, position: str) -> tuple[str, Mapping[str, int]]:
        """Return what others appended since a position ("0": all), as zone and newest sequence, and the next position.

        A zone may be reported twice, and is never left out: if the database went back in time, all are reported.
        """
        here, found = self._news(position)
        return (here, found) if int(here) >= int(position) else self._news("0")

    def _news(self, position: str) -> tuple[str, dict[str, int]]:
        with self._database.session() as session:
            rows = session.execute(_NEWS, (position, self._incarnation)).fetchall()
        here = next(row[2] for row in rows if row[2] is not None)
        return here, {zone: sequence for zone, sequence, mark in rows if mark is None}


def _won(row: tuple[bool, bool] | None) -> bool:
    """Return whether a record was written. Raise NotReplicated if the database has no synchronous standby."""
    won, replicated = row or (False, True)
    if not replicated:
        raise NotReplicated(*NO_STANDBY)
    return won


def _kind(row: _Row, zone: str) -> Kind:
    kind = _BY_NAME.get(row.kind)
    if kind is None:
        raise LogUnavailable(
            f"{zone}: record {row.sequence} is of a kind that this dnssecd does not know: update it"
        )
    return kind


class Tail:
    """Waits until something may have been appended: by LISTEN, and at the latest after a time, if a notice was lost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wakes(self, longest_s: float) -> Iterator[bool]:
        """Yield when it is time to look, at least every longest_s: True after a notice. Raise ClusterError."""
        with self._database.own_session() as session:
            session.execute(f"LISTEN {CHANNEL}")
            yield True
            while True:
                notices = list(session.notifies(timeout=longest_s, stop_after=1))
                yield bool(notices)


def open_log(place: LogPlace, sessions: int = 1) -> PostgresLog:
    """Return the log at a place, for a process of its own; the connection is made at the first use."""
    return PostgresLog(Database(place, sessions))
