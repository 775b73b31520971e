"""When primaries are looked at, and what a look means; with stubs in place of jobs and network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.clock import FakeClock
from dnssecd.config.model import Address, Peer
from dnssecd.config.tls_model import PeerTls
from dnssecd.daemon.zones import primaries as primaries_module
from dnssecd.daemon.zones.gates import Gates
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.primaries import GAP_S, Checked, Primaries, Wish
from dnssecd.daemon.zones.primary_state import (
    Held,
    Sight,
    Upstream,
    newest_first,
    refresh_delay_s,
    retry_delay_s,
    shown,
    to_fetch_from,
)
from dnssecd.daemon.zones.specs import protection
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.replacing import replace


class Schedule:
    """Remembers wake-ups."""

    def __init__(self) -> None:
        self.wakes: dict[str, float] = {}

    def wake(self, zone: FrontZone, what: str, when: float, action: object) -> None:
        self.wakes[f"{what} {zone.name}"] = when

    def forget(self, zone: FrontZone, what: str) -> None:
        self.wakes.pop(f"{what} {zone.name}", None)


class Looking(Primaries):
    """Counts looks instead of looking."""

    def __init__(self, home: Path, events: Any = None, clock: FakeClock | None = None) -> None:
        self.looks = 0
        self.hold = asyncio.Event()
        self.hold.set()
        nothing: Any = SimpleNamespace()
        self.mailbox = Mailbox()
        self.clock_doubt = ""
        gates = Gates(lambda: self.clock_doubt, lambda: "")
        schedule = cast(Any, Schedule())
        super().__init__(
            nothing,
            events or nothing,
            nothing,
            clock or FakeClock(),
            schedule,
            home,
            gates,
            nothing,
            self.mailbox,
        )

    async def _check(self, zone: FrontZone, wish: Wish) -> Checked:
        self.looks += 1
        await self.hold.wait()
        return Checked()


def a_zone(name: str = "example.", source: str = "primaries") -> FrontZone:
    config = SimpleNamespace(source=source, name=name)
    return cast(
        FrontZone,
        SimpleNamespace(
            name=name,
            config=config,
            orphan=False,
            gone=False,
            frozen=False,
            upstream=None,
            primaries=[],
            expired=False,
            doubt=None,
            owned=True,
            held=None,
        ),
    )


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_asking_in_the_moment_a_look_ends(tmp_path: Path) -> None:
    primaries, zone = Looking(tmp_path), a_zone()
    for looks in range(1, 50):
        primaries.refresh(zone)
        await turns(looks % 4 + 1)
    await turns()
    assert primaries.looks >= 2
    before = primaries.looks
    primaries.refresh(zone)
    await asyncio.sleep(0)  # the look has ended, and its task is about to
    primaries.refresh(zone)
    await asyncio.sleep(GAP_S)
    assert primaries.looks == before + 2
    await primaries.close()


async def test_asking_while_a_check_is_running(tmp_path: Path) -> None:
    primaries, zone = Looking(tmp_path), a_zone()
    primaries.hold.clear()
    for _ in range(100):
        primaries.refresh(zone)
        await turns(1)
    assert primaries.looks == 1
    primaries.hold.set()
    await asyncio.sleep(2 * GAP_S)
    assert primaries.looks == 2
    await primaries.close()


async def test_zones_do_not_wait_for_one_another(tmp_path: Path) -> None:
    primaries = Looking(tmp_path)
    primaries.hold.clear()
    for number in range(10):
        primaries.refresh(a_zone(f"z{number}."))
    await turns()
    assert primaries.looks == 10
    primaries.hold.set()
    await primaries.close()


async def test_zones_from_elsewhere_are_left_alone(tmp_path: Path) -> None:
    primaries, zone = Looking(tmp_path), a_zone()
    primaries.hold.clear()
    primaries.refresh(zone)
    await turns()
    zone.config.source = "file"  # type: ignore[misc]
    primaries.refresh(zone)
    primaries.hold.set()
    await turns()
    zone.config.source = "primaries"  # type: ignore[misc]
    primaries.refresh(zone)
    await turns()
    assert primaries.looks == 2
    await primaries.close()


async def test_leftovers_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "transfers" / "0"
    left.parent.mkdir()
    left.write_bytes(b"x")
    primaries = Looking(tmp_path)
    assert not left.exists()
    await primaries.close()


def sights(**serials: int | None) -> list[tuple[str, Sight]]:
    return [(name, Sight(serial, 0)) for name, serial in serials.items()]


@pytest.mark.parametrize(
    ("seen", "held", "wanted"),
    [
        (sights(a=7, b=8), 7, ["b"]),
        (sights(a=8, b=9, c=8), 7, ["b", "a", "c"]),
        (sights(a=7, b=None), 7, []),
        (sights(a=6), 7, []),
        (sights(a=6, b=5), None, ["a", "b"]),
        (sights(a=2**32 - 1, b=1), 2**32 - 1, ["b"]),
        (sights(a=2**31), 0, []),
        (sights(a=None), None, []),
    ],
)
def test_whom_to_fetch_from(seen: list[tuple[str, Sight]], held: int | None, wanted: list[str]) -> None:
    assert to_fetch_from(seen, held) == wanted


def test_newest_first_across_the_wrap() -> None:
    assert newest_first([("a", 2**32 - 2), ("b", 3), ("c", 2**32 - 1), ("d", 3)]) == ["b", "d", "c", "a"]


def test_delays() -> None:
    held = Held(7, 3600, 600, 86_400)
    assert 3600 * 0.9 <= refresh_delay_s("example.", held) <= 3600
    assert refresh_delay_s("a.", held) != refresh_delay_s("b.", held)
    assert retry_delay_s(held, 3) == 600
    assert refresh_delay_s("example.", Held(7, 0, 0, 0)) > 1
    assert retry_delay_s(Held(7, 0, 0, 0), 1) == 1
    assert retry_delay_s(Held(7, 0, 2**32 - 1, 0), 1) == 3600
    assert [retry_delay_s(None, failures) for failures in (1, 2, 3, 99)] == [2, 4, 8, 300]


def test_what_is_at_hand() -> None:
    up = Upstream(0.0)
    held = Held(7, 1, 1, 1)
    assert up.at_hand(None) is None
    assert up.at_hand(held) == 7
    up.same = (7, 9)
    assert up.at_hand(held) == 9
    assert up.at_hand(Held(8, 1, 1, 1)) == 8
    assert up.at_hand(Held(None, 1, 1, 1)) is None


def test_what_status_shows() -> None:
    rows = shown({"a": Sight(7, 5.0)}, {"a": "TLS", "b": "neither TLS nor TSIG"})
    assert rows[0] == {"name": "a", "serial": 7, "seen_at": 5.0, "detail": "", "protection": "TLS"}
    assert [rows[1][key] for key in ("serial", "detail", "protection")] == [
        None,
        "not queried yet",
        "neither TLS nor TSIG",
    ]


def test_how_transfers_are_protected() -> None:
    peer = Peer("up", Address("192.0.2.1", 53))
    assert protection(peer) == "neither TLS nor TSIG"
    assert protection(replace(peer, tsig="k.")) == "TSIG k."
    assert protection(replace(peer, tsig="k.", tls=PeerTls())) == "TLS and TSIG k."


class Aging(Looking):
    """Hears of zones that expire, and of those that are served again."""

    def __init__(self, home: Path, *, firing: bool = False) -> None:
        super().__init__(home, self, FakeClock(1_000_000.0))
        self.told: list[bool] = []
        self.firing_names: set[str] = {"zone-expired"} if firing else set()
        self.mailbox.expiry_changed.subscribe(lambda zone: self.told.append(zone.expired))

    def is_firing(self, name: str, zone: str) -> bool:
        return name in self.firing_names

    def raise_event(self, name: str, zone: str, cause: str) -> None:
        self.firing_names.add(name)

    def resolve(self, name: str, zone: str) -> None:
        self.firing_names.discard(name)


def an_aging_zone(soa_expire: str = "follow") -> Any:
    config = SimpleNamespace(source="primaries", name="example.", soa_expire=soa_expire)
    return SimpleNamespace(
        name="example.",
        config=config,
        expired=False,
        gone=False,
        problems=(),
        primaries=[],
        state=State.SERVED,
        serial=7,
        doubt=None,
        held=None,
        upstream=None,
    )


async def test_a_zone_expires_and_comes_back(tmp_path: Path) -> None:
    primaries, zone, held = Aging(tmp_path), an_aging_zone(), Held(7, 3600, 600, 86_400)
    up = Upstream(primaries._clock.now())
    primaries.expiry.age(zone, up, held)
    assert cast(Schedule, primaries._schedule).wakes["expire example."] == up.fresh_at + 86_401
    primaries._clock.advance(86_401)  # type: ignore[attr-defined]
    primaries.clock_doubt = "the clock was stepped"
    primaries.expiry.age(zone, up, held)
    assert primaries.told == [], "not while the time is in doubt"
    primaries.clock_doubt = ""
    for _ in range(3):
        primaries.expiry.age(zone, up, held)
    assert primaries.told == [True]
    assert [problem.event for problem in zone.problems] == ["zone-expired"]
    up.fresh_at = primaries._clock.now()
    primaries.expiry.age(zone, up, held)
    assert primaries.told == [True, False]
    assert (zone.problems, primaries.firing_names) == ((), set())
    await primaries.close()


async def test_a_zone_that_had_expired_stays_so_over_a_restart(tmp_path: Path) -> None:
    primaries, zone = Aging(tmp_path, firing=True), an_aging_zone()
    primaries.expiry.recall(zone)
    assert zone.expired
    up = Upstream(primaries.expiry.fresh_at(zone))
    primaries.expiry.age(zone, up, Held(7, 3600, 600, 86_400))
    assert zone.expired
    zone.config.soa_expire = "serve"  # and a reload
    primaries.expiry.age(zone, up, Held(7, 3600, 600, 86_400))
    assert primaries.told == [False]
    primaries.firing_names.add("zone-expired")
    primaries.expiry.recall(zone)  # or a restart
    assert (zone.expired, primaries.firing_names) == (False, set())
    await primaries.close()


async def test_by_default_nothing_expires(tmp_path: Path) -> None:
    primaries, zone = Aging(tmp_path), an_aging_zone("serve")
    primaries.expiry.age(zone, Upstream(0.0), Held(7, 3600, 600, 86_400))
    assert not zone.expired
    assert primaries.told == []
    await primaries.close()


async def test_a_look_that_ends_with_an_error_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a next look the zone would be taken over again only after a NOTIFY, or expire."""

    def no_thread(zone: FrontZone) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(primaries_module, "held_of", no_thread)
    events = SimpleNamespace(firing=lambda zone: [])
    primaries, zone = Looking(tmp_path, events), a_zone()
    zone.check = lambda: None  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await Primaries._check(primaries, zone, Wish())
    assert "refresh example." in cast(Schedule, primaries._schedule).wakes
    await primaries.close()
