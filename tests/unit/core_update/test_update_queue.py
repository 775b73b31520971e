"""The queue of updates in the front, and the catalogue it writes to, when something behind them fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from dnssecd.clock import SystemClock
from dnssecd.core.update.types import NOERROR, NOTAUTH, REFUSED, SERVFAIL
from dnssecd.core.zone.grants import NOTHING
from dnssecd.daemon.zones.gates import Gates
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import JobsRoom, UpdatesRoom
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.update_policy import update_policy
from dnssecd.daemon.zones.update_queue import ZoneQueue
from dnssecd.daemon.zones.updates import Updates
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.update import Answer, Committed
from dnssecd.store.catalogue import Catalogue, CatalogueEntry
from dnssecd.store.errors import DatabaseFailed
from tests.unit.core_update.build import EVERYTHING

REQUEST = cast("Any", SimpleNamespace(wire=b"", key=None))
DONE = Answer(NOERROR)
OUTCOME = cast("Outcome", SimpleNamespace(result="published"))


async def settled_at_once(seconds: float) -> None:
    return None


class Rigged(Updates):
    """With what a test turns: why the key service is away, how long it takes to settle, and the signals."""

    state: Any
    mailbox: Mailbox


def made(monkeypatch: pytest.MonkeyPatch, committed: Callable[[Any, Outcome], None]) -> tuple[Rigged, Any]:
    """The queue, and a zone with a version; every message is well formed and granted."""
    mailbox = Mailbox()
    state = SimpleNamespace(held="", settled=settled_at_once)
    updates = Rigged(
        SystemClock(),
        "/nonexistent",
        committed,
        int,
        lambda rcode: None,
        Gates(lambda: "", lambda: state.held),
        lambda seconds: state.settled(seconds),
        lambda *refusal: None,
        UpdateNotes({}, cast("Any", None), lambda event: None, SystemClock().monotonic),
        mailbox,
    )
    updates.state, updates.mailbox = state, mailbox
    monkeypatch.setattr(updates, "_grants_of", lambda zone: SimpleNamespace(of=lambda key: EVERYTHING))
    monkeypatch.setattr("dnssecd.daemon.zones.updates.parse_update", lambda wire: wire)
    monkeypatch.setattr("dnssecd.daemon.zones.updates.update_policy", lambda spec, grants, serial_max: grants)
    database = SimpleNamespace(untidy=False, checkpoint=lambda: None)
    parts = {"config": SimpleNamespace(source="dynamic"), "database": database, "spec": object()}
    flags = {"owned": True, "frozen": False, "gone": False, "held": None, "doubt": None, "orphan": False}
    flags |= {"signed_elsewhere": False}
    return updates, SimpleNamespace(
        name="z.",
        serial=1,
        updates=UpdatesRoom(),
        jobs=JobsRoom(),
        state=State.SERVED,
        expired=False,
        **flags,
        **parts,
    )


async def test_notify_and_the_answer_are_sent_before_metrics_and_catalogue_are_updated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NOTIFY, then the answer, the moment the version is committed; whatever follows comes after."""
    told, order = threading.Event(), []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        tell([DONE], 2, "soa")
        assert told.wait(10), "the answer does not wait for what follows the commit"
        return Committed([DONE], OUTCOME)

    def committed(zone: Any, outcome: Outcome) -> None:
        order.append("books")
        raise DatabaseFailed("database or disk is full")

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, committed)
    updates.mailbox.committed.subscribe(lambda zone, serial, soa, _: order.append((serial, soa, zone.serial)))
    assert await updates._handle(zone, REQUEST) == DONE
    order.append("answer")
    assert zone.serial == 2
    told.set()
    await asyncio.gather(*(queue.task for queue in updates._active if queue.task))
    assert order == [(2, "soa", 1), "answer", "books"]
    await updates.close()


async def test_updates_wait_for_a_key_service_that_is_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are refused without a word to anybody else where it does not come in time."""
    outcomes: list[Outcome] = []
    monkeypatch.setattr(Updates, "_work", lambda *_: Committed([DONE], OUTCOME))
    updates, zone = made(monkeypatch, lambda zone, outcome: outcomes.append(outcome))
    up = asyncio.Event()
    updates.state.held = "the key service is starting"

    async def settled(seconds: float) -> None:
        assert 0 < seconds <= 5
        await up.wait()

    updates.state.settled = settled
    waiting = asyncio.get_running_loop().create_task(updates._handle(zone, REQUEST))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    updates.state.held = ""
    up.set()
    async with asyncio.timeout(5):
        assert await waiting == DONE
    up.clear()
    updates.state.held, updates.state.settled = "the key service is starting", settled_at_once
    assert await updates._handle(zone, REQUEST) == Answer(SERVFAIL, "the key service is starting")
    assert len(outcomes) == 1, "nothing was tried, so nothing failed"
    await updates.close()


async def test_databases_are_tidied_when_no_update_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.daemon.zones.updates.QUIET_S", 0.2)
    monkeypatch.setattr(Updates, "_work", lambda *_: Committed([DONE], OUTCOME))
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    tidied = threading.Event()
    zone.database.untidy = True
    zone.database.checkpoint = lambda: (setattr(zone.database, "untidy", False), tidied.set())
    assert await updates._handle(zone, REQUEST) == DONE
    assert not tidied.is_set()
    assert await asyncio.to_thread(tidied.wait, 10)
    assert await updates._handle(zone, REQUEST) == DONE
    await updates.close()


async def test_queue_survives_what_follows_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure after the commit is the answer to those it concerns; the next ones are taken as before."""
    failing = [True]

    def committed(zone: Any, outcome: Outcome) -> None:
        if failing.pop():
            raise DatabaseFailed("database or disk is full")

    def work(self: Any, zone: Any, updates: list[Any], told: Any) -> Committed:
        outcome = SimpleNamespace(result="published")
        return Committed([DONE] * len(updates), cast("Outcome", outcome))

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, committed)
    with pytest.raises(DatabaseFailed):
        await updates._handle(zone, REQUEST)
    failing.append(False)
    async with asyncio.timeout(5):
        assert await updates._handle(zone, REQUEST) == DONE
    await updates.close()


def test_catalogue_keeps_what_it_cannot_write(tmp_path: Path) -> None:
    """With a full disk (a bound on pages stands for it) entries wait, and are written with the next that can be."""
    path = tmp_path / "catalogue.sqlite"
    catalogue = Catalogue(path)
    (pages,) = catalogue._connection.execute("PRAGMA page_count").fetchone()
    catalogue._connection.execute(f"PRAGMA max_page_count = {pages}")
    names = [f"zone{number}." + "x" * 100 for number in range(200)]
    for name in names:
        catalogue.put(CatalogueEntry(name, 1))
    assert len(catalogue.entries()) < len(names)
    catalogue._connection.execute("PRAGMA max_page_count = 1000000")
    catalogue.put(CatalogueEntry("last.", 2))
    catalogue.close()
    again = Catalogue(path)
    assert set(again.entries()) == {*names, "last."}
    again.close()


async def test_senders_of_the_last_group_are_waited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they share the next version too; one sender alone waits for nobody, and nobody waits for long."""
    groups: list[int] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        groups.append(len(updates))
        answers = [DONE] * len(updates)
        tell(answers, 2, "soa")
        return Committed(answers, OUTCOME)

    async def sender(times: int, slowness: int = 0) -> None:
        for _ in range(times):
            assert await updates._handle(zone, REQUEST) == DONE
            await asyncio.sleep(slowness / 50)

    monkeypatch.setattr(Updates, "_work", work)
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.GATHER_S", 10.0)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    await asyncio.wait_for(sender(3), 5)
    assert groups == [1, 1, 1]
    groups.clear()
    await asyncio.wait_for(asyncio.gather(*(sender(3, slowness) for slowness in range(4))), 5)
    assert groups == [4, 4, 4]
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.GATHER_S", 0.001)
    groups.clear()
    await asyncio.wait_for(asyncio.gather(sender(2), sender(1)), 5)
    assert groups == [2, 1]
    await updates.close()


async def test_senders_that_missed_a_group_share_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves that take turns would cost twice as many versions."""
    groups: list[int] = []
    others_sent = threading.Event()

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        groups.append(len(updates))
        assert others_sent.wait(10)
        answers = [DONE] * len(updates)
        tell(answers, 2, "soa")
        return Committed(answers, OUTCOME)

    async def sender(times: int) -> None:
        for _ in range(times):
            assert await updates._handle(zone, REQUEST) == DONE

    monkeypatch.setattr(Updates, "_work", work)
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.GATHER_S", 10.0)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    early = asyncio.gather(sender(3), sender(3))
    while not groups:
        await asyncio.sleep(0.001)
    late = asyncio.gather(sender(2), sender(2))
    while len(zone.updates.queue.waiting) < 2:
        await asyncio.sleep(0.001)
    others_sent.set()
    await asyncio.wait_for(asyncio.gather(early, late), 10)
    assert groups == [2, 4, 4]
    await updates.close()


async def test_what_does_not_fit_into_a_version_goes_into_the_next_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dear messages fill a version sooner; the others are carried out next, before what came later."""
    groups: list[list[bytes]] = []
    first = threading.Event()

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        if not groups:
            assert first.wait(10)
        groups.append([message for message, _ in updates])
        answers = [Answer(NOERROR, message.decode()) for message, _ in updates[:2]]
        tell(answers, 2, "soa")
        return Committed(answers, OUTCOME)

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    sent = [
        asyncio.create_task(updates._handle(zone, SimpleNamespace(wire=b"%d" % number, key=None)))  # type: ignore[arg-type]
        for number in range(6)
    ]
    await asyncio.sleep(0.05)
    first.set()
    answers = await asyncio.wait_for(asyncio.gather(*sent), 10)
    assert [answer.reason for answer in answers] == [str(number) for number in range(6)]
    assert [len(group) for group in groups] == [6, 4, 2]
    await updates.close()


async def test_a_message_that_waits_too_long_is_answered_and_never_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client is about to give up: it must not find the update done after that."""
    carried: list[bytes] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        carried.extend(message for message, _ in updates)
        return Committed([DONE] * len(updates), OUTCOME)

    monkeypatch.setattr(Updates, "_work", work)
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.WAITING_S", 0.05)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    async with zone.jobs.turn:  # a long job
        answer = await asyncio.wait_for(updates._handle(zone, SimpleNamespace(wire=b"late", key=None)), 5)  # type: ignore[arg-type]
    assert answer.rcode == SERVFAIL
    assert "longer" in answer.reason
    assert await asyncio.wait_for(updates._handle(zone, SimpleNamespace(wire=b"next", key=None)), 5) == DONE  # type: ignore[arg-type]
    assert carried == [b"next"]
    await updates.close()


async def ask_together(updates: Rigged, zone: Any, count: int) -> list[Answer]:
    """Send messages that make one group, and return their answers."""
    async with zone.jobs.turn:
        waiting = [asyncio.ensure_future(updates._handle(zone, REQUEST)) for _ in range(count)]
        await asyncio.sleep(0.01)
    return await asyncio.wait_for(asyncio.gather(*waiting), 5)


@pytest.mark.parametrize("log_away", [False, True])
async def test_messages_are_not_tried_again_when_their_clients_have_given_up(
    monkeypatch: pytest.MonkeyPatch, *, log_away: bool
) -> None:
    """A failed group is tried one by one, as long as clients wait; not at all when its log could not be reached."""
    groups: list[int] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        groups.append(len(updates))
        time.sleep(0.12)
        outcome = Outcome(zone="z.", result="failed", log_away=log_away)
        return Committed([Answer(SERVFAIL, "failed")] * len(updates), outcome)

    monkeypatch.setattr(Updates, "_work", work)
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.WAITING_S", 0.2)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    answers = await ask_together(updates, zone, 8)
    assert {answer.rcode for answer in answers} == {SERVFAIL}
    assert groups == ([8] if log_away else [8, 1])
    await updates.close()


async def test_messages_that_are_tried_one_by_one_are_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group may take long: an operator who freezes the zone meanwhile must not find it changed afterwards."""
    groups: list[int] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        groups.append(len(updates))
        zone.frozen = True
        return Committed([Answer(SERVFAIL, "failed")] * len(updates), Outcome(zone="z.", result="failed"))

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    answers = await ask_together(updates, zone, 3)
    assert {answer.rcode for answer in answers} == {REFUSED}
    assert groups == [3]
    await updates.close()


async def test_messages_that_were_put_back_are_not_started_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.WAITING_S", 0.05)
    queue = ZoneQueue()
    answer = queue.put(cast("Any", None), None, cast("Any", None))
    queue.put_back(queue.take())
    await asyncio.sleep(0.1)
    assert queue.take() == []
    assert (await answer).rcode == SERVFAIL


@pytest.mark.parametrize("change", ["frozen", "revoked", "primaries", "narrowed"])
async def test_what_waits_is_judged_by_what_holds_when_it_is_carried_out(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    carried: list[Any] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        carried.extend(updates)
        return Committed([DONE] * len(updates), OUTCOME)

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, lambda zone, outcome: None)
    grants: Any = SimpleNamespace(of=lambda key: NOTHING if change == "revoked" else "fewer names")
    async with zone.jobs.turn:
        waiting = [asyncio.ensure_future(updates._handle(zone, REQUEST)) for _ in range(3)]
        await asyncio.sleep(0.01)
        if change == "frozen":
            zone.frozen = True
        elif change == "primaries":
            zone.config = SimpleNamespace(source="primaries")
        else:
            zone.spec = object()
            monkeypatch.setattr(updates, "_grants_of", lambda zone: grants)
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    if change == "narrowed":
        assert answers == [DONE] * 3
        assert carried == [(b"", "fewer names")] * 3
    else:
        assert {answer.rcode for answer in answers} == {NOTAUTH if change == "primaries" else REFUSED}
        assert carried == []
    await updates.close()


async def test_clients_lead_the_serial_a_bounded_way_in_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ZoneQueue()
    assert queue.serial_max(10) == 10 + 2**16
    assert queue.serial_max(60_000) == 10 + 2**16, "many small steps lead no farther than one"
    monkeypatch.setattr("dnssecd.daemon.zones.update_queue.SERIAL_WINDOW_S", 0.0)
    assert queue.serial_max(2**32 - 1) == 2**16 - 1


def test_the_bound_on_ttls_is_that_of_every_input() -> None:
    """It does not depend on what the zone's largest TTL is now: check_timing asks what the refresh would be."""
    spec = ZoneSpec(
        name="z.", origin=b"", database="", signer_socket="", keystore="", keys=(), validity_s=30 * 86_400
    )
    assert update_policy(spec, NOTHING, 1).ttl_max == 15 * 86_400 - 1
    shorter = msgspec.structs.replace(spec, refresh_s=9 * 86_400)
    assert update_policy(shorter, NOTHING, 1).ttl_max == 9 * 86_400 - 1


async def test_a_stop_in_the_middle_of_a_commit_does_not_part_the_answer_from_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is committed is answered NOERROR, and taken over; what waits is answered, and not carried out."""
    committing, stopping = threading.Event(), threading.Event()
    stored: list[bytes] = []
    outcomes: list[Outcome] = []

    def work(self: Any, zone: Any, updates: list[Any], tell: Any) -> Committed:
        committing.set()
        assert stopping.wait(10)
        time.sleep(0.05)
        done = [message for message, _ in updates][:1]
        stored.extend(done)
        tell([DONE], 2, "soa")
        return Committed([DONE], OUTCOME)  # of two, if there are two: the second is for the next version

    monkeypatch.setattr(Updates, "_work", work)
    updates, zone = made(monkeypatch, lambda zone, outcome: outcomes.append(outcome))

    def send(wire: bytes) -> asyncio.Task[Answer]:
        return asyncio.create_task(updates._handle(zone, SimpleNamespace(wire=wire, key=None)))  # type: ignore[arg-type]

    async with zone.jobs.turn:
        first, second = send(b"first"), send(b"second")
        await asyncio.sleep(0.01)
    assert await asyncio.to_thread(committing.wait, 10)
    third = send(b"third")
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.02, stopping.set)
    async with asyncio.timeout(10):
        await updates.close()
        answers = await asyncio.gather(first, second, third, send(b"fourth"))
    assert [answer.rcode for answer in answers] == [NOERROR, SERVFAIL, SERVFAIL, SERVFAIL]
    assert stored == [b"first"]
    assert zone.serial == 2
    assert outcomes == [OUTCOME], "metrics and catalogue know the version"
