"""The version from which a transaction starts, as planning and verification see it."""

import json
import sqlite3
from collections.abc import Callable, Iterator

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.store.errors import StoreError
from dnssecd.store.interface import State
from dnssecd.store.remembered import RememberedView
from dnssecd.store.snapshot import Snapshot

#: The documents that every version needs, and the number of the last difference sequence under the name "".
_START = (
    "SELECT name, value FROM state WHERE name IN ('version', 'keyset') "
    "UNION ALL SELECT '', coalesce(max(sequence), 0) FROM journal"
)


#: Whether there is any zone data: a database may have rows without a version only if something is wrong with it.
_ANYTHING = (
    "SELECT EXISTS (SELECT 1 FROM rrset) OR EXISTS (SELECT 1 FROM denial) OR EXISTS (SELECT 1 FROM rrsig)"
)


class Documents:
    """State documents of one database, decoded once while their text stays the same. They must not be changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, State]] = {}

    def decode(self, name: str, text: str) -> State:
        """Return a document by its text."""
        known = self._known.get(name)
        if known is None or known[0] != text:
            known = self._known[name] = text, json.loads(text)
        return known[1]


class OldVersionView(RememberedView):
    """Reads through the writing connection until the transaction writes, then through a snapshot, if it must.

    The writing connection has the pages of the last commits in its cache; a snapshot reads them from the disk. A small
    change reads all it needs before anything is written, so that most transactions need no snapshot.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        origin: bytes,
        documents: "Documents",
        open_snapshot: Callable[[], Snapshot],
    ) -> None:
        """documents: reads state documents; open_snapshot: holds the published version until the transaction ends."""
        super().__init__(connection, origin)
        self._writer: sqlite3.Connection | None = connection
        self._open_snapshot = open_snapshot
        self._snapshot: Snapshot | None = None
        self._ended = False
        #: State documents as stored when the transaction began; None: there is none.
        self.documents: dict[str, State | None] = {"version": None, "keyset": None}
        for name, value in connection.execute(_START):
            if name:
                self.documents[name] = documents.decode(name, value)
            else:
                self.sequence = int(value)
        self.version = self.documents["version"]
        #: Nothing is stored, so a walk finds nothing: a first version needs no snapshot, which is another connection.
        self._nothing = self.version is None and not connection.execute(_ANYTHING).fetchone()[0]

    def overtaken(self) -> None:
        """Read nothing more through the writing connection: the transaction begins to write."""
        self._writer = None

    def end(self) -> None:
        """Read nothing more: the transaction was committed."""
        self._ended = True

    @property
    def reader(self) -> sqlite3.Connection:
        """The connection that reads it now."""
        return self._writer or self._held().reader

    def _held(self) -> Snapshot:
        if self._ended:
            raise StoreError("the transaction has ended; its old version is gone")
        if self._snapshot is None:
            self._snapshot = self._open_snapshot()
        return self._snapshot

    # A walk may continue while the transaction writes.

    def scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield content RRsets with start <= owner < stop, ordered by (owner, type)."""
        return iter(()) if self._nothing else self._held().scan(start, stop)

    def denial_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[RRset]:
        """Yield denial RRsets with start <= owner < stop, in order."""
        return iter(()) if self._nothing else self._held().denial_scan(start, stop)

    def rrsig_scan(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[Rrsigs]:
        """Yield RRSIGs with start <= owner < stop, ordered by (owner, type covered)."""
        return iter(()) if self._nothing else self._held().rrsig_scan(start, stop)
