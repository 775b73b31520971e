"""`dnssecd key …` and `dnssecd keystore …` as an operator types them, against the real daemon and SoftHSM."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hsm.daemon import pkcs11_keystore, wait_for_signer
from tests.integration.hsm.softhsm import PIN, SoftHsm
from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TEXT = """$TTL 300
@ IN SOA ns1 host 1 3600 600 86400 300
@ IN NS ns1
ns1 IN A 192.0.2.1
"""
HARD, SOFT, LATER = "hard.example.", "soft.example.", "later.example."


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("dns")
    return hsm


@pytest.fixture
def daemon(servers: Servers, peer_dir: Path, tsig_key: TsigKey, hsm: SoftHsm) -> Dnssecd:
    """Zones with keys in a token and in files; LATER waits for a parent that does not answer."""
    file = peer_dir / "zone"
    file.write_text(TEXT)
    zones = dict.fromkeys((HARD, SOFT, LATER), file)
    config = daemon_config(peer_dir, DaemonPorts.free(), tsig_key, zones)
    config["keystore"]["hsm"] = pkcs11_keystore(hsm, "dns")
    config["policy"]["hsm"] = {"keystore": "hsm"}
    config["zone"][HARD]["policy"] = "hsm"
    config["zone"][LATER]["parent"] = {"servers": ["127.0.0.1:1"]}
    made = servers.start(Dnssecd(peer_dir / "dnssecd", config, tsig_key))
    for zone in (HARD, SOFT):
        made.wait_serial_other_than(zone, None)
    return made


def passphrase(home: Path) -> str:
    path = home / "passphrase"
    path.touch(mode=0o600)
    path.write_text("correct horse battery\n")
    return str(path)


def bind_pair(home: Path, zone: str, *options: str) -> Path:
    """The base name of a pair of key files that BIND's dnssec-keygen made."""
    done = subprocess.run(
        ["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *options, zone],
        cwd=home,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return home / done.stdout.strip()


def stored(daemon: Dnssecd, zone: str) -> dict[int, dict[str, Any]]:
    return {key["tag"]: key for key in daemon.cli_json("key", "list", zone, "--stored")["keys"]}


def test_keys_of_both_stores_are_listed_tested_and_audited(daemon: Dnssecd, hsm: SoftHsm) -> None:
    in_use = {(key["zone"], key["role"], key["tag"]) for key in daemon.cli_json("key", "list")["keys"]}
    held = daemon.cli_json("key", "list", "--stored")["keys"]
    assert in_use == {(key["zones"][0], key["role"], key["tag"]) for key in held}
    assert {key["keystore"] for key in held if key["zones"] == [HARD]} == {"hsm"}
    assert {key["id"] for key in held if key["keystore"] == "hsm"} == {
        key["id"] for key in hsm.inspect("dns")
    }

    shown = daemon.cli("keystore", "test")
    assert shown.ok
    assert "all of 2 keys there" in " ".join(shown.out.split())
    assert daemon.cli("keystore", "test", "nope").status == 1
    assert daemon.cli("keystore", "test", "--algorithm", "rsasha1").status == 2
    measured = daemon.cli_json("keystore", "bench", "--seconds", "0.1")
    lines = [(line["keystore"], line["sessions"], line["batch"]) for line in measured["lines"]]
    assert ("hsm", 1, 64) in lines
    assert {batch for store, _, batch in lines if store == "local"} == {1, 8, 64, 256}
    assert all(line["per_second"] > 10 for line in measured["lines"])
    assert all(one["names_in_an_hour"] > 1000 for one in measured["sustains"])
    assert (
        "time for a million names" in daemon.cli("keystore", "bench", "hsm", "--seconds", "0.1").out.lower()
    )
    assert len(hsm.inspect("dns")) == 2, "throw-away keys are gone"

    (store,) = [one for one in daemon.cli_json("keystore", "list")["stores"] if one["name"] == "hsm"]
    assert (store["tokens"][0]["state"], store["keys"]) == ("ok", 2)
    assert "2 open" in daemon.cli("keystore", "list").out

    audit = daemon.cli_json("key", "audit")
    assert audit["ok"]
    assert {"generated", "proved", "used", "tested", "measured"} <= {one["event"] for one in audit["entries"]}
    log = daemon.directory.parent / "state" / "signer" / "audit.log"
    log.write_text(log.read_text().replace('"ksk"', '"zsk"', 1))
    broken = daemon.cli("key", "audit")
    assert broken.status == 1
    assert "THE CHAIN IS BROKEN" in broken.out
    assert PIN not in daemon.log_text()


def test_keys_are_made_before_the_first_publication_and_are_those_used(daemon: Dnssecd) -> None:
    made = daemon.cli_json("key", "generate", LATER)["keys"]
    assert {key["role"] for key in made} == {"ksk", "zsk"}
    again = daemon.cli_json("key", "generate", LATER)["keys"]
    assert {key["id"] for key in again} == {key["id"] for key in made}, "asking twice is asking once"
    assert daemon.cli("zone", "reload", LATER, "--first-publication").ok
    assert {key["tag"] for key in daemon.cli_json("key", "list", LATER)["keys"]} == {
        key["tag"] for key in made
    }
    refused = daemon.cli("key", "generate", LATER)
    assert refused.status == 1
    assert "already has its keys" in refused.err
    extra = daemon.cli_json("key", "generate", LATER, "--role", "zsk", "--algorithm", "ed25519")
    assert "not used: the policy requires" in extra["message"]
    history = daemon.cli_json("zone", "history", LATER)["entries"]
    assert any(entry["what"] == "key generated" for entry in history)


def test_keys_of_bind_are_imported_and_published(daemon: Dnssecd, peer_dir: Path) -> None:
    ksk, zsk = bind_pair(peer_dir, LATER, "-f", "KSK"), bind_pair(peer_dir, LATER)
    for pair in (Path(f"{ksk}.private"), Path(f"{zsk}.key")):
        result = daemon.cli("key", "import", LATER, str(pair))
        assert result.ok, result
    assert daemon.cli("key", "import", LATER, str(zsk)).status == 1, "it is there already"
    assert daemon.cli("key", "import", SOFT, f"{zsk}.key").status == 1, "it is another zone's"
    assert daemon.cli("key", "import", LATER).status == 2
    assert {key["role"] for key in stored(daemon, LATER).values()} == {"ksk", "zsk"}
    assert daemon.cli("zone", "reload", LATER, "--first-publication").ok
    served = {
        line.split(" DNSKEY ", 1)[1].replace(" ", "")
        for line in daemon.zone_content(LATER)
        if " IN DNSKEY " in line
    }
    wanted = {
        Path(f"{pair}.key").read_text().strip().splitlines()[-1].split(" DNSKEY ", 1)[1].replace(" ", "")
        for pair in (ksk, zsk)
    }
    assert served == wanted


def test_a_pem_key_needs_its_role(daemon: Dnssecd, peer_dir: Path) -> None:
    pem = peer_dir / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pem],
        check=True,
        capture_output=True,
        timeout=30,
    )
    unclear = daemon.cli("key", "import", SOFT, str(pem))
    assert (unclear.status, "--role" in unclear.err) == (2, True)
    assert daemon.cli("key", "import", SOFT, str(pem), "--role", "zsk", "--algorithm", "ed25519").status == 1
    refused = daemon.cli("key", "import", HARD, str(pem), "--role", "zsk")
    assert (refused.status, "takes no private keys" in refused.err) == (1, True)
    assert daemon.cli("key", "import", SOFT, str(pem), "--role", "zsk").ok


def test_a_key_in_the_token_is_adopted(daemon: Dnssecd, hsm: SoftHsm) -> None:
    daemon.stop()
    hsm.inspect("dns", "make", "beef", "old key")
    daemon.start()
    wait_for_signer(daemon)
    assert daemon.cli("key", "import", HARD, "--role", "zsk", "--cka-id", "0000").status == 1
    result = daemon.cli("key", "import", HARD, "--role", "zsk", "--cka-id", "beef")
    assert result.ok, result
    assert len(stored(daemon, HARD)) == 3
    assert wait_until(lambda: daemon.cli("keystore", "test", "hsm").ok, "the token is well")


def test_backup_and_restore(daemon: Dnssecd, peer_dir: Path) -> None:
    """The directory of the keys is lost; from the backup they come back as they were, and continue signing."""
    before = stored(daemon, SOFT)
    target = peer_dir / "backup"
    written = daemon.cli_json("key", "backup", "-o", str(target), "--passphrase-file", passphrase(peer_dir))
    files = [Path(key["file"]) for key in written["keys"] if key["file"]]
    assert len(files) == 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    (reason,) = {key["reason"] for key in written["keys"] if not key["file"]}
    assert "never leave their tokens" in reason
    in_token = next(iter(stored(daemon, HARD)))
    refused = daemon.cli("key", "export", HARD, str(in_token), "-o", str(peer_dir / "out"))
    assert (refused.status, "never leave their tokens" in refused.err) == (1, True), refused
    assert daemon.cli("key", "backup", "-o", str(peer_dir), SOFT).status in (1, 2), (
        "no passphrase, no back-up"
    )

    daemon.stop()
    (peer_dir / "keys").rename(peer_dir / "lost")
    (peer_dir / "state" / "signer" / "known-keys" / "local" / "keys.log").unlink()
    daemon.start()
    wait_for_signer(daemon)
    wrong = peer_dir / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("incorrect horse\n")
    refused = daemon.cli("key", "import", SOFT, str(files[0]), "--passphrase-file", str(wrong))
    assert refused.status == 1, refused
    for path in files:
        result = daemon.cli("key", "import", SOFT, str(path), "--passphrase-file", passphrase(peer_dir))
        assert result.ok, result
    after = stored(daemon, SOFT)
    assert {tag: key["id"] for tag, key in after.items()} == {tag: key["id"] for tag, key in before.items()}
    serial = daemon.serial(SOFT)
    (peer_dir / "zone").write_text(TEXT + "more IN A 192.0.2.3\n")
    daemon.wait_serial_other_than(SOFT, serial)
