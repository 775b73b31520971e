"""The log of a zone's versions, for several nodes that share the zone: what a log must do; ``cluster`` has one.

A log has one ordered list of records for each zone. The record at a sequence is written once and never changes. The
first append at a sequence wins, and this is the fence: a node that was paused or cut off wants a sequence that another
node has taken, and learns it from the refusal.

The records are octets here. ``store/record_codec.py`` has their form, ``store/zone_log.py`` the order of a commit.
Functions block; each has a deadline of its own, after which it raises LogUnavailable (nothing was written) or returns
InDoubt (the outcome is unknown). Any thread may call them.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec
from msgspec import Struct

from dnssecd.store.errors import StoreError

#: A record is handed over and stored in pieces of at most this many octets.
CHUNK_OCTETS_MAX = 1 << 20


class Kind(IntEnum):
    """What a record is.

    VERSION: everything that one transaction wrote. OWNERSHIP: the zone has a new owner; it has no octets. BLANK: takes
    a sequence that no other record can then get; it has no octets. SNAPSHOT: the whole database as it was after the
    record at the same sequence; it replaces that record and all before.
    """

    VERSION = 1
    OWNERSHIP = 2
    SNAPSHOT = 3
    BLANK = 4


class Position(msgspec.Struct, frozen=True):
    """A place in a zone's log: the last record that a database contains; ``sequence`` 0: none.

    digest: SHA-256 (hex) of the octets of the last record up to there that has any, "" for none.
    """

    sequence: int = 0
    epoch: int = 0
    digest: str = ""


class Effect(msgspec.Struct, frozen=True):
    """Something to do outside after the commit, once: a row of the outbox. ``key`` makes repeating it harmless."""

    kind: str
    key: str
    document: bytes


class Record(Protocol):
    """A record to append.

    ``octets``: its size; ``digest``: SHA-256 (hex) of its octets; ``effects``: for the outbox.
    """

    kind: Kind
    octets: int
    digest: str
    effects: Sequence[Effect]

    def chunks(self) -> Iterator[bytes]:
        """Yield its octets in pieces of CHUNK_OCTETS_MAX (the last may be shorter); it can be called again."""
        ...


class LogRecord(Struct, frozen=True):
    """A record as the log has it; ``node`` appended it. ``chunks``: its octets in order, to be read once, at once.

    digest: SHA-256 (hex) of the octets, "" for a record without any. A snapshot may have epoch 0: its octets have it.
    octets: how many they are, as far as it is known before they are read.
    """

    sequence: int
    epoch: int
    kind: Kind
    node: str
    digest: str
    chunks: Iterator[bytes]
    octets: int = 0


class Appended(Struct, frozen=True):
    """The record is in the log, durably."""


class Fenced(Struct, frozen=True):
    """The record is not in the log and never will be: the sequence is taken, or the epoch is over.

    ``node`` and ``epoch``: the present owner, as far as it is known ("", 0: it is not).
    """

    node: str = ""
    epoch: int = 0


class InDoubt(Struct, frozen=True):
    """The record may be in the log, or not: the connection broke while it was committed."""

    cause: str


Result = Appended | Fenced | InDoubt


class LogUnavailable(StoreError):
    """The log cannot be read or written now. Nothing was appended; the message has cause and remedy."""


class LogShorter(StoreError):
    """The log does not have the record at which a database is: the database of the log went back in time."""


class VersionLog(Protocol):
    """The log as the owner of zones uses it. ``zone``: absolute name as text, as in the configuration."""

    def append(self, zone: str, sequence: int, epoch: int, record: Record) -> Result:
        """Append a record of the owner of ``epoch``, with its effects, in one transaction.

        The same record again, after InDoubt, is Appended if it was in the log already. Raise LogUnavailable; LogShorter
        when the record before it is not in the log.
        """
        ...

    def settle(self, zone: str, sequence: int, epoch: int) -> Result:
        """Decide an append in doubt: take its sequence with a BLANK record. Raise LogUnavailable, LogShorter.

        Appended, Fenced: the log up to there is now certain, and to be read. InDoubt: try again.
        """
        ...

    def put_snapshot(self, zone: str, at: Position, record: Record) -> Result:
        """Keep a snapshot of the database as it was at ``at``; records up to there may then be dropped.

        Fenced: the log has another record there. Raise LogUnavailable.
        """
        ...


class LogReader(Protocol):
    """The log as every node reads it."""

    def read(self, zone: str, after: int, digest: str = "") -> Iterator[LogRecord]:
        """Yield the records after a sequence, in order and without a gap, up to the last.

        digest: of the last record up to there that has octets, as in Position ("": not known). A record with octets
        names it itself; if none follows at once, it is compared. Raise LogUnavailable; LogShorter when the last record
        has a lower sequence, or the log has another record than that of the digest.

        The first one is a snapshot, of any later sequence, if the record at ``after`` + 1 is no longer kept.
        """
        ...


class NodeLog(VersionLog, LogReader, Protocol):
    """The log as a node that owns some zones and follows others uses it."""
