"""A zone moves from PowerDNS (gsqlite3, signing while it answers) to dnssecd; a validator sees it secure throughout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.migration_world import (
    CHILD,
    MigrationWorld,
    make_secondaries,
    start_migration_world,
    start_parent,
    zone_file,
)
from tests.peers.nameserver import PrimaryZone, ask
from tests.peers.pdns import Pdns
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class OldPowerDns(Pdns):
    """PowerDNS with one zone from a file, signed with the keys that the test makes by pdnsutil."""

    name = "old"
    settings = """primary=yes
version-string=anonymous
"""

    def make(self) -> None:
        """The database with the zone in it."""
        (zone,) = self.zones
        assert isinstance(zone, PrimaryZone)
        self.create_database()
        self.util("load-zone", zone.name, str(zone.file))
        self.util("set-kind", zone.name, "primary")
        self.util("import-tsig-key", zone.tsig.name, zone.tsig.algorithm, zone.tsig.secret)
        self.util("activate-tsig-key", zone.name, zone.tsig.name, "primary")


def start_world(
    servers: Servers, home: Path, key: TsigKey, kinds: Mapping[str, str], **policy: Any
) -> MigrationWorld:
    """PowerDNS signs with keys of `kinds` (name: words of add-zone-key); the parent has the DS of the first."""
    file = zone_file(home)
    parent = start_parent(servers, home, key)
    old = OldPowerDns(home / "old", [PrimaryZone(CHILD, file, key)])
    old.make()
    for words in kinds.values():
        old.util("add-zone-key", CHILD, *words.split(), "ecdsa256")
    old.util("set-nsec3", CHILD, "1 0 0 -")
    old.util("rectify-zone", CHILD)
    export(old, home, len(kinds))
    shown = (home / "show-zone").read_text()
    ds = next(
        line.split(" DS ")[1] for line in shown.splitlines() if line.startswith("DS = ") and " 13 2 " in line
    )
    servers.start(old)
    secondaries = make_secondaries(home, key, old.port)
    wait_until(lambda: rrsigs(old.port, CHILD, "SOA"), "PowerDNS signs the zone")
    return start_migration_world(
        servers, home, key, parent, old.port, secondaries, [ds.partition(" ;")[0]], **policy
    )


def export(old: OldPowerDns, home: Path, count: int) -> None:
    """What docs/migration.md says to do: the list of keys, and each private key."""
    (home / "show-zone").write_text(old.util("show-zone", CHILD))
    (home / "tsig-keys").write_text(old.util("list-tsig-keys"))
    (home / "exported").mkdir(exist_ok=True)
    for ident in range(1, count + 1):
        (home / "exported" / f"{ident}.private").write_text(old.util("export-zone-key", CHILD, str(ident)))


def rrsigs(port: int, name: str, rrtype: str) -> list[str]:
    """The RRSIGs over an RRset as a server gives them."""
    answer = ask(port, name, rrtype, dnssec=True)
    return (
        sorted(r.to_text() for rrset in answer.answer if rrset.rdtype == 46 for r in rrset) if answer else []
    )


def read_config(world: MigrationWorld) -> None:
    """A configuration is made of what pdnsutil prints, and accepted."""
    lists = [str(world.home / name) for name in ("show-zone", "tsig-keys")]
    made = str(world.home / "made.toml")
    report = world.daemon.cli_json("migrate", "config", "--from", "powerdns", *lists, "-o", made)
    assert (report["ok"], report["zones"], report["tsig"], report["errors"]) == (True, 1, 1, [])
    database, other = world.home / "old" / "pdns.sqlite3", world.home / "read.toml"
    beside = sorted(path.name for path in database.parent.iterdir())
    report = world.daemon.cli_json("migrate", "config", "--from", "powerdns", str(database), "-o", str(other))
    assert (report["ok"], report["zones"], report["tsig"], report["errors"]) == (True, 1, 1, [])
    assert sorted(path.name for path in database.parent.iterdir()) == beside
    first, second = (path.read_text().splitlines() for path in (Path(made), other))
    assert [line for line in first if "#" not in line] == [line for line in second if "#" not in line]


def move(world: MigrationWorld) -> dict[str, Any]:
    """Import, rehearse, take over; return the report of the rehearsal."""
    daemon, home = world.daemon, world.home
    words = ("--from", "powerdns", str(home / "show-zone"), "--keys", str(home / "exported"))
    imported = daemon.cli("key", "import", CHILD, *words)
    assert imported.ok, imported
    report: dict[str, Any] = daemon.cli_json("migrate", "check", CHILD, "--against", "old")
    assert report["ok"], report
    assert report["kept"] > 10, "signatures that are good stay"
    assert daemon.serial(CHILD) is None
    adopted = daemon.cli_json("migrate", "adopt", CHILD, "--against", "old")
    assert adopted["published"]
    assert adopted["serial"]["ours"] > adopted["serial"]["served"]
    world.switch()
    return report


def test_a_zone_moves_from_powerdns(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """One CSK, as PowerDNS makes it unless told otherwise."""
    policy = {
        "dnskey_ttl": "2s",
        "zsk": None,
        "csk": {"algorithm": "ecdsap256sha256", "lifetime": "unlimited"},
    }
    world = start_world(servers, peer_dir, tsig_key, {"csk": "ksk active published"}, **policy)
    read_config(world)
    witness = world.witness()
    report = move(world)
    assert (report["differences"], report["held"]) == ([], [])
    (key,) = world.key_list()
    assert (key["role"], key["goal"]) == ("csk", "present")
    witness.stop()


@pytest.mark.soak
def test_a_zone_moves_in_the_middle_of_a_zsk_rollover(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Of three ZSKs one signs; whether the published one comes or goes PowerDNS does not know, so it goes."""
    kinds = {
        "ksk": "ksk active published",
        "old": "zsk inactive published",
        "zsk": "zsk active published",
        "none": "zsk inactive unpublished",
    }
    zsk = {"algorithm": "ecdsap256sha256", "lifetime": "90d"}
    world = start_world(servers, peer_dir, tsig_key, kinds, dnskey_ttl="2s", zsk=zsk)
    witness = world.witness()
    report = move(world)
    assert report["differences"] == []
    goals = {(key["role"], key["goal"]) for key in world.key_list()}
    assert goals == {("ksk", "present"), ("zsk", "present"), ("zsk", "absent")}
    world.wait(lambda: len(world.present()) == 2, "the third key is gone")
    world.wait_settled()
    witness.stop()
