"""`dnssecd audit` of a real daemon with its key service: what it sees is what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ZONE = "audited.example."
TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""


def test_an_audit_sees_what_there_is(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    file = peer_dir / "zone"
    file.write_text(TEXT)
    policy = {"preset": "rfc9276"}
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: file}, policy=policy)
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    daemon.wait_serial_other_than(ZONE, None)

    done = daemon.cli("audit", "--profile", "rfc9276")
    assert (done.status, "profile rfc9276, 1 zone: 4 met" in done.out) == (0, True), done
    rows = wait_until(lambda: _judge(daemon), "the key service shows its log")
    tags = [str(key["tag"]) for key in daemon.cli_json("key", "list", ZONE)["keys"]]
    assert all(tag in rows["keys-backup-age"]["seen"] for tag in tags), "its keys, none in a backup"
    assert rows["keys-log-head"]["verdict"] == "met"
    assert rows["keys-apart"]["seen"] == "the daemon starts the key service under its own user"
    assert "the passphrase is beside" in rows["keys-sealed"]["seen"]


def _judge(daemon: Dnssecd) -> dict[str, dict[str, Any]] | None:
    """Return the rows of the profile "keys" by their id, some are not met; None if the log is not shown yet."""
    done = daemon.cli("audit", ZONE, "--json")
    assert done.status == 1, done
    rows = {row["id"]: row for row in json.loads(done.out)["requirements"]}
    return rows if rows["keys-log"]["verdict"] == "met" else None
