"""A ZSK roll-over replaces signatures at a level rate, in many small versions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from tests.pipeline_zone import ZONE, running_signer
from tests.simulated_zone import DAY, HOUR, SimulatedZone, simulated_zone

SPECS = (KeySpec(Role.KSK, 13), KeySpec(Role.ZSK, 13))


@pytest.fixture
def signer() -> Iterator[str]:
    with running_signer() as socket:
        yield socket


def hosts(number: int) -> str:
    return ZONE + "".join(f"host{n} IN A 192.0.2.{n % 250}\n" for n in range(number))


def roll(zone: SimulatedZone) -> tuple[int, int]:
    """Roll the ZSK over; return when its signatures began to be replaced and when they all were."""
    zone.run(3 * DAY)
    zone.tell(lambda keyset: commands.roll_over(keyset, Role.ZSK))
    zone.step()
    assert zone.run(DAY, lambda: zone.key(Role.ZSK).zrrsig.visible)
    began = zone.now
    assert zone.run(60 * DAY, zone.settled)
    return began, zone.now


def check_level(zone: SimulatedZone, began: int, ended: int, bucket: int) -> None:
    """No bucket of time has over 1.5 times the mean, and no version an undue share of the zone.

    The last bucket may be cut short: it counts with the rate of its time, where that is half a bucket at least.
    """
    made = Counter[int]()
    for version in zone.made:
        if began <= version.at < ended:
            made[(version.at - began) // bucket] += version.signatures
    total, whole, rest = sum(made.values()), (ended - began) // bucket, (ended - began) % bucket
    rates = [float(made[number]) for number in range(whole)]
    if rest >= bucket / 2:
        rates.append(made[whole] * bucket / rest)
    mean = total * bucket / (ended - began)
    assert made[whole] <= 1.5 * mean, f"{made[whole]} in the last {rest} s, mean {mean:.1f} in {bucket} s"
    assert max(rates) <= 1.5 * mean, f"peak {max(rates):.1f}, mean {mean:.1f} in {bucket} s"
    largest = max(version.signatures for version in zone.made if began <= version.at < ended)
    assert largest < total / 50
    assert all(a.serial + 1 == b.serial for a, b in pairwise(zone.made))


def test_signatures_are_replaced_at_a_level_rate(tmp_path: Path, signer: str) -> None:
    zone = simulated_zone(tmp_path, signer, RolloverPolicy(SPECS), hosts(1_500))
    zone.text = hosts(1_500)
    began, ended = roll(zone)
    assert ended - began > 20 * DAY
    check_level(zone, began, ended, 2 * DAY)


def test_in_a_small_zone_they_are_replaced_at_once(tmp_path: Path, signer: str) -> None:
    zone = simulated_zone(tmp_path, signer, RolloverPolicy(SPECS), hosts(50))
    zone.text = hosts(50)
    began, ended = roll(zone)
    assert ended - began < 4 * DAY, "only what caches hold is waited for"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_names(tmp_path: Path, signer: str) -> None:
    zone = simulated_zone(tmp_path, signer, RolloverPolicy(SPECS), hosts(100_000))
    started = time.monotonic()
    began, ended = roll(zone)
    check_level(zone, began, ended, 3 * HOUR)
    print(f"{len(zone.made)} versions in {time.monotonic() - started:.0f} s")
