"""Back-ups as files: whole or not there, checked before anything of them is believed."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dnssecd.backup import write
from dnssecd.backup.manifest import DIGEST, MANIFEST, Manifest, StoredKey
from dnssecd.backup.read import BadArchive, check_database, opened
from dnssecd.config import load
from dnssecd.config.model import Config
from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.zones.specs import database_path
from dnssecd.store import schema
from dnssecd.store.catalogue import Catalogue, CatalogueEntry, database_name
from dnssecd.store.zonedb import ZoneDatabase

NOW = 1_790_000_000
LONG = ".".join(["a" * 53] * 4) + "."
ZONES = ("a.test.", "b.test.", LONG)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Three stored zones, one of which is not configured any more."""
    text = (
        f'[server]\nstate_dir = "{tmp_path}/state"\ncontrol_socket = "{tmp_path}/c"\n[keystore.local]\n'
        'type = "software"\n[policy.default]\nkeystore = "local"\ndenial = "nsec"\n'
    )
    for name in ("a.test.", LONG):
        text += f'[zone."{name}"]\npolicy = "default"\nsource = "dynamic"\nparent = "none"\n'
    path = tmp_path / "config.toml"
    path.write_text(text)
    (tmp_path / "state" / "zones").mkdir(parents=True)
    with closing(Catalogue(tmp_path / "state" / "catalogue.sqlite")) as catalogue:
        for name in ZONES:
            catalogue.put(CatalogueEntry(name, 1))
    for name in ZONES:
        with closing(database(tmp_path, name)) as db:
            put_version(db, 1)
    return load(path)


def database(home: Path, name: str) -> ZoneDatabase:
    return ZoneDatabase(home / "state" / "zones" / database_name(name), text_to_wire(name))


def put_version(db: ZoneDatabase, serial: int) -> None:
    """State as of a version whose entries all bear its serial."""
    state = {"serial": serial, "input_serial": serial, "published_at": NOW, "policy": "", "largest_ttl": 1}
    with db.write() as transaction:
        transaction.set_state("version", {**state, "owners": 1})
        transaction.set_state("keyset", {"apex": "", "step": serial})
        transaction.add_history(NOW, "dnssecd", "published", serial, "")
        transaction.commit_state()


def make(config: Config, target: Path) -> Manifest:
    with write.archive_file(target, NOW) as writer:
        zones, damaged = write.write_zones(writer, config, lambda done, total, what: None)
        damaged |= write.write_common(writer, config.server.state_dir)
        return write.finish(writer, config, "host", NOW, zones, damaged, None)


def test_every_stored_zone_is_in_it_configured_or_not(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    manifest = make(config, target)
    assert os.stat(target).st_mode & 0o777 == 0o600
    assert sorted(zone.zone for zone in manifest.zones) == sorted(ZONES)
    assert {zone.serial for zone in manifest.zones} == {1}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "nothing is left"
    with opened(target) as archive:
        assert archive.manifest == manifest
        for zone in manifest.zones:
            out = tmp_path / "out.sqlite"
            out.unlink(missing_ok=True)
            archive.unpack(zone.member, out)
            check_database(out, schema.MIGRATIONS, schema.APPLICATION_ID, zone.zone)
            assert os.stat(out).st_mode & 0o777 == 0o600


def test_a_version_and_its_state_belong_together_while_it_is_written(config: Config, tmp_path: Path) -> None:
    """Back-ups made while another thread commits hold one version each, never parts of two."""
    stop, commits = threading.Event(), [1]

    def commit() -> None:
        with closing(database(tmp_path, "a.test.")) as db:
            while not stop.is_set():
                commits[0] += 1
                put_version(db, commits[0])

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        serials = []
        for number in range(5):
            target = tmp_path / f"{number}.tar"
            manifest = make(config, target)
            (entry,) = [zone for zone in manifest.zones if zone.zone == "a.test."]
            with opened(target) as archive:
                archive.unpack(entry.member, tmp_path / f"{number}.sqlite")
            with closing(sqlite3.connect(tmp_path / f"{number}.sqlite")) as db:
                (last,) = db.execute("SELECT max(serial) FROM history").fetchone()
                (count,) = db.execute("SELECT count(*) FROM history").fetchone()
                (step,) = db.execute("SELECT value ->> 'step' FROM state WHERE name = 'keyset'").fetchone()
            assert entry.serial == last == count == step
            serials.append(last)
    finally:
        stop.set()
        thread.join()
    assert serials == sorted(serials)


def test_a_damaged_zone_costs_itself_alone(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "state" / "zones" / database_name("b.test.")
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)
    manifest = make(config, tmp_path / "b.tar")
    assert sorted(zone.zone for zone in manifest.zones) == sorted({*ZONES} - {"b.test."})
    assert list(manifest.damaged) == ["b.test."]


def test_what_breaks_off_leaves_nothing(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    target.write_text("the back-up before")

    def stop() -> None:
        with write.archive_file(target, NOW) as writer:
            write.write_zones(writer, config, lambda done, total, what: None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert target.read_text() == "the back-up before"
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name or "backup-" in path.name] == []


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            yield entry, stream.read() if stream else b""


def rebuilt(path: Path, change: dict[str, bytes | None], *extra: tarfile.TarInfo) -> Path:
    """The archive with some members' content replaced, or left out (None)."""
    target = path.with_name("changed.tar")
    with tarfile.open(target, "w") as tar:
        for entry, content in members(path):
            new = change.get(entry.name, content)
            if new is not None:
                entry.size = len(new)
                tar.addfile(entry, io.BytesIO(new))
        for entry in extra:
            tar.addfile(entry)
    return target


def test_what_was_changed_is_not_believed(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    manifest = make(config, path)
    contents = {entry.name: content for entry, content in members(path)}
    member = manifest.zones[0].member

    def refused(match: str, change: dict[str, bytes | None], *extra: tarfile.TarInfo) -> None:
        def read() -> None:
            with opened(rebuilt(path, change, *extra)) as archive:
                archive.unpack(member, tmp_path / "out.sqlite")

        (tmp_path / "out.sqlite").unlink(missing_ok=True)
        with pytest.raises(BadArchive, match=match):
            read()

    refused(
        "the manifest was changed", {MANIFEST: contents[MANIFEST].replace(b'"serial": 1', b'"serial": 9')}
    )
    refused("manifest.sha256 is missing", {DIGEST: None})
    refused("is missing", {member: None})
    flipped = bytearray(contents[member])
    flipped[len(flipped) // 2] ^= 1
    refused("was changed or damaged", {member: bytes(flipped)})
    link = tarfile.TarInfo("zones/evil")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    refused("is not a member that dnssecd writes", {}, link)
    twice = tarfile.TarInfo(member)
    refused("is not a member that dnssecd writes", {}, twice)


@pytest.mark.parametrize("octets", [0, 100, 700, 5000])
def test_a_cut_file_is_told_from_a_whole_one(config: Config, tmp_path: Path, octets: int) -> None:
    path = tmp_path / "b.tar"
    make(config, path)
    path.write_bytes(path.read_bytes()[:octets])

    def read() -> None:
        with opened(path):
            pass

    with pytest.raises(BadArchive):
        read()


def test_a_database_with_a_trigger_is_not_ours(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "state" / "zones" / database_name("a.test.")
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TRIGGER evil AFTER INSERT ON history BEGIN DELETE FROM rrset; END")
    with pytest.raises(BadArchive, match="tables that dnssecd does not create"):
        check_database(path, schema.MIGRATIONS, schema.APPLICATION_ID, "a.test.")
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER evil")
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(BadArchive, match="restore it with the version of dnssecd that made it"):
        check_database(path, schema.MIGRATIONS, schema.APPLICATION_ID, "a.test.")


def _empty(path: Path) -> None:
    """As a crash leaves it between making the file and its tables."""
    path.write_bytes(b"")


def _without_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE state")


def _with_document(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE state SET value = ? WHERE name = 'keyset'", (text,))
            db.commit()

    return change


@pytest.mark.parametrize(
    "change",
    [_empty, _without_table, _with_document("{"), _with_document('{"apex": 7}'), _with_document("[]")],
)
def test_an_odd_zone_costs_itself_alone(
    config: Config, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "state" / "zones" / database_name("b.test."))
    manifest = make(config, tmp_path / "b.tar")
    assert sorted(zone.zone for zone in manifest.zones) == sorted({*ZONES} - {"b.test."})
    assert list(manifest.damaged) == ["b.test."]
    assert not any("b.test" in member for member in manifest.members)


def test_an_empty_history_is_named_and_left_out(config: Config, tmp_path: Path) -> None:
    _empty(tmp_path / "state" / "acts.sqlite")
    manifest = make(config, tmp_path / "b.tar")
    assert list(manifest.damaged) == ["acts.sqlite"]
    assert "acts.sqlite.gz" not in manifest.members


def test_an_incomplete_back_up_replaces_no_good_one(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    make(config, target)
    good = target.read_bytes()
    _empty(database_path(config, "b.test."))
    manifest = make(config, target)
    assert not manifest.whole
    assert target.read_bytes() == good
    with opened(tmp_path / "b.tar.incomplete") as archive:
        assert archive.manifest == manifest


def test_a_key_that_is_away_makes_it_incomplete_but_one_in_a_token_does_not() -> None:
    away = StoredKey("id", (), "zsk", 13, 1, "local", reason="its medium is away")
    manifest = Manifest("", "", 0, "", "", "", (), {}, keys=(away,), with_keys=True)
    assert not manifest.whole
    assert msgspec.structs.replace(manifest, keys=(msgspec.structs.replace(away, in_token=True),)).whole


def test_what_a_killed_back_up_left_is_removed_but_not_one_in_work(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom dnssecd.backup.write import archive_file\n"
        "with archive_file(Path(sys.argv[1]), 0):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(target)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] != []
    with write.archive_file(tmp_path / "other.tar", NOW) as writer:
        make(config, target)
        write.finish(writer, config, "host", NOW, [], {}, None)
    assert target.exists()
    assert (tmp_path / "other.tar").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
