"""docs/operations.md is what people read at night: it must name every event, and say of it what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dnssecd.durations import format_duration
from dnssecd.ops.alerts import words
from dnssecd.ops.alerts.first_look import FIRST_LOOK
from dnssecd.ops.alerts.lifecycle import REMIND_S, SETTLE_S
from dnssecd.ops.event_kinds import EVENT_KINDS

TEXT = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
SECTIONS = dict(re.findall(r"^### ([a-z0-9-]+)\n(.*?)(?=^### |\Z)", TEXT, re.S | re.M))

#: The commands there are: what a text advises at 3 a.m. must exist.
COMMANDS = re.compile(
    r"dnssecd (?:status|explain|schedule|plan|check-config|backup|restore"
    r"|config (?:diff|reload)"
    r"|zone (?:list|show|add|remove|approve|reject|reload|restore|history|export|wait|move|owner)"
    r"|key (?:list|import|generate|audit|rollover|compromised|lost|backup|export|trash|consent)"
    r"|keystore (?:list|test|bench)"
    r"|ksr (?:export|sign)|skr import"
    r"|cluster (?:init|check)|node (?:list|drain|resume|key)"
    r"|anchors (?:show|export|check)"
    r"|ds (?:show|check|confirm)|clock confirm|alerts (?:list|test|ack)|migrate (?:check|adopt))\b"
)


def test_every_event_and_no_other_is_described_in_order() -> None:
    assert list(SECTIONS) == list(EVENT_KINDS)
    assert set(FIRST_LOOK) == set(EVENT_KINDS), "ops/alerts/first_look.py"
    table = re.findall(r"^\| \[`([a-z0-9-]+)`\]\(#\1\) \| (\w+) \|", TEXT, re.M)
    assert dict(table) == {kind.name: kind.severity for kind in EVENT_KINDS.values()}
    assert len(table) == len(EVENT_KINDS)


@pytest.mark.parametrize("name", EVENT_KINDS)
def test_a_section_says_what_the_program_says(name: str) -> None:
    kind, section = EVENT_KINDS[name], SECTIONS[name]
    flat = " ".join(section.split())
    muted = "" if kind.mutable else ", cannot be muted"
    assert f"*{kind.severity}{muted}.* {words.sentence(kind.meaning)}" in flat
    assert f"**Effect:** {kind.effect}" in flat
    for command in FIRST_LOOK[name]:
        assert f"\n    {command}\n" in section
    _, _, to_do = section.partition("\nTo do:\n")
    assert re.search(r"^1\. \S", to_do, re.M)


@pytest.mark.parametrize("name", EVENT_KINDS)
def test_what_is_advised_exists(name: str) -> None:
    advised = re.findall(r"(?:`|^    )(dnssecd [^`\n]*)", SECTIONS[name], re.M)
    advised += re.findall(r"dnssecd [^)]*", EVENT_KINDS[name].remedy)
    unknown = [text for text in advised if not COMMANDS.match(text)]
    assert not unknown


def test_the_table_of_times_is_the_program_s() -> None:
    for severity, settle in SETTLE_S.items():
        row = f"| {severity} | {format_duration(settle)} | {format_duration(REMIND_S[severity])} |"
        assert row in TEXT
    unmutable = [kind.name for kind in EVENT_KINDS.values() if not kind.mutable]
    assert f"**What cannot be muted** ({', '.join(f'`{name}`' for name in unmutable)})" in " ".join(
        TEXT.split()
    )
