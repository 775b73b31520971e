"""What comes as an iCalendar file (RFC 5545), to subscribe to.  Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dnssecd.page.model import Coming

TYPE = "text/calendar; charset=utf-8"
#: Entries of a file: calendars load all of it each time.
ENTRIES_MAX = 2_000
#: Octets of a line, without its end (§3.1).
LINE_MAX = 75
#: A person is reminded this long before something is to be done.
ALARM = "-PT1H"


def write_calendar(coming: Iterable[Coming], title: str, now: float, missing: str = "") -> bytes:
    """Return the file: an entry for each of the coming things, the first ENTRIES_MAX of them.

    missing: what is not known yet; it stands in the description of the calendar, as does what is left out.
    """
    every = sorted(coming, key=lambda entry: entry.at)
    entries = every[:ENTRIES_MAX]
    lacks = [missing] if missing else []
    if len(every) > len(entries):
        lacks.append(
            f"The first {len(entries)} of {len(every)} entries are shown; each zone has its own calendar."
        )
    about = _text(" ".join(lacks))
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//dnssecd//status page//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        f"NAME:{_text(title)}",
        f"X-WR-CALNAME:{_text(title)}",
        *((f"DESCRIPTION:{about}", f"X-WR-CALDESC:{about}") if about else ()),
        "REFRESH-INTERVAL;VALUE=DURATION:PT6H",
        "X-PUBLISHED-TTL:PT6H",
        *(line for entry in entries for line in _entry(entry, now)),
        "END:VCALENDAR",
    ]
    return b"".join(part + b"\r\n" for line in lines for part in _folded(line))


def _entry(entry: Coming, now: float) -> Iterator[str]:
    who = "You: " if entry.act else ""
    yield "BEGIN:VEVENT"
    yield f"UID:{hashlib.sha256(f'{entry.zone} {entry.key}'.encode()).hexdigest()[:32]}@dnssecd"
    yield f"DTSTAMP:{_moment(now)}"
    yield f"DTSTART:{_moment(entry.at)}"
    yield "DURATION:PT30M"
    yield f"SUMMARY:{_text(f'{who}{entry.zone} {entry.what}')}"
    yield f"CATEGORIES:{'PERSON' if entry.act else 'DNSSECD'}"
    yield "TRANSP:TRANSPARENT"
    if entry.act:
        yield f"DESCRIPTION:{_text(f'The time is a forecast. dnssecd status {entry.zone} has the present one.')}"
        yield "BEGIN:VALARM"
        yield "ACTION:DISPLAY"
        yield f"TRIGGER:{ALARM}"
        yield f"DESCRIPTION:{_text(f'{entry.zone} {entry.what}')}"
        yield "END:VALARM"
    yield "END:VEVENT"


def _moment(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(value: str) -> str:
    """Return a TEXT value (§3.3.11); control characters, which none may have, become spaces."""
    clean = "".join(" " if ord(char) < 32 or ord(char) == 127 else char for char in value)
    return clean.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def _folded(line: str) -> Iterator[bytes]:
    """Yield a content line in pieces of LINE_MAX octets at most; all but the first begin with a space (§3.1)."""
    piece = b""
    for char in line:
        octets = char.encode()
        if len(piece) + len(octets) > LINE_MAX:
            yield piece
            piece = b" "
        piece += octets
    yield piece
