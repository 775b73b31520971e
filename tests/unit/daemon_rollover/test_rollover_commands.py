"""Commands about rollovers, as an operator gives and reads them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dnssecd.control.command import Refused
from dnssecd.core.keys.keystate import Role, State
from dnssecd.daemon.commands.forecast import ForecastCommands
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover import planning
from dnssecd.daemon.rollover.compromise import Emergency
from dnssecd.daemon.rollover.text import RULE_NAMES
from dnssecd.ops.event_kinds import EVENT_KINDS
from tests.commands import give, give_named
from tests.unit.daemon_rollover.rig import Rig

DAY = 86_400
MANUAL = 'manual = ["zsk"]\nzsk = { algorithm = "ecdsap256sha256", lifetime = "unlimited" }'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "COALESCE_S", 0.0)


@pytest_asyncio.fixture
async def rig(tmp_path: Path, signer: str, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, signer, getattr(request, "param", ""))
    await made.plan()
    await made.settle()
    yield made
    await made.close()


async def forecast(rig: Rig, **args: Any) -> Any:
    zones = {rig.name: rig.zone}
    commands = ForecastCommands(
        zones, rig.rollovers, RolloverCommands(zones, rig.rollovers), lambda: rig.config
    )
    return await give_named(commands.commands(), "simulate", zone=rig.name, **args)


def tags(rig: Rig, role: Role = Role.ZSK) -> list[int]:
    return [key.tag for key in rig.keyset().keys if key.role is role]


async def test_asking_twice_is_rolling_over_once(rig: Rig) -> None:
    await rig.command("key.rollover", role="zsk")
    old, new = tags(rig)
    with pytest.raises(Refused, match=f"{new} replaces {old}") as refused:
        await rig.command("key.rollover", role="zsk")
    assert f"key retire {rig.name} --key-tag {new}" in refused.value.remedy
    assert tags(rig) == [old, new]
    await rig.settle(40)
    assert tags(rig) == [new]
    await rig.command("key.rollover", role="zsk")
    assert len(tags(rig)) == 2


@pytest.mark.parametrize("rig", [MANUAL], indirect=True)
async def test_what_waits_for_approval_says_what_to_type(rig: Rig) -> None:
    (old,) = tags(rig)
    with pytest.raises(Refused, match="waits for approval"):
        await rig.command("key.approve")
    answer = await rig.command("key.rollover", role="zsk")
    (waiting,) = [waiting for waiting in answer["waiting"] if waiting["gate"] == "approval"]
    assert waiting["step"] == f"zsk {old} rollover"
    typed = f"dnssecd key approve {rig.name} --step {waiting['token']}"
    assert typed in (await rig.command("explain"))["text"]
    with pytest.raises(Refused, match="already requested"):
        await rig.command("key.rollover", role="zsk")
    with pytest.raises(Refused, match=waiting["token"]):
        await rig.command("key.approve", step="zsk:other")
    await rig.command("key.approve", step=waiting["token"])
    assert len(tags(rig)) == 2


async def test_operator_tasks_are_listed_before_automatic_steps(rig: Rig) -> None:
    answer = await rig.command("key.rollover", role="zsk")
    awaited = [bool(waiting["missing"]) for waiting in answer["waiting"]]
    assert awaited == sorted(awaited, reverse=True)
    assert set(awaited) == {True, False}, "the secondary's sight of the version, then steps that need it"
    rig.schedule.wake(rig.zone, "parent", rig.clock.now() + 300, lambda _: None)
    explained = await rig.command("explain", rules=True)
    text = explained["text"]
    assert text.index("DNSKEY settle") < text.index("then, automatically") < text.index("must stay true")
    assert text.endswith(", in 5m")
    assert all(waiting["since"] != 0 for waiting in explained["waiting"])


async def test_the_planner_s_terms_are_shown_on_request_only(rig: Rig) -> None:
    await rig.command("key.rollover", role="zsk")
    terms = {state.value for state in State} | RULE_NAMES | {"must stay true"}
    plain = (await rig.command("explain"))["text"]
    assert [line.split()[0] for line in plain.splitlines()] == ["Now:", "Next:", "You:"]
    assert [term for term in terms if term in plain] == []
    full = (await rig.command("explain", rules=True))["text"]
    assert {"rumoured", "omnipresent", "must stay true"} <= {term for term in terms if term in full}
    assert RULE_NAMES & set(re.findall(r"[a-z-]+", full))


async def test_a_forecast_names_no_tag_of_a_key_there_is_not(rig: Rig) -> None:
    await rig.command("key.rollover", role="zsk")
    known = {key.tag for key in rig.keyset().keys}
    answer = await forecast(rig, days=200, svg=True)
    assert {event["key_tag"] for event in answer["events"] if not event["stand_in"]} <= known
    made = [event["stand_in"] for event in answer["events"] if event["event"] == "generate"]
    assert made == [1, 2]
    assert ">ZSK new-2, algorithm 13<" in answer["svg"]
    assert not re.search(r"\d{10}", " ".join(event["detail"] for event in answer["events"])), (
        "times are readable"
    )


@pytest.mark.parametrize("rig", [MANUAL.replace("unlimited", "30d")], indirect=True)
async def test_a_forecast_looks_past_approvals_and_says_so(rig: Rig) -> None:
    answer = await forecast(rig, days=60)
    assert any("dnssecd key approve" in note for note in answer["notes"])
    assert any(event["event"] == "generate" for event in answer["events"])
    rig.zone.frozen = True
    answer = await forecast(rig, days=60)
    assert any(f"zone thaw {rig.name}" in note for note in answer["notes"])
    assert not any(event["event"] == "generate" for event in answer["events"])


async def test_a_compromised_key_has_a_plan_and_the_alert_has_it_too(rig: Rig) -> None:
    emergency = Emergency(rig.rollovers, rig.events, {rig.name: rig.zone})
    rig.rollovers.listeners.append(emergency)
    command = emergency.command(RolloverCommands({rig.name: rig.zone}, rig.rollovers))
    (tag,) = tags(rig)
    answer = await give(command, zone=rig.name, key_tag=tag)
    text = answer["text"]
    assert answer["safe_at"] > rig.clock.now()
    assert {"costs", "steps", "key_tag", "zone"} <= set(answer)
    assert "Effects:" in text
    assert "forge" in answer["costs"][0]
    assert "makes the new zsk" in text
    assert set(re.findall(r"key tag (\d+)", text)) == {str(tag)}, "the successor has no tag yet"
    (event,) = [event for event in rig.events.firing(rig.name) if event.name == "key-compromised"]
    assert not EVENT_KINDS[event.name].mutable
    assert emergency.details(event) == text
    await rig.settle(4)
    assert "key-compromised" not in rig.firing()


async def test_the_plan_outlives_a_restart(rig: Rig) -> None:
    """Mails that remind and escalate have it, too."""
    emergency = Emergency(rig.rollovers, rig.events, {rig.name: rig.zone})
    (tag,) = tags(rig)
    command = emergency.command(RolloverCommands({rig.name: rig.zone}, rig.rollovers))
    await give(command, zone=rig.name, key_tag=tag)
    rig.restart()
    emergency = Emergency(rig.rollovers, rig.events, {rig.name: rig.zone})
    rig.rollovers.listeners.append(emergency)
    await rig.plan()
    (event,) = [event for event in rig.events.firing(rig.name) if event.name == "key-compromised"]
    text = emergency.details(event)
    assert f"zsk {tag} of {rig.name} is compromised" in text
    assert "Effects:" in text


async def test_a_request_for_a_missing_key_lists_the_existing_ones(rig: Rig) -> None:
    emergency = Emergency(rig.rollovers, rig.events, {rig.name: rig.zone})
    commands = RolloverCommands({rig.name: rig.zone}, rig.rollovers)
    (tag,) = tags(rig)
    for command in (
        *(each for each in commands.commands() if each.name in ("key.retire", "key.revoke")),
        emergency.command(commands),
    ):
        with pytest.raises(Refused, match=rf"no key with tag 1; it has .*{tag} \(zsk\)") as refused:
            await give(command, zone=rig.name, key_tag=1)
        assert refused.value.remedy == f"dnssecd key list {rig.name}"
    with pytest.raises(Refused, match="no csk is in use"):
        await rig.command("key.rollover", role="csk")
    with pytest.raises(Refused, match='"role" must be "ksk", "zsk" or "csk"') as refused:
        await rig.command("key.rollover", role="foo")
    assert refused.value.exit == 2
    assert rig.firing() == set()
