"""A key whose file is lost while the list of keys has it: a copy of the same key takes its place, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import key_file
from tests.unit.signer.service_world import PASSPHRASE, TWO_PERSON, A, B, Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def copy_of(bench: Bench, key: wp.KeyInfo) -> bytes:
    reply = await bench.ask(wp.ExportRequest(1, key.id, PASSPHRASE))
    assert isinstance(reply, wp.ExportReply), reply
    return reply.sealed


def file_of(bench: Bench, key: wp.KeyInfo) -> Path:
    return bench.home / "keys" / f"{key.id}.key"


async def state_of(bench: Bench, key: wp.KeyInfo) -> str:
    reply = await bench.ask(wp.KeysRequest(1))
    assert isinstance(reply, wp.KeysReply)
    return next(one.state for one in reply.keys if one.id == key.id)


@pytest.mark.parametrize("restarted", [False, True], ids=["in memory", "not in memory"])
async def test_a_backup_takes_the_place_of_the_lost_file(bench: Bench, restarted: bool) -> None:
    key = await bench.key()
    await bench.ask(wp.BindRequest(1, B, key.id))  # after the backup was made, zones may have come
    copy = await copy_of(bench, key)
    file_of(bench, key).unlink()
    if restarted:
        await bench.restart()
        assert await state_of(bench, key) == "missing"
    reply = await bench.ask(wp.RestoreRequest(1, copy, PASSPHRASE))
    assert isinstance(reply, wp.KeysReply), reply
    assert (reply.keys[0].id, reply.keys[0].zones, reply.keys[0].state) == (key.id, (A, B), "available")
    await bench.restart()
    assert await bench.kept() == [key.id]
    assert await state_of(bench, key) == "available"
    assert not any(warning.firing for warning in bench.warnings.listed())
    assert bench.events()[-1] == ("restored", key.id)


async def test_the_zones_are_those_of_the_list(bench: Bench) -> None:
    key = await bench.key()
    copy = await copy_of(bench, key)
    await bench.ask(wp.BindRequest(1, B, key.id))
    file_of(bench, key).unlink()
    reply = await bench.ask(wp.RestoreRequest(1, copy, PASSPHRASE))
    assert isinstance(reply, wp.KeysReply), reply
    assert reply.keys[0].zones == (A, B)
    content = key_file.read(file_of(bench, key).read_bytes())
    assert content.key.zones == (A, B)


async def test_a_private_key_takes_the_place_of_the_lost_file(bench: Bench) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    request = wp.ImportRequest(1, A, "zsk", 15, pem, "local")
    first = await bench.ask(request)
    assert isinstance(first, wp.KeysReply), first
    assert (await bench.refused(request)).code == "exists", "its file is there"
    file_of(bench, first.keys[0]).unlink()
    other_zone = await bench.refused(msgspec.structs.replace(request, zone=B))
    assert (other_zone.code, "a.test." in other_zone.message) == ("exists", True)
    assert (await bench.refused(msgspec.structs.replace(request, role="ksk"))).code == "exists"
    again = await bench.ask(request)
    assert isinstance(again, wp.KeysReply), again
    assert again.keys[0].id == first.keys[0].id
    await bench.restart()
    assert await state_of(bench, first.keys[0]) == "available"


async def test_nothing_takes_the_place_of_a_file_that_may_be_there(bench: Bench) -> None:
    key = await bench.key()
    copy = await copy_of(bench, key)
    request = wp.RestoreRequest(1, copy, PASSPHRASE)
    assert (await bench.refused(request)).code == "exists"
    file_of(bench, key).write_bytes(b"damaged")
    assert (await bench.refused(request)).code == "exists", "a damaged file is not a lost one"
    file_of(bench, key).unlink()
    file_of(bench, key).symlink_to("/nowhere")
    assert (await bench.refused(request)).code == "exists"
    file_of(bench, key).unlink()
    keys = bench.home / "keys"
    keys.rename(bench.home / "away")
    assert (await bench.refused(request)).code == "exists", "without the directory nothing is proven"
    (bench.home / "away").rename(keys)
    assert isinstance(await bench.ask(request), wp.KeysReply)
    assert len({path.name for path in keys.glob("*.key")}) == 1


async def test_a_wrong_passphrase_changes_nothing(bench: Bench) -> None:
    key = await bench.key()
    copy = await copy_of(bench, key)
    file_of(bench, key).unlink()
    assert isinstance(await bench.ask(wp.RestoreRequest(1, copy, b"another passphrase")), wp.ErrorReply)
    assert not file_of(bench, key).exists()


async def test_two_persons_are_needed_where_the_policy_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    key = await bench.key()
    copy = await copy_of(bench, key)
    await bench.close()
    file_of(bench, key).unlink()
    bench.limits = TWO_PERSON
    await bench.open()
    error = await bench.refused(wp.RestoreRequest(1, copy, PASSPHRASE))
    assert "consent" in error.message
    assert not file_of(bench, key).exists()
    await asyncio.sleep(0)
    await bench.close()


async def test_each_lost_file_is_reported_at_the_start_and_when_it_is_back(bench: Bench) -> None:
    """Not only that of the key that a start tries: the others may be used in weeks."""
    keys = [await bench.key(), await bench.key(zone=B)]
    await bench.restart()
    for key in keys:
        path = file_of(bench, key)
        content = path.read_bytes()
        path.unlink()
        await bench.restart()
        firing = [warning for warning in bench.warnings.listed() if warning.firing]
        assert [(one.code, one.subject) for one in firing] == [("key missing", key.id)]
        path.write_bytes(content)
        path.chmod(0o600)
        assert await state_of(bench, key) == "available"
        assert not any(warning.firing for warning in bench.warnings.listed())
