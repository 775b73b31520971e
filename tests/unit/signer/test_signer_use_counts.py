"""Counts in the audit log: nothing is lost on a full disk, and no client fills the log."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dnssecd.keyservice_protocol import RemoveRequest
from dnssecd.signer.audit import AuditLog, check
from dnssecd.signer.use_counts import PIECE_KEYS, UseCounts
from dnssecd.signer.warnings import WarningBook
from tests.unit.signer.service_world import A, Bench


def entries(path: Path) -> list[tuple[str, dict[str, str | int]]]:
    return [(entry.event, entry.fields) for entry in check(path, 1000).entries]


def test_counts_survive_a_full_disk_and_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, lambda: 1_900_000_000)
    log.open(lambda why: None)
    warnings = WarningBook(lambda: 0.0, lambda code, subject, detail: None)
    counts = UseCounts(log, warnings)

    def full(event: str, entries: object) -> None:
        raise OSError(28, "No space left on device")

    for _ in range(3):
        counts.note("proved", key="k")
    with monkeypatch.context() as patch:
        patch.setattr(log, "append_all", full)
        with pytest.raises(OSError, match="No space"):
            counts.note("refused", by=7)
        counts.flush()
    assert [(one.code, one.firing) for one in warnings.listed()] == [("audit log failing", True)]
    counts.note("refused", by=7)
    counts.note_signatures("k", 5)
    counts.flush()
    assert entries(path) == [
        ("proved", {"key": "k"}),
        ("refused", {"by": 7}),
        ("proved again", {"key": "k", "times": 2}),
        ("used", {"key": "k", "signatures": 5}),
    ]
    assert not [one for one in warnings.listed() if one.firing]
    log.close()


async def test_uses_of_many_keys_are_written_while_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    turns, synced_in, sync = 0, list[int](), os.fdatasync

    def note_sync(descriptor: int) -> None:
        synced_in.append(turns)
        sync(descriptor)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    keys = [f"{number:032x}" for number in range(5 * PIECE_KEYS + 1)]
    for key_id in keys:
        bench.service._uses.note_signatures(key_id, 3)  # as signing does
    monkeypatch.setattr(os, "fdatasync", note_sync)
    others = asyncio.create_task(take_turns())
    await asyncio.sleep(0)
    await bench.service._write_counts()
    others.cancel()
    assert len(synced_in) == 6, "one wait for the disk in each piece"
    assert len(set(synced_in)) == 6, "others get their turn between two waits for the disk"
    found = check(tmp_path / "audit.log", 1000)
    assert found.ok
    assert [one.fields["key"] for one in found.entries] == keys[-1000:]
    await bench.close()


async def test_a_key_that_goes_has_its_uses_written_and_not_those_of_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    key = await bench.key()
    for key_id in (key.id, "another"):
        bench.service._uses.note_signatures(key_id, 3)  # as signing does
    await bench.ask(RemoveRequest(1, A, key.id))
    assert entries(tmp_path / "audit.log")[-1] == ("used", {"key": key.id, "signatures": 3})
    bench.service.flush()
    assert entries(tmp_path / "audit.log")[-1] == ("used", {"key": "another", "signatures": 3})
    await bench.close()


def test_of_a_piece_all_is_written_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, lambda: 1_900_000_000)
    log.open(lambda why: None)
    counts = UseCounts(log, WarningBook(lambda: 0.0, lambda code, subject, detail: None))
    for key_id in ("a", "b"):
        counts.note_signatures(key_id, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        counts.flush()
    assert entries(path) == []
    counts.note_signatures("a", 1)
    counts.flush()
    assert entries(path) == [("used", {"key": "a", "signatures": 2}), ("used", {"key": "b", "signatures": 1})]
    log.close()


async def test_a_user_who_may_not_connect_does_not_fill_the_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    for _ in range(500):
        bench.service.note_refused_peer(65_534)
    bench.service.flush()
    assert entries(tmp_path / "audit.log") == [
        ("peer refused", {"by": 65_534}),
        ("peer refused again", {"by": 65_534, "times": 499}),
    ]
    await bench.close()


async def test_a_chore_that_fails_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    await bench.open()
    written = asyncio.Event()

    async def fails() -> None:
        raise RecursionError

    monkeypatch.setattr(bench.service.limits, "refresh", fails)
    monkeypatch.setattr(bench.audit, "note_head", written.set)
    running = asyncio.create_task(bench.service.run())
    for _ in range(2):
        bench.service.limits_may_have_changed()
        async with asyncio.timeout(10):
            await written.wait()
        written.clear()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    monkeypatch.undo()
    await bench.close()
