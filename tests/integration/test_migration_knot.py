"""A zone moves from Knot DNS to dnssecd, by what keymgr lists; a validator sees it secure throughout.

All servers and keymgr are the real ones.  The roll-over is one that Knot was in the middle of: the keys' timers are set
by keymgr to what they are then, since Knot's own waits take too long for a test.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.integration.migration_world import (
    CHILD,
    MigrationWorld,
    make_secondaries,
    run,
    start_migration_world,
    start_parent,
    zone_file,
)
from tests.peers.knotd import Knotd
from tests.peers.nameserver import PrimaryZone, Zone, ask
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DAY = 86_400
ZSK = {"algorithm": "ecdsap256sha256", "lifetime": "90d"}


class OldKnot(Knotd):
    """Knot as it signs a zone with the keys it is given; NSEC3 as RFC 9276 has it."""

    name = "old"

    def configuration(self) -> str:
        policy = """policy:
  - id: house
    manual: on
    dnskey-ttl: 4
    nsec3: on
    nsec3-iterations: 0
    nsec3-salt-length: 0
"""
        return super().configuration().replace("zone:\n  - domain", policy + "zone:\n  - domain")

    def _zone(self, number: int, zone: Zone) -> tuple[str, str, str]:
        remote, acl, body = super()._zone(number, zone)
        return remote, acl, body + "    dnssec-signing: on\n    dnssec-policy: house\n"

    def keymgr(self, *words: str) -> str:
        self.config_path.write_text(self.configuration())
        return run(self.directory, "keymgr", "-c", str(self.config_path), CHILD, *words)

    def generate(self, kind: str, **ago: int | None) -> str:
        """Make a key whose steps were taken so many seconds ago (None: never); return its id."""
        now = int(time.time())
        times = [f"{name}={0 if past is None else now - past}" for name, past in ago.items()]
        return self.keymgr("generate", "algorithm=13", kind, *times).split()[-1]


def start_world(
    servers: Servers, home: Path, key: TsigKey, keys: dict[str, dict[str, int | None]]
) -> MigrationWorld:
    """Knot signs with `keys`; the parent has a DS of the KSK that is active."""
    file = zone_file(home)
    parent = start_parent(servers, home, key)
    old = OldKnot(home / "old", [])
    secondaries = make_secondaries(home, key, old.port)
    old.zones = [PrimaryZone(CHILD, file, key, notify=[second.port for second in secondaries.values()])]
    made = {name: old.generate(f"{name[:3]}=yes", **ago) for name, ago in keys.items()}
    ds = [line.split(" DS ")[1] for line in old.keymgr("ds", made["ksk"]).splitlines() if " 2 " in line[-80:]]
    servers.start(old)
    wait_until(lambda: rrsigs(old.port, CHILD, "SOA"), "Knot has signed the zone")
    (home / "keys.json").write_text(old.keymgr("list", "-j"))
    return start_migration_world(servers, home, key, parent, old.port, secondaries, ds[:1], zsk=ZSK)


def rrsigs(port: int, name: str, rrtype: str) -> list[str]:
    """The RRSIGs over an RRset as a server gives them."""
    answer = ask(port, name, rrtype, dnssec=True)
    return (
        sorted(r.to_text() for rrset in answer.answer if rrset.rdtype == 46 for r in rrset) if answer else []
    )


def move(world: MigrationWorld) -> dict[str, object]:
    """Import, rehearse, take over; return the report of the rehearsal."""
    daemon, home = world.daemon, world.home
    imported = daemon.cli(
        "key",
        "import",
        CHILD,
        "--from",
        "knot",
        str(home / "keys.json"),
        "--keys",
        str(home / "old" / "keys" / "keys"),
    )
    assert imported.ok, imported
    report = daemon.cli_json("migrate", "check", CHILD, "--against", "old")
    assert report["ok"], report
    assert daemon.serial(CHILD) is None
    adopted = daemon.cli_json("migrate", "adopt", CHILD, "--against", "old")
    assert adopted["published"]
    assert adopted["serial"]["ours"] > adopted["serial"]["served"]
    assert rrsigs(daemon.port, f"www.{CHILD}", "A") == rrsigs(world.old, f"www.{CHILD}", "A")
    world.switch()
    found: dict[str, object] = report
    return found


IN_USE: dict[str, int | None] = {"created": 30 * DAY, "publish": 30 * DAY, "active": 29 * DAY}


def test_a_zone_moves_from_knot(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    keys = {"ksk": {**IN_USE, "ready": 29 * DAY}, "zsk": IN_USE}
    world = start_world(servers, peer_dir, tsig_key, keys)
    witness = world.witness()
    report = move(world)
    assert (report["differences"], report["held"]) == ([], [])
    found = {key["role"]: key for key in world.key_list()}
    assert {key["goal"] for key in found.values()} == {"present"}
    assert found["ksk"]["dnskey"] == found["zsk"]["dnskey"] == "omnipresent"
    witness.stop()


@pytest.mark.soak
def test_a_zone_moves_in_the_middle_of_two_rollovers(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    """Knot was waiting for the new KSK's DS, and for the old ZSK's signatures to be forgotten; dnssecd continues."""
    keys: dict[str, dict[str, int | None]] = {
        "ksk": {**IN_USE, "ready": 29 * DAY},
        "ksk-new": {"created": 7200, "publish": 7200, "ready": 3600, "active": None},
        "zsk-old": {**IN_USE, "retire": 60},
        "zsk": {"created": 7200, "publish": 7200, "active": 60},
    }
    world = start_world(servers, peer_dir, tsig_key, keys)
    witness = world.witness()
    listed = {key["id"]: key for key in json.loads((peer_dir / "keys.json").read_text())}
    new = {key["tag"] for key in listed.values() if key["publish"] > time.time() - DAY}
    assert len(listed) == 4
    assert len(new) == 2
    report = move(world)
    assert report["differences"] == []

    def followed() -> bool:
        asked = world.asked_of_parent()
        if asked is not None and asked != world.ds():
            world.set_ds(asked)
        return {key["tag"] for key in world.present()} == new

    world.wait(followed, "the old keys are gone")
    world.wait_settled()
    witness.stop()
