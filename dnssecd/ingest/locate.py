"""Where in a zone file records stand: found by reading it once more, when something is wrong with what they make.

Rows keep no line numbers, since good zones need none.
"""

from collections.abc import Collection
from pathlib import Path

from dnssecd.ingest.collect import collector_paused
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.limits import DEFAULT_LIMITS, Limits
from dnssecd.ingest.reader import Context, Numbered, Reader
from dnssecd.ingest.source import Digest

#: Owner key and type.
Place = tuple[bytes, int]


def lines_of(
    path: Path, origin: bytes, places: Collection[Place], digest: Digest, limits: Limits = DEFAULT_LIMITS
) -> dict[Place, str]:
    """Return "FILE:LINE" of the last record at each of ``places``, as far as there is one.

    The file must be the one that ``digest`` was made of: none are returned if it was written since.
    """
    finder = _Finder(origin, limits, strip=True)
    finder.wanted = frozenset(places)
    try:
        with collector_paused():
            finder.read(path)
    except ZoneFileErrors:
        return {}
    return finder.found if finder.digest.digest() == digest.sha256 else {}


class _Finder(Reader):
    """Keeps no rows: each is looked at when the line after it is asked for, and dropped."""

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
