"""Whatever an operator does through the control socket is in the history: who, when, what, which serial."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import Any

import pytest

from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.control.client import Failed, call
from dnssecd.control.messages.catalogue import all_requests
from dnssecd.daemon.run import Daemon
from tests.integration.smallzone import ZONE, small_zone
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

#: Commands that change nothing and so are not recorded. A command that is in neither list makes the test fail.
READ_ONLY = frozenset(
    (
        "status",
        "zone.list",
        "zone.show",
        "zone.export",
        "zone.history",
        "zone.wait",
        "zone.owner",
        "node.list",
        "node.secondaries",
        "key.list",
        "key.stored",
        "key.audit",
        "keystore.list",
        "explain",
        "schedule",
        "plan",
        "simulate",
        "simulate.algorithm",
        "ds.check",
        "ds.show",
        "anchors.show",
        "alerts.list",
        "config.diff",
        "audit",
    )
)

#: Every command that changes something, with arguments that it takes (whether it then does anything or refuses).
ACTS: dict[str, dict[str, Any]] = {
    "zone.reload": {"zone": ZONE, "accept_change": True, "accept_older": True},
    "zone.freeze": {"zone": ZONE},
    "zone.thaw": {"zone": ZONE},
    "zone.import": {"zone": ZONE, "path": "/nowhere/zone", "how": "replace"},
    "zone.restore": {"zone": ZONE},
    "zone.add": {"zone": ZONE, "template": "none"},
    "zone.remove": {"zone": ZONE},
    "zone.move": {"zone": ZONE, "node": "b"},
    "node.drain": {"node": "b"},
    "node.resume": {"node": "b"},
    "zone.approve": {"zone": ZONE},
    "zone.reject": {"zone": ZONE},
    "key.generate": {"zone": ZONE, "role": "zsk"},
    "key.adopt": {"zone": ZONE, "role": "zsk", "label": "none"},
    "key.rollover": {"zone": ZONE, "role": "zsk"},
    "key.retire": {"zone": ZONE, "key_tag": 65536},
    "key.revoke": {"zone": ZONE, "key_tag": 65536},
    "key.compromised": {"zone": ZONE, "key_tag": 65536},
    "key.lost": {"zone": ZONE, "key_tag": 65536},
    "key.found": {"zone": ZONE, "key_tag": 65536},
    "ksr.export": {"zone": ZONE, "start": 1, "stop": 2},
    "skr.import": {"zone": ZONE, "document": "none"},
    "key.backup-confirm": {"zone": ZONE, "key_tag": 65536, "detail": "tape"},
    "key.import-public": {"zone": ZONE, "signer": "other", "dnskeys": ["none"]},
    "key.remove-foreign": {"zone": ZONE, "key_tag": 65536},
    "key.approve": {"zone": ZONE, "step": "none"},
    "keystore.test": {"keystore": "local", "algorithm": 13},
    "keystore.bench": {"keystore": "local", "algorithm": 15, "seconds": 0.1},
    "clock.confirm": {},
    "anchors.check": {"zone": ZONE},
    "ds.confirm": {"zone": ZONE, "key_tag": 65536},
    "alerts.test": {},
    "alerts.ack": {"name": "runway-low", "zone": ZONE},
    "migrate.keys": {"zone": ZONE, "keys": ["none"]},
    "migrate.forget": {"zone": ZONE},
    "migrate.check": {"zone": ZONE, "file": "/nowhere/zone"},
    "migrate.adopt": {"zone": ZONE, "file": "/nowhere/zone"},
    "config.reload": {"remove": ["absent.test."]},
}


def known_commands(config_path: Path) -> dict[str, bool]:
    """Every command a daemon has, and whether it is one for operators only."""
    daemon = Daemon(load(config_path), SystemClock())
    table = {command.name: command.changes for command in daemon.control.commands}
    daemon.base.catalogue.close()
    daemon.base.act_log.close()
    daemon.front.alerts.close()
    daemon.base.events.close()
    os.close(daemon.base.lock)
    return table


def history(daemon: Dnssecd, *zone: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = daemon.cli_json("zone", "history", *zone, "--limit", "1000")["entries"]
    return entries


def test_every_command_that_changes_something_is_recorded(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    (peer_dir / "input.zone").write_text(small_zone(7))
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: peer_dir / "input.zone"})
    daemon = servers.add(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    daemon.write_config()
    known = known_commands(daemon.config_path)
    assert set(known) == set(all_requests()), "docs/control-protocol.md has every command, and no other"
    assert known == {
        **dict.fromkeys(READ_ONLY, False),
        **dict.fromkeys(ACTS, True),
    }, "a new command: put it into one of the lists above"
    started = int(time.time())
    daemon.start()
    assert daemon.wait_serial_other_than(ZONE, None) == 7
    socket = str(config["server"]["control_socket"])
    for command, args in ACTS.items():
        outcome = ""
        try:
            call(socket, command, args)
        except Failed as failed:
            outcome = f"refused: {failed.what}"
        entries = history(daemon, *([ZONE] if "zone" in args else []))
        found = [entry for entry in entries if entry["what"] == command.replace(".", " ")]
        assert len(found) == 1, f"{command} is not in the history: {entries}"
        (entry,) = found
        assert (entry["who"], entry["uid"]) == (getpass.getuser(), os.getuid())
        assert started <= entry["at"] <= time.time() + 1
        assert outcome[:100] in entry["detail"], entry
        for name, value in args.items():
            if name != "zone":
                shown = "yes" if value is True else value[0] if isinstance(value, list) else value
                assert f"{name}={shown}" in entry["detail"], entry
        if "zone" in args:
            assert entry["serial"] == daemon.serial(ZONE)
    text = daemon.cli("zone", "history", ZONE).out
    assert "zone reload" in text
    assert "accept_change=yes" in text
