"""The interface of a zone's store; other packages use nothing else of it.

A store contains one zone: its published version, the journal to it, named state documents, history and evidence.
Readers hold a :class:`ZoneSnapshot`. The next version is built in a :class:`ZoneTransaction`, which is committed
completely or not at all; there is one at a time. ``store/zonedb.py`` stores all of it in a SQLite file.

Errors: StoreError for a failure of the store, OSError for one of the file system.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import JournalChunk, ServedVersion, ZoneView
from dnssecd.store.recorder import SpooledRecord
from dnssecd.store.version_log import LogRecord, Position

#: A named document of the zone's state, a JSON object.
State = dict[str, Any]
#: What was seen at a server: source, subject, value, when (epoch seconds).
EvidenceRow = tuple[str, str, State, int]
#: The identity of a database file, independent of its name: device and inode.
Identity = tuple[int, int]


class JournalRow(NamedTuple):
    """A difference sequence without its RRs: the SOAs as RDATA, and how many octets the RRs have."""

    sequence: int
    from_serial: int
    to_serial: int
    old_soa: bytes
    old_soa_ttl: int
    new_soa: bytes
    new_soa_ttl: int
    octets: int


class LogSizes(NamedTuple):
    """Octets of a store's database, and of its write-ahead log.

    The log is reused from its start after all of it was moved into the database and no snapshot is held.
    """

    database: int
    log: int


class OldVersion(ZoneView, Protocol):
    """The version from which the next one starts; ``version`` is None for an empty store."""

    @property
    def version(self) -> State | None:
        """The document that describes the version."""
        ...

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Read what is at these names in few trips, if the view remembers what it reads: a hint, of any names.

        links: owner keys of the denial chain whose neighbours are wanted, too.
        """
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
        """Yield the content RRsets of a type, by owner; reads all content."""
        ...

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        ...

    def expirations(self, width_s: int) -> list[tuple[int, int]]:
        """Return (start, RRsets) for each span of ``width_s`` in which RRSIGs expire; starts in epoch seconds."""
        ...

    def signers(self, without: Sequence[int]) -> tuple[int, dict[tuple[int, int], int]]:
        """Return how many RRsets have RRSIGs, and how many of them each (algorithm, key tag) signed.

        RRSIGs over the types ``without`` are omitted. Reads all RRSIGs.
        """
        ...

    @property
    def position(self) -> Position:
        """The position of this version in the zone's log; sequence 0: it has none."""
        ...

    def record(self, node: str, directory: Path) -> SpooledRecord:
        """Return the whole database as a log record, made by ``node``; the caller closes it. Raise StoreError, OSError.

        directory: where a large one is spooled.
        """
        ...

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of all RRSIGs."""
        ...

    def steps(self) -> list[JournalRow]:
        """Return all difference sequences, without their RRs, in order."""
        ...

    def step_chunks(self) -> Iterator[tuple[int, JournalChunk]]:
        """Yield (sequence, chunk) of all RRs of difference sequences."""
        ...

    def integrity(self) -> str:
        """Return "ok" when the store finds its files intact, else the first fault."""
        ...


class Transaction(ZoneView, Protocol):
    """The next version, being built: its reads see its writes; other readers do not.

    ``generation`` increases with every write, so that a verification refers to exactly one state. ``records_delta``:
    how many more records it has than ``old``. ``touched``: the (owner, type) written, None in a first version.
    """

    generation: int
    records_delta: int
    touched: set[tuple[bytes, int]] | None

    @property
    def old(self) -> OldVersion:
        """The version from which it starts."""
        ...

    def forget_reads(self) -> None:
        """Drop cached reads, so that verification reads the database and not what planning saw."""
        ...

    def read_ahead(self, owners: Iterable[bytes], links: Iterable[bytes] = ()) -> None:
        """Read what is at these names in few trips, if the view remembers what it reads: a hint, of any names.

        links: owner keys of the denial chain whose neighbours are wanted, too.
        """
        ...

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets and journal them, except the SOA (see :meth:`close_journal`).

        journalled=False: for an RRset that is written again, with its final RDATA, before the commit.
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
        """Add the two SOAs to the difference sequence; a first version has no sequence."""
        ...

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Remove the oldest sequences until the journal is within its limits; return how many were removed."""
        ...

    def commit_if(self, generation: int) -> None:
        """Make this the published version. Raise StaleVersion if anything was written after ``generation``."""
        ...


class ZoneTransaction(Transaction, Protocol):
    """A transaction of a durable store."""

    def of_type(self, rtype: int) -> Iterator[RRset]:
        """Yield the content RRsets of a type, by owner; reads all content."""
        ...

    def earliest_expiration(self) -> int | None:
        """Return the earliest expiration of any RRSIG in the zone, epoch seconds; None without RRSIGs."""
        ...

    def signers(self, without: Sequence[int]) -> tuple[int, dict[tuple[int, int], int]]:
        """Return how many RRsets have RRSIGs, and how many each (algorithm, key tag) signed, as a snapshot does."""
        ...

    def put_evidence(self, rows: Iterable[EvidenceRow]) -> None:
        """Write what was seen at servers, committed with the rest. It is of this host: no log gets it."""
        ...

    def start_from(self, old: OldVersion) -> None:
        """Start from another signer's version, which was written in this transaction before."""
        ...

    def forget_journal(self) -> None:
        """Drop all difference sequences: transfers are AXFR until the next version."""
        ...

    @property
    def epoch(self) -> int | None:
        """The number of the ownership under which this node writes the zone; None without a log."""
        ...

    def commit_state(self) -> None:
        """Commit state documents and history only. Raise StaleVersion if content was written: it must be verified."""
        ...


class ReplayedVersion(ZoneView, Protocol):
    """A record of the zone's log that is replayed: its reads see its writes; other readers do not.

    ``changed``: (owner, type) of the content written; ``touched``: (owner, type) of denial RRsets and (owner, type
    covered) of RRSIGs. ``documents``: names of the state documents written. ``replaced``: the record is a snapshot,
    which replaced the whole database. ``position``: of the database in its log, as of this transaction.
    """

    generation: int
    changed: set[tuple[bytes, int]]
    touched: set[tuple[bytes, int]]
    documents: set[str]
    replaced: bool
    position: Position

    @property
    def old(self) -> OldVersion:
        """The previous version."""
        ...

    @property
    def written(self) -> bool:
        """Whether content, denial or RRSIGs were written: then it must be verified."""
        ...

    def apply(self, record: LogRecord) -> None:
        """Write the rows of the next record. Raise BadRecord, RecordTooNew, StoreError."""
        ...

    def state(self, name: str) -> State | None:
        """Return a named state document as this transaction sees it."""
        ...

    def old_state(self, name: str) -> State | None:
        """Return a named state document as it was before the record."""
        ...

    def steps(self) -> list[JournalRow]:
        """Return the difference sequences that the record brought, in order."""
        ...

    def step_chunks(self) -> Iterator[tuple[int, JournalChunk]]:
        """Yield (sequence, chunk) of all RRs of difference sequences that the record brought."""
        ...

    def rrsig_dates(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        """Yield (owner, type covered, packed RDATA, noted expiration) of the RRSIGs that the record wrote."""
        ...

    def forget_reads(self) -> None:
        """Drop cached reads."""
        ...

    def commit_state(self) -> None:
        """Commit a record that wrote no content. Raise StaleVersion if it did."""
        ...

    def commit_if(self, generation: int) -> None:
        """Make this the published version. Raise StaleVersion if anything was written after ``generation``."""
        ...


class ZoneStore(Protocol):
    """The store of one zone. Snapshots may be taken in any thread; one transaction at a time."""

    def snapshot(self) -> AbstractContextManager[ZoneSnapshot]:
        """Hold the published version for reading. Raise StoreError when too many are held."""
        ...

    def write(self) -> AbstractContextManager[ZoneTransaction]:
        """Start the next version; uncommitted writes are rolled back at the end of the block."""
        ...

    def replaying(self) -> AbstractContextManager[ReplayedVersion]:
        """Start the version of a log record; uncommitted writes are rolled back at the end of the block."""
        ...

    def set_evidence(self, rows: Iterable[EvidenceRow]) -> None:
        """Record what was seen at secondaries and parent servers, in one commit."""
        ...

    def evidence(self) -> list[EvidenceRow]:
        """Return all evidence."""
        ...

    @property
    def untidy(self) -> bool:
        """Whether enough was committed to make a :meth:`checkpoint` useful."""
        ...

    def checkpoint(self) -> None:
        """Move the log into the database; no transaction may be open."""
        ...

    def log_sizes(self) -> LogSizes:
        """Return the sizes of database and log. Raise OSError."""
        ...

    def cut_log(self) -> bool:
        """Truncate the log; return False if a snapshot prevents it. No transaction may be open."""
        ...
