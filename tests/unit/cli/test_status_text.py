"""``status``, ``check`` and tables as text: golden files at 80 and 120 columns, and what holds at any width."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dnssecd.cli import status_text, tables
from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.status import KeyServiceState, Status
from dnssecd.control.messages.zones import PersonTask, ServerSeen, ZoneStatus
from dnssecd.daemon.commands.verdict import judge

GOLDEN = Path(__file__).with_name("golden")
NOW = 1_700_000_000.0
DAY = 86_400.0
WIDTHS = (80, 120)


def alert(name: str, severity: str, zone: str | None, cause: str, *, since: float = NOW) -> Alert:
    return Alert(
        name=name, zone=zone, subject=None, severity=severity, cause=cause, effect="the last good version is served",
        remedy=f"correct it, then look again: dnssecd status {zone or ''}".strip(), firing=True, first_seen=since,
        last_seen=since, count=1, acked_by=None,
    )  # fmt: skip


def zone(
    number: int, *alerts: Alert, tasks: tuple[PersonTask, ...] = (), security: str = "secure"
) -> ZoneStatus:
    name = f"c{number:02}.com."
    return ZoneStatus(
        zone=name, serial=7, input_serial=5, runway_seconds=(9 + number % 5) * DAY,
        secondaries=[
            ServerSeen(name="ns1", serial=7, seen_at=NOW),
            ServerSeen(name="ns2", serial=6 if alerts else 7, seen_at=NOW),
        ],
        primaries=[], blockers=[], alerts=list(alerts), state="served", policy="default", source="file", records=12,
        input_error=None, warnings=[], frozen=False, security=security, security_detail="the parent has its DS",  # type: ignore[arg-type]
        validated_at=NOW, next_step="All caches have the DNSKEY of KSK 4711 at 2023-11-14 23:13 UTC, in 1h.",
        waits_for_person=list(tasks),
    )  # fmt: skip


def status(*zones: ZoneStatus, alerts: tuple[Alert, ...] = (), clock: str = "") -> Status:
    every = [*alerts, *(one for each in zones for one in each.alerts)]
    return Status(
        zones=list(zones), alerts=every, version="1", pid=1, started_at=NOW,
        signer=KeyServiceState(mode="service", state="ok"), clock_suspect=bool(clock), clock=clock, delivery=[],
        verdict=judge(zones, every, 2 * len(zones), "ok", clock, NOW),
    )  # fmt: skip


HANDOVER = PersonTask(
    what="the parent is to have the DS of key tag 4711", command="dnssecd ds show c07.com.", by=NOW + DAY
)
LATER = PersonTask(what="hand over the DS of key 99", command="dnssecd ds show c08.com.", at=NOW + 3600)

#: The broken zones are not the first ones, and not in the order of their severity.
BROKEN = {
    31: alert("input-error", "error", "c31.com.", "/etc/dnssecd/zones/c31.com.zone line 3: no such type: A6", since=5),
    40: alert("zone-bogus", "critical", "c40.com.", "validators refuse the answers of ns2: the SOA does not validate: "
              "an RRSIG has expired (RFC 4035 §5.3.1)", since=9),
    44: alert("secondary-lagging", "warning", "c44.com.", "ns2 has serial 6 instead of 7 for 10 minutes", since=1),
    51: alert("runway-low", "critical", "c51.com.", "the first RRSIG of c51.com. expires in 3.0 h", since=7),
}  # fmt: skip


def fleet() -> Status:
    tasks = {7: (HANDOVER,), 8: (LATER,)}
    return status(
        *(
            zone(
                number, *([BROKEN[number]] if number in BROKEN else []), tasks=tasks.get(number, ()),
                security="bogus" if number == 40 else "secure",
            )
            for number in range(52)
        )
    )  # fmt: skip


SCREENS = {
    "well": lambda: status(*(zone(number) for number in range(3))),
    "one": lambda: status(zone(1)),
    "none": lambda: status(),
    "fleet": fleet,
    "daemon": lambda: status(
        zone(1), alerts=(alert("disk-low", "critical", None, "12 MiB are free"),), clock="it jumped by 3 d"
    ),
}


def golden(name: str, lines: list[str]) -> None:
    path = GOLDEN / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("GOLDEN_WRITE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_screens(name: str, width: int) -> None:
    lines = status_text.screen(SCREENS[name](), width)
    assert max(map(len, lines)) <= width
    golden(f"status_{name}_{width}", lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_screen_of_one_zone(width: int) -> None:
    shown = status(zone(7, tasks=(HANDOVER, LATER)))
    lines = status_text.zone_screen(shown, width)
    assert max(map(len, lines)) <= width
    golden(f"status_zone_{width}", lines)


@pytest.mark.parametrize("width", [60, *WIDTHS, None])
def test_fifty_two_zones_four_broken(width: int | None) -> None:
    """At most 30 lines; the verdict, then the broken zones, the worst first; then what waits for a person."""
    lines = status_text.screen(fleet(), width)
    text = "\n".join(lines)
    assert len(lines) <= status_text.LINES_MAX
    assert lines[0].startswith("CRITICAL: 4 of 52 zones need attention; 1 zone waits for you")
    places = [text.index(f"{name} c{number}.com.") for name, number in (
        ("CRITICAL runway-low", 51), ("CRITICAL zone-bogus", 40), ("ERROR input-error", 31),
        ("WARNING secondary-lagging", 44))]  # fmt: skip
    assert places == sorted(places)
    assert places[-1] < text.index("Waits for you:") < text.index("zones:")
    assert "c07.com." in text
    assert "key 99" not in text, "what is not due yet does not wait for a person"


@pytest.mark.parametrize("number", [0, 1, 4, 7, 30, 500])
@pytest.mark.parametrize("tasks", [0, 3, 200])
def test_it_is_always_one_screen(number: int, tasks: int) -> None:
    """Different alerts of many zones, and many hand-overs."""
    zones = [
        zone(n, *([alert(f"event-{n}", "error", f"c{n:02}.com.", "long " * 60)] if n < number else []),
             tasks=(HANDOVER,) if n < tasks else ())
        for n in range(max(number, tasks, 1))
    ]  # fmt: skip
    assert len(status_text.screen(status(*zones), 80)) <= status_text.LINES_MAX


def test_the_same_alert_of_many_zones_is_shown_once() -> None:
    zones = [
        zone(n, alert("signing-failed", "error", f"c{n:02}.com.", "the key service is down"))
        for n in range(9)
    ]
    text = "\n".join(status_text.screen(status(*zones), 80))
    assert text.count("signing-failed") == 1
    assert "in 9 zones: c00.com., c01.com., c02.com. and 6 more" in text


@pytest.mark.parametrize(
    ("severity", "level"),
    [("info", "ok"), ("warning", "warning"), ("error", "warning"), ("critical", "critical")],
)
def test_the_level_is_that_of_the_worst_alert(severity: str, level: str) -> None:
    assert status(zone(1, alert("x", severity, "c01.com.", "y")), zone(2)).verdict.level == level


def test_a_bogus_zone_and_a_doubtful_clock_are_critical() -> None:
    assert status(zone(1, security="bogus")).verdict.level == "critical"
    assert status(zone(1), clock="it jumped").verdict.level == "critical"


def test_the_next_act_is_the_earliest() -> None:
    verdict = status(zone(1), zone(8, tasks=(LATER,))).verdict
    assert (verdict.next_act_at, verdict.next_act) == (NOW + 3600, f"{LATER.what} (c08.com.)")
    assert verdict.zones_waiting_for_person == 0
    assert status(zone(8, tasks=(LATER, HANDOVER))).verdict.next_act_at == NOW


def test_the_nagios_line() -> None:
    line = status_text.check_line(fleet())
    assert line == (
        "DNSSECD CRITICAL - 4 of 52 zones need attention; 1 zone waits for you (runway-low c51.com., "
        "zone-bogus c40.com., input-error c31.com. and 1 more) | zones=52 served=52 wrong=4 waits_for_person=1 "
        "secondaries=104 secondaries_current=100 keys=104 runway=777600s"
    )
    assert status_text.check_line(status(zone(1))).startswith("DNSSECD OK - all is well: c01.com. is served")


def test_a_bar_in_a_text_does_not_begin_performance_data() -> None:
    line = status_text.check_line(status(zone(1, alert("a|b", "error", "c01.com.", "x"))))
    assert line.count("|") == 1


# Tables

KEYS = ("zone", "role", "tag", "algorithm", "keystore", "goal", "state")
KEY_ROWS = [["c06.com.", "ksk", "60485", "ecdsap256sha256", "production-hsm", "present", "published"]]
ZONES = ("zone", "security", "serial", "alerts", "policy")
ZONE_ROWS = [
    [
        "customer-with-a-long-name.example.com.",
        "DS due 06:18",
        "2023111401",
        "input-error, secondary-lagging",
        "p",
    ],
    ["b.", "secure", "7", "-", "default"],
]


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_tables(width: int | None) -> None:
    lines = [
        *tables.lay_out(KEYS, KEY_ROWS, width),
        "",
        *tables.lay_out(ZONES, ZONE_ROWS, width, ["security", "policy"]),
    ]
    assert width is None or max(map(len, lines)) <= width
    golden(f"tables_{width or 'pipe'}", lines)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_word_is_broken(width: int) -> None:
    words = {word for row in (*KEY_ROWS, *ZONE_ROWS) for cell in row for word in cell.split()}
    for columns, rows in ((KEYS, KEY_ROWS), (ZONES, ZONE_ROWS)):
        shown = set(" ".join(tables.lay_out(columns, rows, width)).split())
        assert {word for row in rows for cell in row for word in cell.split()} <= shown
    assert words


def test_optional_columns_are_left_out_the_last_one_first() -> None:
    lines = tables.lay_out(ZONES, ZONE_ROWS, 100, ["security", "policy"])
    assert lines[0].split() == ["ZONE", "SECURITY", "SERIAL", "ALERTS"]


def test_paragraphs_are_wrapped_at_words() -> None:
    assert tables.wrap("one two three", 9, "  ") == ["one two", "  three"]
    assert tables.wrap("one two three", None) == ["one two three"]
    assert tables.shorten("one two three four", 9, 1) == ["one two …"]
    assert tables.pair_lines([("a", ["one two three", "x"]), ("long", None)], 10) == [
        "a: one two",
        "   three",
        "   x",
    ]


@pytest.mark.parametrize("width", range(30, 100))
def test_spans_times_and_commands_are_not_broken(width: int) -> None:
    """Where a command is longer than a line, it is wrapped as other text is."""
    together = ("59m 29s", "2026-11-30 12:01 UTC", "2026-11-30 12:01:30Z", "dnssecd ds show example.com.")
    text = f"you: in {together[0]}, at {together[1]} (or {together[2]}): {together[3]}"
    lines = tables.wrap(text, width, "  ")
    assert all(any(part in line for line in lines) for part in together), lines
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines) == text
    assert tables.wrap("dnssecd key approve " + "long-name." * 9, 40) == [
        "dnssecd key approve",
        "long-name." * 9,
    ]


def test_columns_without_content_are_left_out_where_the_table_is_too_wide() -> None:
    rows = [["local", "", "x" * 30], ["other", "", "y"]]
    assert tables.lay_out(("name", "nothing", "text"), rows, 40)[0].split() == ["NAME", "TEXT"]
    assert tables.lay_out(("name", "nothing", "text"), rows, 80)[0].split() == ["NAME", "NOTHING", "TEXT"]


@pytest.mark.parametrize(
    ("word", "due", "shown"),
    [
        ("secure", None, "secure"),
        ("unknown", None, "-"),
        ("ds-due", None, "DS due later"),
        ("ds-due", NOW, "DS due 22:13"),
        ("ds-due", NOW + DAY, "DS due 2023-11-15 22:13"),
    ],
)
def test_security_in_a_column(word: str, due: float | None, shown: str) -> None:
    assert status_text.security_text(word, due, day="2023-11-14") == shown
