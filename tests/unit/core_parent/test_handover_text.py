"""Hand-overs as people read them, compared with golden/*.txt.

DNSSECD_WRITE_GOLDEN=1 writes them anew: read them then, as somebody who was woken up does.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.core.keys.keyset import Keyset, ds_rdata
from dnssecd.core.parent.forms import DIGESTS
from dnssecd.core.parent.handover import Change, handover_of
from dnssecd.core.parent.text import Progress, SeenAt, cause, closing_text, request_text
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import NOW, ZONE

GOLDEN = Path(__file__).with_name("golden")
DAY = 86_400
OLD, NEW = keysets.key(1).tag, keysets.key(2).tag
BY_HAND = Progress(cds=True, seen=(SeenAt("ns1.nic.example [192.0.2.1]", (OLD,), NOW + 40),))
PUSHED = Progress(
    cds=True,
    ways=("The DS set is sent to 192.0.2.1 port 53 by dynamic update (RFC 2136): not yet",),
    seen=(
        SeenAt("ns1.nic.example [192.0.2.1]", (OLD, NEW), NOW + 40),
        SeenAt("ns2.nic.example [192.0.2.2]", None, 0, "no answer in time"),
        SeenAt("ns3.nic.example [192.0.2.3]", (), NOW + 40, "SERVFAIL"),
    ),
)

REQUESTS: dict[str, tuple[Callable[[], Keyset], Progress, int]] = {
    "fresh": (keysets.fresh, Progress(), 0),
    "fresh_with_time": (keysets.fresh, Progress(ready_at=((OLD, NOW + 3_900),)), 0),
    "in_place": (keysets.in_place, Progress(), 0),
    "submit": (keysets.submit, Progress(cds=True), 60),
    "replace": (keysets.replaced, BY_HAND, 60),
    "replace_pushed": (keysets.replaced, PUSHED, 60),
    "replace_reminder": (keysets.replaced, BY_HAND, DAY // 2),
    "replace_overdue": (keysets.replaced, BY_HAND, 3 * DAY + 7_200),
    "compromised": (lambda: keysets.replaced(compromised=True), BY_HAND, 60),
    "withdraw": (keysets.withdrawn, Progress(cds=True), 60),
    "insecure": (keysets.insecure, Progress(cds=True, polled=False), 60),
    "insecure_overdue": (keysets.insecure, Progress(cds=True), 2 * DAY),
    "lost": (keysets.lost, BY_HAND, 60),
}
CLOSINGS: dict[str, Callable[[], Keyset]] = {
    "done_submit": keysets.submit,
    "done_replace": keysets.replaced,
    "done_withdraw": keysets.withdrawn,
    "done_insecure": keysets.insecure,
    "done_lost": keysets.lost,
}


def check(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("DNSSECD_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", REQUESTS)
def test_request_is_the_golden_text(name: str) -> None:
    make, progress, later = REQUESTS[name]
    check(name, request_text(handover_of(ZONE, make()), progress, NOW + later))


@pytest.mark.parametrize("name", CLOSINGS)
def test_closing_is_the_golden_text(name: str) -> None:
    handover = handover_of(ZONE, CLOSINGS[name]())
    tags = tuple(key.tag for key in handover.wanted)
    seen = (SeenAt("ns1.nic.example [192.0.2.1]", tags, NOW + 90_000),)
    check(name, closing_text(handover, Progress(seen=seen), NOW + 90_100))


@pytest.mark.parametrize("name", REQUESTS)
def test_prose_has_at_most_72_columns(name: str) -> None:
    make, progress, later = REQUESTS[name]
    prose, line, _ = request_text(handover_of(ZONE, make()), progress, NOW + later).partition("-" * 72)
    assert bool(line) is bool(handover_of(ZONE, make()).having(*set(Change) - {Change.LATER}))
    assert all(len(row) <= 72 for row in prose.splitlines())


@pytest.mark.parametrize("name", REQUESTS)
def test_no_form_has_the_ds_of_a_key_that_is_not_ready(name: str) -> None:
    make, progress, later = REQUESTS[name]
    handover = handover_of(ZONE, make())
    text = request_text(handover, progress, NOW + later)
    for key in handover.having(Change.LATER):
        for digest in DIGESTS:
            assert ds_rdata(handover.apex, key.rdata, digest)[4:].hex().upper() not in text
        assert base64.b64encode(key.public_key).decode() not in text


def test_a_long_zone_name_breaks_no_command() -> None:
    from dnssecd.replacing import replace

    zone = "a-rather-long-label-of-some-department.another-long-label.example.com."
    handover = replace(handover_of(ZONE, keysets.submit()), zone=zone)
    assert (
        f"    dnssecd ds confirm {zone} --key-tag {OLD}"
        in request_text(handover, Progress(), NOW).splitlines()
    )


def test_cause_is_one_line() -> None:
    for make in (
        keysets.submit,
        keysets.replaced,
        keysets.withdrawn,
        keysets.insecure,
        keysets.lost,
        keysets.fresh,
    ):
        text = cause(handover_of(ZONE, make()))
        assert "\n" not in text
        assert len(text) < 100


def test_every_text_says_how_to_confirm_each_open_key() -> None:
    text = request_text(handover_of(ZONE, keysets.replaced()), Progress(), NOW)
    assert text.count("dnssecd ds confirm example.com. --key-tag") == 2
