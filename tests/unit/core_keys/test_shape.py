"""Zones whose keys are alike: what makes them alike, and that a shifted forecast is the other zone's own."""

from __future__ import annotations

import pytest

from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.shape import PRECISION_S, shape_of, shifted
from dnssecd.core.keys.simulate import Assumptions, SimEvent, simulate
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.replacing import replace

DAY = 86_400
START = 1_700_000_000
ASSUME = Assumptions()


def policy(**more: object) -> RolloverPolicy:
    specs = (KeySpec(Role.KSK, 13, lifetime=200 * DAY), KeySpec(Role.ZSK, 13, lifetime=60 * DAY))
    return replace(RolloverPolicy(specs), **more)  # type: ignore[arg-type]


def zone(name: bytes, born: int, until: int, wanted: RolloverPolicy | None = None) -> Keyset:
    apex = bytes([len(name)]) + name + b"\x00"
    return simulate(Keyset(apex), wanted or policy(), ASSUME, born, until).keyset


def ahead(keyset: Keyset, now: int, wanted: RolloverPolicy | None = None) -> tuple[SimEvent, ...]:
    return simulate(keyset, wanted or policy(), ASSUME, now, now + 400 * DAY).events


@pytest.mark.parametrize("age", [10 * DAY, 55 * DAY, 100 * DAY, 195 * DAY])
@pytest.mark.parametrize("later", [0, 700, 86_400 * 3 + 5, 40_000_000])
def test_a_forecast_is_that_of_a_zone_made_later(age: int, later: int) -> None:
    """However far apart: the same steps, of the same keys, late by the precision and never early."""
    one, two = zone(b"one", START, START + age), zone(b"other", START + later, START + later + age)
    now = START + age, START + later + age
    first, second = (
        shape_of(keys, policy(), ASSUME, when) for keys, when in zip((one, two), now, strict=True)
    )
    assert first.kind == second.kind
    assert hash(first.kind) == hash(second.kind)
    found = list(shifted(ahead(one, now[0]), first, second, now[1]))
    own = ahead(two, now[1])
    named = [(e.role, e.event, e.stand_in, 0 if e.stand_in else e.key_tag) for e in own]
    assert [(e.role, e.event, e.stand_in, 0 if e.stand_in else e.key_tag) for e in found] == named
    assert len(own) > 20
    assert {theirs.at - ours.at for theirs, ours in zip(found, own, strict=True)} == {PRECISION_S}


def test_a_zone_at_rest_has_its_shape_for_weeks() -> None:
    """Looked at on different days, it is the same."""
    keys = zone(b"one", START, START + 10 * DAY)
    shapes = {shape_of(keys, policy(), ASSUME, START + day * DAY).kind for day in range(10, 30)}
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("wanted", "assume"),
    [
        (policy(margin=301), ASSUME),
        (policy(freeze=((START + 50 * DAY, START + 70 * DAY),)), ASSUME),
        (policy(manual=frozenset({"ksk"})), ASSUME),
        (policy(), replace(ASSUME, ttl_zone=7)),
        (policy(), replace(ASSUME, ds=(b"\x00\x01\x0d\x02abc",))),
        (policy(), replace(ASSUME, ds=())),
    ],
)
def test_what_changes_the_steps_changes_the_shape(wanted: RolloverPolicy, assume: Assumptions) -> None:
    keys, now = zone(b"one", START, START + 10 * DAY), START + 10 * DAY
    assert shape_of(keys, policy(), ASSUME, now).kind != shape_of(keys, wanted, assume, now).kind


def test_every_mark_of_a_key_changes_the_shape() -> None:
    keys, now = zone(b"one", START, START + 10 * DAY), START + 10 * DAY
    usual = shape_of(keys, policy(), ASSUME, now).kind
    for mark in ("compromised", "lost", "roll", "revoke"):
        marked = keys.with_key(replace(keys.keys[0], **{mark: True}))
        assert shape_of(marked, policy(), ASSUME, now).kind != usual, mark


def test_freezes_are_at_a_time_of_the_calendar() -> None:
    """The same keys a week later have other steps, where a freeze lies ahead."""
    frozen = policy(freeze=((START + 50 * DAY, START + 70 * DAY),))
    one, two = (
        zone(name, born, born + 10 * DAY, frozen) for name, born in ((b"a", START), (b"b", START + 7 * DAY))
    )
    first = shape_of(one, frozen, ASSUME, START + 10 * DAY)
    assert first.kind != shape_of(two, frozen, ASSUME, START + 17 * DAY).kind


def test_no_step_is_before_now() -> None:
    keys, now = zone(b"one", START, START + 10 * DAY), START + 10 * DAY
    shape = shape_of(keys, policy(), ASSUME, now)
    assert (
        min(event.at for event in shifted(ahead(keys, now), shape, shape, now + 90 * DAY)) == now + 90 * DAY
    )
