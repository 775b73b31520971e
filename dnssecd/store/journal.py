"""Writing the journal: from RRsets before and after to the RRs a secondary must delete and add (RFC 1995).

Deletes are exactly RRs the secondary holds. An RR that stays within its RRset is neither deleted nor added,
unless the TTL changes: then the whole set is, since a TTL belongs to the RRset (RFC 2181 §5.2).
"""

import sqlite3

from dnssecd.core.dns.names import key_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CLASS_IN

CHUNK_OCTETS = 60_000


class JournalWriter:
    """Collects one difference sequence; chunks go to the database as they fill, removed and added interleaved."""

    def __init__(self, connection: sqlite3.Connection, origin: bytes, sequence: int) -> None:
        self._connection = connection
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
        removed = set(unpack(old[1])) if old else set()
        added = set(unpack(new[1])) if new else set()
        if old and new and old[0] == new[0]:
            removed, added = removed - added, added - removed
        head = key_to_wire(owner, self._origin) + rtype.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
        if old and removed:
            self._append(0, head + old[0].to_bytes(4, "big"), removed)
        if new and added:
            self._append(1, head + new[0].to_bytes(4, "big"), added)

    def _append(self, which: int, head: bytes, rdatas: set[bytes]) -> None:
        buffer = self._buffers[which]
        for rdata in sorted(rdatas):
            buffer += head + len(rdata).to_bytes(2, "big") + rdata
            if len(buffer) >= CHUNK_OCTETS:
                self._flush(which)

    def _flush(self, which: int) -> None:
        buffer = self._buffers[which]
        if not buffer:
            return
        self._connection.execute(
            "INSERT INTO journal_chunk (sequence, part, added, rrs) VALUES (?, ?, ?, ?)",
            (self.sequence, self._part, which, bytes(buffer)),
        )
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
        """Write what is left and the row that makes the sequence known; the SOAs are (TTL, RDATA)."""
        self._flush(0)
        self._flush(1)
        self._connection.execute(
            "INSERT INTO journal (sequence, from_serial, to_serial, at, octets, old_soa, old_soa_ttl, new_soa, "
            "new_soa_ttl) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.sequence,
                from_serial,
                to_serial,
                at,
                self.octets,
                old_soa[1],
                old_soa[0],
                new_soa[1],
                new_soa[0],
            ),
        )


#: The bounds of the journal are looked at every so many sequences: a look walks over all of them.
PRUNE_EVERY = 64


def prune(connection: sqlite3.Connection, octets_max: int, older_than: int) -> int:
    """Drop the oldest sequences until the journal is within bounds; return how many went.

    The newest sequence always stays, whatever its size: without it even an up-to-date secondary needs an AXFR.
    """
    rows = connection.execute("SELECT sequence, octets, at FROM journal ORDER BY sequence DESC").fetchall()
    total = 0
    for index, (sequence, octets, at) in enumerate(rows):
        total += octets
        if index and (total > octets_max or at < older_than):
            connection.execute("DELETE FROM journal_chunk WHERE sequence <= ?", (sequence,))
            connection.execute("DELETE FROM journal WHERE sequence <= ?", (sequence,))
            return len(rows) - index
    return 0
