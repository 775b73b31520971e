"""What is taken over of a job's outcome, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.clock import FakeClock
from dnssecd.daemon.zones.machine import State, state_of
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.outcomes import RETRY, Outcomes
from dnssecd.daemon.zones.zone import Doubt, FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.jobs.outcome import Outcome, Problem


class Schedule:
    """Remembers wake-ups."""

    def __init__(self) -> None:
        self.wakes: dict[str, float] = {}

    def wake(self, zone: FrontZone, what: str, when: float, action: object) -> None:
        self.wakes[f"{what} {zone.name}"] = when


class Rig:
    """One zone, ``z.``, and what follows from its outcomes."""

    def __init__(self, home: Path) -> None:
        nothing: Any = SimpleNamespace(name="z.", database=str(home / "z.sqlite"), review=None)
        self.zone = FrontZone(nothing, nothing, nothing, [], [], nothing)
        self.clock, self.mailbox, self.schedule = FakeClock(), Mailbox(), Schedule()
        self.events = EventCore(home / "events.sqlite", self.clock)
        catalogue: Any = SimpleNamespace(put=lambda entry: None)
        schedule: Any = self.schedule
        self.outcomes = Outcomes(
            {"z.": self.zone}, self.events, Metrics(), catalogue, self.clock, schedule, self.mailbox
        )
        self.published: list[FrontZone] = []
        self.wanted: list[str] = []
        self.mailbox.published.subscribe(self.published.append)
        self.mailbox.wanted.subscribe(lambda zone, kind: self.wanted.append(kind))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.events.close()


def published(serial: int) -> Outcome:
    return Outcome(zone="z.", result="published", serial=serial)


async def test_a_version_of_updates_is_served(rig: Rig) -> None:
    rig.outcomes.take_over(rig.zone, published(5), "update")
    assert (rig.zone.serial, rig.zone.state) == (5, State.SERVED)
    assert rig.published == [rig.zone]
    rig.zone.close()


async def test_a_zone_found_damaged_meanwhile_is_not_served_again(rig: Rig) -> None:
    """The update was under way when the sweep found the damage: it must not bring the damaged zone back."""
    rig.zone.doubt, rig.zone.state = Doubt("a sweep found it damaged"), State.IN_DOUBT
    rig.outcomes.take_over(rig.zone, published(5), "update")
    assert (rig.zone.serial, rig.zone.state) == (None, State.IN_DOUBT)
    assert state_of(rig.zone) is rig.zone.state
    assert rig.published == []


async def test_nothing_is_taken_over_for_a_zone_that_is_gone(rig: Rig) -> None:
    rig.zone.gone, rig.zone.state = True, State.GONE
    rig.outcomes.take_over(rig.zone, published(5), "update")
    assert rig.zone.serial is None
    assert rig.published == []


async def test_failures_are_tried_again_when_the_key_service_is_back(rig: Rig) -> None:
    failed = Outcome(zone="z.", result="failed", problems=(Problem("signing-failed", "away", ""),))
    rig.outcomes.take_over(rig.zone, failed, "load")
    rig.outcomes.take_over(rig.zone, failed, "load")
    assert rig.schedule.wakes == {"load z.": rig.clock.now() + 2 * RETRY.first_s}
    rig.mailbox.key_service_recovered.send()
    assert rig.wanted == ["load"]
    rig.outcomes.take_over(rig.zone, failed, "load")
    assert rig.schedule.wakes == {"load z.": rig.clock.now() + RETRY.first_s}


async def test_what_cannot_be_renewed_is_not_tried_all_the_time(rig: Rig) -> None:
    """Signatures by a lost key stay due until the key is replaced."""
    now = rig.clock.now()
    rig.outcomes.take_over(rig.zone, published(5), "update")
    past = Outcome(zone="z.", result="unchanged", serial=5, next_due=int(now) - 90_000, refresh_s=86_400)
    rig.outcomes.take_over(rig.zone, past, "load")
    assert rig.schedule.wakes["resign z."] < now, "due"
    rig.outcomes.take_over(rig.zone, past, "resign")
    assert rig.schedule.wakes["resign z."] == now + 3_600
    rig.zone.close()
