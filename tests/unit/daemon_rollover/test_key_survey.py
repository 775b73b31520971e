"""The counts of keys, rollovers and hand-overs for the metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.parent.handover import handover_of
from dnssecd.daemon.parent.room import DsRoom
from dnssecd.daemon.rollover.key_survey import KeySurveyor
from dnssecd.ops.metrics import Metrics

from .rig import Rig

DAY = 86_400


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"dnssecd_{name}", labels)


def parent(**more: Any) -> Any:
    return SimpleNamespace(**{"alone": False, "push": None, "hook": (), "cds": True, **more})


async def look(rig: Rig, room: DsRoom | None) -> Metrics:
    metrics = Metrics()
    rig.zone.ds = room
    await KeySurveyor({rig.name: rig.zone}, metrics, rig.clock).look()
    return metrics


async def test_a_zone_whose_ds_was_handed_over_and_is_not_there(rig: Rig) -> None:
    keyset = rig.keyset()
    asked = handover_of(rig.name, keyset)
    seen = (
        ParentSight("p1", (), 60, 1_000),
        ParentSight("p2", (b"\x00\x01\x0d\x02x",), 60, 900),
        ParentSight("p3"),
    )
    metrics = await look(rig, DsRoom(parent(), keyset, asked, seen=seen))
    assert value(metrics, "keys", role="ksk", algorithm="13", state="active") == 1
    assert value(metrics, "keys", role="zsk", algorithm="13", state="active") == 1
    assert value(metrics, "ds_handovers", state="waiting") == 1
    assert value(metrics, "ds_handovers", state="late") == 0
    assert value(metrics, "zone_ds_handover_due_timestamp_seconds", zone=rig.name) == asked.due_at
    assert value(metrics, "zone_parent_seen_timestamp_seconds", zone=rig.name) == 900
    assert value(metrics, "zone_parent_ds", zone=rig.name) == 0
    assert value(metrics, "zone_next_key_step_timestamp_seconds", zone=rig.name) is not None
    assert value(metrics, "zones_waiting_for_person") == 1
    assert sum(value(metrics, "zones_by_security", security=word) or 0 for word in ("bogus", "ds-due")) == 1
    rig.clock.advance(3 * DAY)
    metrics = await look(rig, DsRoom(parent(), keyset, asked, seen=seen))
    assert value(metrics, "ds_handovers", state="late") == 1
    metrics.forget_zone(rig.name)
    assert value(metrics, "zone_parent_ds", zone=rig.name) is None


async def test_a_zone_before_its_first_plan_and_one_without_a_parent(rig: Rig) -> None:
    metrics = await look(rig, None)
    assert value(metrics, "zones_by_security", security="unknown") == 1
    assert value(metrics, "zone_parent_ds", zone=rig.name) is None
    alone = DsRoom(parent(alone=True), rig.keyset(), handover_of(rig.name, rig.keyset()))
    metrics = await look(rig, alone)
    assert value(metrics, "ds_handovers", state="waiting") == 0


async def test_a_rollover_is_counted_until_the_old_key_has_left(rig: Rig) -> None:
    room = DsRoom(parent(alone=True), rig.keyset(), handover_of(rig.name, rig.keyset()))
    assert value(await look(rig, room), "rollovers", role="zsk") == 0
    await rig.command("key.rollover", role="zsk")
    room.keyset = rig.keyset()
    assert value(await look(rig, room), "rollovers", role="zsk") == 1
