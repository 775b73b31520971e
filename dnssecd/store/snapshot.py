"""The published version of a zone as a reader sees it: one read transaction, and what is stored besides the records."""

import json
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import RRSIG, SOA
from dnssecd.core.zone.zoneview import JournalChunk, JournalStep
from dnssecd.store import history
from dnssecd.store.errors import JournalGap, StoreError
from dnssecd.store.interface import JournalRow, State
from dnssecd.store.journal import CHUNK_OCTETS, read_chunks, read_steps
from dnssecd.store.position import read_position
from dnssecd.store.recorder import SpooledRecord
from dnssecd.store.remembered import RememberedView
from dnssecd.store.snapshot_record import snapshot_record
from dnssecd.store.version_log import Position
from dnssecd.store.view import SqliteView

_STEPS = (
    "SELECT sequence, from_serial, to_serial, octets FROM journal "
    "WHERE sequence >= (SELECT max(sequence) FROM journal WHERE from_serial = ?) ORDER BY sequence"
)
_CHUNKS = "SELECT rrs FROM journal_chunk WHERE sequence = ? AND added = ? ORDER BY part"
#: Sorts the RRs, so not for many.
_FEW_CHUNKS = "SELECT added, rrs FROM journal_chunk WHERE sequence = ? ORDER BY added, part"

#: SQLite walks the three tables side by side, each by its primary key: nothing is sorted.
_WHOLE = (
    "SELECT owner, rtype, ttl, rdata FROM rrset UNION ALL SELECT owner, rtype, ttl, rdata FROM denial "
    "UNION ALL SELECT owner, ?, ttl, rdata FROM rrsig ORDER BY owner"
)


def read_state(connection: sqlite3.Connection, name: str) -> State | None:
    """Return one named document of the zone's state."""
    text = state_text(connection, name)
    return None if text is None else json.loads(text)


def state_text(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the text of one named document of the zone's state."""
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


class Snapshot(SqliteView):
    """A published version, constant while it is held (core.zone.zoneview.ServedVersion)."""

    def __init__(self, connection: sqlite3.Connection, origin: bytes) -> None:
        super().__init__(connection, origin)
        self.version: State | None = read_state(connection, "version")
        self._soa: RRset | None = None
        #: By serial: what a transfer asks for several times.
        self._found: dict[int, list[tuple[int, int, int, int]]] = {}

    @property
    def serial(self) -> int:
        """The SOA serial of this version. Raises StoreError when nothing has been published."""
        if self.version is None:
            raise StoreError("the zone has no published version yet")
        return int(self.version["serial"])

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset. The SOA is read once: an answer asks for it several times."""
        if owner or rtype != SOA:
            return super().rrset(owner, rtype)
        if self._soa is None:
            self._soa = super().rrset(owner, rtype)
        return self._soa

    def whole_scan(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Yield (owner, type, TTL, packed RDATA) of content, denial RRsets and RRSIGs, together by owner."""
        return self._connection.execute(_WHOLE, (RRSIG,))

    def state(self, name: str) -> State | None:
        """Return a named state document as of this version."""
        return read_state(self._connection, name)

    @property
    def position(self) -> Position:
        """The position of this version in the zone's log; sequence 0: it has none."""
        return read_position(self._connection)

    def record(self, node: str, directory: Path) -> SpooledRecord:
        """Return the whole database as a log record, made by ``node``; the caller closes it.

        Raise StoreError, OSError.
        """
        return snapshot_record(self._connection, self._origin, node, directory)

    def _steps(self, from_serial: int) -> list[tuple[int, int, int, int]]:
        """Return (sequence, from, to, octets) of the sequences from ``from_serial`` on; [] if there is a gap."""
        found = self._found.get(from_serial)
        if found is None:
            steps = self._connection.execute(_STEPS, (from_serial,)).fetchall()
            chained = all(a[2] == b[1] for a, b in pairwise(steps))
            found = steps if steps and chained and steps[-1][2] == self.serial else []
            self._found = {from_serial: found}
        return found

    def journal_size(self, from_serial: int) -> int | None:
        """Return the octets of RRs in the journal from ``from_serial`` to this version; None if it has a gap."""
        if from_serial == self.serial:
            return 0
        steps = self._steps(from_serial)
        return sum(step[3] for step in steps) if steps else None

    def journal(self, from_serial: int) -> Iterator[JournalStep]:
        """Yield the difference sequences from ``from_serial`` to this version, oldest first. Raise JournalGap."""
        if from_serial == self.serial:
            return
        steps = self._steps(from_serial)
        if not steps:
            raise JournalGap(f"no journal from serial {from_serial} to {self.serial}")
        for sequence, _, _, octets in steps:
            row = self._connection.execute(
                "SELECT from_serial, to_serial, old_soa, old_soa_ttl, new_soa, new_soa_ttl FROM journal "
                "WHERE sequence = ?",
                (sequence,),
            ).fetchone()
            before, after, old_soa, old_ttl, new_soa, new_ttl = row
            yield JournalStep(
                before, after, old_soa, old_ttl, new_soa, new_ttl, self._chunks(sequence, octets)
            )

    def _chunks(self, sequence: int, octets: int) -> Iterator[JournalChunk]:
        """Yield the chunks of one sequence: deletions first, as the journal format requires."""
        if octets < CHUNK_OCTETS:
            for added, rrs in self._connection.execute(_FEW_CHUNKS, (sequence,)).fetchall():
                yield JournalChunk(bool(added), rrs)
            return
        for added in (0, 1):
            for (rrs,) in self._connection.execute(_CHUNKS, (sequence, added)):
                yield JournalChunk(bool(added), rrs)

    def steps(self) -> list[JournalRow]:
        """Return all difference sequences, without their RRs, in order."""
        return read_steps(self._connection, -1)

    def step_chunks(self) -> Iterator[tuple[int, JournalChunk]]:
        """Yield (sequence, chunk) of all RRs of difference sequences."""
        return read_chunks(self._connection, -1)

    def integrity(self) -> str:
        """Return "ok" when SQLite finds tables and indexes intact and consistent, else the first fault."""
        verdict: str = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        return verdict

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of all RRSIGs."""
        yield from self._connection.execute("SELECT owner, covered, rdata, expiration FROM rrsig")

    def history(self, limit: int = 100) -> list[State]:
        """Return the newest entries of the zone's history, newest first."""
        return history.newest(self._connection, limit)


class OldSnapshot(RememberedView, Snapshot):
    """The version from which a log record is replayed."""
