"""A zone whose policy requires backups: published when a backup of its keys was opened, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ZONE = "saved.example."
TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""


def test_keys_are_not_used_before_their_backup(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    file = peer_dir / "zone"
    file.write_text(TEXT)
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: file})
    for policy in config["policy"].values():
        policy["require_backup"] = True
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    wait_until(lambda: "key-not-backed-up" in daemon.cli("explain", ZONE).out or _waits(daemon), "it waits")
    assert daemon.serial(ZONE) is None
    made = daemon.cli_json("key", "list", ZONE, "--stored")["keys"]
    assert {key["role"] for key in made} == {"ksk", "zsk"}, "made, so that they can be backed up"

    secret = peer_dir / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery\n")
    target = peer_dir / "backup"
    options = ("--passphrase-file", str(secret))
    assert daemon.cli("key", "backup", ZONE, "-o", str(target), *options).ok
    files = sorted(map(str, target.iterdir()))
    wrong = peer_dir / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("incorrect horse\n")
    refused = daemon.cli("key", "backup", "--confirm", files[0], "--passphrase-file", str(wrong))
    assert refused.status == 1, refused
    done = daemon.cli("key", "backup", "--confirm", files[0], *options)
    assert done.ok, done
    assert daemon.serial(ZONE) is None, "one of two"
    tag = str(made[0]["tag"])
    word = daemon.cli("key", "backup", ZONE, "--key-tag", tag, "--word", "in the safe")
    assert (word.status, "its backup can be opened" in word.err) == (1, True)
    assert daemon.cli("key", "backup", "--confirm", files[1], *options).ok
    daemon.wait_serial_other_than(ZONE, None)
    assert {key["tag"] for key in daemon.cli_json("key", "list", ZONE)["keys"]} == {
        key["tag"] for key in made
    }

    assert daemon.cli("key", "generate", ZONE, "--role", "zsk").ok
    archive = peer_dir / "all.tar"
    assert daemon.cli("backup", "-o", str(archive), "--keys", *options).ok
    every = daemon.cli_json("key", "backup", "--confirm", str(archive), *options)
    assert len(every["keys"]) == 3


def _waits(daemon: Dnssecd) -> bool:
    return "require" in daemon.cli("explain", ZONE).out
