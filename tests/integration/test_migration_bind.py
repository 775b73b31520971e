"""A zone moves from BIND (dnssec-policy, inline signing) to dnssecd; a validator sees it secure throughout."""

from __future__ import annotations

import json
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
from tests.peers.named import Named
from tests.peers.nameserver import PrimaryZone, Zone, ask
from tests.peers.process import Servers, wait_until
from tests.peers.tools import dig, nsupdate
from tests.peers.tsig import TsigKey
from tests.peers.zones import axfr

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ALGORITHM = "ECDSAP256SHA256"


class OldSigner(Named):
    """BIND as it signs a zone whose file it is given; NSEC3 as RFC 9276 has it."""

    name = "old"

    def configuration(self) -> str:
        policy = """dnssec-policy "house" {
    keys { ksk lifetime unlimited algorithm ecdsap256sha256; zsk lifetime 90d algorithm ecdsap256sha256; };
    dnskey-ttl 4; max-zone-ttl 1h; parent-ds-ttl 8; zone-propagation-delay 1; publish-safety 1; retire-safety 1;
    nsec3param iterations 0 optout no salt-length 0;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        text = super()._zone(zone)
        return text.replace(
            "ixfr-from-differences yes;",
            f'inline-signing yes; dnssec-policy "house"; key-directory "{self.directory}";',
        )


def make_keys(home: Path) -> list[str]:
    """BIND's keys, in use for thirty days, as it would have them; the base names of their files."""
    home.mkdir(exist_ok=True)
    bases = []
    ago = "now-30d"
    for options, records in (
        (("-f", "KSK"), ("-k", "OMNIPRESENT", ago, "-r", "OMNIPRESENT", ago, "-d", "OMNIPRESENT", ago)),
        ((), ("-k", "OMNIPRESENT", ago, "-z", "OMNIPRESENT", ago)),
    ):
        base = run(
            home, "dnssec-keygen", "-q", "-a", ALGORITHM, "-L", "4", "-P", ago, "-A", ago, *options, CHILD
        )
        run(home, "dnssec-settime", "-s", "-g", "OMNIPRESENT", *records, base)
        bases.append(base)
    return bases


def bind_world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> MigrationWorld:
    """The zone on BIND, which has signed it for thirty days, and dnssecd without its keys."""
    file = zone_file(peer_dir)
    bases = make_keys(peer_dir / "old")
    parent = start_parent(servers, peer_dir, tsig_key)
    old = OldSigner(peer_dir / "old", [])
    secondaries = make_secondaries(peer_dir, tsig_key, old.port)
    notified = [second.port for second in secondaries.values()]
    old.zones = [PrimaryZone(CHILD, file, tsig_key, notify=notified)]
    servers.start(old)
    wait_until(lambda: rrsigs(old.port, CHILD, "SOA"), "BIND has signed the zone")
    ds = run(peer_dir / "old", "dnssec-dsfromkey", "-2", bases[0]).split(" DS ")[1]
    return start_migration_world(
        servers, peer_dir, tsig_key, parent, old.port, secondaries, [ds], zsk=ZSK_POLICY
    )


@pytest.fixture
def world(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> MigrationWorld:
    return bind_world(servers, peer_dir, tsig_key)


#: DNSKEY, RRSIGs of the zone's data, RRSIG of the DNSKEY RRset (RFC 7583): what BIND's key files say of each role.
STATES = {"ksk": ["omnipresent", None, "omnipresent"], "zsk": ["omnipresent", "omnipresent", None]}

ZSK_POLICY = {"algorithm": "ecdsap256sha256", "lifetime": "90d"}


class DynamicSigner(Named):
    """BIND with a dynamic zone, one key and NSEC, in the states that named itself came to."""

    name = "old"

    def configuration(self) -> str:
        policy = """dnssec-policy "one" {
    keys { csk lifetime unlimited algorithm ed25519; };
    dnskey-ttl 4; max-zone-ttl 1h; parent-ds-ttl 8; zone-propagation-delay 1; publish-safety 1; retire-safety 1;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        text = super()._zone(zone)
        return text.replace(
            "notify-delay 0;", f'notify-delay 0; dnssec-policy "one"; key-directory "{self.directory}";'
        )


def rrsigs(port: int, name: str, rrtype: str) -> list[str]:
    """The RRSIGs over an RRset as a server gives them."""
    answer = ask(port, name, rrtype, dnssec=True)
    return (
        sorted(r.to_text() for rrset in answer.answer if rrset.rdtype == 46 for r in rrset) if answer else []
    )


def move(world: MigrationWorld) -> set[int]:
    """Import, check, adopt, switch, as docs/migration.md has it; returns the tags of the keys that came over."""
    daemon, home = world.daemon, world.home / "old"
    if "file" in daemon.config["zone"][CHILD]:
        wait_until(lambda: daemon.zone_status(CHILD)["blockers"], "dnssecd publishes no second truth")
    files = sorted(str(path) for path in home.glob("K*.key"))
    imported = daemon.cli_json("key", "import", CHILD, *files)
    again = daemon.cli_json("key", "import", CHILD, *files)
    assert again["keys"] == imported["keys"], "asking twice is asking once"
    assert daemon.cli("zone", "reload", CHILD).status == 1, "no first version by another road"

    report = daemon.cli_json("migrate", "check", CHILD, "--against", "old")
    assert (report["ok"], report["differences"], report["held"]) == (True, [], [])
    assert report["kept"] > 10
    assert daemon.serial(CHILD) is None

    adopted = daemon.cli_json("migrate", "adopt", CHILD, "--against", "old")
    assert adopted["published"]
    assert adopted["serial"]["ours"] > adopted["serial"]["served"]
    assert rrsigs(daemon.port, f"www.{CHILD}", "A") == rrsigs(world.old, f"www.{CHILD}", "A")
    assert daemon.cli(
        "migrate", "check", CHILD, "--against", world.old_address(), "--tsig", world.key.name
    ).ok
    world.switch()
    return {key["tag"] for key in imported["keys"]}


def test_a_zone_moves_from_bind(world: MigrationWorld) -> None:
    witness = world.witness()
    tags = move(world)
    keys = {key["tag"]: key for key in world.key_list()}
    assert keys.keys() == tags, "no key is new, none is gone"
    assert {key["goal"] for key in keys.values()} == {"present"}
    records = ("dnskey", "zrrsig", "krrsig")
    states = {key["role"]: [key[record] for record in records] for key in keys.values()}
    assert states == STATES, "as BIND had them"
    witness.stop()


def test_a_difference_is_reported(world: MigrationWorld) -> None:
    """Against a file as well; and a policy that wants what the zone has not is a plan, not a deed."""
    daemon = world.daemon
    files = [str(path) for path in (world.home / "old").glob("K*.private")]
    world.configure(denial="nsec", csk={"algorithm": "ed25519"}, ksk=None, zsk=None, dnskey_ttl="5s")
    world.reload()
    daemon.cli_json("key", "import", CHILD, *files)
    signed = world.home / "signed.zone"
    signed.write_text("\n".join(sorted(axfr(world.old, CHILD, world.key, world.home))) + "\n")
    (world.home / "input.zone").write_text((world.home / "input.zone").read_text() + "more A 192.0.2.9\n")

    told = daemon.cli("migrate", "check", CHILD, "--against", str(signed), "--json")
    assert told.status == 1, told
    report = json.loads(told.out)
    differing = {(row["owner"], row["type"], row["kind"]) for row in report["differences"]}
    assert {(f"more.{CHILD}", "A", "content"), (CHILD, "DNSKEY", "ttl")} <= differing
    held = " ".join(report["held"])
    assert "denial:nsec3 to nsec" in held
    assert "algorithm:" in held
    text = daemon.cli("migrate", "check", CHILD, "--against", str(signed)).out
    assert f"+ more.{CHILD} 2 IN A 192.0.2.9" in text
    refused = daemon.cli("migrate", "adopt", CHILD, "--against", str(signed))
    assert refused.status == 1
    assert "--accept-change" in refused.err
    assert daemon.serial(CHILD) is None
    assert daemon.cli("migrate", "forget", CHILD).ok


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_dynamic_zone_with_one_key_moves(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Its first keys are hardly published; nobody has told named of the DS; content is what named serves."""
    file = zone_file(peer_dir)
    parent = start_parent(servers, peer_dir, tsig_key)
    old = DynamicSigner(peer_dir / "old", [])
    secondaries = make_secondaries(peer_dir, tsig_key, old.port)
    old.zones = [PrimaryZone(CHILD, file, tsig_key, [s.port for s in secondaries.values()], updates=True)]
    servers.start(old)
    wait_until(lambda: rrsigs(old.port, CHILD, "SOA"), "BIND has signed the zone")
    (key_file,) = (peer_dir / "old").glob("K*.key")
    done = nsupdate(old.port, f"update add made.{CHILD} 5 A 192.0.2.77", tsig_key, peer_dir)
    assert done.ok, done
    ds = run(peer_dir, "dnssec-dsfromkey", "-2", str(key_file)).split(" DS ")[1]
    csk = {"algorithm": "ed25519", "lifetime": "unlimited"}
    world = start_migration_world(
        servers,
        peer_dir,
        tsig_key,
        parent,
        old.port,
        secondaries,
        [ds],
        dynamic=True,
        denial="nsec",
        csk=csk,
        zsk=None,
    )
    witness = world.witness()
    tags = move(world)
    assert len(tags) == 1
    assert dig(world.daemon.port, f"made.{CHILD}", "A", "+short").out.strip() == "192.0.2.77"
    done = nsupdate(world.daemon.port, f"update add more.{CHILD} 5 A 192.0.2.78", tsig_key, peer_dir)
    assert done.ok, done
    world.wait_settled()
    (key,) = world.key_list()
    assert (key["tag"], key["ds"]) == (*tags, "omnipresent")
    witness.stop()


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_keys_roll_after_the_move(world: MigrationWorld) -> None:
    """The DS settles by evidence, and rollovers work on from the states that were brought."""
    witness = world.witness()
    tags = move(world)
    world.wait_settled()
    assert {key["tag"] for key in world.key_list()} == tags
    assert world.in_use("ksk")["ds"] == "omnipresent"
    before = world.in_use("ksk")["tag"]
    assert world.daemon.cli("key", "rollover", CHILD, "--role", "ksk").ok
    world.wait(lambda: world.in_use("ksk")["tag"] != before, "a new KSK")
    world.set_ds(world.wait_cds_new())
    world.wait(lambda: before not in {key["tag"] for key in world.present()}, "the old KSK is gone", 180)
    witness.stop()
