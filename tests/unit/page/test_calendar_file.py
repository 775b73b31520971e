"""The calendar file against RFC 5545, read by a reader of its own."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dnssecd.page.calendar_file import ENTRIES_MAX, LINE_MAX, write_calendar
from dnssecd.page.model import Coming

from .samples import HOSTILE, NOW

LINE = re.compile(r"[A-Z-]+(?:;[A-Z-]+=[^:;\x00-\x1f]+)*:[^\x00-\x1f\x7f]*")


def content_lines(file: bytes) -> list[str]:
    """The unfolded lines (§3.1); fails where a line is too long or ends otherwise."""
    assert file.endswith(b"\r\n")
    raw = file.split(b"\r\n")[:-1]
    assert all(len(line) <= LINE_MAX and b"\n" not in line and b"\r" not in line for line in raw)
    assert all(line.decode() for line in raw)  # no character is cut in two
    lines = file.replace(b"\r\n ", b"").decode().split("\r\n")[:-1]
    for line in lines:
        assert LINE.fullmatch(line), line
    return lines


def unescaped(value: str) -> str:
    assert re.fullmatch(r"(?:[^\\;,]|\\[\\;,nN])*", value), value
    return re.sub(r"\\(.)", r"\1", value)


def entry(what: str = "hand over the DS", act: bool = True, key: str = "k", at: int = int(NOW)) -> Coming:
    return Coming(at=at, zone="a.test.", what=what, act=act, key=key)


def test_a_calendar_of_an_act_and_a_step() -> None:
    lines = content_lines(write_calendar([entry(), entry(act=False, key="l")], "all", NOW))
    assert lines[:3] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//dnssecd//status page//EN"]
    assert lines[-1] == "END:VCALENDAR"
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == 2
    assert lines.count("BEGIN:VALARM") == lines.count("END:VALARM") == 1
    assert "DTSTART:20261130T005320Z" in lines
    assert "SUMMARY:You: a.test. hand over the DS" in lines
    uids = [line for line in lines if line.startswith("UID:")]
    assert len(set(uids)) == 2


def test_an_entry_keeps_its_name_when_its_time_changes() -> None:
    def uid(at: int) -> str:
        (line,) = [
            line for line in content_lines(write_calendar([entry(at=at)], "", NOW)) if line[:4] == "UID:"
        ]
        return line

    assert uid(int(NOW)) == uid(int(NOW) + 99)


@given(st.text(), st.text(max_size=300))
def test_any_text_makes_a_well_formed_file(what: str, title: str) -> None:
    lines = content_lines(write_calendar([entry(what)], title, NOW))
    (summary,) = [line for line in lines if line.startswith("SUMMARY:")]
    shown = unescaped(summary.removeprefix("SUMMARY:"))
    clean = "".join(" " if ord(char) < 32 or ord(char) == 127 else char for char in what)
    assert shown == f"You: a.test. {clean}"


def test_no_line_of_a_stranger_becomes_a_line_of_the_file() -> None:
    lines = content_lines(write_calendar([entry(HOSTILE + "\r\nATTACH:file:///etc/passwd")], HOSTILE, NOW))
    assert not [line for line in lines if line.startswith(("ATTACH", "Set-Cookie"))]


def test_the_file_is_bounded() -> None:
    file = write_calendar([entry(key=str(number)) for number in range(ENTRIES_MAX + 50)], "", NOW)
    assert file.count(b"BEGIN:VEVENT") == ENTRIES_MAX
    (about,) = [line for line in content_lines(file) if line.startswith("DESCRIPTION:The first")]
    assert "The first 2000 of 2050 entries are shown" in about


def test_a_calendar_says_what_is_not_known_yet() -> None:
    known = "Not complete yet: 3 of 10 zones are known."
    lines = content_lines(write_calendar([entry()], "all", NOW, known))
    assert f"X-WR-CALDESC:{known}" in lines
    assert "X-WR-CALDESC" not in "".join(content_lines(write_calendar([entry()], "all", NOW)))
