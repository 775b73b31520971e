"""The event core: firing, resolving, de-duplication, durability."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dnssecd.clock import FakeClock
from dnssecd.ops.event_kinds import EVENT_KINDS, SEVERITIES
from dnssecd.ops.events import Event, EventCore
from dnssecd.store.errors import DatabaseFailed, SchemaTooNew
from dnssecd.store.event_log import TRANSITIONS_KEPT, EventStore, Transition


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


@pytest.fixture
def core(path: Path, clock: FakeClock) -> Iterator[EventCore]:
    core = EventCore(path, clock)
    yield core
    core.close()


def test_the_registry_is_complete() -> None:
    wanted = """input-error delta-guard verification-failed signing-failed signer-unreachable runway-low
        secondary-lagging secondary-unreachable serial-backwards first-publication-waiting foreign-dnskey
        ds-mismatch zone-not-configured keystore-mode-fixed ttl-rejected refresh-capped store-failed
        notify-unanswered clock-step disk-low""".split()  # noqa: SIM905
    assert set(wanted) <= set(EVENT_KINDS)
    for name, kind in EVENT_KINDS.items():
        assert kind.name == name
        assert kind.severity in SEVERITIES
        assert kind.meaning, name
        assert kind.effect, name
        assert kind.remedy, name
    assert not EVENT_KINDS["runway-low"].mutable
    with pytest.raises(TypeError):
        EVENT_KINDS["x"] = EVENT_KINDS["disk-low"]  # type: ignore[index]


def test_firing_counting_and_resolving(core: EventCore, clock: FakeClock) -> None:
    seen: list[tuple[str, str]] = []
    core.subscribe(lambda event, what: seen.append((event.name, what)))
    core.raise_event("input-error", "example.com.", "line 3: no such type")
    clock.advance(5)
    core.raise_event("input-error", "example.com.", "line 3: no such type")
    (event,) = core.firing("example.com.")
    assert (event.first_seen, event.last_seen, event.count) == (1000, 1005, 2)
    assert event.severity == "error"
    assert event.effect == EVENT_KINDS["input-error"].effect
    clock.advance(5)
    core.raise_event("input-error", "example.com.", "line 4: cut off")
    assert core.resolve("input-error", "example.com.")
    assert not core.resolve("input-error", "example.com.")
    assert core.firing() == []
    assert seen == [("input-error", "firing"), ("input-error", "changed"), ("input-error", "resolved")]
    history = core.transitions("example.com.")
    assert [(t.at, t.what) for t in history] == [(1000, "firing"), (1010, "changed"), (1010, "resolved")]
    assert core.transitions("example.com.", after=history[1].number) == history[2:]
    core.raise_event("input-error", "example.com.", "again")
    assert core.firing()[0].count == 1


def test_subjects_are_apart(core: EventCore) -> None:
    for name in ("ns1", "ns2"):
        core.raise_event("secondary-lagging", "example.com.", f"{name} has 7", subject=name)
    core.raise_event("disk-low", None, "3 % free")
    assert core.resolve("secondary-lagging", "example.com.", "ns1")
    assert core.is_firing("secondary-lagging", "example.com.", "ns2")
    assert [event.name for event in core.firing()] == ["disk-low", "secondary-lagging"]  # worst first
    core.raise_event("secondary-lagging", "example.com.", "ns1 has 7", subject="ns1")
    assert core.resolve("secondary-lagging", "example.com.", None)
    assert [event.zone for event in core.firing()] == [""]
    core.raise_event("input-error", "example.com.", "x")
    core.remove_zone("example.com.")
    assert [event.name for event in core.firing()] == ["disk-low"]


def test_nothing_is_raised_for_a_zone_that_was_removed(core: EventCore) -> None:
    heard = []
    core.subscribe(lambda event, what: heard.append((event.name, what, event.zone_removed)))
    core.raise_event("input-error", "example.com.", "x")
    core.remove_zone("example.com.")
    core.raise_event("store-failed", "example.com.", "what was under way ended late")
    assert core.firing() == []
    assert heard == [("input-error", "firing", False), ("input-error", "resolved", True)]
    core.add_zone("example.com.")
    core.raise_event("input-error", "example.com.", "x")
    assert core.resolve("input-error", "example.com.")
    assert heard[2:] == [("input-error", "firing", False), ("input-error", "resolved", False)]


def test_an_unknown_name_is_our_bug(core: EventCore) -> None:
    with pytest.raises(KeyError):
        core.raise_event("inptu-error", None, "x")


def test_what_fires_survives_a_restart(path: Path, clock: FakeClock) -> None:
    core = EventCore(path, clock)
    core.raise_event("runway-low", "example.com.", "2 h left")
    core.raise_event("disk-low", None, "3 % free")
    core.resolve("disk-low", None)
    assert core.acknowledge("runway-low", "example.com.", "alice") == 1
    core.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = EventCore(path, clock)
    (event,) = again.firing()
    assert (event.name, event.zone, event.acked_by, event.count) == ("runway-low", "example.com.", "alice", 1)
    assert [t.what for t in again.transitions()] == ["firing", "firing", "resolved", "acknowledged"]
    again.close()


def test_without_close_the_writer_stores_what_fires(path: Path, core: EventCore) -> None:
    stored = threading.Event()
    real = core._store.save

    def save(events: object, transitions: object) -> None:
        real(events, transitions)  # type: ignore[arg-type]
        stored.set()

    core._store.save = save  # type: ignore[method-assign, assignment]
    core.raise_event("disk-low", None, "x")
    assert stored.wait(10)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name, firing FROM event").fetchall() == [("disk-low", 1)]


def test_a_failed_write_is_tried_again_and_loses_nothing(core: EventCore) -> None:
    real = core._store.save
    core._store_lock.acquire()  # keep the writer away

    def fail(events: object, transitions: object) -> None:
        raise DatabaseFailed("database or disk is full")

    core._store.save = fail  # type: ignore[method-assign, assignment]
    core.raise_event("input-error", "example.com.", "1")
    core.raise_event("disk-low", None, "no room")
    core._store_lock.release()
    with capture_logs() as logs:
        assert not core.flush()
        assert not core.flush()
    assert [("full" in line["cause"]) for line in logs] == [True], "said once"
    core.resolve("input-error", "example.com.")
    core._store.save = real  # type: ignore[method-assign]
    assert core.flush()
    assert [t.what for t in core.transitions()] == ["firing", "firing", "resolved"]
    assert [event.name for event in core._store.firing()] == ["disk-low"]
    core._store.save = fail  # type: ignore[method-assign, assignment]
    core.raise_event("input-error", "example.com.", "2")
    with capture_logs() as logs:
        assert not core.flush()
    assert "full" in logs[-1]["cause"], "said again, since events could be stored meanwhile"
    core._store.save = real  # type: ignore[method-assign]


def test_a_listener_that_fails_affects_no_other(core: EventCore) -> None:
    def bad(event: Event, what: str) -> None:
        raise RuntimeError("no")

    seen: list[str] = []
    core.subscribe(bad)
    core.subscribe(lambda event, what: seen.append(what))
    core.raise_event("disk-low", None, "x")
    assert seen == ["firing"]


def test_a_newer_schema_is_refused_untouched(path: Path, clock: FakeClock) -> None:
    EventStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="newer"):
        EventCore(path, clock)
    assert path.read_bytes() == before


def test_a_damaged_database_is_set_aside(path: Path, clock: FakeClock) -> None:
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    core = EventCore(path, clock)
    assert core.is_firing("store-failed", None, "events")
    assert path.with_name("events.sqlite.damaged").exists()
    core.close()


def test_a_wide_mode_is_corrected(path: Path) -> None:
    path.touch(mode=0o644)
    path.chmod(0o644)
    EventStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_transitions_are_pruned(path: Path) -> None:
    store = EventStore(path)
    one = Transition(0, 1.0, "firing", "disk-low", "", "", "x")
    store.save([], [one] * (TRANSITIONS_KEPT + 10))
    kept = store.transitions(limit=10**6)
    assert len(kept) == TRANSITIONS_KEPT
    assert kept[-1].number == TRANSITIONS_KEPT + 10
    store.close()


def test_threads_may_raise_at_once(core: EventCore) -> None:
    def work(number: int) -> None:
        for _ in range(200):
            core.raise_event("notify-unanswered", f"z{number}.", "x")
            core.raise_event("disk-low", None, "x")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {event.name: event.count for event in core.firing()}["disk-low"] == 800


def test_without_a_zone_an_acknowledgement_is_for_all_zones(core: EventCore) -> None:
    for zone in ("a.example.", "b.example.", None):
        core.raise_event("input-error", zone, "broken")
    core.raise_event("runway-low", "a.example.", "soon")
    assert core.acknowledge("input-error", None, "alice") == 3
    assert {event.zone for event in core.firing() if event.acked_by == "alice"} == {
        "a.example.",
        "b.example.",
        "",
    }
    assert core.acknowledge("input-error", "a.example.", "bob") == 1
