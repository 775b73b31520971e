"""Collect what a transaction writes as a log record, in bounded memory: a large one is spooled to a file.

The file has no name (or is removed with the transaction), has mode 0600, and is in the directory of the database: a
disk that is too full for it is too full for the version.
"""

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from dnssecd.store.errors import StoreError
from dnssecd.store.record_codec import (
    MAGIC,
    PLAIN,
    RECORD_OCTETS_MAX,
    VERSION,
    ZLIB,
    Header,
    build_frame,
    frames_of,
)
from dnssecd.store.version_log import CHUNK_OCTETS_MAX, Effect, Kind
from dnssecd.store.writes import Operation, Row

#: A record that is smaller is not compressed: a few octets saved are not worth the time of an update.
COMPRESS_OCTETS = 1 << 10
#: A record is compressed while it is made once this much of it waits.
STREAM_OCTETS = 64 << 10
MEMORY_OCTETS_MAX = CHUNK_OCTETS_MAX
#: RRSIGs do not compress at any level; names and journals do at the first.
LEVEL = 1


class SpooledRecord:
    """A finished record (store.version_log.Record); :meth:`close` releases its memory or file."""

    def __init__(
        self,
        kind: Kind,
        spool: "tempfile.SpooledTemporaryFile[bytes]",
        octets: int,
        digest: str,
        effects: Sequence[Effect],
    ) -> None:
        self.kind, self.octets, self.digest, self.effects = kind, octets, digest, effects
        self._spool = spool

    def chunks(self) -> Iterator[bytes]:
        """Yield its octets in pieces of CHUNK_OCTETS_MAX; it can be called again, not in parallel."""
        self._spool.seek(0)
        while chunk := self._spool.read(CHUNK_OCTETS_MAX):
            yield chunk

    def close(self) -> None:
        """Release it."""
        self._spool.close()


class Recorder:
    """Takes operations in order (store.writes.Recording) and makes the record of them. Raise OSError, StoreError."""

    def __init__(self, header: Header, directory: Path) -> None:
        """Start a record; a large one is in ``directory``."""
        self._header = header
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            MEMORY_OCTETS_MAX, dir=str(directory)
        )
        self._hash = sha256()
        self._octets = self._plain = 0
        self._waiting = bytearray()
        self._compressor: zlib._Compress | None = None
        self._count = 0
        self.effects: list[Effect] = []

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return self._count == 0

    def add(self, operation: Operation, rows: Sequence[Row]) -> None:
        """Take one operation."""
        if not self._count:
            self._frame(build_frame(self._header))
        for frame in frames_of(operation, rows):
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        self._count += 1
        self._plain += len(frame)
        if self._plain > RECORD_OCTETS_MAX:
            raise StoreError("the version is too large for the log of the cluster; nothing was published")
        self._waiting += frame
        if len(self._waiting) >= STREAM_OCTETS:
            if self._compressor is None:
                self._compressor = self._begin(ZLIB)
            assert self._compressor is not None
            self._put(self._compressor.compress(self._waiting))
            self._waiting.clear()

    def _begin(self, form: int) -> "zlib._Compress | None":
        self._put(MAGIC + bytes((VERSION, form)))
        return zlib.compressobj(LEVEL) if form == ZLIB else None

    def _put(self, octets: bytes | bytearray) -> None:
        self._spool.write(octets)
        self._hash.update(octets)
        self._octets += len(octets)

    def finish(self) -> SpooledRecord:
        """Return the record; nothing can be added after that. The caller closes it."""
        if not self._count:
            self._frame(build_frame(self._header))
        self._waiting += build_frame(self._count)
        if self._compressor is None:
            self._compressor = self._begin(ZLIB if len(self._waiting) >= COMPRESS_OCTETS else PLAIN)
        if self._compressor is None:
            self._put(self._waiting)
        else:
            self._put(self._compressor.compress(self._waiting) + self._compressor.flush())
        return SpooledRecord(
            self._header.kind, self._spool, self._octets, self._hash.hexdigest(), tuple(self.effects)
        )

    def close(self) -> None:
        """Release memory and file; a finished record can no longer be read."""
        self._spool.close()
        self._waiting.clear()
