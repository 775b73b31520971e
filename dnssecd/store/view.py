"""A zone version read from SQLite: the store's implementation of core.zoneview."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from dnssecd.core.dns.names import AFTER_ALL
from dnssecd.core.dns.rrset import RRset, Rrsigs, rrset_of, rrsigs_of

_RRSET = "SELECT owner, rtype, ttl, rdata FROM rrset"
_DENIAL = "SELECT owner, rtype, ttl, rdata FROM denial"
_RRSIG = "SELECT owner, covered, ttl, rdata FROM rrsig"


class SqliteView:
    """One version, read through one connection; the caller holds the transaction that keeps it constant."""

    def __init__(self, connection: sqlite3.Connection, origin: bytes) -> None:
        self._connection = connection
        self._origin = origin

    @property
    def reader(self) -> sqlite3.Connection:
        """The connection that reads it now."""
        return self._connection

    @property
    def origin(self) -> bytes:
        """The zone name in lower-case wire form."""
        return self._origin

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Do nothing: this view remembers nothing."""

    def _one_rrset(self, sql: str, *values: object) -> RRset | None:
        row = self.reader.execute(sql, values).fetchone()
        return None if row is None else rrset_of(row)

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        return self._one_rrset(f"{_RRSET} WHERE owner = ? AND rtype = ?", owner, rtype)

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        rows = self.reader.execute(f"{_RRSET} WHERE owner = ? ORDER BY rtype", (owner,))
        return [rrset_of(row) for row in rows]

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        sql = f"{_RRSET} WHERE owner >= ? AND owner < ? ORDER BY owner, rtype"
        return map(rrset_of, self.reader.execute(sql, (start, AFTER_ALL if stop is None else stop)))

    def of_type(self, rtype: int) -> Iterator[RRset]:
        """Yield the content RRsets of a type, by owner; reads all content."""
        return map(rrset_of, self.reader.execute(f"{_RRSET} WHERE rtype = ? ORDER BY owner", (rtype,)))

    def first_owner(self, start: bytes, stop: bytes | None = None) -> bytes | None:
        """Return the first owner of content with start <= owner < stop."""
        sql = "SELECT owner FROM rrset WHERE owner >= ? AND owner < ? ORDER BY owner LIMIT 1"
        row = self.reader.execute(sql, (start, AFTER_ALL if stop is None else stop)).fetchone()
        return None if row is None else row[0]

    def last_owner_before(self, owner: bytes) -> bytes | None:
        """Return the last owner of content before ``owner``."""
        sql = "SELECT owner FROM rrset WHERE owner < ? ORDER BY owner DESC LIMIT 1"
        row = self.reader.execute(sql, (owner,)).fetchone()
        return None if row is None else row[0]

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        return self._one_rrset(f"{_DENIAL} WHERE owner = ?", owner)

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        return self._one_rrset(f"{_DENIAL} WHERE owner < ? ORDER BY owner DESC LIMIT 1", owner)

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        return self._one_rrset(f"{_DENIAL} WHERE owner >= ? ORDER BY owner LIMIT 1", owner)

    def denial_last(self) -> RRset | None:
        """Return the last denial RRset of the chain."""
        return self._one_rrset(f"{_DENIAL} ORDER BY owner DESC LIMIT 1")

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield denial RRsets with start <= owner < stop, in order."""
        sql = f"{_DENIAL} WHERE owner >= ? AND owner < ? ORDER BY owner"
        return map(rrset_of, self.reader.execute(sql, (start, AFTER_ALL if stop is None else stop)))

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        row = self.reader.execute(f"{_RRSIG} WHERE owner = ? AND covered = ?", (owner, covered)).fetchone()
        return None if row is None else rrsigs_of(row)

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        rows = self.reader.execute(f"{_RRSIG} WHERE owner = ? ORDER BY covered", (owner,))
        return [rrsigs_of(row) for row in rows]

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        sql = f"{_RRSIG} WHERE owner >= ? AND owner < ? ORDER BY owner, covered"
        return map(rrsigs_of, self.reader.execute(sql, (start, AFTER_ALL if stop is None else stop)))

    def rrsigs_due(self, before: int, limit: int) -> list[tuple[bytes, int]]:
        """Return (owner, type covered) of RRSIGs that expire at or before ``before``, soonest first."""
        sql = "SELECT owner, covered FROM rrsig WHERE expiration <= ? ORDER BY expiration LIMIT ?"
        return [(owner, covered) for owner, covered in self.reader.execute(sql, (before, limit))]

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        found: int | None
        (found,) = self.reader.execute("SELECT min(expiration) FROM rrsig").fetchone()
        return found

    def expirations(self, width_s: int) -> list[tuple[int, int]]:
        """Return (start, RRsets) for each span of ``width_s`` in which RRSIGs expire; starts in epoch seconds."""
        sql = "SELECT expiration / ? * ?, count(*) FROM rrsig GROUP BY 1 ORDER BY 1"
        return self.reader.execute(sql, (width_s, width_s)).fetchall()

    def signers(self, without: Sequence[int]) -> tuple[int, dict[tuple[int, int], int]]:
        """Return how many RRsets have RRSIGs, and how many of them each (algorithm, key tag) signed.

        RRSIGs over the types ``without`` are left out. One walk of the table for each RRSIG an RRset can have.
        """
        found: Counter[tuple[int, int]] = Counter()
        places = ", ".join("?" * len(without))
        total = self._count_signers(found, f"covered NOT IN ({places})", tuple(without), 1)
        return total, dict(found)

    def _count_signers(
        self, found: Counter[tuple[int, int]], where: str, values: tuple[object, ...], at: int
    ) -> int:
        """Count the RRSIG RRs that begin at octet ``at`` (from 1) of a packed set, and those that follow them."""
        sql = (
            f"SELECT substr(rdata, {at}, 2), substr(rdata, {at + 4}, 1), substr(rdata, {at + 18}, 2), "  # noqa: S608
            f"count(*), max(length(rdata)) FROM rrsig WHERE {where} GROUP BY 1, 2, 3"
        )
        total, following = 0, set()
        for length, algorithm, tag, number, longest in self.reader.execute(sql, values).fetchall():
            total += number
            found[algorithm[0], int.from_bytes(tag)] += number
            if longest > at + 1 + int.from_bytes(length):
                following.add(length)
        for length in following:
            after = at + 2 + int.from_bytes(length)
            narrowed = f"{where} AND substr(rdata, {at}, 2) = ? AND length(rdata) >= {after}"
            self._count_signers(found, narrowed, (*values, length), after)
        return total
