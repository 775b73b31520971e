"""What can go wrong in the store; the message says whose fault it is and what to do."""

import msgspec

#: What decoding raises where a row of a damaged database is not what we wrote.
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
    """SQLite could not do it: a full disk, a lock, a file it may not open. What is stored may be good."""


class DatabaseDamaged(DatabaseFailed):
    """The file is not a database, or its content is damaged."""


class SchemaTooNew(StoreError):
    """The database was written by a newer dnssecd; it is left untouched."""


class WrongZone(StoreError):
    """The database is that of another zone; it is left untouched."""


class JournalGap(StoreError):
    """The journal does not lead from the serial asked for to the present version."""


class StaleVersion(StoreError):
    """The transaction changed after its content was verified; it cannot be committed."""
