"""A parent that lies, lags, is silent or lets its DS be cached for long: a roll-over waits or alerts, never goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from typing import Any

import pytest

from tests.integration.dsacts import ds_of, hand_over, roll_ksk, set_parent, wait_task
from tests.integration.rollover_world import CHILD, PARENT, RolloverWorld, start_rollover_world
from tests.peers.dnssecd import settled
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tools import nsupdate
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAY = 86_400
FOREIGN = f"4711 13 2 {'AB' * 32}"
WAIT_S = 12.0  # several times all TTLs and delays of this world


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> RolloverWorld:
    made = start_rollover_world(servers, peer_dir, tsig_key)
    made.secure()
    return made


def liar(world: RolloverWorld, ttl: int = 2) -> Named:
    """Another server of the parent, which has the DS of now until it is told otherwise."""
    path = world.home / "liar.zone"
    ds = "".join(f"roll {ttl} DS {text}\n" for text in world.ds())
    path.write_text(
        f"$ORIGIN {PARENT}\n$TTL 2\n@ SOA ns me 1 3600 600 604800 2\n@ NS ns\nns A {LOOPBACK}\n"
        f"roll NS ns1.roll\nns1.roll A {LOOPBACK}\n{ds}"
    )
    home = world.home / "liar"
    return world.servers.start(Named(home, [PrimaryZone(PARENT, path, world.key, updates=True)]))


def repeat(world: RolloverWorld, other: Named, ttl: int) -> None:
    """Give the other server the DS that the parent has now."""
    lines = [f"update delete {CHILD} DS", *(f"update add {CHILD} {ttl} DS {text}" for text in world.ds())]
    done = nsupdate(other.port, "\n".join(lines), world.key, world.home)
    assert done.ok, done


@contextmanager
def silence() -> Iterator[str]:
    """A server that takes connections and never says a word: its address."""
    with socket(AF_INET, SOCK_STREAM) as mute:
        mute.bind((LOOPBACK, 0))
        mute.listen(64)
        yield f"{LOOPBACK}:{mute.getsockname()[1]}"


def missing(world: RolloverWorld) -> set[str]:
    """Whom the DS is awaited from, as `explain` says."""
    waiting = world.daemon.cli_json("explain", CHILD)["waiting"]
    return {each["from"] for blocker in waiting if "DS" in blocker["step"] for each in blocker["missing"]}


def ds_waits(world: RolloverWorld) -> list[dict[str, Any]]:
    waiting = world.daemon.cli_json("explain", CHILD)["waiting"]
    return [blocker for blocker in waiting if "DS" in blocker["step"]]


def firing(world: RolloverWorld, event: str) -> bool:
    return bool(world.daemon.metric("dnssecd_event_firing", event=event, zone=CHILD))


def test_one_server_has_the_old_ds_and_one_is_silent(world: RolloverWorld) -> None:
    other = liar(world)
    with silence() as mute:
        set_parent(world, servers=[world.parent.address, other.address, mute])
        witness = world.witness()
        old = roll_ksk(world)
        wait_task(world, "replace")
        hand_over(world)
        world.wait(lambda: missing(world) == {other.address, mute}, "who is awaited is named")
        before = world.states()
        settled(world.states, WAIT_S)
        assert firing(world, "ds-handover")
        text = world.daemon.cli("ds", "show", CHILD).out
        assert f"{other.address}: DS {old}" in text
        assert f"{mute}: no answer" in text

        (new,) = [tag for tag in ds_of(world) if tag != old]
        refused = world.daemon.cli("ds", "confirm", CHILD, "--key-tag", str(new))
        assert "other servers differ" in refused.out, "a word does not outweigh what a server shows"
        settled(world.states, 3.0)
        assert world.states() == before

        repeat(world, other, ttl=2)
        world.wait(lambda: missing(world) == {mute}, "one is awaited still")
        for tag in (new, old):
            world.daemon.cli("ds", "confirm", CHILD, "--key-tag", str(tag))
        world.wait(lambda: not firing(world, "ds-handover"), "done by a person's word")
        world.wait(lambda: ds_of(world).get(old, "hidden") == "hidden", "the old DS is forgotten")
        witness.stop()


@pytest.mark.soak
def test_a_ds_ttl_of_a_day_at_one_server_is_waited_for(world: RolloverWorld) -> None:
    other = liar(world, ttl=DAY)
    set_parent(world, servers=[world.parent.address, other.address])
    world.daemon.cli("ds", "check", CHILD)
    old = roll_ksk(world)
    wait_task(world, "replace")
    hand_over(world)
    repeat(world, other, ttl=2)

    def waits_for_time() -> bool:
        waits = ds_waits(world)
        return len(waits) == 2 and all(each["until"] for each in waits)

    world.wait(waits_for_time, "both DS are seen as wanted, and time is waited for")
    for each in ds_waits(world):
        assert each["until"] - each["since"] >= DAY
    settled(world.states, WAIT_S)
    assert next(key for key in world.key_list() if key["tag"] == old)["dnskey"] == "omnipresent"
    assert not firing(world, "ds-handover"), "nothing is left to do for people"


def test_a_foreign_ds_is_an_alert_at_any_time(world: RolloverWorld) -> None:
    world.set_ds([*world.ds(), FOREIGN])
    assert not world.daemon.cli("ds", "check", CHILD).ok
    world.wait(lambda: firing(world, "ds-mismatch"), "ds-mismatch fires")
    status = world.daemon.zone_status(CHILD)
    (alert,) = [each for each in status["alerts"] if each["name"] == "ds-mismatch"]
    assert "4711" in alert["cause"]
    assert alert["severity"] == "error", "another DS leads to a key that signs"

    world.set_ds([FOREIGN])
    world.daemon.cli("ds", "check", CHILD)
    world.wait(lambda: firing(world, "ds-missing"), "ds-missing fires, too")
    (alert,) = [each for each in world.daemon.zone_status(CHILD)["alerts"] if each["name"] == "ds-mismatch"]
    assert alert["severity"] == "critical"
    roll_ksk(world)

    def alerts() -> tuple[bool, bool, set[bool]]:
        """Both alerts, and whether any DS counts as being there."""
        there = {key["ds"] == "omnipresent" for key in world.key_list() if key["role"] == "ksk"}
        return firing(world, "ds-mismatch"), firing(world, "ds-missing"), there

    assert settled(alerts, WAIT_S) == (True, True, {False})
    hand_over(world)
    world.wait(lambda: not firing(world, "ds-mismatch"), "ds-mismatch is over")
    world.wait(lambda: not firing(world, "ds-missing"), "ds-missing is over")


@pytest.mark.soak
def test_no_ksk_leaves_while_the_parent_has_the_ds_of_none(world: RolloverWorld) -> None:
    world.set_ds([FOREIGN])
    world.daemon.cli("ds", "check", CHILD)
    world.wait(lambda: firing(world, "ds-missing"), "ds-missing fires")
    old = roll_ksk(world)
    world.wait(lambda: len(ds_of(world)) == 2, "there is a successor")

    def published() -> str:
        return str(next(key["dnskey"] for key in world.key_list() if key["tag"] == old))

    assert settled(published, WAIT_S) == "omnipresent"
