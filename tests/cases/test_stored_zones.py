"""What is on the disk is not taken on trust: databases swapped, edited, put back from an older copy, or restored."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, replace_file
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

ZONES = ("a.test.", "b.test.", "c.test.")
FORGED = b"\0\4\6\6\6\6"


pytestmark = pytest.mark.integration


def zone_text(zone: str, serial: int = 1, extra: str = "") -> str:
    return small_zone(serial, extra).replace(ZONE, zone)


@pytest.fixture
def daemon(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Dnssecd:
    """Three zones, published; started."""
    files = {zone: peer_dir / f"{zone}zone" for zone in ZONES}
    for zone, path in files.items():
        path.write_text(zone_text(zone))
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, files)
    made = servers.add(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    made.start()
    for zone in ZONES:
        assert made.wait_serial_other_than(zone, None) == 1
    return made


def database(daemon: Dnssecd, zone: str) -> Path:
    return Path(daemon.config["server"]["state_dir"]) / "zones" / f"{zone}sqlite"


def firing(daemon: Dnssecd, zone: str) -> set[str]:
    return {alert["name"] for alert in daemon.zone_status(zone)["alerts"]}


def wait_firing(daemon: Dnssecd, zone: str, *names: str) -> None:
    wait_until(lambda: set(names) <= firing(daemon, zone), f"{names} fire for {zone}", 30)


def forge(path: Path) -> None:
    """Change one address, and not its signature."""
    with closing(sqlite3.connect(path)) as db, db:
        owner = db.execute("SELECT max(owner) FROM rrset WHERE rtype = 1").fetchone()
        changed = db.execute("UPDATE rrset SET rdata = ? WHERE owner = ? AND rtype = 1", (FORGED, *owner))
        assert changed.rowcount == 1


def test_swapped_databases_are_not_served_and_others_are(daemon: Dnssecd) -> None:
    daemon.stop()
    a, b = (database(daemon, zone) for zone in ZONES[:2])
    a.rename(a.with_name("t"))
    b.rename(a)
    a.with_name("t").rename(b)
    daemon.start()
    assert daemon.serial("c.test.") == 1, "the others are served at once"
    for zone in ("a.test.", "b.test."):
        wait_firing(daemon, zone, "stored-zone-changed", "store-failed")
        assert daemon.serial(zone) is None
    refused = daemon.cli("zone", "reload", "a.test.")
    assert not refused.ok
    assert "is the database of b.test., not of a.test." in refused.text
    assert daemon.serial("a.test.") is None


def test_an_edited_database_is_held_until_the_right_one_is_back(daemon: Dnssecd, peer_dir: Path) -> None:
    daemon.stop()
    path, good = database(daemon, "a.test."), peer_dir / "good"
    shutil.copy(path, good)
    forge(path)
    daemon.start()
    assert daemon.serial("c.test.") == 1
    wait_firing(daemon, "a.test.", "stored-zone-changed", "verification-failed")
    assert daemon.serial("a.test.") is None
    daemon.stop()
    daemon.start()
    assert daemon.serial("a.test.") is None, "a second start does not believe it either"
    daemon.stop()
    shutil.copy(good, path)
    daemon.start()
    assert daemon.wait_serial_other_than("a.test.", None) == 1
    assert "verification-failed" not in firing(daemon, "a.test.")


def test_a_file_that_replaces_a_database_while_the_daemon_runs_is_verified_at_the_next_start(
    daemon: Dnssecd,
) -> None:
    """An orderly stop does not take the file for its own."""
    path = database(daemon, "a.test.")
    other = path.with_name("other")
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(other)) as copy:
        db.backup(copy)
    forge(other)
    other.replace(path)
    daemon.stop()
    daemon.start()
    wait_firing(daemon, "a.test.", "stored-zone-changed", "verification-failed")
    assert daemon.serial("a.test.") is None


def test_a_zone_whose_database_is_gone_is_no_new_zone(daemon: Dnssecd, peer_dir: Path) -> None:
    """Its file may have older content than was published. It begins again only if an operator removes it before."""
    daemon.stop()
    path, good = database(daemon, "a.test."), peer_dir / "good"
    path.rename(good)
    database(daemon, "b.test.").unlink()
    daemon.start()
    assert daemon.serial("c.test.") == 1
    for zone in ("a.test.", "b.test."):
        wait_firing(daemon, zone, "stored-zone-changed", "store-failed")
        assert daemon.serial(zone) is None
    daemon.stop()
    good.replace(path)
    daemon.start()
    assert daemon.wait_serial_other_than("a.test.", None) == 1
    assert daemon.serial("b.test.") is None, "a second start does not take it for a new zone either"
    entry = daemon.config["zone"].pop("b.test.")
    daemon.write_config()
    assert daemon.cli("config", "reload", "--remove", "b.test.").ok
    daemon.config["zone"]["b.test."] = entry
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    assert daemon.wait_serial_other_than("b.test.", None) == 1


def test_a_database_put_there_while_the_daemon_runs_is_verified_first(daemon: Dnssecd) -> None:
    daemon.stop()
    path = database(daemon, "a.test.")
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    forge(elsewhere)
    entry = daemon.config["zone"].pop("a.test.")
    daemon.start()
    elsewhere.rename(path)
    daemon.config["zone"]["a.test."] = entry
    daemon.write_config()
    assert daemon.cli("config", "reload").ok
    wait_firing(daemon, "a.test.", "verification-failed")
    assert daemon.serial("a.test.") is None


def test_an_older_copy_comes_back_above_the_serial_that_was_published(
    daemon: Dnssecd, peer_dir: Path
) -> None:
    daemon.stop()
    path, older = database(daemon, "a.test."), peer_dir / "older"
    shutil.copy2(path, older)
    daemon.start()
    zone_file = Path(daemon.config["zone"]["a.test."]["file"])
    replace_file(zone_file, zone_text("a.test.", 2, "more A 192.0.2.77\n"))
    assert daemon.wait_serial_other_than("a.test.", 1) == 2
    daemon.stop()
    shutil.copy2(older, path)
    daemon.start()
    served = daemon.wait_serial_other_than("a.test.", None)
    assert served > 2
    wait_until(lambda: "more.a.test. " in str(daemon.zone_content("a.test.")), "the file is read again", 30)
    assert "stored-zone-changed" in firing(daemon, "a.test.")


def test_a_changed_back_up_is_verified_before_it_is_served(daemon: Dnssecd, peer_dir: Path) -> None:
    """The digests in a backup are not keyed: who can write it can make them again."""
    assert daemon.cli("backup", "-o", str(peer_dir / "b.tar")).ok
    daemon.stop()
    evil = peer_dir / "evil.tar"
    rewrite(peer_dir / "b.tar", evil, peer_dir / "scratch", forge)
    restored = daemon.cli("restore", str(evil), "--zone", "a.test.")
    assert restored.ok, restored
    daemon.start()
    wait_firing(daemon, "a.test.", "verification-failed")
    assert daemon.serial("a.test.") is None
    daemon.stop()
    assert daemon.cli("restore", str(peer_dir / "b.tar"), "--zone", "a.test.").ok
    daemon.start()
    assert daemon.wait_serial_other_than("a.test.", None) == 1
    with closing(sqlite3.connect(Path(daemon.config["server"]["state_dir"]) / "catalogue.sqlite")) as db:
        wait_until(
            lambda: db.execute("SELECT verified_at FROM zone WHERE name = 'a.test.'").fetchone()[0],
            "a verification is noted",
            30,
        )


def rewrite(source: Path, target: Path, scratch: Path, change: Callable[[Path], None]) -> None:
    """Make a backup in which a.test.'s database is changed and everything agrees with that."""
    with tarfile.open(source) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    name = next(name for name in members if "a.test" in name)
    scratch.write_bytes(gzip.decompress(members[name]))
    change(scratch)
    members[name] = gzip.compress(scratch.read_bytes())
    manifest = json.loads(members["manifest.json"])
    digest = sha256(members[name]).hexdigest()
    size = scratch.stat().st_size
    manifest["members"][name] = {"sha256": digest, "octets": len(members[name]), "content_octets": size}
    members["manifest.json"] = json.dumps(manifest).encode()
    members["manifest.sha256"] = sha256(members["manifest.json"]).hexdigest().encode() + b"\n"
    with tarfile.open(target, "w") as tar:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_was_not_touched_is_served_at_once_and_not_alerted(daemon: Dnssecd, how: str) -> None:
    if how == "killed":
        daemon.kill()
    else:
        daemon.stop()
    daemon.start()
    for zone in ZONES:
        # What was killed while it moved a log into its file is verified first.
        assert how == "killed" or daemon.serial(zone) == 1
        assert daemon.wait_serial_other_than(zone, None) == 1
        assert "stored-zone-changed" not in firing(daemon, zone)
