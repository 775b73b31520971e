"""The marks of a time axis: at days, weeks, months, quarters or years, as many as can be read.  Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

#: Lines, and lines with a label, that an axis may have.
TICKS_MAX = 16
LABELS_MAX = 14
_HOURS = (1, 3, 6, 12)
_DAYS = (1, 2, 7, 14)
_MONTHS = (1, 3, 6, 12, 24, 60)


def ticks(start: int, stop: int) -> list[tuple[int, str]]:
    """Return the marks between two times (epoch s), each with its label; the finest that are at most TICKS_MAX.

    The first mark and each January have the year; not the first one if the next one has it: both would not fit.
    """
    for hours in _HOURS:
        if stop - start <= hours * 3_600 * LABELS_MAX:
            return _labelled(_every(start, stop, hours * 3_600), "%H:%M", "%d %b %H:%M", daily=True)
    for days in _DAYS:
        if stop - start <= days * 86_400 * LABELS_MAX:
            return _labelled(_every(start, stop, days * 86_400), "%d %b", "%d %b %Y")
    for months in _MONTHS:
        found = list(_months(start, stop, months))
        if len(found) <= TICKS_MAX:
            return _labelled(iter(found), "%b" if months < 12 else "%Y", "%b %Y" if months < 12 else "%Y")
    return _labelled(iter(found[:: len(found) // TICKS_MAX + 1]), "%Y", "%Y")


def _every(start: int, stop: int, step: int) -> Iterator[int]:
    # Weeks begin on Mondays: the epoch was a Thursday.
    offset = 4 * 86_400 if step % (7 * 86_400) == 0 else 0
    first = -((offset - start) // step) * step + offset if start > offset else offset
    yield from range(first, stop + 1, step)


def _months(start: int, stop: int, step: int) -> Iterator[int]:
    at = datetime.fromtimestamp(start, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at.timestamp() <= stop:
        if at.timestamp() >= start and (at.month - 1 + 12 * at.year) % step == 0:
            yield int(at.timestamp())
        at = (at + timedelta(days=32)).replace(day=1)


def _labelled(marks: Iterator[int], form: str, first: str, *, daily: bool = False) -> list[tuple[int, str]]:
    """Return marks with labels; the longer form where the year, or the day, differs from that of the mark before."""
    found: list[tuple[int, str]] = []
    before = ""
    for when in marks:
        at = datetime.fromtimestamp(when, UTC)
        unit = at.strftime("%Y-%m-%d" if daily else "%Y")
        found.append((when, at.strftime(form if unit == before else first)))
        before = unit
        if len(found) == 2 and found[1][1] == at.strftime(first):
            begin, _ = found[0]
            found[0] = begin, datetime.fromtimestamp(begin, UTC).strftime(form)
    return found
