"""`key compromised`: the recovery plan is printed, mailed, and right about what the daemon then does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.mailserver import MailServer
from tests.integration.smallzone import ZONE, small_zone, wait_event
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration


def plan_in(text: str) -> list[str]:
    """The lines of a recovery plan, without what mail does to spaces."""
    lines = [" ".join(line.split()) for line in text[text.index("Recovery plan:") :].splitlines()]
    return [line for line in lines if line]


def test_the_plan_is_printed_and_mailed(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    (peer_dir / "input.zone").write_text(small_zone())
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: peer_dir / "input.zone"})
    mail = MailServer()
    config["alerts"] = {
        "mail": {"smtp": f"localhost:{mail.port}", "from": "dnssecd@example.com", "to": ["ops@example.com"]}
    }
    with mail.running():
        daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
        daemon.wait_serial_other_than(ZONE, None)
        (zsk,) = [key for key in daemon.cli_json("key", "list", ZONE)["keys"] if key["role"] == "zsk"]
        printed = daemon.cli("key", "compromised", ZONE, "--key-tag", str(zsk["tag"]))
        assert printed.ok, printed
        wait_event(daemon, "key-compromised")
        (told,) = [each for each in mail.wait(1, 60) if "Recovery plan:" in each.text]
        assert told.recipients == ["ops@example.com"]
        wanted = plan_in(printed.out)
        assert {"Effects:", "What you do:"} <= set(wanted)
        assert plan_in(told.text)[: len(wanted)] == wanted
        successors = [key for key in daemon.cli_json("key", "list", ZONE)["keys"] if key["role"] == "zsk"]
        assert [key["goal"] for key in successors] == ["absent", "present"]
        assert any(
            "reported compromised" in line for line in daemon.cli("zone", "history", ZONE).out.splitlines()
        )
        again = daemon.cli_json("key", "compromised", ZONE, "--key-tag", str(zsk["tag"]))
        assert set(again) == {"zone", "key_tag", "safe_at", "costs", "steps", "text"}
        assert {step["who"] for step in again["steps"]} == {"people", "dnssecd"}
        assert again["costs"]
