"""The event of an off-line KSK becomes worse as the end of what was signed comes nearer, and ends with an import."""

from types import SimpleNamespace
from typing import Any

from dnssecd.config.model import OfflineKeystore
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.core.keys.types import Blocker, Gate, Plan
from dnssecd.daemon.rollover.ceremony_watch import CeremonyWatch
from tests.unit.core_ceremony.world import DAY, K1, NOW, STORES, A, B
from tests.unit.core_keys.test_ceremony_gate import keyset_of, signed


class Events:
    """Events that fire, by name and subject."""

    def __init__(self) -> None:
        self.firing: dict[tuple[str, str], str] = {}

    def raise_event(self, name: str, zone: str, cause: str, subject: str = "") -> None:
        self.firing[name, subject] = cause

    def resolve(self, name: str, zone: str, subject: str = "") -> None:
        self.firing.pop((name, subject), None)


class Watched:
    """A zone whose DNSKEY RRset is signed for 40 days, with a notice of 20."""

    def __init__(self) -> None:
        self.events, self.now = Events(), float(NOW)
        self.sets = (signed(K1, A, stop=NOW + 40 * DAY),)
        self.keyset = keyset_of(K1, A)
        other = OfflineKeystore("other", 39 * DAY)  # of other zones: its notice does not count here
        config: Any = SimpleNamespace(keystores={"vault": OfflineKeystore("vault", 20 * DAY), "other": other})
        clock: Any = SimpleNamespace(now=lambda: self.now)
        events: Any = self.events
        self.watch = CeremonyWatch(events, clock, lambda: config)
        self.zone: Any = SimpleNamespace(name="example.com.", keys=SimpleNamespace())

    def look(self, day: float, *blockers: Blocker) -> list[str]:
        self.now = NOW + day * DAY
        evidence = Evidence(ahead=SignedAhead(STORES, self.sets))
        self.wake = self.watch.planned(
            self.zone, self.keyset, Plan((), None, blockers, self.keyset), evidence
        )
        return sorted(name for name, _ in self.events.firing)


def test_the_event_becomes_worse_and_ends_with_an_import():
    zone = Watched()
    assert zone.look(0) == []
    assert zone.wake == NOW + 20 * DAY
    assert zone.look(20) == ["ceremony-due"]
    assert zone.wake == NOW + 30 * DAY
    assert zone.look(30) == ["ceremony-late"]
    assert zone.look(35) == ["ceremony-needed"]
    assert zone.look(41) == ["ceremony-needed"]
    zone.sets = (*zone.sets, signed(K1, A, start=NOW + 39 * DAY, stop=NOW + 100 * DAY))
    assert zone.look(41) == []
    assert zone.zone.keys.signed_until == NOW + 100 * DAY


def test_rrsets_that_follow_count_until_the_step_to_them_is_late():
    zone = Watched()
    zone.sets = (*zone.sets, signed(K1, A, B, start=NOW + 30 * DAY, stop=NOW + 90 * DAY))
    assert zone.look(34) == []
    assert zone.wake == NOW + 35 * DAY
    assert zone.look(35) == ["ceremony-needed"]


def test_a_step_that_only_a_ceremony_brings_further_is_reported():
    zone = Watched()
    waits = Blocker(Gate.CEREMONY, "signed-ahead", "no DNSKEY RRset has it", "key11", A.tag)
    assert zone.look(0, waits) == ["ceremony-due"]
    assert zone.look(0) == []


def test_a_zone_without_an_off_line_ksk_has_no_event():
    zone = Watched()
    zone.keyset = keyset_of(A)
    assert all(key.role is Role.ZSK for key in zone.keyset.keys)
    assert zone.look(100) == []
    assert zone.wake is None
