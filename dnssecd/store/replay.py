"""Replay a log record in a zone's database: the same rows as in the database that it was made from.

A record that is damaged, forged, or of another place in the log raises before anything is committed. Whether its
content is a correct version is not decided here: ``pipeline/follow`` verifies the transaction and commits it, or does
not.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from dnssecd.core.dns.rrtypes import NSEC, NSEC3
from dnssecd.core.zone.zoneview import JournalChunk
from dnssecd.store import schema, writes
from dnssecd.store.errors import StaleVersion
from dnssecd.store.interface import JournalRow, State
from dnssecd.store.journal import read_chunks, read_steps
from dnssecd.store.position import POSITION, read_position, write_position
from dnssecd.store.record_codec import BadRecord, Header, RecordReader, RecordTooNew
from dnssecd.store.remembered import RememberedView
from dnssecd.store.snapshot import OldSnapshot, read_state
from dnssecd.store.version_log import Kind, LogRecord, Position
from dnssecd.store.writes import Operation

#: The tables that a snapshot replaces.
TABLES = ("rrset", "denial", "rrsig", "journal", "journal_chunk", "state", "history")


#: A state document: its octets, how deep its values may be nested, and its numbers (a time in the year 9999).
DOCUMENT_OCTETS_MAX, DEPTH_MAX, NUMBER_MAX = 16 << 20, 32, 253_402_300_799


class ReplayTransaction(RememberedView):
    """A version that is replayed: its reads see its writes, as those of a WriteTransaction.

    ``generation`` counts writes. ``changed``: (owner, type) of the content written or deleted; ``touched``: (owner,
    type) of denial RRsets and (owner, type covered) of RRSIGs. ``documents``: names of the state documents written.
    ``replaced``: a snapshot replaced the whole database.
    """

    def __init__(self, connection: sqlite3.Connection, origin: bytes, old: OldSnapshot) -> None:
        super().__init__(connection, origin)
        self.forget_reads()
        self.old = old
        self.generation = 0
        self.changed: set[tuple[bytes, int]] = set()
        self.touched: set[tuple[bytes, int]] = set()
        self.documents: set[str] = set()
        self.replaced = False
        self.position = read_position(connection)
        self._last_step = self._newest_step()
        self._index_later = False

    def _newest_step(self) -> int:
        (last,) = self._connection.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()
        return int(last)

    @property
    def written(self) -> bool:
        """Whether content, denial or RRSIGs were written: then it must be verified."""
        return bool(self.changed or self.touched or self.replaced)

    def apply(self, record: LogRecord) -> None:
        """Write the rows of a record. Raise BadRecord, RecordTooNew, StoreError, sqlite3.Error."""
        self.generation += 1
        if record.kind in (Kind.OWNERSHIP, Kind.BLANK):
            self._check_next(record)
            at = Position(record.sequence, record.epoch, self.position.digest)
        else:
            at = self._apply_rows(record)
        write_position(self._connection, at)
        self.position = at

    def _apply_rows(self, record: LogRecord) -> Position:
        """Write the rows of a record, and return the position after it."""
        reader = RecordReader(record.chunks, record.digest)
        at = self._place(record, reader.header)
        if reader.header.whole:
            self._empty()
        elif self.old.version is not None and not self.position.digest:
            raise BadRecord(
                "this database has a version that is not from the log: move the file away, and the zone is taken from "
                "the log"
            )
        for operation, rows in reader.steps():
            self._write(operation, rows)
        if self._index_later:
            self._connection.execute(schema.INDEX_EXPIRATION)
        self.forget_reads()
        return at

    def _check_next(self, record: LogRecord) -> None:
        """Raise BadRecord unless the record has the next sequence, and the epoch that must come now."""
        wanted = self.position.sequence + 1
        if record.sequence != wanted:
            raise BadRecord(f"record {wanted} is missing: the log continues with {record.sequence}")
        epoch = self.position.epoch + (record.kind is Kind.OWNERSHIP)
        if record.epoch != epoch:
            raise BadRecord(f"record {record.sequence} has epoch {record.epoch}, not {epoch}")

    def _place(self, record: LogRecord, header: Header) -> Position:
        """Return the position after a record, which must be the next one of this zone."""
        if header.schema > len(schema.MIGRATIONS):
            raise RecordTooNew(
                f"record {record.sequence} is of a database with schema {header.schema}, this dnssecd supports "
                f"{len(schema.MIGRATIONS)}: update it"
            )
        if (header.zone, header.kind, header.sequence) != (self.origin, record.kind, record.sequence):
            raise BadRecord(f"record {record.sequence} was made for another zone or place")
        if record.kind is Kind.SNAPSHOT:
            if not header.whole or record.sequence < self.position.sequence:
                raise BadRecord(
                    f"the snapshot at {record.sequence} is not whole, or older than this database"
                )
            return Position(record.sequence, header.epoch, header.previous)
        self._check_next(record)
        if (header.epoch, header.node) != (record.epoch, record.node):
            raise BadRecord(f"record {record.sequence} was made by another node or under another ownership")
        if header.previous != self.position.digest and not header.whole:
            raise BadRecord(
                f"record {record.sequence} does not follow the records up to {self.position.sequence} of this "
                "database: the log was replaced, or this database is of another log"
            )
        return Position(record.sequence, record.epoch, record.digest)

    def _empty(self) -> None:
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608
        self.replaced = True
        self._last_step = -1

    def _write(self, operation: Operation, rows: Sequence[tuple[Any, ...]]) -> None:
        match operation:
            case Operation.PUT_RRSETS | Operation.DELETE_RRSETS:
                self._build_index_later()
                self._note(self.changed, rows)
            case Operation.PUT_DENIAL:
                self._note(self.touched, rows)
            case Operation.DELETE_DENIAL:
                self._note(self.touched, [(owner, kind) for (owner,) in rows for kind in (NSEC, NSEC3)])
            case Operation.PUT_RRSIGS | Operation.DELETE_RRSIGS:
                self._note(self.touched, rows)
            case Operation.PUT_STATE:
                self._check_documents(rows)
            case Operation.PUT_JOURNAL | Operation.PUT_JOURNAL_CHUNKS:
                if any(row[0] <= self._last_step for row in rows):
                    raise BadRecord("the record changes differences that were published")
            case _:
                pass
        writes.replay(self._connection, operation, rows)

    def _note(self, places: set[tuple[bytes, int]], rows: Sequence[tuple[Any, ...]]) -> None:
        """Note the places of rows; of a first version and of a snapshot one is enough: all of it is verified."""
        if self.old.version is not None and not self.replaced:
            places.update([(row[0], row[1]) for row in rows])
        elif rows:
            places.add((rows[0][0], rows[0][1]))

    def _build_index_later(self) -> None:
        """In a first version the index of expirations is built at the end: that is faster for many RRSIGs."""
        if (self.replaced or self.old.version is None) and not self._index_later and not self.touched:
            self._index_later = True
            self._connection.execute(schema.DROP_EXPIRATION)

    def _check_documents(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for name, text in rows:
            if name == POSITION:
                raise BadRecord("the record sets the position of the database in the log")
            if len(text) > DOCUMENT_OCTETS_MAX:
                raise BadRecord(f"the state document {name[:100]!r} has {len(text)} octets")
            try:
                document = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadRecord(f"the state document {name[:100]!r} is not JSON: {error}") from None
            if not isinstance(document, dict):
                raise BadRecord(f"the state document {name[:100]!r} is not an object")
            _check_values(name, document)
            self.documents.add(name)

    def state(self, name: str) -> State | None:
        """Return a named state document as this transaction sees it."""
        return read_state(self._connection, name)

    def old_state(self, name: str) -> State | None:
        """Return a named state document as it was before the record."""
        return self.old.state(name)

    def steps(self) -> list[JournalRow]:
        """Return the difference sequences that the record brought, without their RRs, in order."""
        return read_steps(self._connection, self._last_step)

    def step_chunks(self) -> Iterator[tuple[int, JournalChunk]]:
        """Yield (sequence, chunk) of all RRs of difference sequences that the record brought."""
        return read_chunks(self._connection, self._last_step)

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of the RRSIGs that the record wrote."""
        sql = "SELECT owner, covered, rdata, expiration FROM rrsig"
        if self.old.version is None or self.replaced:
            yield from self._connection.execute(sql)
            return
        for place in self.touched:
            yield from self._connection.execute(f"{sql} WHERE owner = ? AND covered = ?", place)

    def commit_state(self) -> None:
        """Commit a record that wrote no content. Raise StaleVersion if it did."""
        if self.written:
            raise StaleVersion("zone content was replayed; only a verified version can be committed with it")
        self._connection.execute("COMMIT")

    def commit_if(self, generation: int) -> None:
        """Make this the published version. Raise StaleVersion if anything was written after ``generation``."""
        if generation != self.generation:
            raise StaleVersion("the version was changed after it was verified; nothing was published")
        self._connection.execute("COMMIT")


def _check_values(name: str, document: State) -> None:
    """Raise BadRecord for values that a reader of the document could not handle: nested too deep, or too large."""
    level: list[Any] = [document]
    for _ in range(DEPTH_MAX):
        if any(isinstance(value, int | float) and not abs(value) <= NUMBER_MAX for value in level):
            raise BadRecord(f"the state document {name[:100]!r} has a number that is too large")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise BadRecord(f"the state document {name[:100]!r} is nested too deep")
