"""What the plan after a loss says where the usual way does not apply."""

from __future__ import annotations

from typing import Any

import pytest

from dnssecd.core.keys import simulate as simulate_module
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.keys.lost_plan import LAST_WAY_OUT, UNSECURED, LostPlan, lost_plan
from dnssecd.core.keys.planner import plan_rollover
from dnssecd.core.keys.simulate import Assumptions, simulate
from dnssecd.core.keys.types import Plan
from dnssecd.replacing import replace

from .bench import APEX, DAY, ksk_zsk, policy
from .test_node_keys import NOW, joined, settled

START = 1_750_000_000
POLICY = policy((*ksk_zsk(),))


def plan(role: str, after_s: int = 30 * DAY, **change: bool) -> LostPlan:
    """The plan for a key of a zone that has run for some time; then the policy changes."""
    assume, now = Assumptions(), START + after_s
    keyset = simulate(Keyset(APEX), POLICY, assume, START, now).keyset
    ref = next(key.ref for key in keyset.keys if key.role == role)
    return lost_plan(keyset, replace(POLICY, **change), assume, now, ref, None)


def test_what_nothing_replaces_has_one_way_out() -> None:
    stuck = plan("ksk", given=True)
    assert stuck.over_at is None
    assert LAST_WAY_OUT in stuck.costs
    usual = plan("ksk")
    assert usual.over_at is not None
    assert LAST_WAY_OUT not in usual.costs


def test_without_a_ds_the_successor_signs_at_once() -> None:
    for role in ("ksk", "zsk"):
        early = plan(role, after_s=300)
        assert early.costs == (UNSECURED,)
        assert early.over_at is not None
        assert early.over_at < START + DAY


def test_a_plan_without_a_way_costs_no_look_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon looks for spare keys again and again; in a forecast none comes."""
    plans = []

    def plan_and_count(*given: Any) -> Plan:
        plans.append(given)
        return plan_rollover(*given)

    monkeypatch.setattr(simulate_module, "plan_rollover", plan_and_count)
    assert plan("ksk", given=True).over_at is None
    assert len(plans) < 200


@pytest.mark.parametrize("ready", [True, False])
def test_another_node_that_can_sign_is_the_first_way(ready: bool) -> None:
    keyset = joined()
    if ready:
        keyset = settled(keyset, Rec.DNSKEY, Rec.DS)
    told = lost_plan(keyset, POLICY, Assumptions(), NOW, keyset.keys[1].ref, None)
    assert ("dnssecd zone move z. b" in told.steps[0].text) is ready
