"""Removed keys: unusable at once, restored as they were, destroyed after the time that the configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import KeyLimits, LimitSettings
from dnssecd.signer import key_trash
from dnssecd.signer.errors import Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.steady_clock import SteadyClock
from tests.unit.signer.preimages import preimage_for
from tests.unit.signer.service_world import DAEMON, DAY, PASSPHRASE, ROOT, A, B, Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def remove(bench: Bench, key: wp.KeyInfo, zone: bytes = A) -> wp.Reply:
    return await bench.ask(wp.RemoveRequest(1, zone, key.id), DAEMON)


def signing(key: wp.KeyInfo) -> wp.SignRequest:
    return wp.SignRequest(1, A, key.id, [preimage_for(key, "a.test.", "www.a.test.", "A", "192.0.2.1")])


async def test_a_removed_key_is_in_the_trash_and_signs_nothing(bench: Bench) -> None:
    key = await bench.key()
    assert isinstance(await bench.ask(signing(key)), wp.SignReply)
    reply = await remove(bench, key)
    assert isinstance(reply, wp.TrashedReply)
    assert (reply.destroyed_at, reply.detail) == (bench.time + 30 * DAY, reply.detail)
    assert (await bench.kept(), await bench.trash()) == ([], [key.id])
    assert bench.service.at_once(signing(key)) is None
    assert (await bench.refused(signing(key))).code == "unknown_key"
    assert (await bench.refused(wp.ProveRequest(1, A, key.id, b"x" * 16))).code == "unknown_key"
    assert (await bench.refused(wp.ExportRequest(1, key.id, PASSPHRASE))).code == "unknown_key"
    assert (await bench.refused(wp.BindRequest(1, B, key.id))).code == "unknown_key"
    assert (await bench.refused(wp.RemoveRequest(1, A, key.id), DAEMON)).code == "unknown_key"
    modes = [path.stat().st_mode & 0o777 for path in (bench.home / "keys" / "trash",)]
    assert modes == [0o700]


async def test_it_comes_back_as_it_was(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    await bench.restart()
    assert (await bench.kept(), await bench.trash()) == ([], [key.id])
    reply = await bench.ask(wp.RecoverRequest(1, key.id))
    assert isinstance(reply, wp.KeysReply)
    assert reply.keys == (key,)
    assert isinstance(await bench.ask(signing(key)), wp.SignReply)
    await bench.restart()
    assert (await bench.kept(), await bench.trash()) == ([key.id], [])
    assert ("recovered", key.id) in bench.events()


async def test_the_daemon_neither_recovers_nor_destroys(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    for request in (wp.RecoverRequest(1, key.id), wp.DestroyRequest(1, key.id)):
        assert (await bench.refused(request, DAEMON)).code == "refused"
    assert await bench.trash() == [key.id]


async def test_a_key_in_use_is_not_destroyed_past_the_trash(bench: Bench) -> None:
    key = await bench.key()
    assert (await bench.refused(wp.DestroyRequest(1, key.id))).code == "unknown_key"


async def test_it_is_destroyed_after_its_time(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    bench.step(30 * DAY - 1)
    await bench.service._trash.empty()
    assert await bench.trash() == [key.id]
    bench.step(1)
    await bench.service._trash.empty()
    assert await bench.trash() == []
    assert not list((bench.home / "keys").rglob("*.key"))
    assert bench.events()[-1] == ("destroyed", key.id)
    await bench.restart()
    assert (await bench.kept(), await bench.trash()) == ([], [])


async def test_a_clock_that_jumps_destroys_nothing(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    bench.time += 400 * DAY
    await bench.service._trash.empty()
    bench.step(DAY - 60)
    await bench.service._trash.empty()
    assert await bench.trash() == [key.id]
    bench.step(60)
    await bench.service._trash.empty()
    assert await bench.trash() == []


def test_a_steady_clock(tmp_path: Path) -> None:
    wall, uptime = 1000.0, 0.0
    clock = SteadyClock(lambda: wall, lambda: uptime, tmp_path / "clock")
    for _ in range(100):
        wall, uptime = wall + 3661, uptime + 3660  # it is adjusted, slowly
        assert clock.is_steady()
    wall -= 7200
    assert not clock.is_steady()


def test_a_clock_that_is_moved_in_small_steps_is_not_steady(tmp_path: Path) -> None:
    wall, uptime = 1000.0, 0.0
    clock = SteadyClock(lambda: wall, lambda: uptime, tmp_path / "clock")
    for _ in range(2):
        wall, uptime = wall + 3000, uptime + 60
        steady = clock.is_steady()
    assert not steady


@pytest.mark.parametrize("jump_s", [-40 * DAY, 40 * DAY])
def test_a_jump_counts_over_restarts(tmp_path: Path, jump_s: int) -> None:
    wall, uptime = 1_900_000_000.0, 0.0

    def start() -> SteadyClock:
        return SteadyClock(lambda: wall, lambda: uptime, tmp_path / "clock")

    assert start().is_steady()
    wall, uptime = wall + 1800, uptime + 1800
    assert start().is_steady(), "a restart is no jump"
    wall += jump_s
    assert not start().is_steady()
    wall, uptime = wall + 60, uptime + 60
    clock = start()
    assert not clock.is_steady(), "the time after a jump is not noted"
    wall, uptime = wall + DAY, uptime + DAY
    assert clock.is_steady()
    assert start().is_steady()


@pytest.mark.parametrize("content", [b"", b"x", b"9" * 30, b"-1"])
def test_a_damaged_note_of_the_time_makes_the_start_careful(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clock").write_bytes(content)
    assert not SteadyClock(lambda: 1.9e9, lambda: 0.0, tmp_path / "clock").is_steady()


async def test_a_key_is_not_destroyed_by_a_jump_and_a_restart(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    await bench.service._trash.empty()
    bench.time += 31 * DAY
    await bench.restart()
    await bench.service._trash.empty()
    assert await bench.trash() == [key.id]
    bench.step(DAY)
    await bench.service._trash.empty()
    assert await bench.trash() == []


async def test_people_wait_for_one_change_of_the_daemon_at_most(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can have keys made that take minutes each, while people want one back."""
    key = await bench.key()
    await remove(bench, key)
    may_end = asyncio.Semaphore(0)
    make = bench.store.generate

    async def slowly(*given: Any) -> Description:
        await may_end.acquire()
        return await make(*given)

    monkeypatch.setattr(bench.store, "generate", slowly)
    flood = [asyncio.create_task(bench.key(B, "ksk")) for _ in range(5)]
    await asyncio.sleep(0)
    wanted = asyncio.create_task(bench.ask(wp.RecoverRequest(1, key.id)))
    await asyncio.sleep(0)
    may_end.release()
    async with asyncio.timeout(10):
        assert isinstance(await wanted, wp.KeysReply)
        for _ in flood:
            may_end.release()
        await asyncio.gather(*flood)


async def test_the_time_is_that_of_the_configuration_now(tmp_path: Path) -> None:
    """A request cannot shorten it; a person who writes the file can."""
    longer = LimitSettings(default=KeyLimits(destroy_after_s=60 * DAY))
    told: list[LimitSettings | None] = [longer]
    bench = Bench(tmp_path, reread=lambda: told.pop() if told else None)
    await bench.open()
    key = await bench.key()
    await remove(bench, key)
    await bench.service.limits.refresh()
    bench.step(59 * DAY)
    await bench.service._trash.empty()
    assert await bench.trash() == [key.id]
    bench.step(DAY)
    await bench.service._trash.empty()
    assert await bench.trash() == []
    assert ("limits changed", "") in bench.events()
    await bench.close()


async def test_no_trash_where_the_policy_wants_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, LimitSettings(default=KeyLimits(destroy_after_s=0)))
    await bench.open()
    key = await bench.key()
    reply = await remove(bench, key)
    assert (type(reply), await bench.trash()) == (wp.DoneReply, [])
    assert bench.events()[-1] == ("destroyed", key.id)
    await bench.close()


async def test_a_key_in_the_trash_keeps_its_place(bench: Bench) -> None:
    """Neither its tags nor its id nor the key itself are given to another meanwhile."""
    key = await bench.key()
    sealed = await bench.ask(wp.ExportRequest(1, key.id, PASSPHRASE))
    assert isinstance(sealed, wp.ExportReply)
    await remove(bench, key)
    assert {key.tag, key.revoked_tag} <= bench.service._stores.tags(A)
    error = await bench.refused(wp.RestoreRequest(1, sealed.sealed, PASSPHRASE))
    assert (error.code, f"dnssecd key trash restore {key.id}" in error.message) == ("exists", True)


@pytest.mark.parametrize("moved", [False, True])
async def test_a_removal_that_a_crash_cut_short_is_completed(bench: Bench, moved: bool) -> None:
    """The record is there; the key's file was moved or not, and the registry still has the key."""
    key = await bench.key()
    registry = {path: path.read_bytes() for path in (bench.home / "known").glob("keys.log")}
    file = bench.home / "keys" / f"{key.id}.key"
    content = file.read_bytes()
    await remove(bench, key)
    await bench.close()
    for path, octets in registry.items():
        path.write_bytes(octets)
    if not moved:
        file.write_bytes(content)
        (bench.home / "keys" / "trash" / file.name).unlink()
    await bench.open()
    assert (await bench.kept(), await bench.trash()) == ([], [key.id])
    assert not file.exists()
    await bench.restart()
    assert isinstance(await bench.ask(wp.RecoverRequest(1, key.id)), wp.KeysReply)


async def test_a_key_file_in_the_trash_without_a_record_begins_its_time(bench: Bench) -> None:
    """The key service's state was lost, the key directory was not."""
    key = await bench.key()
    await remove(bench, key)
    await bench.close()
    (bench.home / "known" / "trash" / f"{key.id}.json").unlink()
    bench.step(100 * DAY)
    await bench.open()
    await bench.service._trash.empty()
    assert await bench.trash() == [key.id]
    assert isinstance(await bench.ask(wp.RecoverRequest(1, key.id), ROOT), wp.KeysReply)


async def test_a_key_that_does_not_open_stays_in_the_trash(bench: Bench) -> None:
    key = await bench.key()
    await remove(bench, key)
    path = bench.home / "keys" / "trash" / f"{key.id}.key"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert (await bench.refused(wp.RecoverRequest(1, key.id))).code == "operator"
    path.write_bytes(whole)
    assert isinstance(await bench.ask(wp.RecoverRequest(1, key.id)), wp.KeysReply)


async def test_a_removal_that_fails_leaves_the_key_in_use(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await bench.key()

    async def fails(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "put_away", fails)
        assert (await bench.refused(wp.RemoveRequest(1, A, key.id), DAEMON)).code == "operator"
    assert (await bench.kept(), await bench.trash()) == ([key.id], [])
    assert bench.events()[-2:] == [("removed", key.id), ("undone", key.id)]
    await bench.restart()
    assert await bench.kept() == [key.id]


async def test_a_key_that_cannot_be_destroyed_is_reported_until_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await bench.key()
    await remove(bench, key)
    bench.step(31 * DAY)

    async def fails(*args: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "destroy", fails)
        await bench.service._trash.empty()
    assert [one.code for one in bench.warnings.listed() if one.firing] == ["key not destroyed"]
    assert await bench.trash() == [key.id]
    await bench.service._trash.empty()
    assert not [one.code for one in bench.warnings.listed() if one.firing]
    assert await bench.trash() == []


async def test_keys_that_must_wait_do_not_hold_up_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent may be missing, or a token away, for more keys than one round tries."""
    monkeypatch.setattr(key_trash, "ROUND_MAX", 2)
    stuck, destroy = [await bench.key(zone) for zone in (A, A, B)], bench.store.destroy
    for key in stuck:
        await remove(bench, key, B if key is stuck[-1] else A)
        bench.step(1)
    good = await bench.key()
    await remove(bench, good)
    bench.step(31 * DAY)

    async def fails(key: Description) -> str:
        if key.id == good.id:
            return await destroy(key)
        raise Unavailable("the token is away")

    monkeypatch.setattr(bench.store, "destroy", fails)
    for _ in range(2):
        await bench.service._trash.empty()
    assert sorted(await bench.trash()) == sorted(key.id for key in stuck)
    monkeypatch.setattr(bench.store, "destroy", destroy)
    for _ in range(2):
        await bench.service._trash.empty()
    assert await bench.trash() == []


async def test_no_change_without_an_entry_on_a_full_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, removed, other = await bench.key(), await bench.key(), await bench.key(B)
    await remove(bench, removed)
    sealed = await bench.ask(wp.ExportRequest(1, other.id, PASSPHRASE))
    assert isinstance(sealed, wp.ExportReply)
    await remove(bench, other, B)
    await bench.ask(wp.DestroyRequest(1, other.id))
    files = {path: path.read_bytes() for path in bench.home.rglob("*") if path.is_file()}
    requests: list[wp.Request] = [
        wp.GenerateRequest(1, A, "ksk", 15),
        wp.KeysRequest(1, B, "", (wp.KeyOrder("ksk", 15), wp.KeyOrder("zsk", 15)), nonce=bytes(16)),
        wp.ExportRequest(1, key.id, PASSPHRASE),
        wp.BindRequest(1, B, key.id),
        wp.RemoveRequest(1, A, key.id),
        wp.RecoverRequest(1, removed.id),
        wp.DestroyRequest(1, removed.id),
        wp.RestoreRequest(1, sealed.sealed, PASSPHRASE),
    ]

    def full(event: str, entries: object) -> None:
        raise OSError(28, "No space left on device", "audit.log")

    with monkeypatch.context() as patch:
        patch.setattr(bench.audit, "append_all", full)
        for request in requests:
            assert (await bench.refused(request)).code == "operator", request
            now = {path: path.read_bytes() for path in bench.home.rglob("*") if path.is_file()}
            assert now == files, request
    assert (await bench.kept(), await bench.trash()) == ([key.id], [removed.id])
    assert isinstance(await bench.ask(requests[-1]), wp.KeysReply), "it works when there is room"


async def test_nothing_is_kept_of_zones_whose_keys_are_gone(tmp_path: Path) -> None:
    """The daemon may name any number of zones."""
    bench = Bench(tmp_path, LimitSettings(default=KeyLimits(destroy_after_s=DAY)))
    await bench.open()
    key = await bench.key()
    await bench.ask(wp.RemoveRequest(1, A, key.id), DAEMON)
    registry = bench.store.registry
    assert (set(registry._of_zone), set(registry.trash._of_zone)) == (set(), {A})
    await bench.ask(wp.DestroyRequest(1, key.id))
    assert not registry.trash._of_zone
    await bench.close()
