"""A view with a cache: planning and verifying a change read the same few names many times.

The cache contains only data read from the database through this view, never data that is written. A write drops entries
that it makes stale. Verification starts with an empty cache, so it checks the database and not what planning saw.

One statement reads what several questions ask for: :meth:`RememberedView.read_ahead` everything at many names, and
a question about one place of the denial chain its neighbours, too.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, rrset_of, rrsigs_of
from dnssecd.store.view import SqliteView

#: Maximum number of cached entries of one kind; then all are dropped, so that reading a large zone needs little memory.
PLACES_MAX = 2_048
#: How many names a statement of ``read_ahead`` has: one of few numbers, so that SQLite seldom compiles one.
AHEAD_NAMES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: At most this many names are read ahead: others are read when they are asked for.
AHEAD_MAX = 1_024

_CONTENT, _DENIAL, _RRSIGS = range(3)
_AROUND = (
    "SELECT * FROM (SELECT owner, rtype, ttl, rdata FROM denial WHERE owner < ?1 ORDER BY owner DESC LIMIT 1) "
    "UNION ALL SELECT * FROM (SELECT owner, rtype, ttl, rdata FROM denial WHERE owner >= ?1 ORDER BY owner LIMIT 2)"
)


@cache
def _ahead_sql(names: int) -> str:
    """Return the statement that reads content, denial and RRSIGs at this number of names."""
    owners = ", ".join(f"?{number}" for number in range(1, names + 1))
    return " UNION ALL ".join(
        f"SELECT {part}, owner, {rtype}, ttl, rdata FROM {table} WHERE owner IN ({owners})"  # noqa: S608
        for part, table, rtype in (
            (_CONTENT, "rrset", "rtype"),
            (_DENIAL, "denial", "rtype"),
            (_RRSIGS, "rrsig", "covered"),
        )
    )


@cache
def _neighbours_sql(places: int) -> str:
    """Return the statement that gives, for this number of places of the chain, the owner keys before and after each."""
    values = ", ".join(f"(?{number})" for number in range(1, places + 1))
    return (
        f"WITH place(at) AS (VALUES {values}) SELECT DISTINCT at, "  # noqa: S608
        "(SELECT owner FROM denial WHERE owner < at ORDER BY owner DESC LIMIT 1), "
        "(SELECT owner FROM denial WHERE owner > at ORDER BY owner LIMIT 1) FROM place"
    )


def _parts(names: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the names that one statement takes."""
    for start in range(0, len(names), AHEAD_NAMES[-1]):
        yield names[start : start + AHEAD_NAMES[-1]]


def _size(names: list[bytes]) -> int:
    return AHEAD_NAMES[bisect_left(AHEAD_NAMES, len(names))]


def _filled(names: list[bytes]) -> list[bytes]:
    """Return as many names as the statement takes, the last one repeatedly."""
    return names + names[-1:] * (_size(names) - len(names))


class RememberedView(SqliteView):
    """A cached view of a version that changes only through this object."""

    #: The verifier needs no cache of its own.
    remembers = True

    def __init__(self, connection: sqlite3.Connection, origin: bytes) -> None:
        super().__init__(connection, origin)
        self.forget_reads()

    def forget_reads(self) -> None:
        """Empty the cache. Call it before verification."""
        self._content: dict[bytes, list[RRset]] = {}
        self._signatures: dict[bytes, list[Rrsigs]] = {}
        self._forget_links()

    def _forget_links(self) -> None:
        self._links: dict[bytes, RRset | None] = {}
        #: The last link before an owner key, and the first one at or after a key.
        self._before: dict[bytes, RRset | None] = {}
        self._from: dict[bytes, RRset | None] = {}

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Read what is at these names with a few statements; those that are asked for later need none.

        links: owner keys of the denial chain whose neighbours are wanted, too.
        """
        content, signatures, chain = self._content, self._signatures, self._links
        places = [place for place in dict.fromkeys(islice(links, AHEAD_MAX)) if place not in self._before]
        found = self._neighbours(places)
        names: dict[bytes | None, None] = dict.fromkeys(islice(owners, AHEAD_MAX))
        for around in found:
            names.update(dict.fromkeys(around))
        unknown = [
            name
            for name in names
            if name is not None and not (name in content and name in signatures and name in chain)
        ]
        if not unknown and not found:
            return
        if self._largest() + len(unknown) > PLACES_MAX:
            return
        for part in _parts(unknown):
            self._read_names(part)
        for place, before, after in found:
            self._place_link(place, before, after)

    def _largest(self) -> int:
        return max(len(self._content), len(self._signatures), len(self._links))

    def _neighbours(self, places: list[bytes]) -> list[tuple[bytes, bytes | None, bytes | None]]:
        """Return places with the owner keys of the links before and after them."""
        found: list[tuple[bytes, bytes | None, bytes | None]] = []
        for part in _parts(places):
            found += self.reader.execute(_neighbours_sql(_size(part)), _filled(part)).fetchall()
        return found

    def _read_names(self, owners: list[bytes]) -> None:
        rows = sorted(self.reader.execute(_ahead_sql(_size(owners)), _filled(owners)))
        for owner in owners:
            self._content[owner], self._signatures[owner], self._links[owner] = [], [], None
        for part, *row in rows:
            if part == _CONTENT:
                self._content[row[0]].append(rrset_of(row))
            elif part == _DENIAL:
                self._links[row[0]] = rrset_of(row)
            else:
                self._signatures[row[0]].append(rrsigs_of(row))

    def _place_link(self, place: bytes, before: bytes | None, after: bytes | None) -> None:
        """Note what comes before and after a place of the chain; the links themselves were read."""
        own = self._links[place]
        last = None if before is None else self._links[before]
        following = None if after is None else self._links[after]
        self._before[place], self._from[place] = last, own or following
        self._from[place + b"\x00"] = following
        if before is not None:
            self._from[before + b"\x00"] = own or following
        if after is not None:
            self._before[after] = own or last

    def rrset(self, owner: bytes, rtype: int) -> RRset | None:
        """Return one content RRset."""
        if owner != APEX and owner not in self._content:
            return super().rrset(owner, rtype)
        return next((found for found in self._at(owner) if found.rtype == rtype), None)

    def rrsets_at(self, owner: bytes) -> list[RRset]:
        """Return the content RRsets at a name, by type."""
        return list(self._at(owner))

    def _at(self, owner: bytes) -> list[RRset]:
        found = self._content.get(owner)
        if found is None:
            self._read_one(owner)
            found = self._content[owner]
        return found

    def _read_one(self, owner: bytes) -> None:
        """Read all that is at a name: who asks for its content asks for its signatures next."""
        if self._largest() >= PLACES_MAX:
            self.forget_reads()
        self._read_names([owner])

    def denial(self, owner: bytes) -> RRset | None:
        """Return the NSEC or NSEC3 RRset whose own owner is ``owner``."""
        if owner not in self._links:
            self._look_around(owner)
        return self._links[owner]

    def denial_before(self, owner: bytes) -> RRset | None:
        """Return the last denial RRset with an owner < ``owner``, not wrapping around."""
        if owner not in self._before:
            self._look_around(owner)
        return self._before[owner]

    def denial_from(self, owner: bytes) -> RRset | None:
        """Return the first denial RRset with an owner >= ``owner``, not wrapping around."""
        if owner not in self._from:
            # No owner key ends in two zero octets: this asks for what comes after the key before the last of them.
            after = owner.endswith(b"\x00\x00")
            self._look_around(owner[:-1] if after else owner)
        return self._from[owner]

    def _look_around(self, place: bytes) -> None:
        """Read the link at a place, if there is one, and those before and after it."""
        if len(self._from) >= PLACES_MAX:
            self._forget_links()
        rows = [rrset_of(row) for row in self.reader.execute(_AROUND, (place,))]
        before = rows.pop(0) if rows and rows[0].owner < place else None
        self._links[place] = rows.pop(0) if rows and rows[0].owner == place else None
        for link in (before, *rows):
            if link is not None:
                self._links[link.owner] = link
        self._place_link(place, before and before.owner, rows[0].owner if rows else None)

    def rrsigs_at(self, owner: bytes) -> list[Rrsigs]:
        """Return all RRSIGs at a name, by type covered."""
        found = self._signatures.get(owner)
        if found is None:
            self._read_one(owner)
            found = self._signatures[owner]
        return list(found)

    def rrsigs(self, owner: bytes, covered: int) -> Rrsigs | None:
        """Return the RRSIGs over one RRset."""
        if owner not in self._signatures:
            return super().rrsigs(owner, covered)
        return next((found for found in self._signatures[owner] if found.covered == covered), None)
