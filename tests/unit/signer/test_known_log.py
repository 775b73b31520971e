"""The list of a software store's keys in one file: after any crash the keys are those of the key directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from dnssecd.keyservice_settings import KeystoreSettings
from dnssecd.signer import files, known_log
from dnssecd.signer.key_file import Description
from dnssecd.signer.registry import Registry
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.trash import Trashed
from dnssecd.signer.warnings import WarningBook


def key(number: int, *zones: bytes) -> Description:
    return Description(f"{number:032x}", zones or (b"\1a\0",), "zsk", 13, 256, 256, bytes(68), 1_900_000_000)


def known(directory: Path) -> Registry:
    registry = Registry(directory, derived=True)
    registry.load()
    return registry


def ids(registry: Registry) -> list[str]:
    return sorted(each.id for each in registry.all())


def test_keys_are_kept_changed_and_dropped(tmp_path: Path) -> None:
    registry = known(tmp_path)
    for number in range(5):
        registry.put(key(number))
    registry.put(key(1, b"\1a\0", b"\1b\0"))
    registry.drop(key(2).id)
    again = known(tmp_path)
    assert ids(again) == sorted(key(number).id for number in (0, 1, 3, 4))
    assert [each.id for each in again.of_zone(b"\1b\0")] == [key(1).id]
    assert (tmp_path / known_log.NAME).read_bytes().count(b"\n") == 4  # superseded lines are gone
    assert (tmp_path / known_log.NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("crash", [False, True])
def test_files_of_the_earlier_form_are_moved_over(
    tmp_path: Path, crash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = Registry(tmp_path)
    earlier.load()
    for number in range(3):
        earlier.put(key(number))
    if crash:  # when the log has the keys, and their files are still there
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            known(tmp_path)
        monkeypatch.undo()
        assert len(list(tmp_path.glob("*.json"))) == 3
    registry = known(tmp_path)
    assert ids(registry) == [key(number).id for number in range(3)]
    assert not list(tmp_path.glob("*.json"))
    registry.drop(key(0).id)
    assert ids(known(tmp_path)) == [key(1).id, key(2).id]


def test_a_file_of_the_earlier_form_does_not_replace_what_the_log_says(tmp_path: Path) -> None:
    registry = known(tmp_path)
    registry.put(key(1, b"\1b\0"))
    (tmp_path / f"{key(1).id}.json").write_bytes(msgspec.json.encode(key(1)))
    assert known(tmp_path).all() == [key(1, b"\1b\0")]


def test_a_removal_is_synced_and_a_key_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = known(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for number in range(known_log.UNSYNCED_MAX - 1):
        registry.put(key(number))
    assert not synced
    registry.drop(key(3).id)
    assert len(synced) == 1
    for number in range(100, 100 + known_log.UNSYNCED_MAX):
        registry.put(key(number))
    assert len(synced) == 2


def test_many_removals_do_not_let_the_file_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_log, "DEAD_OCTETS", 1000)
    registry = known(tmp_path)
    for number in range(40):
        registry.put(key(number))
        if number:
            registry.drop(key(number).id)
    assert (tmp_path / known_log.NAME).read_bytes().count(b"\n") <= 12
    assert ids(known(tmp_path)) == [key(0).id]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = known(tmp_path)
    registry.put(key(0))
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, octets[:10]))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        registry.put(key(1))
    assert registry.get(key(1).id) is None
    monkeypatch.undo()
    registry.put(key(2))
    assert ids(known(tmp_path)) == [key(0).id, key(2).id]


@pytest.mark.parametrize("again", [False, True])
def test_a_key_that_many_zones_share_does_not_let_the_file_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Its line names all of them, and there is another one for each zone: 3,000 zones made 120 MB."""
    monkeypatch.setattr(known_log, "DEAD_OCTETS", 1000)
    registry = known(tmp_path)
    registry.put(key(0))
    zones = [b"\x05z%04d\0" % number for number in range(200)]
    largest = 0
    for number in range(200):
        registry.put(key(1, *zones[: number + 1]))
        largest = max(largest, (tmp_path / known_log.NAME).stat().st_size)
        if again and number == 100:
            registry.close()
            registry = known(tmp_path)
    line = len(msgspec.json.encode(key(1, *zones)))
    assert largest < 3 * line + 3000
    assert {each.id: each for each in known(tmp_path).all()} == {
        key(0).id: key(0),
        key(1).id: key(1, *zones),
    }


def test_a_file_that_cannot_be_written_again_is_not_tried_at_each_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_log, "DEAD_OCTETS", 0)
    registry = known(tmp_path)
    tries: list[int] = []

    def fails(*_: object, **__: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_atomically", fails)
    for number in range(100):
        registry.put(key(1, b"\x05z%04d\0" % number))
    assert 2 <= len(tries) <= 10


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", fails)
    monkeypatch.setattr(files, "write_atomically", fails)


@pytest.mark.parametrize("tail", [b"", b'{"key":{"id":"'])
def test_a_list_that_cannot_be_written_again_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: bytes
) -> None:
    """A full disk must not stop signing: superseded lines stay, and a line that was cut damages no other."""
    registry = known(tmp_path)
    registry.put(key(0))
    registry.put(key(0, b"\1b\0"))
    registry.close()
    with (tmp_path / known_log.NAME).open("ab") as file:
        file.write(tail)
    full_disk(monkeypatch)
    registry = known(tmp_path)
    assert registry.all() == [key(0, b"\1b\0")]
    monkeypatch.undo()
    registry.put(key(1))
    assert ids(known(tmp_path)) == [key(0).id, key(1).id]
    assert (tmp_path / known_log.NAME).read_bytes().count(b"\n") == 2


def test_on_a_full_disk_files_of_the_earlier_form_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = Registry(tmp_path)
    earlier.load()
    earlier.put(key(0))
    full_disk(monkeypatch)
    assert ids(known(tmp_path)) == [key(0).id]
    monkeypatch.undo()
    assert ids(known(tmp_path)) == [key(0).id]
    assert not list(tmp_path.glob("*.json"))


def test_what_is_removed_before_its_file_was_moved_over_stays_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = Registry(tmp_path)
    earlier.load()
    earlier.put(key(0))
    full_disk(monkeypatch)
    registry = known(tmp_path)
    monkeypatch.undo()
    registry.drop(key(0).id)
    assert ids(known(tmp_path)) == []


@pytest.mark.parametrize("then", ["put", "close", "drop", "kill"])
def test_a_removal_on_a_full_disk_is_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """The key's file is gone: without the line the key would count as missing at the next start."""
    registry = known(tmp_path)
    for number in range(3):
        registry.put(key(number))
    full_disk(monkeypatch)
    registry.drop(key(1).id)
    monkeypatch.undo()
    assert ids(registry) == [key(0).id, key(2).id]
    if then == "put":
        registry.put(key(3))
    elif then == "close":
        registry.close()
    elif then == "drop":
        registry.drop(key(2).id)
    left = {"put": [0, 2, 3], "close": [0, 2], "drop": [0], "kill": [0, 1, 2]}[then]
    assert ids(known(tmp_path)) == [key(number).id for number in left]


def test_a_part_of_a_line_that_cannot_be_cut_damages_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = known(tmp_path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, octets[:10]))
    monkeypatch.setattr(os, "ftruncate", lambda *_: os.close(-1))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        registry.put(key(1))
    monkeypatch.undo()
    registry.put(key(2))
    assert ids(known(tmp_path)) == [key(2).id]


def test_after_a_fault_lines_go_to_the_file_that_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_log, "DEAD_OCTETS", 0)
    registry = known(tmp_path)
    registry.put(key(0))

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "sync_directory", fails)  # after the new file got the name
    registry.drop(key(0).id)
    monkeypatch.undo()
    registry.put(key(1))
    assert ids(known(tmp_path)) == [key(1).id]


async def _store(home: Path) -> SoftwareStore:
    settings = KeystoreSettings(name="local", type="software", directory=str(home / "keys"))
    warnings = WarningBook(lambda: 1_900_000_000.0, lambda code, subject, detail: None)
    store = SoftwareStore(
        settings, Registry(home / "known", derived=True), warnings, lambda: 1_900_000_000.0, threads=1
    )
    await store.start()
    return store


async def _made(store: SoftwareStore) -> Description:
    return await store.generate(b"\1a\0", "zsk", 13, 0, "", frozenset(), lambda key: None)


async def test_after_a_crash_the_keys_are_those_of_the_key_directory(tmp_path: Path) -> None:
    """What was not synced is cut at each place, lost, or full of zeros, or a line in the middle is damaged."""
    store = await _store(tmp_path)
    path = tmp_path / "known" / known_log.NAME
    destroyed = await _made(store)
    await store.destroy(destroyed)
    synced = path.stat().st_size
    left = sorted([(await _made(store)).id for _ in range(3)])
    await store.stop()
    whole = path.read_bytes()
    places = [synced, synced + 1, synced + 400, whole.rindex(b"\n", 0, -1), len(whole) - 2, len(whole) - 1]
    fillings = (b"", bytes(600), bytes(90) + b"\n")
    contents = [whole[:place] + filling for place in places for filling in fillings]
    middle = (synced + len(whole)) // 2
    for content in (*contents, whole[:middle] + b"\xff\0" + whole[middle + 2 :]):
        path.write_bytes(content)
        store = await _store(tmp_path)
        assert sorted(each.id for each in store.registry.all()) == left
        assert {store.state(each)[0] for each in store.registry.all()} == {"available"}
        await store.stop()
        assert ids(known(tmp_path / "known")) == left


async def test_a_store_starts_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its keys can be used, also one whose line a crash lost, and none that is in the trash."""
    store = await _store(tmp_path)
    made = [await _made(store) for _ in range(3)]
    await store.stop()
    path = tmp_path / "known" / known_log.NAME
    path.write_bytes(path.read_bytes()[:-100])
    store.registry.trash.put(Trashed(made[0], 1_900_000_000, 0))
    full_disk(monkeypatch)
    monkeypatch.setattr(files, "move", files.write_atomically)
    store = await _store(tmp_path)
    assert ids(store.registry) == sorted(each.id for each in made[1:])
    assert {store.state(each)[0] for each in store.registry.all()} == {"available"}
    await store.stop()
    monkeypatch.undo()
    store = await _store(tmp_path)
    assert ids(known(tmp_path / "known")) == sorted(each.id for each in made[1:])
    assert not (tmp_path / "keys" / f"{made[0].id}.key").exists()
    await store.stop()


async def test_a_key_whose_file_is_missing_is_told_from_one_that_never_was(tmp_path: Path) -> None:
    store = await _store(tmp_path)
    made = await _made(store)
    await store.stop()
    (tmp_path / "keys" / f"{made.id}.key").unlink()
    store = await _store(tmp_path)
    (key,) = store.registry.all()
    assert (key.id, store.state(key)[0]) == (made.id, "missing")
    await store.stop()


async def test_a_key_is_durable_before_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key's own file is synced, with its directory, before the line is written."""
    store = await _store(tmp_path)
    done: list[str] = []
    fsync, put = files.os.fsync, known_log.KnownLog.put
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (done.append("sync"), fsync(descriptor))[1])
    monkeypatch.setattr(known_log.KnownLog, "put", lambda self, key: (done.append("line"), put(self, key))[1])
    await store.generate(b"\1a\0", "zsk", 13, 0, "", frozenset(), lambda key: done.append("audit"))
    assert done[0] == "audit"
    assert done[-3:] == ["sync", "sync", "line"]
    await store.stop()
