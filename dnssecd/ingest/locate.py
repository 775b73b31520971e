"""Find the lines of records in a zone file by reading it once more, if a check of the zone reports them.

Rows have no line numbers, because a zone without faults needs none.
"""

from collections.abc import Collection
from pathlib import Path

from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.ingest.limits import DEFAULT_LIMITS, Limits
from dnssecd.ingest.reader import Context, Numbered, Reader
from dnssecd.ingest.source import Digest

#: Owner key and type.
Place = tuple[bytes, int]


def lines_of(
    path: Path, origin: bytes, places: Collection[Place], digest: Digest, limits: Limits = DEFAULT_LIMITS
) -> dict[Place, str]:
    """Return "FILE:LINE" of the last record at each of ``places`` that has one.

    The file must still be the one with ``digest``; if it was written since, nothing is returned.
    """
    finder = _Finder(origin, limits, strip=True)
    finder.wanted = frozenset(places)
    try:
        with collection_paused():
            finder.read(path)
    except ZoneFileErrors:
        return {}
    return finder.found if finder.digest.digest() == digest.sha256 else {}


class _Finder(Reader):
    """Keeps no rows: each row is checked when the next line is read, and then dropped."""

    wanted: frozenset[Place]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found: dict[Place, str] = {}

    def _lines(self, numbered: Numbered, context: Context, *, generated: bool = False) -> None:
        super()._lines(self._watched(numbered, context), context, generated=generated)

    def _watched(self, numbered: Numbered, context: Context) -> Numbered:
        for line, text in numbered:
            yield line, text
            self._look(context, line)

    def _slow(
        self, line: int, text: bytes, following: Numbered, context: Context, *, generated: bool
    ) -> None:
        super()._slow(line, text, following, context, generated=generated)
        self._look(context, line)

    def _look(self, context: Context, line: int) -> None:
        for row in self.rows:
            if row[:2] in self.wanted:
                self.found[row[:2]] = f"{context.path}:{line}"
        self.rows.clear()
