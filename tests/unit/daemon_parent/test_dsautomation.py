"""When the parent is told, when people are told, and when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dnssecd.core.keys.keystate import State
from dnssecd.daemon.parent import automation
from dnssecd.daemon.parent.automation import FAILED, HANDOVER, MISMATCH, MISSING
from dnssecd.daemon.parent.channels import FAILURES_TOLD
from dnssecd.publish.dsync import Notified
from dnssecd.store.event_log import Event
from tests.unit.core_parent import keysets
from tests.unit.core_parent.keysets import NOW, ZONE
from tests.unit.daemon_parent.rig import BY_HAND, HOOKED, NO_ENDPOINT, PUSHED, SCANNED, TAKEN, Rig, settle

DAY = 86_400
ASKED = (HANDOVER, "")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    yield made
    await made.close()


def event(rig: Rig, name: str, subject: str = "") -> Event:
    return next(e for e in rig.events.firing(ZONE) if (e.name, e.subject) == (name, subject))


async def test_without_automation_an_alert_is_sent_immediately_and_again_when_it_is_late(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), BY_HAND)
    assert rig.firing() == {ASKED: "warning"}
    assert "key tag" in event(rig, *ASKED).cause
    await rig.later(DAY)
    assert rig.firing() == {ASKED: "error"}
    assert "overdue" in event(rig, *ASKED).cause
    await rig.later(DAY)
    assert event(rig, *ASKED).count == 2, "looking at it again is not news"


async def test_a_parent_that_may_read_cds_without_taking_notifications_is_a_person_s_business(
    rig: Rig,
) -> None:
    rig.doer.notified = NO_ENDPOINT
    await rig.wanted(keysets.submit(), SCANNED)
    assert len(rig.doer.notifies) == 1
    assert rig.firing() == {ASKED: "warning"}


async def test_notify_accepted_by_the_parent_sends_no_alert_until_it_is_late(rig: Rig) -> None:
    rig.doer.notified = TAKEN
    await rig.wanted(keysets.submit(), SCANNED)
    assert rig.firing() == {}
    await rig.later(DAY + 1)
    assert rig.firing() == {ASKED: "error"}


async def test_notify_waits_until_the_cds_are_public(rig: Rig) -> None:
    rig.doer.notified = TAKEN
    await rig.wanted(keysets.submit(), SCANNED, public=False)
    assert rig.doer.notifies == []
    assert rig.firing() == {}
    progress = rig.automation.progress(rig.zone)
    assert progress is not None
    assert "until all secondaries" in progress.ways[0]
    await rig.wanted(keysets.submit(), SCANNED, public=True)
    assert len(rig.doer.notifies) == 1


async def test_cds_that_do_not_become_public_are_reported(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), SCANNED, public=False)
    await rig.later(601)
    assert rig.firing() == {ASKED: "warning"}


async def test_an_endpoint_that_does_not_answer_is_tried_again_then_an_alert_is_sent(rig: Rig) -> None:
    rig.doer.notified = Notified(True, False, "no answer in time")
    await rig.wanted(keysets.submit(), SCANNED)
    assert rig.firing() == {}
    for _ in range(FAILURES_TOLD):
        await rig.later(300)
    assert rig.firing() == {ASKED: "warning"}
    rig.doer.notified = TAKEN
    await rig.later(1_800)
    assert rig.counted[-1] == ("notify", "done")


async def test_a_resolver_that_fails_is_no_proof_that_there_is_no_endpoint(rig: Rig) -> None:
    rig.doer.notified = Notified(False, False, "SERVFAIL")
    await rig.wanted(keysets.submit(), SCANNED)
    assert rig.firing() == {}
    rig.doer.notified = TAKEN
    await rig.later(20)
    assert len(rig.doer.notifies) == 2
    assert rig.firing() == {}


async def test_push_is_repeated_with_growing_pauses_and_its_failure_told(rig: Rig) -> None:
    rig.doer.push_ok = False
    await rig.wanted(keysets.submit(), PUSHED)
    pauses = []
    for _ in range(FAILURES_TOLD - 1):
        before, waited = len(rig.doer.pushes), 0
        while len(rig.doer.pushes) == before:
            await rig.later(5)
            waited += 5
        pauses.append(waited)
    assert pauses == [15, 30, 60, 120]
    assert rig.firing() == {(FAILED, "push"): "error"}
    assert "REFUSED" in event(rig, FAILED, "push").cause
    rig.doer.push_ok = True
    await rig.later(240)
    assert rig.firing() == {}
    assert rig.past == [(ZONE, "ds push", "took the update")]
    assert ("push", "failed") in rig.counted


async def test_a_push_that_worked_is_repeated_but_rarely_and_a_hook_is_not(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), PUSHED)
    await rig.later(3_600)
    assert len(rig.doer.pushes) == 1
    await rig.later(21_600)
    assert len(rig.doer.pushes) == 2
    await rig.wanted(keysets.submit(), HOOKED)
    await rig.later(DAY - 1)
    await rig.later(DAY)
    assert len(rig.doer.hooks) == 1


async def test_a_hook_that_fails_is_reported_with_what_it_said(rig: Rig) -> None:
    rig.doer.hook_ok = False
    await rig.wanted(keysets.replaced(), HOOKED)
    for _ in range(FAILURES_TOLD):
        await rig.later(300)
    assert rig.firing() == {(FAILED, "hook"): "error"}
    assert "no credit" in event(rig, FAILED, "hook").cause


async def test_a_bug_is_a_failure_like_others(rig: Rig) -> None:
    rig.doer.fault = RuntimeError("boom")
    await rig.wanted(keysets.submit(), PUSHED)
    assert rig.counted == [("push", "failed")]
    rig.doer.fault = None
    await rig.later(15)
    assert rig.counted[-1] == ("push", "done")


async def test_seen_everywhere_ends_it_with_a_closing_text(rig: Rig) -> None:
    await rig.wanted(keysets.replaced(), BY_HAND)
    fired = event(rig, *ASKED)
    await rig.seen(1)
    await rig.seen(1, 2)
    assert ASKED in rig.firing()
    await rig.seen(2)
    assert rig.firing() == {}
    from dnssecd.replacing import replace

    text = rig.automation.details(rig.zone, replace(fired, firing=False))
    assert text.startswith("Done: the DS of example.com.")
    assert "No action is needed" in text


async def test_one_server_with_the_old_ds_or_without_an_answer_keeps_it_open(rig: Rig) -> None:
    await rig.wanted(keysets.replaced(), BY_HAND)
    await rig.sighted({"ns1": (2,), "ns2": (1,)})
    assert ASKED in rig.firing()
    await rig.sighted({"ns1": (2,), "ns2": (None,)})
    assert ASKED in rig.firing()
    await rig.sighted({"ns1": (2,), "ns2": (2,)})
    assert rig.firing() == {}


async def test_an_answer_from_before_the_request_proves_nothing(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), BY_HAND)
    await rig.seen(1, at=NOW - 60)
    assert ASKED in rig.firing()


async def test_confirmed_by_a_person_ends_it_too(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), BY_HAND)
    await rig.wanted(keysets.in_place(), BY_HAND)
    assert rig.firing() == {}


async def test_what_was_done_and_undone_is_taken_up_again(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), PUSHED)
    await rig.seen(1)
    await rig.later(DAY * 2)
    assert len(rig.doer.pushes) == 1
    await rig.seen()
    assert len(rig.doer.pushes) == 2


async def test_saying_the_same_again_changes_nothing(rig: Rig) -> None:
    for _ in range(5):
        await rig.wanted(keysets.submit(), PUSHED)
        await rig.seen()
    assert len(rig.doer.pushes) == 1


async def test_another_request_replaces_the_first(rig: Rig) -> None:
    await rig.wanted(keysets.submit(), PUSHED)
    await rig.wanted(keysets.replaced(), PUSHED)
    assert [len(h.wanted) for h in rig.doer.pushes] == [1, 1]
    assert rig.doer.pushes[-1].wanted[0].tag == keysets.key(2).tag


async def test_a_foreign_ds_is_reported_at_any_time_and_is_worse_alone(rig: Rig) -> None:
    await rig.wanted(keysets.in_place(), SCANNED)
    await rig.seen(1, 5)
    assert rig.firing() == {(MISMATCH, ""): "error"}
    await rig.seen(5)
    assert rig.firing()[MISMATCH, ""] == "critical"
    assert str(keysets.key(5).tag) in event(rig, MISMATCH).cause
    await rig.seen(1)
    assert rig.firing() == {}


async def test_a_ds_that_disappears_is_reported(rig: Rig) -> None:
    await rig.wanted(keysets.in_place(), SCANNED)
    await rig.seen(1)
    assert rig.firing() == {}
    await rig.sighted({"ns1": (1,), "ns2": ()})
    assert rig.firing() == {(MISSING, ""): "error"}
    assert "ns2" in event(rig, MISSING).cause
    await rig.wanted(keysets.lost(), SCANNED)
    assert rig.firing() == {(MISSING, ""): "error"}
    await rig.sighted({"ns1": (1,), "ns2": (1,)})
    assert rig.firing() == {}


async def test_a_chain_that_is_lost_is_lost_until_there_is_a_ds_again(rig: Rig) -> None:
    await rig.wanted(keysets.replaced(), PUSHED)
    await rig.seen(5)
    assert rig.firing() == {(MISSING, ""): "error", (MISMATCH, ""): "critical"}
    new_alone = keysets.keyset(keysets.with_ds(keysets.key(2), State.RUMOURED))
    await rig.wanted(new_alone, PUSHED)
    await rig.seen(5)
    assert rig.firing() == {(MISSING, ""): "error", (MISMATCH, ""): "critical"}
    await rig.seen(2)
    assert rig.firing() == {}


async def test_neither_the_old_ds_nor_the_new_is_reported(rig: Rig) -> None:
    await rig.wanted(keysets.replaced(), PUSHED)
    await rig.seen(1)
    assert rig.firing() == {}
    await rig.seen()
    assert rig.firing() == {(MISSING, ""): "error"}
    await rig.seen(2)
    assert rig.firing() == {}


async def test_servers_that_never_answered_prove_neither(rig: Rig) -> None:
    await rig.wanted(keysets.in_place(), SCANNED)
    await rig.seen(5)
    await rig.seen(None)
    assert (MISMATCH, "") in rig.firing()


async def test_an_empty_set_is_pushed_only_for_going_insecure(rig: Rig) -> None:
    await rig.wanted(keysets.insecure(), PUSHED)
    assert rig.doer.pushes[0].ds_set() == ()
    assert rig.doer.pushes[0].task.value == "remove-all"


async def test_details_are_the_handover_with_its_state(rig: Rig) -> None:
    rig.doer.push_ok = False
    await rig.wanted(keysets.submit(), PUSHED)
    for _ in range(FAILURES_TOLD):
        await rig.later(300)
    text = rig.automation.details(rig.zone, event(rig, FAILED, "push"))
    assert "failed 5 times" in text or "failed 6 times" in text
    assert "dnssecd ds confirm example.com." in text
    assert (
        rig.automation.details(rig.zone, Event(**{**_fields(event(rig, FAILED, "push")), "name": "disk-low"}))
        == ""
    )


def _fields(event: Event) -> dict[str, object]:
    from msgspec.structs import fields

    return {each.name: getattr(event, each.name) for each in fields(event)}


async def test_an_island_sends_no_queries(rig: Rig) -> None:
    from dnssecd.replacing import replace

    await rig.wanted(keysets.submit(), replace(BY_HAND, alone=True))
    await rig.later(2 * DAY)
    assert rig.firing() == {}


async def test_what_fired_before_a_restart_is_resolved_when_it_is_over(rig: Rig) -> None:
    rig.events.raise_event(HANDOVER, ZONE, "old")
    await rig.wanted(keysets.in_place(), SCANNED)
    assert rig.firing() == {}


async def test_the_planner_may_say_that_it_is_late(rig: Rig) -> None:
    rig.doer.notified = TAKEN
    await rig.wanted(keysets.submit(), SCANNED)
    rig.automation.ds_overdue(rig.zone)
    await rig.later(0)
    assert rig.firing() == {ASKED: "error"}


async def test_urgent_is_reported_as_an_error_immediately(rig: Rig) -> None:
    await rig.wanted(keysets.replaced(compromised=True), BY_HAND)
    assert rig.firing() == {ASKED: "error"}
    assert "compromised" in event(rig, *ASKED).effect


async def test_a_zone_that_is_gone_is_followed_no_more(rig: Rig) -> None:
    rig.doer.push_ok = False
    await rig.wanted(keysets.submit(), PUSHED)
    assert rig.zone.ds is not None
    rig.zone.ds.stop()  # as FrontZone.close does
    rig.zone.ds = None
    await rig.later(3_600)
    assert len(rig.doer.pushes) == 1
    assert rig.automation.progress(rig.zone) is None


async def test_a_settling_ds_is_not_missing(rig: Rig) -> None:
    settling = keysets.keyset(keysets.with_ds(keysets.key(1), State.RUMOURED, seen=NOW + 5))
    await rig.wanted(settling, SCANNED)
    await rig.seen()
    assert rig.firing() == {}


async def test_a_node_that_lost_the_zone_brings_nothing_to_the_parent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request is of an earlier key set: another node has gone on since. It may own the zone again later."""
    monkeypatch.setattr(automation, "NOT_NOW_S", 0.01)
    rig.doer.push_ok = False
    await rig.wanted(keysets.submit(), PUSHED)
    rig.may_act = False  # it was paused, say, and does not know yet who owns the zone
    await rig.later(3_600)
    await asyncio.sleep(0.05)
    assert len(rig.doer.pushes) == 1
    rig.may_act = True
    await asyncio.sleep(0.05)
    await settle()
    assert len(rig.doer.pushes) == 2, "it was a hiccup: it goes on by itself"
    rig.automation.forget(rig.zone)
    rig.may_act = True
    await rig.later(3_600)
    assert len(rig.doer.pushes) == 2
    assert rig.automation.progress(rig.zone) is None
    await rig.wanted(keysets.submit(), PUSHED)
    assert len(rig.doer.pushes) == 3, "it owns the zone again"
