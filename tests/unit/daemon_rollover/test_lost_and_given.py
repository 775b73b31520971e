"""Lost keys, spare keys and required backups in the daemon: commands, events, and what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd.control.command import Command, Refused
from dnssecd.core.keys.foreign_keys import add_foreign
from dnssecd.core.keys.keystate import Role
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover.compromise import Emergency
from dnssecd.daemon.rollover.key_wanted import KeyWanted
from dnssecd.daemon.rollover.lost_keys import LostKeys
from dnssecd.ops.event_kinds import EVENT_KINDS
from tests.commands import give
from tests.unit.core_ceremony.world import B

from .rig import Rig


@pytest.fixture
async def rig(tmp_path: Path, signer: str) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, signer)
    try:
        await made.settle()
        yield made
    finally:
        await made.close()


def zsk_tag(rig: Rig) -> int:
    return next(key.tag for key in rig.keyset().keys if key.role is Role.ZSK and key.zrrsig.visible)


def listening(rig: Rig) -> tuple[LostKeys, dict[str, Command[Any]]]:
    lost = LostKeys(rig.rollovers, rig.events, {rig.name: rig.zone})
    rig.rollovers.listeners.append(lost)
    commands = lost.commands(RolloverCommands({rig.name: rig.zone}, rig.rollovers))
    return lost, {command.name: command for command in commands}


async def test_the_plan_for_a_lost_key_is_shown_and_changes_nothing(rig: Rig) -> None:
    _, commands = listening(rig)
    before = rig.keyset()
    tag = zsk_tag(rig)
    rig.zone.earliest_expiration = int(rig.clock.now()) + 10 * 86_400
    shown = await give(commands["key.lost"], zone=rig.name, key_tag=tag)
    assert (shown["begun"], shown["in_time"]) == (False, True)
    assert rig.clock.now() < shown["over_at"] < shown["expires_at"]
    assert any("standby_zsk" in cost for cost in shown["costs"])
    assert f"dnssecd key lost {rig.name} {tag} --do" in shown["text"]
    await rig.plan()
    assert rig.keyset() == before
    assert rig.firing() == set()


async def test_a_lost_key_is_replaced_and_the_alert_ends(rig: Rig) -> None:
    lost, commands = listening(rig)
    tag = zsk_tag(rig)
    begun = await give(commands["key.lost"], zone=rig.name, key_tag=tag, begin=True)
    (event,) = [event for event in rig.events.firing(rig.name) if event.name == "key-lost"]
    assert not EVENT_KINDS[event.name].mutable
    assert lost.details(event) == begun["text"]
    rig.restart()
    lost, _ = listening(rig)
    await rig.plan()
    assert "is lost" in lost.details(event), "mails that remind have it, too"
    await rig.settle(4)
    assert zsk_tag(rig) != tag
    assert "key-lost" not in rig.firing()
    assert any("reported lost" in entry for entry in rig.history())


async def test_a_key_that_is_back_ends_the_recovery(rig: Rig) -> None:
    _, commands = listening(rig)
    tag = next(key.tag for key in rig.keyset().keys if key.role is Role.KSK)
    await give(commands["key.lost"], zone=rig.name, key_tag=tag, begin=True)
    assert rig.keyset().no_cds
    await give(commands["key.found"], zone=rig.name, key_tag=tag)
    await rig.plan()
    assert not any(key.lost for key in rig.keyset().keys)
    assert "key-lost" not in rig.firing()
    with pytest.raises(Refused, match="no key with tag 1"):
        await give(commands["key.lost"], zone=rig.name, key_tag=1)


async def test_a_rollover_uses_the_key_that_was_bound_before(rig: Rig) -> None:
    spare = rig.blocking.generate(rig.zone.origin, "zsk", 13, store="local")
    await rig.command("key.rollover", role="zsk")
    await rig.settle(2)
    assert zsk_tag(rig) == spare.tag
    assert any("use spare key" in entry for entry in rig.history())


async def test_a_key_that_only_an_operator_may_add_is_asked_for(rig: Rig) -> None:
    rig.rollovers.listeners.append(KeyWanted(rig.events))
    rig.configure('keys = "given"')
    old = zsk_tag(rig)
    await rig.command("key.rollover", role="zsk")
    await rig.settle()
    assert "key-wanted" in rig.firing()
    assert zsk_tag(rig) == old
    assert len(rig.blocking.keys(rig.zone.origin)) == 2, "none was made"
    given = rig.blocking.generate(rig.zone.origin, "zsk", 13, store="local")
    await rig.settle(2)
    assert zsk_tag(rig) == given.tag
    assert "key-wanted" not in rig.firing()


@pytest.mark.parametrize("name", ["key.lost", "key.compromised"])
@pytest.mark.parametrize("begin", [False, True])
async def test_a_key_of_another_signer_is_refused_with_the_way_to_remove_it(
    rig: Rig, name: str, begin: bool
) -> None:
    _, commands = listening(rig)
    zones = RolloverCommands({rig.name: rig.zone}, rig.rollovers)
    rescue = Emergency(rig.rollovers, rig.events, {rig.name: rig.zone}).command(zones)
    commands[rescue.name] = rescue
    now = int(rig.clock.now())
    await zones.change(rig.zone, lambda keyset: add_foreign(keyset, B.rdata, "other", now), "test", "test")
    values = {"begin": begin} if name == "key.lost" else {}
    with pytest.raises(Refused, match="remove-foreign"):
        await give(commands[name], zone=rig.name, key_tag=B.tag, **values)


async def test_refused_keys_of_the_input_are_no_alert_where_the_input_brings_none(rig: Rig) -> None:
    rig.events.raise_event("foreign-key-refused", rig.name, "refused while the policy took keys of the input")
    await rig.plan()
    assert "foreign-key-refused" not in rig.firing()
