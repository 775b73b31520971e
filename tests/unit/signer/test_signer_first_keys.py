"""The first keys of a zone are made together: entries before files, all files before any, and none after a fault."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer.peers import Peer
from tests.unit.signer.service_world import DAEMON, A, Bench

BOTH = (wp.KeyOrder("ksk", 15, "local", 0, "k"), wp.KeyOrder("zsk", 15, "local", 0, "z"))
WANTED = wp.KeysRequest(1, A, "", BOTH, nonce=bytes(32))
OFFICER = Peer(4711, frozenset({"officer"}))


async def test_entries_files_and_one_sync_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    await bench.key(b"\5other\0")  # makes the passphrase
    done: list[str] = []
    sync, data, rename = os.fsync, os.fdatasync, Path.rename

    def named(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix

    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(f"sync {named(fd)}"), sync(fd))[1])
    monkeypatch.setattr(os, "fdatasync", lambda fd: (done.append(f"sync {named(fd)}"), data(fd))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (done.append("rename"), rename(self, to))[1])
    reply = await bench.ask(WANTED, DAEMON)
    assert isinstance(reply, wp.KeysReply)
    assert done[:6] == ["sync .log", "sync .key", "sync .key", "rename", "rename", "sync "]
    ids = [key.id for key in reply.keys]
    assert [key for event, key in bench.events() if event == "generated"][1:] == ids
    await bench.restart()
    assert sorted(ids) == sorted(key.id for key in (await listed(bench)).keys if A in key.zones)
    await bench.close()


async def listed(bench: Bench) -> wp.KeysReply:
    reply = await bench.ask(wp.KeysRequest(2))
    assert isinstance(reply, wp.KeysReply)
    return reply


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_full_disk_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    await bench.key(b"\5other\0")
    before, files = await bench.kept(), sorted(tmp_path.rglob("*.key"))
    plain, written = os.fsync, []

    def full(descriptor: int) -> Any:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".key"):
            written.append(descriptor)
            if len(written) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        await bench.refused(WANTED, DAEMON)
    assert await bench.kept() == before
    assert sorted(tmp_path.rglob("*.key")) == files
    assert sorted(tmp_path.rglob(".tmp-*")) == []
    events = bench.events()
    undone = [key for event, key in events if event == "undone"]
    assert undone == [key for event, key in events if event == "generated"][1:]
    reply = await bench.ask(WANTED, DAEMON)
    assert isinstance(reply, wp.KeysReply)
    assert len(reply.made) == 2
    await bench.close()


async def test_who_may_only_look_has_none_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    assert (await bench.refused(WANTED, OFFICER)).code == "refused"
    assert await bench.kept() == []
    await bench.close()


async def test_entries_that_cannot_be_written_forbid_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    await bench.open()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        await bench.refused(WANTED, DAEMON)
    assert list(tmp_path.rglob("*.key")) == []
    assert bench.events() == []
    await bench.close()
