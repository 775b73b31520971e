"""A smart card by OpenSC, with keys made outside: an OpenPGP card in the virtual reader of vsmartcard-vpcd.

The card has two keys that can sign, each behind a PIN of its own, so each is a token with one key.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.hsm.modules import LIBRARIES, need, run, started
from tests.integration.hsm.test_modules import FAST, ROLL_S, ZONE, ZONE_TEXT
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, free_port, wait_until
from tests.peers.tools import ldns_verify_zone
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(600)]

OPENSC = LIBRARIES / "opensc-pkcs11.so"
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
CARD_PACKAGE = "jcecard==0.1.0"
ADMIN_PIN, USER_PIN = "12345678", "123456"
#: Key store → (the label of its token, CKA_ID of its key).
TOKENS = {"signature": ("OpenPGP card (User PIN (sig))", "01"), "login": ("OpenPGP card (User PIN)", "03")}
RSA = {"algorithm": "rsasha256", "lifetime": "unlimited"}
#: The card makes a signature in up to a second.
SLOW = {**FAST, "signature_validity": "90s", "signature_refresh": "60s"}


@pytest.fixture
def card(peer_dir: Path) -> Iterator[None]:
    """A card with two keys in the machine's only PC/SC daemon, as only root can have it."""
    need("pcscd", "openpgp-tool", OPENSC, DRIVER)
    if os.geteuid() != 0:
        pytest.skip("the PC/SC daemon has one socket for the machine: only root can start it")
    if (
        Path("/run/pcscd/pcscd.comm").exists()
        and subprocess.run(["pgrep", "-x", "pcscd"], check=False).returncode == 0
    ):
        pytest.skip("pcscd runs already: this machine's readers are left alone")
    port = free_port()
    readers, storage, venv = peer_dir / "readers", peer_dir / "card", peer_dir / "venv"
    readers.mkdir()
    storage.mkdir()
    reader = (
        f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:{port:#x}\nLIBPATH {DRIVER}\nCHANNELID {port:#x}\n'
    )
    (readers / "vpcd").write_text(reader)
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    run(sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", CARD_PACKAGE)
    script = Path(__file__).with_name("virtual_card.py")
    with started("pcscd", "-f", "-c", readers), started(venv / "bin" / "python", script, str(port), storage):
        wait_until(has_card, "the card is in the reader", 90.0, every=0.5)
        for slot in ("1", "3"):
            run("openpgp-tool", "--verify", "CHV3", "--pin", ADMIN_PIN, "--gen-key", slot, "-t", "rsa2048")
        yield


def has_card() -> bool:
    done = subprocess.run(["openpgp-tool", "-C"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def test_a_zsk_is_rolled_over_from_one_key_of_a_card_to_the_other(
    card: None, servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    (peer_dir / "zone").write_text(ZONE_TEXT)
    pin_file = peer_dir / "pin"
    pin_file.write_text(USER_PIN + "\n")
    pin_file.chmod(0o600)
    policy = {**SLOW, "keys": "given", "ksk": RSA, "zsk": {**RSA, "keystore": "login"}}
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, {ZONE: peer_dir / "zone"}, policy=policy)
    for name, (label, _) in TOKENS.items():
        config["keystore"][name] = {
            "type": "pkcs11", "module": OPENSC, "token_label": label, "pin_file": pin_file,
            "sessions": 1, "call_deadline": "20s", "quirks": ["makes-no-keys"],
        }  # fmt: skip
    daemon = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    assert daemon.cli("key", "generate", ZONE, "--role", "ksk").ok
    wait_until(lambda: bind(daemon, "login"), "the key of the card is bound", 120.0, every=1.0)
    assert daemon.cli("zone", "reload", ZONE).ok
    wait_until(
        lambda: stores_in_use(daemon) == {"login"}, "the zone is signed with the card", 120.0, every=1.0
    )
    daemon.config["policy"]["default"]["zsk"] = {**RSA, "keystore": "signature"}
    daemon.write_config()
    wait_until(lambda: bind(daemon, "signature"), "the other key of the card is bound", 120.0, every=1.0)
    assert daemon.cli("config", "reload").ok
    wait_until(lambda: stores_in_use(daemon) == {"signature"}, "the other key signs alone", ROLL_S, every=1.0)
    exported = peer_dir / "signed.zone"
    assert daemon.cli("zone", "export", ZONE, "-o", str(exported)).ok
    verdict = ldns_verify_zone(exported, ZONE)
    assert verdict.ok, verdict
    tested = daemon.cli("keystore", "test", "signature", "--algorithm", "rsasha256")
    assert tested.ok, tested
    daemon.stop()  # before the reader


def bind(daemon: Dnssecd, store: str) -> bool:
    key = ("--role", "zsk", "--algorithm", "8", "--keystore", store, "--cka-id", TOKENS[store][1])
    return daemon.cli("key", "import", ZONE, *key).ok


def stores_in_use(daemon: Dnssecd) -> set[str]:
    """Key stores of the ZSKs that are not hidden from validators."""
    keys = daemon.cli_json("key", "list", ZONE)["keys"]
    return {key["keystore"] for key in keys if key["role"] == "zsk" and key["dnskey"] != "hidden"}
