"""A zone moves from OpenDNSSEC to dnssecd, its keys stay in the token; a validator sees it secure throughout.

All of it is real: ods-enforcerd makes the keys in SoftHSM and rolls both over, ods-signerd signs, ods-enforcer lists;
Knot serves what was signed.  Needs root and the packages opendnssec-enforcer-sqlite3 and opendnssec-signer, which
are of no use to other tests: `apt install` them before `make soak`, else this test is skipped and says so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.hsm.daemon import pkcs11_keystore, wait_for_signer
from tests.integration.hsm.softhsm import PIN, SoftHsm
from tests.integration.migration_world import (
    CHILD,
    MigrationWorld,
    make_secondaries,
    start_migration_world,
    start_parent,
    zone_file,
)
from tests.peers.knotd import Knotd
from tests.peers.nameserver import PrimaryZone
from tests.peers.opendnssec import OpenDnssec, policy
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr

SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("ods-enforcerd", path=SYSTEM_PATH) is None or os.geteuid() != 0,
        reason="needs root, and apt install opendnssec-enforcer-sqlite3 opendnssec-signer",
    ),
]

ZONE = CHILD.rstrip(".")
KEY = {"algorithm": "rsasha256", "lifetime": "1y"}


class OldServer(Knotd):
    """Serves the file that OpenDNSSEC writes."""

    name = "old"


@pytest.fixture
def hsm(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm = SoftHsm(peer_dir / "hsm")
    hsm.make_token("ods")
    return hsm


def roll_over(ods: OpenDnssec) -> None:
    """Both keys are in use; then both get a successor, and OpenDNSSEC waits for the DS."""
    ods.see_ds(ZONE)
    ods.wait_key(ZONE, "ZSK", "active")
    ods.cli("key", "rollover", "-z", ZONE)
    ods.wait_key(ZONE, "KSK", "ready")
    ods.wait_key(ZONE, "ZSK", "ready")


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey, hsm: SoftHsm) -> MigrationWorld:
    file = zone_file(peer_dir)
    parent = start_parent(servers, peer_dir, tsig_key)
    ods = OpenDnssec(
        peer_dir / "ods", hsm.module, "ods", PIN, policy("house", "ksk 8 2048, zsk 8 2048", "PT6S", "PT2S")
    )
    servers.start(ods)
    ods.cli("policy", "import")
    signed = ods.add_zone(ZONE, "house", file)
    ds = wait_until(lambda: old_ds(ods), "OpenDNSSEC has made the KSK")
    roll_over(ods)
    wait_until(
        lambda: signed.exists() and signed.read_text().count("DNSKEY\t25") == 4, "all keys are published"
    )
    records = [line for line in signed.read_text().splitlines() if "\tDNSKEY\t" in line]
    (peer_dir / "keys").write_text(ods.key_list() + "\n".join(records) + "\n")
    ods.cli("zonelist", "export")
    ods.stop()
    old = OldServer(peer_dir / "old", [])
    secondaries = make_secondaries(peer_dir, tsig_key, old.port)
    old.zones = [
        PrimaryZone(CHILD, signed, tsig_key, notify=[second.port for second in secondaries.values()])
    ]
    servers.start(old)
    return start_migration_world(
        servers, peer_dir, tsig_key, parent, old.port, secondaries, [ds],
        pkcs11_keystore(hsm, "ods"), ksk=KEY, zsk=KEY, dnskey_ttl="6s",
    )  # fmt: skip


def old_ds(ods: OpenDnssec) -> str:
    """The DS of the first KSK."""
    lines = ods.cli("key", "export", "-z", ZONE, "-d").splitlines()
    return next((line.split("DS")[1].strip() for line in lines if "\tDS\t" in line), "")


def rrsigs(world: MigrationWorld, port: int) -> list[str]:
    """All RRSIGs of the zone as a server transfers it."""
    return sorted(line for line in axfr(port, CHILD, world.key, world.home) if " IN RRSIG " in line)


def dnskey_rrsigs(lines: list[str]) -> list[str]:
    return [line for line in lines if " RRSIG DNSKEY " in line]


def test_a_zone_moves_in_the_middle_of_a_rollover_of_both_keys(world: MigrationWorld, hsm: SoftHsm) -> None:
    daemon = world.daemon
    made = str(world.home / "made.toml")
    read = daemon.cli_json("migrate", "config", "--from", "opendnssec", str(world.home / "ods"), "-o", made)
    assert (read["ok"], read["zones"], read["errors"]) == (True, 1, [])
    assert f'"{PIN}"' not in Path(made).read_text()
    witness = world.witness()
    wait_for_signer(daemon)
    imported = daemon.cli_json("key", "import", CHILD, "--from", "opendnssec", str(world.home / "keys"))
    assert len(imported["keys"]) == 4
    assert daemon.cli("key", "import", CHILD, "--from", "opendnssec", str(world.home / "keys")).ok, "again"
    report = daemon.cli_json("migrate", "check", CHILD, "--against", "old")
    assert (report["ok"], report["differences"]) == (True, [])
    # The new ZSK's DNSKEY has been there for long enough: it signs the data, a small zone's all at once.
    assert report["kept"] == 1, "the DNSKEY RRset's"
    adopted = daemon.cli_json("migrate", "adopt", CHILD, "--against", "old")
    assert adopted["published"]
    assert dnskey_rrsigs(rrsigs(world, daemon.port)) == dnskey_rrsigs(rrsigs(world, world.old)) != []
    world.switch()
    goals = {(key["role"], key["goal"]): key["tag"] for key in world.key_list()}
    assert goals.keys() == {("ksk", "absent"), ("ksk", "present"), ("zsk", "absent"), ("zsk", "present")}
    new = {tag for (_, goal), tag in goals.items() if goal == "present"}

    def followed() -> bool:
        asked = world.asked_of_parent()
        if asked is not None and asked != world.ds():
            world.set_ds(asked)
        return {key["tag"] for key in world.present()} == new

    world.wait(followed, "the old keys are gone", 120)
    world.wait_settled(120)
    witness.stop()
