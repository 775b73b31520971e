"""The clock in doubt: jumps, long stops, and who may vouch for the time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dnssecd.clock import FakeClock
from dnssecd.daemon.rollover.clock_watch import RECORD_S, ClockWatch
from dnssecd.ops.events import EventCore
from dnssecd.publish.watch import Sighting

HOUR = 3600.0
YEAR = 365 * 86_400.0


class Rig:
    """A watch on a fake clock; `restart` makes another, as a new process would."""

    def __init__(self, home: Path) -> None:
        self.clock = FakeClock()
        self.home = home
        self.told: list[bool] = []
        self.unsettled = False
        self.watch = self._watch()

    def _watch(self) -> ClockWatch:
        self.events = EventCore(self.home / "events.sqlite", self.clock)
        return ClockWatch(
            self.clock,
            self.home / "clock",
            300,
            self.events,
            lambda: [],
            self.told.append,
            lambda: self.unsettled,
        )

    def restart(self, stopped_s: float, published_at: float = 0.0) -> None:
        self.watch.record()
        self.events.close()
        self.clock.step(stopped_s)  # a new process knows nothing of the monotonic clock before
        self.watch = self._watch()
        self.watch.begin(published_at)

    def seen(self, off_s: float) -> None:
        now = self.clock.now()
        self.watch.seen(Sighting("z.", "ns1", 1, now, True, tsig_time=int(now + off_s)))

    @property
    def fires(self) -> bool:
        return any(event.name == "clock-step" for event in self.events.firing())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.watch.begin(0.0)
    return made


def test_a_first_start_is_not_in_doubt(rig: Rig) -> None:
    assert rig.watch.held() == ""
    assert not rig.fires


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_small_corrections_are_no_jump(rig: Rig, seconds: float) -> None:
    rig.clock.step(seconds)
    assert rig.watch.held() == ""


@pytest.mark.parametrize("seconds", [-YEAR, -60.0, 6.0, HOUR, YEAR])
def test_a_jump_holds_signing_until_the_time_is_confirmed(rig: Rig, seconds: float) -> None:
    rig.clock.step(seconds)
    assert "jumped " + ("forward" if seconds > 0 else "back") in rig.watch.held()
    assert rig.fires
    rig.clock.advance(HOUR)
    assert rig.watch.held()
    rig.watch.confirm("root")
    assert rig.watch.held() == ""
    assert rig.told == [True]
    assert not rig.fires


def test_time_that_passes_is_no_jump(rig: Rig) -> None:
    rig.clock.advance(YEAR)
    assert rig.watch.held() == ""


def test_a_secondary_with_about_the_same_time_ends_the_doubt(rig: Rig) -> None:
    rig.clock.step(HOUR)
    rig.watch.look()
    rig.seen(HOUR)
    assert rig.watch.suspect
    rig.watch.seen(Sighting("z.", "ns1", 1, rig.clock.now(), True, tsig_time=None))
    assert rig.watch.suspect
    rig.seen(-2.0)
    assert rig.watch.suspect == ""
    assert rig.told == [True]


def test_a_look_from_before_the_jump_says_nothing(rig: Rig) -> None:
    before = rig.clock.now()
    rig.clock.step(HOUR)
    rig.watch.look()
    rig.watch.seen(Sighting("z.", "ns1", 1, before, True, tsig_time=int(before)))
    assert rig.watch.suspect


@pytest.mark.parametrize(
    ("stopped_s", "doubt"), [(290.0, False), (310.0, True), (-310.0, True), (YEAR, True)]
)
def test_a_start_far_from_the_time_recorded_last(rig: Rig, stopped_s: float, doubt: bool) -> None:
    rig.restart(stopped_s)
    assert bool(rig.watch.held()) is doubt
    assert rig.fires is doubt


def test_a_doubt_outlives_a_restart(rig: Rig) -> None:
    rig.restart(HOUR)
    rig.restart(1.0)
    assert rig.watch.held()


def test_a_start_before_the_last_publication_is_in_doubt_without_a_record(rig: Rig) -> None:
    (rig.home / "clock").unlink(missing_ok=True)
    rig.watch.begin(rig.clock.now() + HOUR)
    assert rig.watch.held()


def test_an_unreadable_record_is_none(rig: Rig) -> None:
    (rig.home / "clock").write_text("{")
    rig.watch.begin(0.0)
    assert rig.watch.held() == ""


def test_a_long_stop_between_two_agreements_is_no_step(rig: Rig) -> None:
    """Maintenance of an hour does not make every wait begin again."""
    rig.seen(0.0)
    rig.restart(HOUR)
    rig.seen(0.0)
    assert rig.told == [False]


def test_a_long_stop_without_an_agreement_before_may_hide_a_step(rig: Rig) -> None:
    rig.restart(HOUR)
    rig.seen(0.0)
    assert rig.told == [True]


def test_a_clock_set_back_counts_as_stepped_in_any_case(rig: Rig) -> None:
    rig.seen(0.0)
    rig.restart(-HOUR)
    rig.seen(0.0)
    assert rig.told == [True]


def test_no_time_is_recorded_while_something_goes_by_the_old(rig: Rig) -> None:
    """A daemon killed before all key sets know of the step finds the clock in doubt again."""
    rig.watch.record()
    rig.unsettled = True
    rig.clock.step(HOUR)
    rig.watch.look()
    rig.watch.confirm("root")
    assert rig.watch.held() == ""
    rig.restart(0.0)
    assert rig.watch.held()


def test_the_time_is_recorded_now_and_then(rig: Rig) -> None:
    rig.watch.look()
    rig.clock.advance(RECORD_S / 2)
    rig.watch.look()
    assert json.loads((rig.home / "clock").read_text())["at"] < rig.clock.now()
    rig.clock.advance(RECORD_S)
    rig.watch.look()
    assert json.loads((rig.home / "clock").read_text())["at"] == rig.clock.now()
    assert (rig.home / "clock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("boot", "stopped_s", "ran_s", "hidden_s"),
    [
        ("b1", 200.0, 200.0, 0),
        ("b1", 200.0, 20.0, 200),
        ("b2", 200.0, 200.0, 200),
        ("b2", 2000.0, 0.0, 300),
        ("", 9.0, 9.0, 9),
    ],
)
def test_what_can_hide_in_a_stop(rig: Rig, boot: str, stopped_s: float, ran_s: float, hidden_s: int) -> None:
    """Within one boot the monotonic clock tells how long a stop was; over a reboot nobody does."""

    def watch(boot: str) -> ClockWatch:
        return ClockWatch(
            rig.clock, rig.home / "clock", 300, rig.events, lambda: [], rig.told.append, lambda: False, boot
        )

    watch("b1").record()
    rig.clock.advance(ran_s)
    rig.clock.step(stopped_s - ran_s)
    after = watch(boot)
    after.begin(0.0)
    assert after.hidden_step_s == hidden_s
    assert bool(after.suspect) == (stopped_s > 300)


def test_a_long_stop_within_one_boot_is_no_doubt(rig: Rig) -> None:
    """The monotonic clock has counted on: that much time has passed, and nobody has to say so."""

    def watch() -> ClockWatch:
        return ClockWatch(
            rig.clock, rig.home / "clock", 300, rig.events, lambda: [], rig.told.append, lambda: False, "b1"
        )

    watch().record()
    rig.clock.advance(30 * 86_400.0)
    after = watch()
    after.begin(0.0)
    assert not after.suspect
    rig.clock.step(400.0)
    later = watch()
    later.begin(0.0)
    assert later.suspect


@pytest.mark.parametrize("way", [1, -1])
def test_a_clock_that_creeps_is_seen(rig: Rig, way: int) -> None:
    for _ in range(10):
        rig.clock.advance(0.5)
        rig.clock.step(way)
        rig.watch.look()
    assert "in small jumps" in rig.watch.suspect
    assert rig.fires


def test_corrections_of_a_poor_clock_are_no_creep(rig: Rig) -> None:
    for _ in range(24 * 30):
        rig.clock.advance(HOUR)
        rig.clock.step(0.9)
        rig.watch.look()
    assert rig.watch.held() == ""


def test_a_confirmation_ends_a_slow_drift(rig: Rig) -> None:
    for _ in range(20):
        rig.clock.advance(60)
        rig.clock.step(1)
        rig.watch.look()
        rig.seen(0)
    assert rig.watch.held() == ""


def test_a_time_before_there_was_a_dnssecd_cannot_be_confirmed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.clock.step(-rig.clock.now() + 60)
    rig.watch = ClockWatch(
        rig.clock, rig.home / "clock", 300, rig.events, lambda: [], rig.told.append, lambda: False
    )
    rig.watch.begin(0.0)
    assert "1970" in rig.watch.held()
    assert not rig.watch.confirm("alice")
    rig.seen(0)
    assert rig.watch.held()
    assert not rig.told
    rig.clock.step(1_700_000_000)
    rig.watch.look()
    assert rig.watch.confirm("alice")
    assert rig.watch.held() == ""
