"""A zone whose KSK is in a token and whose ZSK is in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hsm.daemon import pkcs11_keystore, wait_for_signer
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ZONE = "split.example."
TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


def start(servers: Servers, home: Path, tsig_key: TsigKey, hsm: SoftHsm) -> Dnssecd:
    file = home / "zone"
    file.write_text(TEXT)
    config = daemon_config(home, DaemonPorts.free(), tsig_key, {ZONE: file})
    config["keystore"]["hsm"] = pkcs11_keystore(hsm, "dns")
    policy = config["policy"][config["zone"][ZONE].get("policy", "default")]
    policy["ksk"] = {"keystore": "hsm"}
    daemon = servers.start(Dnssecd(home / "dnssecd", config, tsig_key))
    daemon.wait_serial_other_than(ZONE, None)
    return daemon


def stores(daemon: Dnssecd) -> set[tuple[str, str]]:
    return {(key["role"], key["keystore"]) for key in daemon.cli_json("key", "list", ZONE)["keys"]}


def generate(daemon: Dnssecd, *options: str) -> dict[str, Any]:
    done = daemon.cli("key", "generate", ZONE, "--json", *options)
    assert done.ok, done
    made: dict[str, Any] = json.loads(done.out)
    return made


def test_each_role_has_its_key_store(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, hsm: SoftHsm
) -> None:
    daemon = start(servers, peer_dir, tsig_key, hsm)
    assert stores(daemon) == {("ksk", "hsm"), ("zsk", "local")}
    assert len(hsm.inspect("dns")) == 1
    exported = peer_dir / "signed.zone"
    assert daemon.cli("zone", "export", ZONE, "-o", str(exported)).ok
    verdict = ldns_verify_zone(exported, ZONE)
    assert verdict.ok, verdict
    shown = daemon.cli("key", "list", ZONE).out
    assert "hsm" in shown
    assert "local" in shown

    def audit() -> dict[str, Any]:
        return {row["id"]: row for row in json.loads(daemon.cli("audit", "--json").out)["requirements"]}

    wait_until(
        lambda: audit()["keys-tokens"]["seen"] == "token hsm: ok", "all sessions of the token are open", 30
    )
    assert audit()["keys-tokens"]["verdict"] == "met"
    assert audit()["keys-role-stores"]["verdict"] == "met"

    spare = generate(daemon, "--role", "ksk")
    assert [key["keystore"] for key in spare["keys"]] == ["hsm"]
    other = generate(daemon, "--role", "ksk", "--keystore", "local")
    assert [key["keystore"] for key in other["keys"]] == ["local"]
    assert 'the policy has its ksk in key store "hsm"' in other["message"]

    wait_for_signer(daemon)
    for policy in daemon.config["policy"].values():
        policy["zsk"] = {"keystore": "hsm"}
    daemon.write_config()
    difference = daemon.cli("config", "diff").out
    assert "zsk.keystore: local -> hsm" in difference
    planned = daemon.cli("plan").out
    assert "key store hsm" in planned, planned
    assert "key store local" not in planned, planned
