"""The octets of large records and of snapshots: in pieces, never all in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID, uuid4

from dnssecd.cluster.database import Database, Session
from dnssecd.cluster.errors import ClusterError
from dnssecd.store.record_codec import RECORD_OCTETS_MAX, BadRecord
from dnssecd.store.version_log import CHUNK_OCTETS_MAX

#: A record up to this size stands in its row.
INLINE_MAX = CHUNK_OCTETS_MAX
_PUT = "INSERT INTO chunk (upload, part, body) VALUES (%s, %s, %s)"
_GET = """
SELECT CASE WHEN octet_length(body) <= %s THEN body END FROM chunk WHERE upload = %s AND part = %s
"""


class Stored(NamedTuple):
    """Where octets are: in ``body``, or in the chunks of an upload. A body of None is too large for a record."""

    octets: int
    upload: UUID | None
    body: bytes | None


def upload(session: Session, parts: Iterable[bytes]) -> UUID:
    """Write octets as chunks, in the open transaction; return their name."""
    name = uuid4()
    for number, part in enumerate(parts):
        session.execute(_PUT, (name, number, part))
    return name


def read(database: Database, stored: Stored) -> Iterator[bytes]:
    """Yield the octets in pieces. Raise ClusterError when a piece is missing, BadRecord for what no node writes."""
    if stored.upload is None:
        if stored.body is None:
            raise BadRecord(f"a record has more than {INLINE_MAX} octets in its row")
        if stored.body:
            yield stored.body
        return
    if stored.octets > RECORD_OCTETS_MAX:
        raise BadRecord(f"a record has {stored.octets} octets")
    left, part = stored.octets, 0
    while left > 0:
        with database.session() as session:
            row = session.execute(_GET, (CHUNK_OCTETS_MAX, stored.upload, part), binary=True).fetchone()
        if row is None:
            raise ClusterError(
                f"part {part} of a record is not in the log",
                "if the record was replaced by a snapshot meanwhile, it is read again; else check the database's disk",
            )
        if row[0] is None or not 0 < len(row[0]) <= left:
            raise BadRecord(f"part {part} of a record is empty, or longer than it can be")
        yield row[0]
        left, part = left - len(row[0]), part + 1
