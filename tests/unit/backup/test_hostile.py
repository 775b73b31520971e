"""A back-up that somebody else could write: whatever is in it, the answer is a refusal or a clear error."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.backup import restore as restoring
from dnssecd.backup.read import DEFLATE_RATIO_MAX, BadArchive, opened
from dnssecd.backup.restore import Done, Wish, restore
from dnssecd.config.model import Config
from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.specs import database_path
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from tests.unit.backup.test_archive import NOW, config, make

__all__ = ["config"]
A, B = "a.test.", "b.test."
Members = dict[str, bytes]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def none(config: Config, *, beside_daemon: bool) -> Iterator[SignerClient]:
        raise SignerError("there is none in this test")
        yield

    monkeypatch.setattr(restoring, "key_service", none)


@pytest.fixture
def members(config: Config, tmp_path: Path) -> Members:
    """What is in a good backup."""
    make(config, tmp_path / "good.tar")
    with tarfile.open(tmp_path / "good.tar") as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def packed(target: Path, members: Members, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write an archive whose manifest is changed and agrees with its digest."""
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    members["manifest.sha256"] = sha256(members["manifest.json"]).hexdigest().encode()
    with tarfile.open(target, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return target


def restored(config: Config, file: Path, **more: bool) -> Done:
    return restore(config, Wish(file, **more), ("root", 0), NOW, lambda done, total, what: None)


def member(zone: str) -> str:
    return f"zones/{zone}sqlite.gz"


def put(members: Members, name: str, content: bytes, octets: int | None = None) -> Callable[[Any], None]:
    """Replace a member, and say so in the manifest; octets: what it is said to unpack to."""
    members[name] = gzip.compress(content)
    known = {
        "sha256": sha256(members[name]).hexdigest(),
        "octets": len(members[name]),
        "content_octets": len(content) if octets is None else octets,
    }
    return lambda manifest: manifest["members"].update({name: known})


@pytest.mark.parametrize(
    "name",
    ["../../../tmp/evil", "", ".", "\x1b[31mred\x07.", "a" * 300 + ".", "A.test.", "a.test", "b.test."],
)
def test_a_zone_of_another_name(config: Config, tmp_path: Path, members: Members, name: str) -> None:
    def rename(manifest: dict[str, Any]) -> None:
        manifest["zones"] = [z | {"zone": name} if z["zone"] == A else z for z in manifest["zones"]]

    file = packed(tmp_path / "evil.tar", members, rename)
    if name == ".":  # a name there can be, with a database that is not its own
        (refusal,) = restored(config, file, check=True).refusals
        assert refusal.code == "damaged"
        assert "belongs to another zone" in refusal.what
        return
    with pytest.raises(BadArchive, match="a form that dnssecd does not write"):
        restored(config, file, check=True)


def test_the_database_of_another_zone(config: Config, tmp_path: Path, members: Members) -> None:
    file = packed(
        tmp_path / "evil.tar", members, put(members, member(A), gzip.decompress(members[member(B)]))
    )
    (refusal,) = restored(config, file, check=True).refusals
    assert (refusal.zone, refusal.code) == (A, "damaged")


def test_a_bomb_is_bounded_by_what_the_member_can_hold(
    config: Config, tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(8 << 20)
    file = packed(tmp_path / "evil.tar", members, put(members, member(A), content, 2**60))
    assert len(members[member(A)]) * DEFLATE_RATIO_MAX < 2**30
    (refusal,) = restored(config, file, check=True).refusals
    assert refusal.code == "damaged"
    free = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr("dnssecd.backup.read.shutil.disk_usage", lambda path: free)
    refusals = restored(config, file, check=True).refusals
    assert any("are free in" in refusal.what for refusal in refusals if refusal.zone == A)


def test_a_member_that_unpacks_to_more_than_is_said(config: Config, tmp_path: Path, members: Members) -> None:
    content = gzip.decompress(members[member(A)])
    file = packed(
        tmp_path / "evil.tar", members, put(members, member(A), content + bytes(1 << 20), len(content))
    )
    (refusal,) = restored(config, file, check=True).refusals
    assert "unpacks to more than its size in the manifest" in refusal.what


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["members"].clear(),
        lambda m: m["members"][member(A)].update(octets=-1),
        lambda m: m["members"][member(A)].update(octets=2**62),
        lambda m: m["members"][member(A)].update(content_octets=-5),
        lambda m: m["members"][member(A)].update(sha256="x"),
        lambda m: m["zones"][0].update(member="manifest.json"),
        lambda m: m["zones"][0].update(member="../x"),
        lambda m: m["zones"][0].update(zone=7),
        lambda m: m.update(zones={}),
        lambda m: m.update(format="dnssecd-backup-9"),
        lambda m: m.update(members=[]),
        lambda m: m.update(made_at="now"),
        lambda m: m.update(keys=[{"id": 1}]),
    ],
)
def test_a_manifest_that_does_not_fit(
    config: Config, tmp_path: Path, members: Members, change: Callable[[dict[str, Any]], None]
) -> None:
    file = packed(tmp_path / "evil.tar", members, change)
    try:
        told = [refusal.what for refusal in restored(config, file, check=True).refusals]
    except BadArchive as error:
        told = [str(error)]
    assert all(told)
    assert told


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"{}", b"null"])
def test_a_manifest_that_is_none(tmp_path: Path, members: Members, content: bytes) -> None:
    members["manifest.json"] = content
    members["manifest.sha256"] = sha256(content).hexdigest().encode()
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name, octets in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(octets)
            tar.addfile(entry, io.BytesIO(octets))
    with pytest.raises(BadArchive), opened(tmp_path / "evil.tar"):
        pass


@pytest.mark.parametrize("seed", range(40))
def test_an_archive_damaged_anywhere(config: Config, tmp_path: Path, members: Members, seed: int) -> None:
    file = packed(tmp_path / "evil.tar", members, lambda manifest: None)
    octets = bytearray(file.read_bytes())
    place = seed * len(octets) // 40 + 7
    octets[place : place + 3] = bytes(octet ^ 0x55 for octet in octets[place : place + 3])
    file.write_bytes(octets[: len(octets) - seed % 2 * 700])
    with suppress(BadArchive):
        restored(config, file, check=True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state SET value = x'ff'",
        "UPDATE state SET value = '[1, 2]'",
        "UPDATE meta SET value = 7",
        "UPDATE meta SET value = x'ff' WHERE name = 'origin'",
        "CREATE VIEW extra AS SELECT 1",
        "CREATE TRIGGER extra AFTER INSERT ON history BEGIN DELETE FROM rrset; END",
        "DROP TABLE rrset",
        "PRAGMA user_version = 99",
        "PRAGMA application_id = 1",
    ],
)
def test_a_database_that_was_changed(
    config: Config, tmp_path: Path, members: Members, statement: str
) -> None:
    path = tmp_path / "evil.sqlite"
    path.write_bytes(gzip.decompress(members[member(A)]))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    file = packed(tmp_path / "evil.tar", members, put(members, member(A), path.read_bytes()))
    assert {refusal.zone for refusal in restored(config, file, check=True).refusals} == {A}


def test_one_zone_s_trouble_stops_the_others_only_by_default(
    config: Config, tmp_path: Path, members: Members
) -> None:
    file = packed(tmp_path / "evil.tar", members, put(members, member(A), b"no database"))
    before = database_path(config, B).stat().st_ino
    refused = restored(config, file)
    assert [decision.zone for decision in refused.decisions] != [], "what would become of the others is told"
    assert A not in [decision.zone for decision in refused.decisions]
    assert refused.restored == ()
    assert database_path(config, B).stat().st_ino == before
    done = restored(config, file, keep_going=True)
    assert {refusal.zone for refusal in done.refusals} == {A}
    assert B in done.restored
    assert A not in done.restored
    assert database_path(config, B).stat().st_ino != before
    with closing(sqlite3.connect(database_path(config, A))) as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone() == (text_to_wire(A),)
