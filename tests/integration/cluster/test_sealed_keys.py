"""Keys in files that go sealed from node to node, and keys that are used only when enough nodes hold them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dnssecd.signer import key_file
from tests.integration.cluster.daemons import ZONE, Cluster
from tests.integration.hsm.softhsm import SoftHsm
from tests.peers.dnssecd import Dnssecd
from tests.peers.postgres import BIN, PASSWORD, Postgres
from tests.peers.process import PeerError, Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR, dynamic_zone_text

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def make_quick(cluster: Cluster, home: Path) -> None:
    """Let rollovers take seconds."""
    for node in cluster.nodes.values():
        node.config["policy"]["default"] |= {"dnskey_ttl": "2s", "propagation_delay": "1s"}
    text = dynamic_zone_text(ZONE).replace("$TTL 300", "$TTL 2").replace("604800 60", "604800 2")
    (home / f"{ZONE}zone").write_text(text)


def sealed_cluster(home: Path, postgres: Postgres, key: TsigKey, servers: Servers) -> Cluster:
    cluster = Cluster(home, postgres, None, key)
    make_quick(cluster, home)
    for node in cluster.nodes.values():
        servers.add(node)
    cluster.exchange_sealing_keys()
    for node in cluster.nodes.values():
        node.start()
    return cluster


def settled_owner(cluster: Cluster) -> str:
    """The node that owns the zone when both serve its first version."""
    nodes = cluster.nodes.values()
    for node in nodes:
        node.wait_serial_other_than(ZONE, None, 120)
    return str(cluster.nodes["a"].cli_json("zone", "owner", ZONE)["owner"])


def key_files(node: Dnssecd) -> dict[str, Path]:
    return {path.stem: path for path in Path(node.config["server"]["state_dir"]).glob("keys/*.key")}


def private_keys(node: Dnssecd) -> list[bytes]:
    """The private keys of a node, as its operator could read them: PKCS#8, and the number alone."""
    found = []
    for path in key_files(node).values():
        passphrase = (path.parent / "passphrase").read_bytes().strip()
        der = key_file.open_sealed(key_file.read(path.read_bytes()), key_file.KeyEncryption(passphrase))
        private = load_der_private_key(der, None)
        assert isinstance(private, EllipticCurvePrivateKey)
        found += [der, private.private_numbers().private_value.to_bytes(32)]
        found.append(private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return found


def dump(cluster: Cluster) -> str:
    """All that a thief of the database has."""
    server = cluster.server
    command = [
        str(BIN / "pg_dump"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", cluster.database,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PGPASSWORD": PASSWORD, "LC_ALL": "C"},
        check=True,
    )
    return done.stdout


def thiefs_rows(cluster: Cluster) -> list[list[str]]:
    rows = [line.split("\t") for line in dump(cluster).splitlines()]
    found = [row for row in rows if len(row) > 3 and row[2] == "thief"]
    assert found
    return found


def refused(node: Dnssecd) -> float:
    return node.metric("dnssecd_cluster_keys_refused_total") or 0


def test_sealed_keys(servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey) -> None:
    cluster = sealed_cluster(peer_dir, postgres, tsig_key, servers)
    servers.start(cluster.secondary)
    owner = settled_owner(cluster)
    other = next(name for name in cluster.nodes if name != owner)
    a, b = cluster.nodes[owner], cluster.nodes[other]
    first = a.wait_serial_other_than(ZONE, None, 90)
    shared = key_files(a).keys() & key_files(b).keys()
    assert len(shared) == 2, "no version was made before both nodes held its keys"
    wait_until(lambda: b.serial(ZONE) == first, "the other node serves it", 60)

    stolen = dump(cluster)
    assert "shared_key" in stolen
    for private in private_keys(a):
        assert private.hex() not in stolen, "a stolen database does not give keys"

    # Who owns the database writes letters and sealing keys of its own, and marks the keys as withdrawn.
    before = refused(b)
    cluster.sql("UPDATE shared_key SET proof = '', letter = set_byte(letter, 200, get_byte(letter, 200) # 1)")
    cluster.sql(
        "INSERT INTO shared_key (zone, key_id, node, letter, sender) "
        "SELECT zone, repeat('0', 32), node, letter, 'thief' FROM shared_key LIMIT 1"
    )
    wait_until(lambda: refused(b) > before, "the forged letter is refused", 30)
    asked_before = refused(a)
    cluster.sql(
        "INSERT INTO shared_key (zone, key_id, node) "
        f"SELECT zone, key_id, 'thief' FROM shared_key WHERE node = '{other}'"
    )
    wait_until(lambda: refused(a) > asked_before, "nothing is sealed for a node that is not configured", 30)
    cluster.sql("UPDATE shared_key SET withdrawn = true, tried_at = NULL")
    wait_until(
        lambda: any("the zone uses the key here" in str(e.get("cause")) for e in b.log_events()),
        "it stays",
        30,
    )
    assert key_files(b).keys() >= shared
    for row in thiefs_rows(cluster):
        assert row[3] == "\\\\x", "it gets no letter"

    a.kill()
    wait_until(lambda: cluster.takes(other, "after"), "the other takes updates", 40, every=0.2)
    last = b.serial(ZONE)
    assert last is not None
    cluster.secondary.wait_serial(ZONE, last)
    assert cluster.secondary.transfers(ZONE).axfr == 1, "it follows by IXFR"

    # A disk is lost: the node comes back with nothing, and gets the keys again, for its new sealing key.
    for path in (Path(a.config["server"]["state_dir"]) / "keys").iterdir():
        path.unlink()
    cluster.sql("DELETE FROM shared_key")
    a.start()
    key = a.cli_json("node", "key")
    assert not key["configured"]
    a.stop(), b.stop()
    for node in (a, b):
        node.config["cluster"]["nodes"][owner]["sealing_key"] = key["sealing_key"]
        node.start()
    wait_until(lambda: key_files(a).keys() >= shared, "it has the keys again", 90)
    assert a.cli_json("node", "key")["configured"]
    wait_until(lambda: cluster.takes(owner, "both"), "updates are taken", 60)


@pytest.mark.parametrize("sharing", ["token", "sealed"])
def test_a_new_key_waits_until_two_nodes_hold_it(
    servers: Servers,
    peer_dir: Path,
    postgres: Postgres,
    tsig_key: TsigKey,
    sharing: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sharing == "sealed":
        cluster = sealed_cluster(peer_dir, postgres, tsig_key, servers)
    else:
        monkeypatch.setenv("SOFTHSM2_CONF", "")
        hsm = SoftHsm(peer_dir / "hsm")
        hsm.make_token("dns")
        cluster = Cluster(peer_dir, postgres, hsm, tsig_key)
        make_quick(cluster, peer_dir)
        for node in cluster.nodes.values():
            servers.start(node)
    servers.start(cluster.secondary)
    owner = settled_owner(cluster)
    other = next(name for name in cluster.nodes if name != owner)
    a, b = cluster.nodes[owner], cluster.nodes[other]
    a.wait_serial_other_than(ZONE, None, 90)

    def dnskeys(node: Dnssecd) -> set[str]:
        try:
            content = node.zone_content(ZONE)
        except PeerError as error:  # it is starting
            print(error)
            return set()
        return {line for line in content if line.split()[:4][3:] == ["DNSKEY"]}

    assert len(dnskeys(a)) == 2
    b.stop()
    serial = a.serial(ZONE)
    assert a.cli("key", "rollover", ZONE, "--role", "zsk").ok
    wait_until(
        lambda: "the other nodes of the cluster" in a.cli("explain", ZONE).out, "the new key waits", 90
    )
    assert len(dnskeys(a)) == 2
    assert cluster.update(owner, "meanwhile") == NOERROR, "updates go on"
    assert a.serial(ZONE) != serial
    b.start()
    wait_until(lambda: len(dnskeys(a)) == 3, "the other node holds it: it is published", 60)
    wait_until(lambda: dnskeys(b) == dnskeys(a), "the other node follows", 60)
    a.kill()
    wait_until(lambda: cluster.takes(other, "after"), "the other takes over", 40, every=0.2)
