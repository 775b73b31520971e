"""Why a zone waits, in lines that are made when they are asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Blocker, Gate, Plan
from dnssecd.daemon.zones.outlook import BLOCKERS_SHOWN_MAX, blockers

PLAN = Plan(
    (), None, tuple(Blocker(Gate.SAFETY, f"rule-{number}", "a detail") for number in range(30)), Keyset(b"\0")
)


@pytest.mark.parametrize("serial", [None, 1])
@pytest.mark.parametrize(
    ("own", "plan", "first", "count"),
    [
        (None, PLAN, "rule-0 waits: a detail", BLOCKERS_SHOWN_MAX),
        ((), PLAN, None, 0),
        (("it is restored",), PLAN, "it is restored", 1),
        (None, None, None, 0),
    ],
)
def test_the_lines_are_those_of_the_zone_or_of_its_plan(
    own: tuple[str, ...] | None, plan: Plan | None, first: str | None, count: int, serial: int | None
) -> None:
    zone = SimpleNamespace(blockers=own, keys=SimpleNamespace(plan=plan), serial=serial)
    lines = blockers(cast(Any, zone))
    assert (next(iter(lines), None), len(lines)) == (first, count)


def test_a_zone_without_keys_has_none() -> None:
    assert blockers(cast(Any, SimpleNamespace(blockers=None, keys=None))) == []
