"""Nothing that needs a second person happens without one, and every step is in the audit log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms, consent, key_file
from dnssecd.signer.peers import MAY, Peer, assign_roles, refusal_for
from tests.unit.signer.service_world import (
    ANNA,
    BEN,
    DAEMON,
    DAY,
    PASSPHRASE,
    ROOT,
    TWO_PERSON,
    A,
    B,
    Bench,
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, TWO_PERSON)
    await made.open()
    yield made
    await made.close()


def number_in(error: wp.ErrorReply) -> str:
    found = re.search(r"consent give ([0-9a-f]{8})`", error.message)
    assert found is not None, error
    assert error.code == "consent"
    return found[1]


async def give(bench: Bench, number: str, peer: Peer = BEN) -> wp.Reply:
    return await bench.ask(wp.ConsentRequest(1, number, give=True), peer)


async def trashed(bench: Bench) -> wp.KeyInfo:
    key = await bench.key()
    assert isinstance(await bench.ask(wp.RemoveRequest(1, A, key.id), DAEMON), wp.TrashedReply)
    return key


@pytest.mark.parametrize("act", ["export", "destroy", "recover", "bind", "restore"])
async def test_an_act_waits_for_another_person(bench: Bench, act: str) -> None:
    key = await bench.key() if act in ("export", "bind") else await trashed(bench)
    request: wp.Request = {
        "export": wp.ExportRequest(1, key.id, PASSPHRASE),
        "destroy": wp.DestroyRequest(1, key.id),
        "recover": wp.RecoverRequest(1, key.id),
        "bind": wp.BindRequest(1, B, key.id),
        "restore": wp.RestoreRequest(1, await backup_of_another(bench), PASSPHRASE),
    }[act]
    before = (await bench.kept(), await bench.trash())
    number = number_in(await bench.refused(request, ANNA))
    assert number_in(await bench.refused(request, ANNA)) == number, "repeating asks for nothing new"
    assert (await bench.kept(), await bench.trash()) == before
    for peer, reason in ((ANNA, "another person"), (ROOT, "not a key officer")):
        error = await bench.refused(wp.ConsentRequest(1, number, give=True), peer)
        assert (error.code, reason in error.message) == ("refused", True)
    assert (await bench.refused(wp.ConsentRequest(1, number, give=True), DAEMON)).code == "refused"
    number_in(await bench.refused(request, ANNA))
    assert isinstance(await give(bench, number), wp.DoneReply)
    number_in(await bench.refused(request, ROOT))  # the consent is for Anna, not for anyone else
    reply = await bench.ask(request, ANNA)
    assert not isinstance(reply, wp.ErrorReply), reply
    events = [event for event, _ in bench.events()]
    steps = [events.index(step) for step in ("consent asked for", "consent given", "consent used")]
    assert steps == sorted(steps)


async def test_a_consent_serves_once(bench: Bench) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    number = number_in(await bench.refused(request, ANNA))
    await give(bench, number)
    assert isinstance(await bench.ask(request, ANNA), wp.ExportReply)
    again = number_in(await bench.refused(request, ANNA))
    assert again != number
    await bench.restart()
    assert number_in(await bench.refused(request, ANNA)) == again
    assert bench.events().count(("consent used", number)) == 1


async def test_two_acts_at_once_do_not_share_a_consent(bench: Bench) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    await give(bench, number_in(await bench.refused(request, ANNA)))
    replies = await asyncio.gather(*(bench.ask(request, ANNA) for _ in range(3)))
    assert sum(isinstance(reply, wp.ExportReply) for reply in replies) == 1


async def test_an_act_that_fails_uses_up_no_consent(bench: Bench) -> None:
    sealed = await backup_of_another(bench)
    number = number_in(await bench.refused(wp.RestoreRequest(1, sealed, PASSPHRASE), ANNA))
    await give(bench, number)
    mistyped = await bench.ask(wp.RestoreRequest(1, sealed, b"another passphrase"), ANNA)
    assert isinstance(mistyped, wp.ErrorReply)
    assert mistyped.code != "consent"
    assert ("consent not used up", number) in bench.events()
    bench.step(3599)
    assert isinstance(await bench.ask(wp.RestoreRequest(1, sealed, PASSPHRASE), ANNA), wp.KeysReply)


async def backup_of_another(bench: Bench) -> bytes:
    """The backup of a key that this service does not have."""
    other = Bench(bench.home / "other")
    (bench.home / "other").mkdir()
    await other.open()
    key = await other.key()
    reply = await other.ask(wp.ExportRequest(1, key.id, PASSPHRASE))
    assert isinstance(reply, wp.ExportReply)
    await other.close()
    return reply.sealed


async def test_import_waits_too(bench: Bench) -> None:
    private = (
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    )
    request = wp.ImportRequest(1, A, "ksk", 15, private + b"-----END PRIVATE KEY-----\n")
    number = number_in(await bench.refused(request, ANNA))
    assert await bench.kept() == []
    await give(bench, number)
    assert isinstance(await bench.ask(request, ANNA), wp.KeysReply)


def ed25519_pem(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def two_keys_of_one_tag() -> list[bytes]:
    seen: dict[int, Ed25519PrivateKey] = {}
    while True:
        private = Ed25519PrivateKey.generate()
        tag = algorithms.key_tag(algorithms.dnskey_rdata(257, 15, private.public_key()))
        if tag in seen:
            return [ed25519_pem(seen[tag]), ed25519_pem(private)]
        seen[tag] = private


@pytest.mark.parametrize("role", ["ksk", "csk"])
async def test_consent_to_an_import_is_for_that_key_in_that_role(bench: Bench, role: wp.Role) -> None:
    """Another private key with the same tag takes a second to find."""
    shown, other = two_keys_of_one_tag()
    number = number_in(await bench.refused(wp.ImportRequest(1, A, "ksk", 15, shown), ANNA))
    await give(bench, number)
    changed = wp.ImportRequest(1, A, role, 15, other if role == "ksk" else shown)
    assert number_in(await bench.refused(changed, ANNA)) != number
    assert await bench.kept() == []


@pytest.mark.parametrize("change", ["key", "zones", "shared"])
async def test_consent_to_a_backup_is_for_all_that_it_says(bench: Bench, change: str) -> None:
    """The one who restores has the passphrase, and can write another backup under the same id."""

    def backup(public: Ed25519PrivateKey, zones: tuple[bytes, ...] = (A,), mark: str = "") -> bytes:
        dnskey = algorithms.dnskey_rdata(256, 15, public.public_key())
        key = key_file.Description("f" * 32, zones, "zsk", 15, 256, 256, dnskey, 1, idempotency=mark)
        der = public.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return key_file.seal(key, der, key_file.KeyEncryption(PASSPHRASE), key_file.new_kdf())

    private = Ed25519PrivateKey.generate()
    number = number_in(await bench.refused(wp.RestoreRequest(1, backup(private), PASSPHRASE), ANNA))
    await give(bench, number)
    changed = {
        "key": lambda: backup(Ed25519PrivateKey.generate()),
        "zones": lambda: backup(private, (A, B)),
        "shared": lambda: backup(private, mark="shared by p: x"),
    }[change]()
    assert number_in(await bench.refused(wp.RestoreRequest(1, changed, PASSPHRASE), ANNA)) != number
    assert await bench.kept() == []
    assert isinstance(await bench.ask(wp.RestoreRequest(1, backup(private), PASSPHRASE), ANNA), wp.KeysReply)


@pytest.mark.parametrize("given", [False, True])
async def test_a_clock_that_is_set_back_makes_no_consent_last(bench: Bench, given: bool) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    number = number_in(await bench.refused(request, ANNA))
    if given:
        await give(bench, number)
    bench.time -= 3600
    assert number_in(await bench.refused(request, ANNA)) != number


async def test_consent_ends(bench: Bench) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    number = number_in(await bench.refused(request, ANNA))
    bench.step(7 * DAY)
    assert (await bench.refused(wp.ConsentRequest(1, number, give=True), BEN)).code == "bad_request"
    number = number_in(await bench.refused(request, ANNA))
    await give(bench, number)
    bench.step(3600)
    assert number_in(await bench.refused(request, ANNA)) != number
    assert bench.events().count(("consent expired", number)) == 1


async def test_consent_can_be_refused_and_is_then_gone(bench: Bench) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    number = number_in(await bench.refused(request, ANNA))
    assert [one.code for one in bench.warnings.listed() if one.firing] == ["consent needed"]
    assert isinstance(await bench.ask(wp.ConsentRequest(1, number, give=False), BEN), wp.DoneReply)
    assert not [one.code for one in bench.warnings.listed() if one.firing]
    assert ("consent refused", number) in bench.events()
    assert (await bench.refused(wp.ConsentRequest(1, number, give=True), BEN)).code == "bad_request"


async def test_what_waits_survives_a_restart_and_a_damaged_file_is_no_consent(bench: Bench) -> None:
    key = await bench.key()
    request = wp.ExportRequest(1, key.id, PASSPHRASE)
    number = number_in(await bench.refused(request, ANNA))
    await give(bench, number)
    path = bench.home / "consent" / f"{number}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSPHRASE not in path.read_bytes()
    content = path.read_bytes()
    await bench.restart()
    assert isinstance(await bench.ask(request, ANNA), wp.ExportReply)
    assert not path.exists()
    path.write_bytes(content[:-10])
    await bench.restart()
    number_in(await bench.refused(request, ANNA))


async def test_one_user_does_not_take_all_places(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "WAITING_OF_USER_MAX", 2)
    keys = [await bench.key() for _ in range(3)]
    requests = [wp.BindRequest(1, B, key.id) for key in keys]
    assert [(await bench.refused(one, DAEMON)).code for one in requests] == ["consent", "consent", "busy"]
    number_in(await bench.refused(requests[2], ANNA))


async def test_a_key_whose_time_in_the_trash_is_over_waits_for_consent(bench: Bench) -> None:
    key = await trashed(bench)
    bench.step(31 * DAY)
    for _ in range(2):
        await bench.service._trash.empty()
    (waiting,) = bench.consents.all()
    assert (waiting.act, waiting.subject, waiting.asked_by) == ("destroy", key.id, DAEMON.uid)
    assert await bench.trash() == [key.id]
    await give(bench, waiting.id, ANNA)
    await bench.service._trash.empty()
    assert (await bench.trash(), bench.consents.all()) == ([], ())
    assert ("destroyed", key.id) in bench.events()


async def test_the_daemon_alone_makes_keys_and_removes_them(bench: Bench) -> None:
    key = await trashed(bench)
    assert await bench.trash() == [key.id]


async def test_without_two_persons_an_officer_acts_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    key = await bench.key()
    assert isinstance(await bench.ask(wp.ExportRequest(1, key.id, PASSPHRASE), ANNA), wp.ExportReply)
    assert (await bench.refused(wp.BindRequest(1, B, key.id), DAEMON)).code == "refused"
    assert isinstance(await bench.ask(wp.BindRequest(1, B, key.id), ANNA), wp.KeysReply)
    await bench.close()


def test_every_request_has_its_roles() -> None:
    assert set(MAY) == set(get_args(wp.Request))
    assert all(MAY.values())


def test_a_user_without_a_role_may_do_nothing() -> None:
    assert all(refusal_for(Peer(5, frozenset()), kind) for kind in MAY)


@pytest.mark.parametrize("kind", [wp.SignRequest, wp.ProveRequest, wp.GenerateRequest, wp.RemoveRequest])
def test_an_officer_uses_no_key(kind: type[wp.Request]) -> None:
    assert refusal_for(ANNA, kind)
    assert not ANNA.may_sign


@pytest.mark.parametrize(
    ("uid", "groups", "roles"),
    [
        (0, set(), {"keeper"}),
        (2001, {100}, set()),
        (2001, {100, 7000}, {"officer"}),
        (61_001, {61_001}, {"daemon"}),
        (61_001, {7000}, {"daemon"}),  # in any group, the daemon's user gives no consent
    ],
)
def test_roles(uid: int, groups: set[int], roles: set[str]) -> None:
    assert assign_roles(uid, groups, frozenset({61_001}), 7000).roles == roles


def test_without_a_group_there_are_no_officers() -> None:
    assert assign_roles(2001, {-1, 0}, frozenset(), -1).roles == set()
