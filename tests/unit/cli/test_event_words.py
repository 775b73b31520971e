"""Each event of a calendar has words for people."""

from __future__ import annotations

import pytest

from dnssecd.cli.rollover import _event
from dnssecd.core.keys.keystate import Goal
from dnssecd.core.keys.simulate import EVENT_NAMES

NAMES = [*EVENT_NAMES.values(), "generate", *(f"goal {goal.value}" for goal in Goal)]


@pytest.mark.parametrize("name", NAMES)
def test_an_event_is_not_shown_by_its_name(name: str) -> None:
    assert _event(name) != name


def test_a_record_in_all_caches() -> None:
    assert _event("dnskey omnipresent") == "DNSKEY in all caches"
