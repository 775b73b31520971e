"""Keys that several zones use: made once, the same for all, also after a rollover; destroyed with the last zone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import KeyLimits, LimitSettings
from tests.unit.signer import service_world
from tests.unit.signer.service_world import ANNA, DAEMON, A, B, C


class Bench(service_world.Bench):
    """A service whose keys several zones share."""

    async def wish(
        self, zone: bytes, *known: wp.KeyInfo, text: str = "first", share: str = "p", role: wp.Role = "zsk"
    ) -> wp.KeyInfo:
        """What a zone that has the keys ``known`` gets; it is later each time."""
        self.time += 1
        ids = tuple(key.id for key in known)
        request = wp.GenerateRequest(
            1, zone, role, 15, "local", idempotency=f"{text} {role}", share=share, known=ids
        )
        reply = await self.ask(request)
        assert isinstance(reply, wp.KeysReply), reply
        return reply.keys[0]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_zones_of_a_policy_get_the_same_keys(bench: Bench) -> None:
    key = await bench.wish(A)
    assert (await bench.wish(A)).id == key.id, "asked again after a crash"
    shared = await bench.wish(B)
    assert (shared.id, set(shared.zones)) == (key.id, {A, B})
    assert (await bench.wish(B, role="ksk")).id != key.id
    assert (await bench.wish(C, share="q")).id != key.id, "another policy"
    assert (await bench.wish(C, share="")).id != key.id, "a zone that shares nothing"


async def test_all_roll_over_to_the_same_successor(bench: Bench) -> None:
    first = await bench.wish(A)
    await bench.wish(B)
    second = await bench.wish(A, first, text="zsk-2")
    assert second.id != first.id
    assert (await bench.wish(A, first, text="zsk-2")).id == second.id, "asked again after a crash"
    assert (await bench.wish(B, first, text="zsk-2")).id == second.id
    assert (await bench.wish(B, first, text="zsk-2")).id == second.id, (
        "bound, but a crash came before it was noted"
    )
    assert (await bench.wish(C)).id == second.id, "a new zone begins with the newest"
    third = await bench.wish(B, first, second, text="zsk-3")
    assert third.id not in {first.id, second.id}
    assert (await bench.wish(A, first, second, text="zsk-3")).id == third.id


async def test_a_shared_key_is_destroyed_with_its_last_zone(bench: Bench) -> None:
    key = await bench.wish(A)
    await bench.wish(B)
    await bench.ask(wp.RemoveRequest(2, A, key.id))
    reply = await bench.ask(wp.KeysRequest(3, B))
    assert isinstance(reply, wp.KeysReply)
    assert [found.id for found in reply.keys] == [key.id]
    await bench.ask(wp.RemoveRequest(4, B, key.id))
    assert len(bench.store.registry) == 0


async def test_a_shared_key_that_is_gone_is_no_reason_to_make_another(bench: Bench) -> None:
    key = await bench.wish(A)
    await bench.close()
    (bench.home / "keys" / f"{key.id}.key").unlink()
    await bench.open()
    reply = await bench.ask(wp.GenerateRequest(1, B, "zsk", 15, "local", idempotency="x", share="p"))
    assert isinstance(reply, wp.ErrorReply)
    assert key.id in reply.message
    assert len(bench.store.registry) == 1


async def test_only_a_keeper_shares_a_key_that_was_not_made_for_it(bench: Bench) -> None:
    alone = await bench.wish(A, share="")
    request = wp.BindRequest(1, B, alone.id)
    reply = await bench.service.answer(request, 1, DAEMON)
    assert isinstance(reply, wp.ErrorReply)
    assert reply.code == "refused"
    shared = await bench.wish(A, text="second")
    assert isinstance(await bench.service.answer(wp.BindRequest(1, C, shared.id), 1, DAEMON), wp.KeysReply)
    assert isinstance(await bench.ask(request), wp.KeysReply)


@pytest.mark.parametrize(
    "request_", [wp.ImportRequest(1, A, "zsk", 13, b"x"), wp.RestoreRequest(1, b"{}", b"a long passphrase")]
)
async def test_private_keys_come_in_by_keepers_only(bench: Bench, request_: wp.Request) -> None:
    reply = await bench.service.answer(request_, 1, DAEMON)
    assert isinstance(reply, wp.ErrorReply)
    assert reply.code == "refused"


async def test_a_change_that_fails_is_accounted_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await bench.wish(A)

    async def fails(*args: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bench.store, "put_away", fails)
    assert isinstance(await bench.ask(wp.RemoveRequest(1, A, key.id)), wp.ErrorReply)
    reply = await bench.ask(wp.AuditRequest(1))
    assert isinstance(reply, wp.AuditReply)
    assert [entry.event for entry in reply.entries] == ["generated", "removed", "undone"]
    assert reply.entries[-1].fields["key"] == key.id


@pytest.mark.parametrize("weaker", [KeyLimits(), KeyLimits(destroy_after_s=0, two_person=True)])
async def test_a_shared_key_does_not_leave_its_limits_by_another_zone(
    tmp_path: Path, weaker: KeyLimits
) -> None:
    """Else the daemon alone ends a key: it binds it where nothing is kept, unbinds it here, and removes it there."""
    limits = LimitSettings(
        default=KeyLimits(two_person=True), kinds=(KeyLimits(two_person=True), weaker), zones={B.hex(): 1}
    )
    bench = Bench(tmp_path, limits)
    await bench.open()
    key = await bench.wish(A)
    assert (await bench.refused(wp.BindRequest(1, B, key.id), DAEMON)).code == "consent"
    assert (await bench.wish(B)).id != key.id
    assert (await bench.wish(C)).id == key.id
    await bench.close()


async def test_a_key_of_one_person_does_not_come_to_a_zone_of_two(tmp_path: Path) -> None:
    """Also not by a name for sharing, which the one who restores a key can write into it."""
    limits = LimitSettings(default=KeyLimits(), kinds=(KeyLimits(two_person=True),), zones={A.hex(): 0})
    bench = Bench(tmp_path, limits)
    await bench.open()
    key = await bench.wish(B)
    for peer in (ANNA, DAEMON):
        assert (await bench.refused(wp.BindRequest(1, A, key.id), peer)).code == "consent"
    await bench.close()
