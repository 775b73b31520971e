"""The engine: what it does with plans, and with whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest

from dnssecd.control.command import Refused
from dnssecd.core.keys.keystate import Goal, Role, State
from dnssecd.daemon.rollover import engine as rollover
from dnssecd.daemon.rollover import key_service as rollover_keys
from dnssecd.daemon.rollover import planning
from dnssecd.daemon.rollover.overdue import Overdue
from dnssecd.keyservice_client.errors import SignerUnreachable
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.keychange import REMOVALS
from dnssecd.publish.watch import Sighting
from tests.unit.daemon_rollover.rig import Rig

DAY = 86_400


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "COALESCE_S", 0.0)


def zsks(rig: Rig) -> list[State]:
    return [key.dnskey.state for key in rig.keyset().keys if key.role is Role.ZSK]


async def test_a_command_becomes_a_version_with_a_new_key(rig: Rig) -> None:
    serial = rig.zone.serial
    answer = await rig.command("key.rollover", role="zsk")
    assert "rollover of the zsk" in answer["message"]
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    assert rig.zone.serial == (serial or 0) + 1
    made = rig.keyset().keys[-1]
    assert f"zsk {made.tag}: publish dnskey" in rig.history()
    assert any(waiting["rule"] == "zone-data-signed" for waiting in answer["waiting"])


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("key.rollover", {"role": "csk"}),
        ("key.rollover", {"role": "nonsense"}),
        ("key.retire", {"key_tag": 70_000}),
        ("key.approve", {}),
        ("key.approve", {"step": "zsk:nothing"}),
    ],
)
async def test_commands_that_make_no_sense_are_refused(rig: Rig, command: str, args: dict[str, Any]) -> None:
    before = rig.keyset()
    with pytest.raises(Refused):
        await rig.command(command, **args)
    await rig.plan()
    assert rig.keyset() == before


async def test_a_zsk_cannot_be_revoked(rig: Rig) -> None:
    zsk = next(key for key in rig.keyset().keys if key.role is Role.ZSK)
    with pytest.raises(Refused, match="key retire"):
        await rig.command("key.revoke", key_tag=zsk.tag)


async def test_a_step_that_fails_is_put_off_and_not_hammered(rig: Rig) -> None:
    rig.outcome = Outcome(
        zone=rig.name, result="failed", problems=(Problem("verification-failed", "a bad signature"),)
    )
    rig.rekeys = 0
    await rig.command("key.rollover", role="zsk")
    assert rig.rekeys == 1
    for _ in range(5):
        await rig.plan()
    assert rig.rekeys == 1, "nothing is tried again before its time"
    assert "a bad signature" in (await rig.command("explain"))["text"]
    for _ in range(20):
        await rig.plan(rollover.RETRY.longest_s)
    assert rig.rekeys <= 22
    rig.outcome = None
    await rig.plan(rollover.RETRY.longest_s)
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    assert "postponed" not in (await rig.command("explain"))["text"]


async def test_a_plan_that_ends_with_an_error_is_made_again_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> object:
        raise RuntimeError("can't start new thread")

    await rig.plan()
    rig.schedule.wakes.clear()
    monkeypatch.setattr(rollover, "plan_rollover", bug)
    with pytest.raises(RuntimeError):
        await rig.plan()
    when, _ = rig.schedule.wakes[f"rollover {rig.name}"]
    assert rig.clock.now() < when <= rig.clock.now() + rollover.RETRY.longest_s
    monkeypatch.undo()
    await rig.plan(rollover.RETRY.longest_s)
    assert "postponed" not in (await rig.command("explain"))["text"]


async def test_without_the_key_service_nothing_moves_and_nothing_is_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object, **__: object) -> object:
        raise SignerUnreachable("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(rig.signer, "generate", nobody)
        await rig.command("key.rollover", role="zsk")
        assert "signing-failed" in rig.firing()
        assert zsks(rig) == [State.OMNIPRESENT]
    await rig.plan(600)
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    assert "signing-failed" not in rig.firing()


async def test_a_key_that_some_token_does_not_hold_is_not_used(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unproven(*_: object) -> None:
        raise rollover_keys.KeyNotProven("token twin signs with another key")

    with monkeypatch.context() as patch:
        patch.setattr(rollover_keys, "prove_key", unproven)
        await rig.command("key.rollover", role="zsk")
        assert zsks(rig) == [State.OMNIPRESENT]
    await rig.plan(600)
    assert len({key.id for key in await rig.signer.keys(rig.zone.origin)}) == 3, "the same key is found again"


async def test_a_key_set_stored_by_another_process_is_planned_with_again(rig: Rig) -> None:
    """What is stored counts, not what is remembered."""
    with rig.zone.database.write() as transaction:
        document = copy.deepcopy(transaction.state(state.KEYSET))
        assert document is not None
        document["keys"][1]["roll"] = True
        transaction.set_state(state.KEYSET, document)
        transaction.commit_if(transaction.generation)
    with pytest.raises(Refused, match="at the same time"):
        await rig.command("key.rollover", role="ksk")
    await rig.plan()
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]


async def test_private_keys_are_destroyed_after_the_commit_even_after_a_crash(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.command("key.rollover", role="zsk")
    for _ in range(40):
        await rig.plan(DAY)
        if zsks(rig)[0] is not State.OMNIPRESENT:
            break

    async def killed(*_: object) -> None:
        raise SignerUnreachable("killed")

    old = next(key for key in rig.keyset().keys if key.role is Role.ZSK and key.goal is Goal.ABSENT)
    with monkeypatch.context() as patch:
        patch.setattr(rollover, "destroy_key", killed)
        for _ in range(60):
            await rig.plan(21_600)
            if rig.removals():
                break
    assert rig.removals() == [old.key_id]
    assert old.key_id in {key.id for key in await rig.signer.keys(rig.zone.origin)}
    rig.restart()
    await rig.plan()
    await rig.plan(600)
    assert rig.removals() == []
    assert old.key_id not in {key.id for key in await rig.signer.keys(rig.zone.origin)}


async def test_while_the_clock_is_in_doubt_nothing_moves(rig: Rig) -> None:
    rig.clock_sure = False
    await rig.command("key.rollover", role="zsk")
    assert zsks(rig) == [State.OMNIPRESENT]
    assert "the clock jumped" in (await rig.command("explain"))["text"]
    rig.clock_sure = True
    rig.rollovers.clock_stepped(rig.zone)
    assert rig.zone.stepped
    await rig.plan()
    assert not rig.zone.stepped
    assert rig.keyset().trust_after == int(rig.clock.now())
    assert "clock stepped" in rig.history()


async def test_evidence_outlives_a_restart(rig: Rig) -> None:
    before = rig.rollovers.of(rig.zone).evidence
    rig.restart()
    await rig.plan(followed=False)
    after = rig.rollovers.of(rig.zone).evidence
    assert before is not None
    assert after is not None
    assert after.secondaries["ns1"].serial == before.secondaries["ns1"].serial


async def test_evidence_is_stored_with_the_key_set_that_it_changes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[object] = []
    monkeypatch.setattr(rollover, "write_evidence", lambda _db, rows: alone.append(rows))
    await rig.plan(60)  # nothing is written but the time of the sighting, at most
    alone.clear()
    await rig.command("key.rollover", role="zsk")
    before = rig.keyset()
    await rig.plan(60)
    assert rig.keyset() != before
    assert alone == []
    stored = {subject: value for source, subject, value, _ in rig.zone.database.evidence()}
    assert stored["ns1"] == {"serial": rig.zone.serial}
    await rig.plan(1)
    assert alone == []


async def test_a_plan_that_only_notes_what_was_seen_is_made_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    plan = rollover.plan_rollover

    def note(*args: Any) -> Any:
        made.append(plan(*args))
        return made[-1]

    monkeypatch.setattr(rollover, "plan_rollover", note)
    await rig.command("key.rollover", role="zsk")
    before = rig.keyset()
    made.clear()
    await rig.plan(60)
    (only,) = made
    assert only.effects == ()
    assert rig.keyset() == only.keyset != before
    assert rig.rollovers.of(rig.zone).plan == only
    with rig.zone.database.snapshot() as snapshot:
        assert state.keyset_from(snapshot.state(state.KEYSET)) == only.keyset
    made.clear()
    await rig.plan(60)
    (again,) = made
    assert again.keyset == only.keyset
    assert {blocker.rule for blocker in again.blockers} == {blocker.rule for blocker in only.blockers}


async def test_what_is_seen_before_the_evidence_was_read_is_not_lost(rig: Rig) -> None:
    """At a start secondaries are looked at before the zones' databases have been opened."""
    rig.restart()
    keys = rig.rollovers.of(rig.zone)
    now = rig.clock.now()
    sighting = Sighting(rig.name, "ns1", 4711, now, True)
    assert keys.take(lambda evidence: evidence.sighted(sighting, int(now) + 60))
    await rig.plan(followed=False)
    assert keys.evidence is not None
    assert keys.evidence.secondaries["ns1"].serial == 4711


async def test_a_lagging_secondary_holds_the_roll_over_up_and_is_named(rig: Rig) -> None:
    overdue = Overdue(rig.events, rig.clock, rig.rollovers.policy, lambda zone: None)
    rig.rollovers.listeners.append(overdue)
    await rig.command("key.rollover", role="zsk")
    for _ in range(3):
        await rig.plan(600, followed=False)
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    explained = await rig.command("explain")
    (missing,) = next(w["missing"] for w in explained["waiting"] if w["rule"] == "dnskey-settles")
    assert missing["from"] == "ns1"
    assert missing["wanted"] == f"serial {rig.zone.serial} or later"
    assert missing["next_look"] is not None
    assert "rollover-overdue" in rig.firing()
    (event,) = [event for event in rig.events.firing(rig.name) if event.name == "rollover-overdue"]
    assert event.cause.startswith(f"waits for ns1: serial {rig.zone.serial} or later (now: ")
    assert event.cause.endswith("; this delays the DNSKEY of zsk " + str(rig.keyset().keys[-1].tag))
    await rig.plan(60)
    await rig.plan(2 * 3600)
    assert "rollover-overdue" not in rig.firing()


async def test_a_step_that_needs_approval_waits_for_it(tmp_path: Path, signer: str) -> None:
    rig = Rig(tmp_path, signer, 'manual = ["zsk"]\nzsk = { algorithm = "ecdsap256sha256", lifetime = "10d" }')
    await rig.plan()
    await rig.settle(12)
    assert zsks(rig) == [State.OMNIPRESENT]
    explained = await rig.command("explain")
    (token,) = [waiting["token"] for waiting in explained["waiting"] if waiting["token"]]
    assert token.startswith("zsk:")
    await rig.command("key.approve")
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    await rig.close()


async def test_in_a_frozen_zone_no_step_is_begun_until_it_is_thawed(tmp_path: Path, signer: str) -> None:
    rig = Rig(tmp_path, signer, 'zsk = { algorithm = "ecdsap256sha256", lifetime = "10d" }')
    await rig.plan()
    await rig.settle()
    rig.zone.frozen = True
    await rig.settle(12)
    assert zsks(rig) == [State.OMNIPRESENT]
    explained = await rig.command("explain")
    assert "until the zone is thawed" in explained["text"]
    assert [waiting["until"] for waiting in explained["waiting"] if waiting["gate"] == "freeze"] == [None]
    rig.zone.frozen = False
    await rig.plan()
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]
    await rig.close()


async def test_a_change_of_denial_waits_for_approval_and_a_restart_does_not_make_it(
    tmp_path: Path, signer: str
) -> None:
    rig = Rig(tmp_path, signer, 'manual = ["denial"]')
    await rig.plan()
    await rig.settle()
    rig.configure('manual = ["denial"]\ndenial = "nsec"')
    await rig.plan()
    assert rig.resigns == 0
    explained = await rig.command("explain")
    assert "denial:nsec3 to nsec" in [waiting["token"] for waiting in explained["waiting"]]
    rig.restart()
    rig.configure('manual = ["denial"]\ndenial = "nsec"')
    await rig.plan(DAY)
    assert kinds(rig) == {50}, "re-signing keeps to what is published"
    await rig.command("key.approve")
    await rig.plan()
    assert kinds(rig) == {47}
    assert rig.keyset().approved == ()
    await rig.close()


async def test_a_stream_of_news_makes_few_plans(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions and sightings by the hundred are planned for a few times a second; a person's command waits for none."""
    plans = []

    async def advance(zone: object, keys: object) -> None:
        plans.append(zone)

    monkeypatch.setattr(rig.rollovers, "_advance", advance)
    rig.zone.planning = None
    monkeypatch.setattr(planning, "COALESCE_S", 0.0)
    monkeypatch.setattr(planning, "PLANS_S", 3600.0)
    for _ in range(200):
        task = rig.rollovers.ask(rig.zone)
        await asyncio.sleep(0)
    assert len(plans) <= planning.PLANS_MAX
    for _ in range(50):
        rig.rollovers.ask(rig.zone)
        await asyncio.sleep(0)
    assert len(plans) == planning.PLANS_MAX
    assert not task.done()
    async with asyncio.timeout(10):
        await rig.rollovers.ask(rig.zone, urgent=True)
    assert len(plans) == planning.PLANS_MAX + 1


def kinds(rig: Rig) -> set[int]:
    with rig.zone.database.snapshot() as snapshot:
        return {rrset.rtype for rrset in snapshot.denial_scan()}


async def test_a_defect_in_one_zone_s_plan_is_reported_and_does_not_end_the_engine(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(rollover, "plan_rollover", broken)
        with pytest.raises(AssertionError):
            await rig.rollovers.ask(rig.zone)
    await rig.command("key.rollover", role="zsk")
    assert zsks(rig) == [State.OMNIPRESENT, State.RUMOURED]


def test_the_removals_document_has_a_name_of_its_own() -> None:
    assert REMOVALS not in (state.KEYSET, state.VERSION)
