"""Errors of the store; the message has the cause and the remedy."""

import msgspec

#: Exceptions of decoding a row of a damaged database.
DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    msgspec.MsgspecError,
)


class StoreError(Exception):
    """The zone database could not be read or written."""


class DatabaseFailed(StoreError):
    """SQLite failed: a full disk, a lock, missing permission. The stored data may be intact."""


class DatabaseDamaged(DatabaseFailed):
    """The file is not a database, or its content is damaged."""


class SchemaTooNew(StoreError):
    """The database was written by a newer dnssecd; it was not changed."""


class WrongZone(StoreError):
    """The database belongs to another zone; it was not changed."""


class JournalGap(StoreError):
    """The journal has a gap between the requested serial and the current version."""


class StaleVersion(StoreError):
    """The transaction changed after its content was verified; it cannot be committed."""


class LogError(StoreError):
    """A version was not committed because of the zone's log; the previous one is still served."""


class NotOwner(LogError):
    """Another node of the cluster owns the zone."""


class LogTroubled(LogError):
    """The commit of the record ``sequence`` of ownership ``epoch`` failed in a way that the daemon must settle."""

    def __init__(self, zone: str, sequence: int, epoch: int, cause: str) -> None:
        super().__init__(f"{zone}: record {sequence} {cause}")
        self.sequence, self.epoch = sequence, epoch


class LogFenced(LogTroubled):
    """The log refused the record, finally: another node owns the zone now. Nothing was committed."""


class LogInDoubt(LogTroubled):
    """It is unknown whether the record is in the log. Nothing is decided for the zone before the log was read."""


class LogBehind(LogTroubled):
    """The record is in the log, but the local database could not be written: it is replayed from the log."""
