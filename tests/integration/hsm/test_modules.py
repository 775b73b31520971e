"""Each module that can be installed: keys are made, proven by every session, used and destroyed; a ZSK is rolled over.

Modules that start in seconds are tried in `make test`, the others in `make soak`, which also rolls a ZSK over on each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.integration.hsm.modules import QUICK, SLOW, Module, softhsm
from tests.integration.hsm.softhsm import ZONE, service, sign_and_check, without_trash
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey
from tests.unit.signer.preimages import wire

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Start = Callable[[Path], AbstractContextManager[Module]]
ZONE_TEXT = """$TTL 2
@ IN SOA ns1 host 1 3600 600 604800 2
@ IN NS ns1
ns1 IN A 192.0.2.1
www IN A 192.0.2.2
"""
#: Everything as short as it can be.
FAST = {
    "dnskey_ttl": "4s",
    "signature_validity": "16s",
    "signature_refresh": "8s",
    "signature_jitter": "2s",
    "propagation_delay": "1s",
}
ROLL_S = 150.0
NAMES = {8: "rsasha256", 13: "ecdsap256sha256"}


def use(start: Start, directory: Path, algorithms: slice) -> None:
    with start(directory) as module, pytest.MonkeyPatch.context() as patch:
        for name, value in module.environment.items():
            patch.setenv(name, value)
        settings = without_trash(module.settings(directory))
        with service(settings) as client:
            for algorithm in module.algorithms[algorithms]:
                assert "generated, signed, verified and destroyed" in client.test_store("hsm", algorithm)
            key = client.generate(wire(ZONE), "zsk", module.algorithms[0])
            for _ in range(3):
                sign_and_check(client, key)
                assert [proof.error for proof in client.prove(wire(ZONE), key.id, key.dnskey)] == [""]
            assert [warning.code for warning in client.status().warnings if warning.firing] == []
        with service(settings) as client:
            sign_and_check(client, key)
            assert "all of 1 keys there" in client.test_store("hsm", module.algorithms[0])
            assert client.remove(wire(ZONE), key.id) == "destroyed"


@pytest.mark.parametrize("start", QUICK.values(), ids=QUICK)
def test_quick_modules(start: Start, peer_dir: Path) -> None:
    use(start, peer_dir, slice(-2, -1))


@pytest.mark.soak
@pytest.mark.parametrize("start", [*QUICK.values(), *SLOW.values()], ids=[*QUICK, *SLOW])
def test_modules_with_all_algorithms(start: Start, peer_dir: Path) -> None:
    use(start, peer_dir, slice(None))


@pytest.mark.soak
@pytest.mark.parametrize("start", [softhsm, *QUICK.values(), *SLOW.values()], ids=["softhsm", *QUICK, *SLOW])
def test_a_zsk_is_rolled_over(start: Start, servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    with start(peer_dir) as module, pytest.MonkeyPatch.context() as patch:
        for name, value in module.environment.items():
            patch.setenv(name, value)
        daemon = start_daemon(servers, peer_dir, tsig_key, module)
        old = zsk_in_use(daemon)
        # With such short times the zone may be signed again at the same moment: then the command is to be repeated.
        rollover = ("key", "rollover", ZONE, "--role", "zsk")
        wait_until(lambda: daemon.cli(*rollover).ok, "the rollover is asked for", 30.0, every=1.0)
        wait_until(lambda: zsk_in_use(daemon) not in ("", old), "a successor is made", ROLL_S, every=1.0)
        wait_until(lambda: states(daemon)[old] == "hidden", "the old ZSK is withdrawn", ROLL_S, every=1.0)
        exported = peer_dir / "signed.zone"
        assert daemon.cli("zone", "export", ZONE, "-o", str(exported)).ok
        verdict = ldns_verify_zone(exported, ZONE)
        assert verdict.ok, verdict
        tested = daemon.cli("keystore", "test")
        assert tested.ok, tested
        daemon.stop()  # before the module's own servers


def start_daemon(servers: Servers, home: Path, tsig_key: TsigKey, module: Module) -> Dnssecd:
    file = home / "zone"
    file.write_text(ZONE_TEXT)
    algorithm = NAMES[13 if 13 in module.algorithms else 8]
    wish = {"algorithm": algorithm, "lifetime": "unlimited"}
    policy = {**FAST, "ksk": wish, "zsk": wish, "keystore": "hsm"}
    config = daemon_config(home, DaemonPorts.free(), tsig_key, {ZONE: file}, policy=policy)
    token: dict[str, object] = {
        "type": "pkcs11",
        "module": module.library,
        "token_label": module.label,
        "sessions": 3,
        "login": module.login,
    }
    if module.login == "pin":
        token["pin_file"] = module.pin_file
    config["keystore"] = {"hsm": token}
    daemon = servers.start(Dnssecd(home / "dnssecd", config, tsig_key))
    wait_until(lambda: zsk_in_use(daemon), "the zone is signed", 90.0, every=1.0)
    return daemon


def states(daemon: Dnssecd) -> dict[str, str]:
    """State of the DNSKEY of each ZSK, by tag."""
    keys = daemon.cli_json("key", "list", ZONE)["keys"]
    return {str(key["tag"]): key["dnskey"] for key in keys if key["role"] == "zsk"}


def zsk_in_use(daemon: Dnssecd) -> str:
    keys = daemon.cli_json("key", "list", ZONE)["keys"]
    return next((str(key["tag"]) for key in keys if key["role"] == "zsk" and key["goal"] == "present"), "")
