"""One key store in two tokens, through the real daemon: nothing is published before both hold the keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignRefused
from tests.integration.hsm.daemon import keep_keys_in, pkcs11_keystore, wait_for_signer
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tools import REFEREES
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ZONE = "example."
TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 7200 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    for label in ("a", "b"):
        hsm.make_token(label)
    return hsm


def make_pem(path: Path) -> Path:
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return path


def alerts(daemon: Dnssecd) -> dict[str, str]:
    return {alert["name"]: alert["cause"] for alert in daemon.cli_json("alerts", "list")["alerts"]}


def test_two_tokens(servers: Servers, peer_dir: Path, tsig_key: TsigKey, hsm: SoftHsm) -> None:
    """The .de incident does not happen: a key that one token lacks, or has another of, is not published."""
    file = peer_dir / "zone"
    file.write_text(TEXT)
    pems = {cka_id: make_pem(peer_dir / f"{cka_id}.pem") for cka_id in ("f0", "f1")}
    for cka_id, pem in pems.items():
        hsm.import_key("a", pem, cka_id, f"key {cka_id}")
    hsm.import_key("b", pems["f0"], "f0", "key f0")
    hsm.inspect("b", "make", "f1", "key f1")  # made per HSM instead of copied

    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: file})
    keep_keys_in(config, pkcs11_keystore(hsm, "a", "b"))
    config["zone"][ZONE]["parent"] = {"servers": ["127.0.0.1:1"]}  # it waits until we let it
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    wait_for_signer(daemon)
    assert daemon.cli("key", "import", ZONE, "--role", "ksk", "--cka-id", "f0").ok
    refused = daemon.cli("key", "import", ZONE, "--role", "zsk", "--cka-id", "f1")
    assert (refused.status, "2 different keys" in refused.err) == (1, True)

    daemon.stop()
    hsm.inspect("b", "delete", "f1")
    daemon.start()
    wait_for_signer(daemon)
    assert daemon.cli("key", "import", ZONE, "--role", "zsk", "--cka-id", "f1").ok
    held_back = daemon.cli("zone", "reload", ZONE, "--first-publication")
    assert held_back.status == 1
    assert "token hsm.b" in held_back.err
    assert daemon.serial(ZONE) is None
    wait_until(lambda: "f1" in alerts(daemon).get("key-not-in-token", ""), "the event")
    tested = daemon.cli("keystore", "test")
    assert (tested.status, "1 of 2 keys lack" in tested.out) == (1, True)

    daemon.stop()
    hsm.import_key("b", pems["f1"], "f1", "key f1")
    daemon.start()
    wait_for_signer(daemon)
    wait_until(lambda: daemon.cli("keystore", "test").ok, "both tokens are well")
    assert daemon.cli("zone", "reload", ZONE, "--first-publication").ok
    exported = peer_dir / "exported.zone"
    daemon.export(ZONE, exported)
    for referee in REFEREES:
        assert referee(exported, ZONE).ok
    for number in range(10):
        serial = daemon.serial(ZONE)
        file.write_text(TEXT + "".join(f"h{n} IN A 192.0.2.2\n" for n in range(number + 1)))
        daemon.wait_serial_other_than(ZONE, serial)
    made = {
        token: daemon.metric("dnssecd_token_signatures_total", token=token) for token in ("hsm.a", "hsm.b")
    }
    assert min(made.values()) > 0, "both tokens work"
    wait_until(lambda: set(alerts(daemon)) == set(), "all events are over")


def test_misuse_is_refused_and_told(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Whoever gets hold of the socket cannot sign what a key is not for, and does not stay unseen."""
    file = peer_dir / "zone"
    file.write_text(TEXT)
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: file})
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    daemon.wait_serial_other_than(ZONE, None)
    keys = {key["role"]: key["id"] for key in daemon.cli_json("key", "list", "--stored")["keys"]}
    with SignerClient(str(peer_dir / "state" / "signer" / "signer.sock"), owners=None) as client:
        for key_id in keys.values():
            with pytest.raises(SignRefused):
                client.sign(text_to_wire(ZONE), key_id, [b"pay to the bearer of this"])
    wait_until(lambda: "key-misuse-refused" in alerts(daemon), "the event")
    assert daemon.cli("alerts", "ack", "key-misuse-refused").ok
    assert "key-misuse-refused" in alerts(daemon)
    assert daemon.metric("dnssecd_signer_refusals_total") == 2
    refused = [one for one in daemon.cli_json("key", "audit")["entries"] if one["event"] == "refused"]
    assert {one["fields"]["key"] for one in refused} == set(keys.values())
