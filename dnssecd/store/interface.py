"""What the rest of dnssecd uses of a zone's store; nothing else of it may be relied on.

A store keeps one zone: its published version, the journal that led to it, named state documents, history and evidence.
Readers hold a :class:`ZoneSnapshot`. The next version is made in a :class:`ZoneTransaction`, which is committed as a
whole or not at all; there is one at a time. ``store/zonedb.py`` keeps all of it in a SQLite file.

Errors: StoreError where the store fails, OSError where the file system does.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ServedVersion, ZoneView

#: A named document of the zone's state, as JSON knows it.
State = dict[str, Any]
#: Which file a database is, whatever it is called: device and inode.
Identity = tuple[int, int]


class OldVersion(ZoneView, Protocol):
    """The version the next one starts from; ``version`` is None when there is none."""

    @property
    def version(self) -> State | None:
        """The document that says what it is."""
        ...

    def rrsigs_due(self, before: int, limit: int) -> list[tuple[bytes, int]]:
        """Return (owner, type covered) of RRSIGs that expire at or before ``before``, soonest first."""
        ...


class ZoneSnapshot(OldVersion, ServedVersion, Protocol):
    """A published version, unchanging while it is held."""

    def state(self, name: str) -> State | None:
        """Return a named state document as of this version."""
        ...

    def history(self, limit: int = 100) -> list[State]:
        """Return the newest entries of the zone's history, newest first."""
        ...

    def of_type(self, rtype: int) -> Iterator[RRset]:
        """Yield the content RRsets of a type, by owner; a walk over all content."""
        ...

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        ...

    def expirations(self, width_s: int) -> list[tuple[int, int]]:
        """Return (start, RRsets) for each span of ``width_s`` in which RRSIGs expire; starts in epoch seconds."""
        ...

    def signers(self, without: Sequence[int]) -> tuple[int, dict[tuple[int, int], int]]:
        """Return how many RRsets have RRSIGs, and how many of them each (algorithm, key tag) signed.

        RRSIGs over the types ``without`` are left out. It walks all RRSIGs.
        """
        ...

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of all RRSIGs."""
        ...

    def integrity(self) -> str:
        """Return "ok" when the store finds its files whole, else the first fault."""
        ...


class Transaction(ZoneView, Protocol):
    """The next version in the making: reads see what was written, nobody else does.

    ``generation`` rises with every write, so that a verification can be tied to exactly what it saw. ``records_delta``
    is how many records more it has than ``old``. ``touched``: the (owner, type) written, None in a first version.
    """

    generation: int
    records_delta: int
    touched: set[tuple[bytes, int]] | None

    @property
    def old(self) -> OldVersion:
        """The version it starts from."""
        ...

    def forget_reads(self) -> None:
        """Read every place from the database again: what planning read is no evidence of what was written."""
        ...

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets; the SOA is left to :meth:`close_journal`, all else is journalled.

        journalled=False is for an RRset that is written again, with its final RDATA, before the commit.
        """
        ...

    def apply_denial(self, changes: Iterable[Change]) -> None:
        """Write NSEC or NSEC3 RRsets."""
        ...

    def put_rrsigs(self, rows: Iterable[tuple[Rrsigs | None, Rrsigs, int]]) -> None:
        """Write RRSIGs given as (old, new, expiration in epoch seconds)."""
        ...

    def delete_rrsigs(self, rows: Iterable[Rrsigs]) -> None:
        """Remove RRSIGs."""
        ...

    def set_state(self, name: str, value: State) -> None:
        """Write a named state document."""
        ...

    def state(self, name: str) -> State | None:
        """Return a named state document as this transaction sees it."""
        ...

    def add_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
        """Append to the zone's history; ``at`` in epoch seconds."""
        ...

    def close_journal(
        self, at: int, old_soa: RRset | None, new_soa: RRset, serials: tuple[int, int] | None
    ) -> None:
        """Frame the difference sequence with the two SOAs; a first version has none."""
        ...

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Keep the journal within its bounds; return how many sequences went."""
        ...

    def commit_if(self, generation: int) -> None:
        """Make this the published version; StaleVersion if anything was written after ``generation``."""
        ...


class ZoneTransaction(Transaction, Protocol):
    """A transaction of a store that keeps what is committed."""

    def of_type(self, rtype: int) -> Iterator[RRset]:
        """Yield the content RRsets of a type, by owner; a walk over all content."""
        ...

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        ...

    def start_from(self, old: OldVersion) -> None:
        """Take another signer's version, which was written here before, for the version to start from."""
        ...

    def forget_journal(self) -> None:
        """Drop all difference sequences: transfers are whole ones until the next version."""
        ...

    def commit_state(self) -> None:
        """Commit state documents and history alone; StaleVersion when content was written: that takes verifying."""
        ...


class ZoneStore(Protocol):
    """The store of one zone. Snapshots may be taken in any thread; one transaction at a time."""

    def snapshot(self) -> AbstractContextManager[ZoneSnapshot]:
        """Hold the published version for reading; StoreError when too many are held already."""
        ...

    def write(self) -> AbstractContextManager[ZoneTransaction]:
        """Begin the next version; what is not committed when the block ends is rolled back."""
        ...

    def set_evidence(self, source: str, subject: str, value: State, at: int) -> None:
        """Record what was seen at a secondary or parent server."""
        ...

    def evidence(self) -> list[tuple[str, str, State, int]]:
        """Return all evidence as (source, subject, value, when)."""
        ...

    @property
    def untidy(self) -> bool:
        """Whether enough was committed for a :meth:`checkpoint` to be worth it."""
        ...

    def checkpoint(self) -> None:
        """Tidy up after commits; nobody may be writing."""
        ...
