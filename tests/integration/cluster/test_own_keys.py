"""Nodes with keys of their own: the take-over signs with other keys, and validators see a secure zone throughout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.rdatatype
import pytest

from dnssecd.core.keys.keyset import key_tag
from dnssecd.signer import key_file
from tests.integration.cluster.daemons import Cluster
from tests.integration.cluster.test_sealed_keys import dump, key_files, private_keys
from tests.integration.rollover_world import CHILD, CHILD_ZONE, FAST, PARENT, RolloverWorld, SignedParent
from tests.peers.dnssecd import Dnssecd
from tests.peers.nameserver import PrimaryZone, ask
from tests.peers.postgres import Postgres
from tests.peers.process import LOOPBACK, PeerError, Servers, wait_until
from tests.peers.tools import dig
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


class Nodes:
    """Two or more nodes, a signed parent, and a secondary that validators ask. All waits take seconds."""

    def __init__(
        self,
        servers: Servers,
        home: Path,
        server: Postgres,
        key: TsigKey,
        names: tuple[str, ...] = ("a", "b"),
    ) -> None:
        text = (
            f"$ORIGIN {PARENT}\n$TTL 2\n@ SOA ns me 1 3600 600 604800 2\n@ NS ns\nns A {LOOPBACK}\n"
            f"roll NS ns1.roll\nns1.roll A {LOOPBACK}\n"
        )
        (home / "parent.zone").write_text(text)
        zone = PrimaryZone(PARENT, home / "parent.zone", key, updates=True)
        self.parent = servers.start(SignedParent(home / "parent", [zone]))
        wait_until(
            lambda: "RRSIG" in dig(self.parent.port, PARENT, "SOA", "+dnssec").out, "the parent is signed"
        )
        self.cluster = Cluster(home, server, None, key, names, (CHILD,))
        (home / f"{CHILD}zone").write_text(
            CHILD_ZONE.replace("www 6 A", "www A").replace("*.wild 6", "*.wild")
        )
        self.nodes = self.cluster.nodes
        for name, node in self.nodes.items():
            node.config["keystore"]["hsm"] = self.keystore_of(name)
            node.config["policy"]["default"] |= FAST | {"dnskey_ttl": "2s"}
            node.config["zone"][CHILD]["parent"] = {"servers": [self.parent.address]}
            node.config["server"]["clock_tolerance"] = "1s"
            servers.add(node)
        self.cluster.exchange_sealing_keys()
        for node in self.nodes.values():
            node.start()
        servers.start(self.cluster.secondary)
        self.owner = self.cluster.wait_owner(CHILD, 60)
        self.nodes[self.owner].wait_serial_other_than(CHILD, None, 60)
        self.world = RolloverWorld(
            home, key, self.parent, {"named": self.cluster.secondary}, self.nodes[self.owner], servers
        )
        self.world.ttl_ds = 2
        self.updates, self.cluster.ttl = 0, 2

    def keystore_of(self, name: str) -> dict[str, Any]:
        """The key store of a node, in the configuration's words."""
        return {"sharing": "own"}

    def other(self) -> str:
        return next(name for name in self.nodes if name != self.owner)

    def owned_by(self, name: str) -> None:
        """Wait until a node signs the zone."""
        self.owner, self.world.daemon = name, self.nodes[name]
        self.wait(lambda: signing_tags(self.world) <= self.tags(name), f"node {name} signs", 60)

    def wait(self, probe: Callable[[], Any], what: str, timeout: float = 60) -> Any:
        try:
            return wait_until(probe, what, timeout, every=0.25)
        except PeerError as error:
            text = ""
            for name, node in self.nodes.items():
                if node.running:
                    asked = ("zone", "owner", CHILD), ("key", "list", CHILD), ("explain", CHILD, "--rules")
                    told = "\n".join(node.cli(*words).text for words in asked)
                    text += f"--- {name}\n{told}\n{node.log_tail(60)}\n"
            raise PeerError(f"{error}\n{text}") from None

    def tags(self, name: str) -> set[int]:
        """The tags of all keys that a node's key service has."""
        files = key_files(self.nodes[name]).values()
        return {key_tag(key_file.read(path.read_bytes()).key.dnskey) for path in files}

    def update(self, name: str) -> int:
        """Add a TXT record through a node; return the RCODE."""
        self.updates += 1
        return self.cluster.update(name, f"t{self.updates}", zone=CHILD)

    def why_not(self, name: str) -> str:
        """Why a node cannot take the zone over."""
        rows = self.nodes[name].cli_json("zone", "owner", CHILD)["nodes"]
        return str(next(row["detail"] for row in rows if row["node"] == name))

    def wait_ready(self, *names: str) -> None:
        def followed() -> bool:
            cds = self.world.cds()
            if cds and cds != self.world.ds():
                self.world.set_ds(cds)
            secure = len(self.world.ds()) >= len(
                self.nodes
            )  # a zone without DS can be taken over before, too
            return secure and all(not self.why_not(name) for name in names if name != self.owner)

        self.wait(followed, f"{names} can take the zone over", 120)


def signing_tags(world: RolloverWorld) -> set[int]:
    """The tags of all keys whose signatures the secondary serves for some names."""
    found = set()
    (secondary,) = world.secondaries.values()
    for name, rtype in ((CHILD, "SOA"), (CHILD, "DNSKEY"), (f"www.{CHILD}", "A"), (f"a.b.c.{CHILD}", "AAAA")):
        answer = ask(secondary.port, name, rtype, dnssec=True)
        assert answer is not None
        for rrset in answer.answer:
            found |= {rr.key_tag for rr in rrset if rrset.rdtype == dns.rdatatype.RRSIG}
    return found


def published_tags(node: Dnssecd) -> set[int]:
    answer = ask(node.port, CHILD, "DNSKEY")
    return (
        set() if answer is None else {key_tag(rr.to_digestable()) for rrset in answer.answer for rr in rrset}
    )


def test_each_node_signs_with_its_own_keys(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey
) -> None:
    nodes = Nodes(servers, peer_dir, postgres, tsig_key)
    first, second = nodes.owner, nodes.other()
    assert nodes.why_not(second), "not before all validators have its keys"
    nodes.wait_ready(second)
    assert len(published_tags(nodes.nodes[first])) == 4
    assert len(nodes.world.ds()) == 2
    assert not key_files(nodes.nodes[first]).keys() & key_files(nodes.nodes[second]).keys()
    stolen = dump(nodes.cluster)
    for node in nodes.nodes.values():
        for private in private_keys(node):
            assert private.hex() not in stolen

    witness = nodes.world.witness()
    nodes.nodes[first].kill()
    nodes.owned_by(second)
    wait_until(lambda: nodes.update(second) == NOERROR, "updates", 30, every=0.2)
    nodes.nodes[first].start()
    nodes.wait_ready(first)

    # To and fro, faster than caches forget.
    for name in (first, second, first):
        assert nodes.nodes[name].cli("zone", "move", CHILD, name).ok
        nodes.owned_by(name)
        nodes.wait(lambda: not nodes.why_not(nodes.other()), "the other is ready at once", 20)
    witness.stop()


def test_keys_are_replaced_and_a_node_leaves(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey
) -> None:
    nodes = Nodes(servers, peer_dir, postgres, tsig_key)
    first, second = nodes.owner, nodes.other()
    a, b = nodes.nodes[first], nodes.nodes[second]
    nodes.wait_ready(second)
    before = published_tags(a)

    # Who owns the database announces keys: none of the configured nodes has made such letters.
    refused = a.metric("dnssecd_cluster_keys_refused_total") or 0
    nodes.cluster.sql(
        "UPDATE node_key SET at = clock_timestamp(), letters = set_byte(letters, 300, get_byte(letters, 300) # 1) "
        f"WHERE recipient = '{first}'"
    )
    nodes.wait(
        lambda: (a.metric("dnssecd_cluster_keys_refused_total") or 0) > refused, "they are refused", 30
    )
    refused = a.metric("dnssecd_cluster_keys_refused_total") or 0
    nodes.cluster.sql(
        "INSERT INTO node_key (zone, node, recipient, letters, mark) SELECT zone, 'thief', recipient, letters, mark "
        f"FROM node_key WHERE recipient = '{second}'"
    )
    nodes.cluster.sql("UPDATE node_key SET node = 'x' WHERE false")
    assert published_tags(a) == before

    witness = nodes.world.witness()
    # The owner ends in the middle of its own rollovers.
    for role in ("ksk", "zsk"):
        assert a.cli("key", "rollover", CHILD, "--role", role).ok
    nodes.wait(lambda: len(published_tags(a) - before) == 2, "the new keys are published", 30)
    a.kill()
    nodes.owned_by(second)
    a.start()
    nodes.wait_ready(first)

    # A key of the node that does not sign is replaced: that node makes another.
    old = min(nodes.tags(first) & published_tags(b))
    retired = b.cli("key", "retire", CHILD, "--key-tag", str(old))
    assert retired.ok, retired.text

    def replaced() -> bool:
        nodes.world.set_ds(nodes.world.cds() or nodes.world.ds())
        return old not in published_tags(b)

    nodes.wait(replaced, "it has a successor", 120)
    nodes.wait_ready(first)

    # The other node is taken out of the configuration: first its DS goes, then its keys.
    theirs = nodes.tags(first)
    a.stop()
    b.stop()
    del b.config["cluster"]["nodes"][first]
    b.start()

    def gone() -> bool:
        cds = nodes.world.cds()
        if cds and cds != nodes.world.ds():
            nodes.world.set_ds(cds)
        return not published_tags(b) & theirs and len(nodes.world.ds()) == 1

    nodes.wait(gone, "its keys are gone", 120)
    witness.stop()


def test_a_key_of_a_node_waits_for_its_backup(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey
) -> None:
    """It is this node's to make the backup, before others publish its key."""
    nodes = Nodes(servers, peer_dir, postgres, tsig_key)
    owner, other = nodes.nodes[nodes.owner], nodes.nodes[nodes.other()]
    nodes.wait_ready(other.config["cluster"]["node"])
    for node in nodes.nodes.values():
        node.config["policy"]["default"]["require_backup"] = True
        node.write_config()
        assert node.cli("config", "reload").ok
    name = nodes.other()
    old = nodes.tags(name)
    zsk = next(
        key
        for key in owner.cli_json("key", "list", CHILD)["keys"]
        if key["tag"] in old and key["role"] == "zsk"
    )
    retired = owner.cli("key", "retire", CHILD, "--key-tag", str(zsk["tag"]))
    assert retired.ok, retired.text

    def waiting() -> list[str]:
        firing = other.cli_json("alerts", "list")["alerts"]
        return [
            one["subject"]
            for one in firing
            if one["name"] == "key-not-backed-up" and "announce" in one["cause"]
        ]

    subjects = nodes.wait(waiting, "the node says which key has no backup", 60)
    (new,) = nodes.tags(name) - old
    assert subjects == [f"key {new}"]
    assert new not in published_tags(owner)

    secret = peer_dir / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery\n")
    options = ("--passphrase-file", str(secret))
    assert other.cli("key", "backup", CHILD, "-o", str(peer_dir / "backup"), *options).ok
    for file in (peer_dir / "backup").iterdir():
        done = other.cli("key", "backup", "--confirm", str(file), *options)
        assert done.ok, done.text
    nodes.wait(lambda: new in published_tags(owner), "it is announced and published", 90)
    nodes.wait(lambda: not waiting(), "and no longer waits", 30)


def test_lost_keys_of_the_owner_are_no_loss_to_the_zone(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey
) -> None:
    """Another node takes it over with its own keys at once; the node that lost its keys makes others."""
    nodes = Nodes(servers, peer_dir, postgres, tsig_key)
    first, second = nodes.owner, nodes.other()
    a, b = nodes.nodes[first], nodes.nodes[second]
    nodes.wait_ready(second)
    witness = nodes.world.witness()
    lost = nodes.tags(first) & published_tags(a)
    assert len(lost) == 2
    plan = a.cli("key", "lost", CHILD, str(min(lost)))
    assert f"dnssecd zone move {CHILD} {second}" in " ".join(plan.out.split()), plan.text
    assert a.cli("zone", "move", CHILD, second).ok
    nodes.owned_by(second)
    for tag in sorted(lost):
        asked = b.cli("key", "retire", CHILD, "--key-tag", str(tag))
        assert asked.ok, asked.text
    wait_until(lambda: nodes.update(second) == NOERROR, "updates", 30, every=0.2)

    def replaced() -> bool:
        cds = nodes.world.cds()
        if cds and cds != nodes.world.ds():
            nodes.world.set_ds(cds)
        return not lost & published_tags(b)

    nodes.wait(replaced, "the lost keys have successors", 120)
    nodes.wait_ready(first)
    assert b.cli("zone", "move", CHILD, first).ok
    nodes.owned_by(first)
    witness.stop()


def test_a_node_that_is_left_alone_signs_with_its_own_keys(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey
) -> None:
    """The owner and the database are lost at the same time."""
    nodes = Nodes(servers, peer_dir, postgres, tsig_key)
    first, second = nodes.owner, nodes.other()
    nodes.wait_ready(second)
    witness = nodes.world.witness()
    theirs = nodes.tags(first)
    left = nodes.nodes[second]
    nodes.nodes[first].kill()
    left.kill()
    detached = left.cli("node", "detach", "--others-fenced")
    assert detached.ok, detached.text
    left.config.pop("cluster")
    left.start()
    nodes.owned_by(second)
    wait_until(lambda: nodes.update(second) == NOERROR, "updates", 30, every=0.2)

    def gone() -> bool:
        cds = nodes.world.cds()
        if cds and cds != nodes.world.ds():
            nodes.world.set_ds(cds)
        return not published_tags(left) & theirs and len(nodes.world.ds()) == 1

    nodes.wait(gone, "the keys of the other node are gone", 120)
    witness.stop()
