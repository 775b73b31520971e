"""Commit a version when a log is attached: append the record first, then commit locally.

    written → verified → appended to the log (the fence) → committed locally → served

Crash rule: a record that is in the log is a version; one that is not is none. A process that dies between append and
local commit finds the record in the log at its next start, and replays it. So a database is never ahead of its log, and
what is served was in the log before.

A database that was not made from the log, such as that of a zone on a single host, has a version and no record yet: its
first record is *whole*, all rows instead of those that the transaction wrote.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from dnssecd.store import schema
from dnssecd.store.errors import LogBehind, LogFenced, LogInDoubt, LogTroubled, NotOwner
from dnssecd.store.position import read_position, write_position
from dnssecd.store.record_codec import Header
from dnssecd.store.recorder import Recorder, SpooledRecord
from dnssecd.store.snapshot_record import whole_record
from dnssecd.store.version_log import Fenced, InDoubt, Kind, LogShorter, LogUnavailable, Position, VersionLog

_HAS_VERSION = "SELECT count(*) FROM state WHERE name = 'version'"


def _unheard(trouble: LogTroubled) -> None:
    return None


L_co = TypeVar("L_co", bound=VersionLog, covariant=True)


@dataclass
class ZoneLog(Generic[L_co]):
    """The log of one zone as its database uses it. ``zone``: its name in the log; ``node``: this node.

    epoch: of this node's ownership; None while another node owns the zone: then no version can be made here. trouble:
    called, in the thread of the commit, when one failed in a way that ends or suspends the ownership.
    """

    log: L_co
    zone: str
    node: str
    epoch: int | None = None
    trouble: Callable[[LogTroubled], None] = field(default=_unheard)

    def begin(self, connection: sqlite3.Connection, origin: bytes, path: Path) -> "LoggedCommit":
        """Start the record of a transaction that was just begun. Raise NotOwner."""
        epoch = self.epoch  # another thread may end the ownership at any time
        if epoch is None:
            raise NotOwner(f"{self.zone} belongs to another node of the cluster; nothing was written here")
        at = read_position(connection)
        whole = not at.digest and connection.execute(_HAS_VERSION).fetchone()[0] > 0
        header = Header(
            origin,
            Kind.VERSION,
            at.sequence + 1,
            epoch,
            at.digest,
            self.node,
            len(schema.MIGRATIONS),
            whole,
        )
        return LoggedCommit(self, connection, header, path.parent)


class LoggedCommit:
    """The end of one transaction: ``recorder`` has what it wrote."""

    def __init__(
        self, log: "ZoneLog[VersionLog]", connection: sqlite3.Connection, header: Header, directory: Path
    ) -> None:
        self._log, self._connection, self._header, self._directory = log, connection, header, directory
        self.recorder = Recorder(header, directory)

    @property
    def epoch(self) -> int:
        """The epoch of the ownership under which it was begun."""
        return self._header.epoch

    def commit(self) -> None:
        """Append the record, then commit. Raise LogFenced, LogInDoubt, LogBehind, LogUnavailable, sqlite3.Error.

        Only after LogBehind the record is in the log. In all cases the transaction is then to be rolled back.
        """
        if self.recorder.empty:
            self._connection.execute("COMMIT")
            return
        record = self._record()
        try:
            self._append(record)
        finally:
            record.close()
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(LogBehind, f"is in the log, but not in the local database: {error}")

    def _record(self) -> SpooledRecord:
        if self._header.whole:
            return whole_record(self._connection, self._header, self._directory)
        return self.recorder.finish()

    def _append(self, record: SpooledRecord) -> None:
        """Append the record; return if it is in the log."""
        zone, sequence, epoch = self._log.zone, self._header.sequence, self._header.epoch
        write_position(self._connection, Position(sequence, epoch, record.digest))
        try:
            result = self._log.log.append(zone, sequence, epoch, record)
        except LogShorter as error:
            self._fail(LogInDoubt, f"has no place in the log, which is read now: {error}")
        if isinstance(result, InDoubt):  # a second try often answers it: the record is at hand only now
            try:
                result = self._log.log.append(zone, sequence, epoch, record)
            except (LogUnavailable, LogShorter) as error:
                # That nothing was written by this try says nothing of the first.
                self._fail(LogInDoubt, f"is perhaps in the log, which cannot be reached now: {error}")
        if isinstance(result, Fenced):
            self._refused(result)
        if isinstance(result, InDoubt):
            self._fail(LogInDoubt, f"is perhaps in the log, which is read now: {result.cause}")

    def _refused(self, fenced: Fenced) -> None:
        """Raise the error for a refused record: a sequence that our own earlier record has is no new owner."""
        if (fenced.node, fenced.epoch) == (self._log.node, self._header.epoch):
            self._fail(LogInDoubt, "has the place of an earlier one of this node, which is read now")
        owner = f"node {fenced.node} (epoch {fenced.epoch})" if fenced.node else "another node"
        self._fail(LogFenced, f"is refused by the log: {owner} owns the zone; this node gives it up")

    def _fail(self, kind: type[LogTroubled], cause: str) -> NoReturn:
        trouble = kind(self._log.zone, self._header.sequence, self._header.epoch, cause)
        self._log.trouble(trouble)
        raise trouble

    def close(self) -> None:
        """Release the record."""
        self.recorder.close()
