"""The texts as people read them, compared with golden/*.txt.

DNSSECD_WRITE_GOLDEN=1 writes them anew: read them then, as somebody who was woken up does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.ops.alerts import digest, words
from dnssecd.ops.alerts.digest import Facts, Mailed
from dnssecd.ops.alerts.message import references
from dnssecd.ops.alerts.note import Sender
from dnssecd.ops.alerts.text import footer
from dnssecd.replacing import replace
from tests.unit.alerts.rig import MAIL, NIGHT, ZONE, Rig

GOLDEN = Path(__file__).with_name("golden")
HOUR, DAY = 3600, 86_400
VIOLATIONS = (
    "2 violations; the version with serial 42 is not published\n"
    "bad-signature host1.example.com. A: the RRSIG by key 4711 does not verify\n"
    "nsec-gap host2.example.com.: no NSEC covers it"
)


def runway_low(rig: Rig) -> None:
    rig.deadline = NIGHT + 36 * HOUR
    rig.events.raise_event("runway-low", ZONE, "the first RRSIG of example.com. expires in 36.0 h")
    rig.go(10)


def runway_reminder(rig: Rig) -> None:
    runway_low(rig)
    rig.go(3.9 * HOUR, step=600)
    rig.events.raise_event("runway-low", ZONE, "the first RRSIG of example.com. expires in 32.1 h")
    rig.go(600, step=60)


def runway_escalated(rig: Rig) -> None:
    runway_low(rig)
    rig.events.acknowledge("runway-low", ZONE, "alice")
    rig.go(18 * HOUR, step=60)


def verification_failed(rig: Rig) -> None:
    rig.events.raise_event("verification-failed", ZONE, VIOLATIONS)
    rig.go(10)


def delta_guard(rig: Rig) -> None:
    rig.events.raise_event(
        "delta-guard",
        ZONE,
        "the input removes 412 of 900 owner names (45.8 %), more than max_change = 30 % allows",
    )
    rig.go(60)


def daemon_wide(rig: Rig) -> None:
    rig.events.raise_event("disk-low", None, "120 MiB are free on the file system of /var/lib/dnssecd")
    rig.go(60)


def with_details(rig: Rig) -> None:
    rig.valid_until = {ZONE: NIGHT + 9 * DAY + 3 * HOUR}
    rig.details = lambda event: "DS to hand to the parent:\n  example.com. IN DS 4711 13 2 0123ABCD"
    rig.events.raise_event("ds-missing", ZONE, "no server of com. has a DS that matches key 4711")
    rig.go(60)


def several(rig: Rig) -> None:
    rig.valid_until = {"example.com.": NIGHT + 12 * DAY, "example.net.": NIGHT - HOUR}
    for zone in ("example.com.", "example.net."):
        for server in ("ns1", "ns2"):
            rig.events.raise_event(
                "secondary-unreachable", zone, f"{server} does not answer: timeout", subject=server
            )
    rig.events.raise_event("verification-failed", "example.net.", VIOLATIONS.replace(".com.", ".net."))
    rig.events.raise_event("signer-unreachable", None, "/run/dnssecd/signer.sock: connection refused")
    rig.go(10)


def resolved(rig: Rig) -> None:
    delta_guard(rig)
    rig.go(2 * HOUR, step=600)
    rig.events.raise_event(
        "delta-guard",
        ZONE,
        "the input removes 412 of 900 owner names (45.8 %), more than max_change = 30 % allows",
    )
    rig.events.resolve("delta-guard", ZONE)
    rig.go(60)


def zone_removed(rig: Rig) -> None:
    rig.events.raise_event(
        "secondary-unreachable", ZONE, "ns1 does not answer: no answer in time", subject="ns1"
    )
    rig.go(5 * 60)
    rig.events.remove_zone(ZONE)
    rig.go(60)


def several_resolved(rig: Rig) -> None:
    several(rig)
    rig.go(HOUR, step=600)
    for zone in ("example.com.", "example.net."):
        rig.events.resolve("secondary-unreachable", zone, None)
    rig.go(60)


def came_and_went(rig: Rig) -> None:
    rig.events.raise_event("verification-failed", ZONE, VIOLATIONS)
    rig.go(5)
    rig.events.resolve("verification-failed", ZONE)
    rig.go(60)


def acknowledged(rig: Rig) -> None:
    rig.events.raise_event("ds-missing", ZONE, "no server of com. has a DS that matches key 4711")
    rig.go(DAY + 60, step=60)
    rig.events.acknowledge("ds-missing", ZONE, "alice")
    rig.go(60)


SCENES: list[Callable[[Rig], None]] = [
    runway_low,
    runway_reminder,
    runway_escalated,
    verification_failed,
    delta_guard,
    daemon_wide,
    with_details,
    several,
    resolved,
    zone_removed,
    several_resolved,
    came_and_went,
    acknowledged,
]


def judge(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("DNSSECD_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    for line in text.splitlines():
        indented_command = line.startswith("    ")
        assert len(line) <= words.WIDTH or indented_command or line.startswith(("References", " <")), line


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_golden(tmp_path: Path, scene: Callable[[Rig], None]) -> None:
    rig = Rig(tmp_path, mail=replace(MAIL, to=("dns-ops@example.com",)))
    scene(rig)
    judge(scene.__name__, rig.way.sent[-1].body.decode("ascii").replace("\r\n", "\n"))
    rig.stop()


def test_golden_digests(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    sender = rig.engine.outbox.sender
    quiet = Facts(served=1, runway=(13.2 * DAY, ZONE), since=NIGHT - 40)
    written = digest.write(quiet, [], Mailed(), "daily", NIGHT, sender)
    judge("digest_quiet", f"{written.subject}\n\n{written.body}")
    several(rig)
    rig.events.acknowledge("signer-unreachable", None, "alice")
    busy = Facts(
        served=12,
        waiting=1,
        runway=(-2 * HOUR, ZONE),
        coming=[
            (NIGHT + 2 * HOUR, ZONE, "signatures are renewed"),
            (NIGHT + 9 * DAY, "example.net.", "ZSK roll-over: the new key signs"),
        ],
        since=NIGHT - 20 * DAY,
        signer="ok (service)",
    )
    written = digest.write(busy, rig.events.firing(), Mailed(31, 2, 1), "weekly", NIGHT, sender)
    judge("digest_busy", f"{written.subject}\n\n{written.body}")
    rig.stop()


def test_long_words_stay_whole_and_commands_unbroken() -> None:
    zone = ".".join(["a" * 60] * 4) + "."
    lines = words.advice(
        f"look at the difference; if it is meant: dnssecd zone reload {zone} --accept-change", 2
    )
    assert lines == [
        "  Look at the difference; if it is meant:",
        f"    dnssecd zone reload {zone} --accept-change",
    ]
    assert words.wrap(f"the zone {zone} is gone") == ["the zone", zone, "is gone"]


def test_text_that_is_not_ascii_survives(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.events.raise_event("input-error", ZONE, "Zeile 3: „größer“ ist kein Typ …")
    rig.go(60)
    assert "„größer“ ist kein Typ …" in rig.way.texts[0]
    assert all(len(line) < 998 for line in rig.way.sent[0].body.splitlines())
    rig.stop()


def test_references_keep_the_worst_thread_last_and_are_bounded() -> None:
    assert references([("<a1>", "<a9>"), ("<b1>",), ()]) == ["<b1>", "<a1>", "<a9>"]
    many = [(f"<{number}>",) for number in range(100)]
    assert len(references(many)) == 20
    assert references(many)[-1] == "<0>"


def test_a_mail_links_to_the_section_of_its_event() -> None:
    sender = Sender("hidden1", "0.2.0", docs_url="https://docs.example.com/operations.html")
    assert footer(sender, "input-error")[-1].endswith(
        "\nMore: https://docs.example.com/operations.html#input-error"
    )
    assert footer(Sender("hidden1", "0.2.0"), "input-error")[-1].endswith(
        "\nMore: docs/operations.md, input-error"
    )
