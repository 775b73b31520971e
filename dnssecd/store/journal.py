"""Write the journal: the RRs that a secondary must delete and add (RFC 1995), from old and new RRsets.

Deleted RRs are exactly RRs that the secondary has. An RR that stays in its RRset is neither deleted nor added, unless
the TTL changes: then all RRs of the set are, because the TTL belongs to the RRset (RFC 2181 §5.2).
"""

import sqlite3
from collections.abc import Iterator

from dnssecd.core.dns.names import key_to_wire
from dnssecd.core.dns.rrset import is_one, unpack
from dnssecd.core.dns.rrtypes import CLASS_IN
from dnssecd.core.zone.zoneview import JournalChunk
from dnssecd.store.interface import JournalRow
from dnssecd.store.writes import Operation, Writes

CHUNK_OCTETS = 60_000
_CLASS = CLASS_IN.to_bytes(2, "big")


class JournalWriter:
    """Collects one difference sequence; full chunks are written immediately, deleted and added RRs interleaved."""

    def __init__(self, writes: Writes, origin: bytes, sequence: int) -> None:
        self._writes = writes
        self._origin = origin
        self.sequence = sequence
        self._buffers = (bytearray(), bytearray())
        self._part = 0
        self.octets = 0

    def record(
        self, owner: bytes, rtype: int, old: tuple[int, bytes] | None, new: tuple[int, bytes] | None
    ) -> None:
        """Add the difference of one RRset; ``old`` and ``new`` are (TTL, packed RDATA) or None."""
        if old == new:
            return
        head = key_to_wire(owner, self._origin) + rtype.to_bytes(2, "big") + _CLASS
        if (old is None or is_one(old[1])) and (new is None or is_one(new[1])):
            # Nothing stays. Packed, a single RDATA is as it is in an RR, with its length before it.
            for which, one in enumerate((old, new)):
                if one is not None:
                    self._put(which, head + one[0].to_bytes(4, "big") + one[1])
            return
        removed = set(unpack(old[1])) if old else set()
        added = set(unpack(new[1])) if new else set()
        if old and new and old[0] == new[0]:
            removed, added = removed - added, added - removed
        if old and removed:
            self._append(0, head + old[0].to_bytes(4, "big"), removed)
        if new and added:
            self._append(1, head + new[0].to_bytes(4, "big"), added)

    def _append(self, which: int, head: bytes, rdatas: set[bytes]) -> None:
        for rdata in sorted(rdatas):
            self._put(which, head + len(rdata).to_bytes(2, "big") + rdata)

    def _put(self, which: int, rr: bytes) -> None:
        buffer = self._buffers[which]
        buffer += rr
        if len(buffer) >= CHUNK_OCTETS:
            self._flush(which)

    def _flush(self, which: int) -> None:
        buffer = self._buffers[which]
        if not buffer:
            return
        self._writes.one(Operation.PUT_JOURNAL_CHUNKS, self.sequence, self._part, which, bytes(buffer))
        self._part += 1
        self.octets += len(buffer)
        buffer.clear()

    def close(
        self,
        at: int,
        from_serial: int,
        to_serial: int,
        old_soa: tuple[int, bytes],
        new_soa: tuple[int, bytes],
    ) -> None:
        """Write the remaining RRs and the row of the sequence; the SOAs are (TTL, RDATA)."""
        self._flush(0)
        self._flush(1)
        self._writes.one(
            Operation.PUT_JOURNAL,
            self.sequence,
            from_serial,
            to_serial,
            at,
            self.octets,
            old_soa[1],
            old_soa[0],
            new_soa[1],
            new_soa[0],
        )


#: The limits of the journal are checked every PRUNE_EVERY sequences, because a check reads all of them.
PRUNE_EVERY = 64


def prune(connection: sqlite3.Connection, writes: Writes, octets_max: int, older_than: int) -> int:
    """Remove the oldest sequences until the journal is within its limits; return how many were removed.

    The newest sequence always stays, even if it is too large: without it every secondary needs an AXFR.
    """
    rows = connection.execute("SELECT sequence, octets, at FROM journal ORDER BY sequence DESC").fetchall()
    total = 0
    for index, (sequence, octets, at) in enumerate(rows):
        total += octets
        if index and (total > octets_max or at < older_than):
            writes.one(Operation.DROP_JOURNAL, sequence)
            return len(rows) - index
    return 0


def read_steps(connection: sqlite3.Connection, after: int) -> list[JournalRow]:
    """Return the difference sequences after a sequence, without their RRs, in order."""
    rows = connection.execute(
        "SELECT sequence, from_serial, to_serial, old_soa, old_soa_ttl, new_soa, new_soa_ttl, octets FROM journal "
        "WHERE sequence > ? ORDER BY sequence",
        (after,),
    )
    return [JournalRow._make(row) for row in rows]


def read_chunks(connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, JournalChunk]]:
    """Yield (sequence, chunk) of the RRs of the difference sequences after a sequence."""
    sql = "SELECT sequence, added, rrs FROM journal_chunk WHERE sequence > ? ORDER BY sequence, part"
    for sequence, added, rrs in connection.execute(sql, (after,)):
        yield sequence, JournalChunk(bool(added), rrs)
