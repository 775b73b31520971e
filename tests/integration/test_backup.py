"""Back-up and restore of a dynamic zone, whose content is nowhere else; and of very many zones (long form)."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dnssecd.store.catalogue import Catalogue
from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

MANY = 10_000


@pytest.fixture
def daemon(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Dnssecd:
    (peer_dir / "input.zone").write_text(small_zone())
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: peer_dir / "input.zone"})
    return servers.add(Dnssecd(peer_dir / "dnssecd", config, tsig_key))


def test_a_dynamic_zone_comes_back_as_it_was_and_not_as_its_file(daemon: Dnssecd, peer_dir: Path) -> None:
    daemon.config["zone"][ZONE]["source"] = "dynamic"
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    merged = peer_dir / "merged.zone"
    for serial in (2, 3):
        merged.write_text(small_zone(serial, f"update{serial} A 192.0.2.{serial}\n"))
        assert daemon.cli("zone", "import", ZONE, str(merged), "--merge").ok
        assert daemon.wait_serial_other_than(ZONE, serial - 1) == serial
        if serial == 2:
            assert daemon.cli("backup", "-o", str(peer_dir / "b.tar")).ok
    daemon.stop()
    restored = daemon.cli("restore", str(peer_dir / "b.tar"), "--raise-serial")
    assert restored.ok, restored
    assert "is dynamic: updates after serial 2 are only on its secondaries" in restored.out
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 4
    content = daemon.zone_content(ZONE)
    assert any(line.startswith(f"update2.{ZONE} ") for line in content), "not the file's content"
    assert not any(line.startswith(f"update3.{ZONE} ") for line in content)
    assert "backup" not in daemon.cli("explain", ZONE).text


def test_a_key_whose_file_is_lost_comes_back_from_a_backup(daemon: Dnssecd, peer_dir: Path) -> None:
    """While the daemon runs, and the key service still has the key in its list."""
    passphrase = peer_dir / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    daemon.start()
    daemon.wait_serial_other_than(ZONE, None)
    backup = ["backup", "-o", str(peer_dir / "b.tar"), "--keys", "--passphrase-file", str(passphrase)]
    assert daemon.cli(*backup).ok
    bring = ["key", "import", ZONE, str(peer_dir / "b.tar"), "--passphrase-file", str(passphrase)]
    refused = daemon.cli(*bring)
    assert (refused.ok, f"no key of {ZONE} is missing here" in refused.text) == (False, True), refused
    stored = daemon.cli_json("key", "list", "--stored")["keys"]
    lost = peer_dir / "keys" / f"{stored[0]['id']}.key"
    lost.unlink()
    daemon.stop()  # the key service forgets what it has in memory
    daemon.start(60)
    wait_until(lambda: daemon.cli("key", "list", "--stored").ok, "the key service answers", 60, 0.2)
    states = {key["id"]: key["state"] for key in daemon.cli_json("key", "list", "--stored")["keys"]}
    assert states[stored[0]["id"]] == "missing"
    result = daemon.cli(*bring)
    assert result.ok, result
    assert daemon.cli_json("key", "list", "--stored")["keys"] == stored
    assert lost.is_file()


def test_zones_without_servers_come_back_by_themselves_after_a_lost_disk(
    daemon: Dnssecd, peer_dir: Path
) -> None:
    """Nobody can say what was public: published is a version above what the backup has, verified as a whole."""
    other = "other.test."
    (peer_dir / "other.zone").write_text(small_zone().replace(ZONE, other))
    daemon.config["zone"][other] = {**daemon.config["zone"][ZONE], "file": str(peer_dir / "other.zone")}
    daemon.start()
    for zone in (ZONE, other):
        assert daemon.wait_serial_other_than(zone, None) == 1
    assert daemon.cli("backup", "-o", str(peer_dir / "b.tar")).ok
    daemon.stop()
    for path in Path(daemon.config["server"]["state_dir"]).rglob("*.sqlite*"):
        path.unlink()
    del daemon.config["zone"][other]
    daemon.write_config()
    done = daemon.cli("restore", str(peer_dir / "b.tar"))
    assert done.ok, done
    assert done.out.count("published above 1") == 2
    daemon.start()
    for zone in (ZONE, other):
        assert daemon.wait_serial_other_than(zone, None) == 2


def test_backups_are_checked_beside_the_running_daemon(daemon: Dnssecd, peer_dir: Path) -> None:
    """By an operator, and by the daemon itself; a ZSK that came after the backup makes it useless after a loss."""
    backups = peer_dir / "backups"
    backups.mkdir()
    quick = small_zone().replace("$TTL 300", "$TTL 1").replace("604800 60", "604800 1")
    (peer_dir / "input.zone").write_text(quick)
    daemon.config["server"]["clock_tolerance"] = "1s"
    daemon.config["policy"]["default"] |= {"dnskey_ttl": "1s", "propagation_delay": "1s"}
    daemon.config["backup"] = {"directory": backups}
    daemon.config["zone"][ZONE]["check_servers"] = [f"127.0.0.1:{daemon.port}"]
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    assert daemon.cli("backup").ok
    (file,) = backups.glob("dnssecd-backup-*.tar")
    for words in (("--accept-older-keys",), ("--after-loss",)):  # its waits end within a second here
        done = daemon.cli("restore", str(file), "--check", *words, "--json")
        assert done.ok, done
        (zone,) = json.loads(done.out)["zones"]
        assert (zone["serial"], zone["public"]) == (1, 1)
    refused = daemon.cli("restore", str(file))
    assert "restore works only while the daemon is stopped" in refused.text
    assert daemon.cli("restore", str(file), "--after-loss").status == 2
    assert daemon.cli("config", "reload").ok  # looks at once
    wait_until(
        lambda: daemon.metric("dnssecd_backup_zones", result="restorable") == 1, "the backup is checked"
    )
    wait_event(daemon, "backup-old", "", firing=False)

    assert daemon.cli("key", "rollover", ZONE, "--role", "zsk").ok
    assert daemon.wait_serial_other_than(ZONE, 1) == 2
    known = daemon.cli("restore", str(file), "--check")
    assert not known.ok
    assert "REFUSED (serial-backwards)" in known.out
    assert daemon.cli("config", "reload").ok
    wait_event(daemon, "backup-unusable", "")
    assert "foreign-dnskey" in daemon.cli("alerts", "list").out
    # A backup of the middle of the rollover would be overtaken by its next step.
    wait_until(lambda: (daemon.serial(ZONE) or 0) >= 4, "the old ZSK is withdrawn", 60)
    assert daemon.cli("backup", "-o", str(backups / "z.tar")).ok
    assert daemon.cli("config", "reload").ok
    wait_event(daemon, "backup-unusable", "", firing=False)
    assert not list((Path(daemon.config["server"]["state_dir"])).glob(".dnssecd-backup-*")), "nothing is left"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_zones(daemon: Dnssecd, peer_dir: Path) -> None:
    """Figures for the documentation: octets, CPU seconds and memory of backup, check and restore."""
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 1
    daemon.stop()
    zones = Path(daemon.config["server"]["state_dir"]) / "zones"
    model = zones / "small.test.sqlite"
    with closing(sqlite3.connect(model)) as db:  # keys of its own are another test's matter
        db.execute("DELETE FROM state WHERE name = 'keyset'")
        db.commit()
    with closing(Catalogue(zones.parent / "catalogue.sqlite")) as catalogue:
        documents: dict[str, Any] = catalogue.serving()
        names = [f"z{number}.test." for number in range(MANY)]
        catalogue.put_serving(dict.fromkeys(names, documents[ZONE]))
    for name in names:
        shutil.copy(model, zones / f"{name.rstrip('.')}.sqlite")
    path = str(peer_dir / "b.tar")
    for words in (["backup", "-o", path], ["restore", path, "--check"], ["restore", path]):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = daemon.cli(*words, "--json", timeout=1800)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.ok, done
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{' '.join(words)}: {cpu:.1f} s CPU, {time.monotonic() - began:.1f} s")
    print(f"{Path(path).stat().st_size:,} octets; {after.ru_maxrss // 1024} MB at most")
