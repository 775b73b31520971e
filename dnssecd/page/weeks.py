"""Some weeks of what comes, as a table.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from dnssecd.page.model import Coming, Freeze

WEEKS = 5
DAY_S = 86_400
NAMED_MAX = 3


class Day(Struct, frozen=True):
    """A day. acts: what a person does; steps: how many rollovers begin; freeze: policies that begin none."""

    label: str
    past: bool
    today: bool
    acts: tuple[str, ...]
    acts_more: int
    steps: int
    freeze: tuple[str, ...]


class Weeks(Struct, frozen=True):
    """A span of weeks, each from Monday to Sunday (UTC)."""

    title: str
    weeks: tuple[tuple[Day, ...], ...]


@dataclass(slots=True)
class DayEntries:
    """What comes on a day. named: the first NAMED_MAX things that a person does."""

    named: list[str] = field(default_factory=list)
    acts: int = 0
    steps: int = 0


NOTHING = DayEntries()


def by_days(coming: Iterable[Coming]) -> dict[int, DayEntries]:
    """Return what comes by day, counted from 1970 (UTC)."""
    days: dict[int, DayEntries] = {}
    for entry in coming:
        day = days.setdefault(entry.at // DAY_S, DayEntries())
        if not entry.act:
            day.steps += 1
            continue
        day.acts += 1
        if len(day.named) < NAMED_MAX:
            day.named.append(f"{entry.zone} {entry.what}")
    return days


def make_weeks(coming: Mapping[int, DayEntries], freezes: Sequence[Freeze], now: float, span: int) -> Weeks:
    """Return WEEKS weeks: span 0 begins with the present one, span 1 after these, and so on. coming: by_days."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=today.weekday()) + timedelta(weeks=WEEKS * span)
    begin = int(first.timestamp()) // DAY_S
    days = [
        _day(first + timedelta(days=at), coming.get(begin + at, NOTHING), freezes, today)
        for at in range(WEEKS * 7)
    ]
    last = first + timedelta(days=WEEKS * 7 - 1)
    weeks = tuple(tuple(days[at : at + 7]) for at in range(0, len(days), 7))
    return Weeks(f"{first:%-d %B %Y} to {last:%-d %B %Y}", weeks)


def _day(start: datetime, entries: DayEntries, freezes: Sequence[Freeze], today: datetime) -> Day:
    begin = start.timestamp()
    frozen = dict.fromkeys(
        freeze.policy for freeze in freezes if freeze.start < begin + DAY_S and freeze.stop > begin
    )
    return Day(
        label=f"{start:%-d %b}" if start.day == 1 or start.weekday() == 0 else str(start.day),
        past=start < today,
        today=start == today,
        acts=tuple(entries.named),
        acts_more=entries.acts - len(entries.named),
        steps=entries.steps,
        freeze=tuple(frozen),
    )
