"""Nodes with a token of their own each: no private key ever leaves one, and nothing private is shared."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dnssecd.core.keys.keyset import key_tag
from dnssecd.signer.key_file import Description
from tests.integration.cluster.test_own_keys import Nodes, published_tags
from tests.integration.hsm.daemon import pkcs11_keystore
from tests.integration.hsm.softhsm import SoftHsm
from tests.integration.rollover_world import CHILD
from tests.peers.postgres import Postgres
from tests.peers.process import Servers, wait_until
from tests.peers.tsig import TsigKey
from tests.peers.updates import NOERROR

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
PASSPHRASE = b"correct horse battery staple"


class TokenNodes(Nodes):
    """Each node has a SoftHSM of its own, which the others cannot reach."""

    def __init__(self, servers: Servers, home: Path, server: Postgres, key: TsigKey) -> None:
        self.home = home
        self.hsms: dict[str, SoftHsm] = {}
        super().__init__(servers, home, server, key)

    def keystore_of(self, name: str) -> dict[str, Any]:
        hsm = self.hsms[name] = SoftHsm(self.home / f"hsm-{name}")
        hsm.make_token(f"dns-{name}")
        node = self.nodes[name]
        real, place = node.environment, str(hsm.path / "softhsm2.conf")
        node.environment = lambda: {**real(), "SOFTHSM2_CONF": place}  # type: ignore[method-assign]
        (hsm.path / "passphrase").write_bytes(PASSPHRASE)
        return {
            **pkcs11_keystore(hsm, f"dns-{name}"),
            "sharing": "own",
            "passphrase_file": hsm.path / "passphrase",
        }

    def known(self, name: str) -> dict[int, Description]:
        """The keys that a node's key service has, by key tag."""
        place = Path(self.nodes[name].config["server"]["state_dir"]) / "signer/known-keys/hsm"
        keys = [msgspec.json.decode(path.read_bytes(), type=Description) for path in place.glob("*.json")]
        return {key_tag(key.dnskey): key for key in keys}

    def tags(self, name: str) -> set[int]:
        return set(self.known(name))

    def in_token(self, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
        """The private keys in the token of a node that is stopped, by CKA_ID."""
        hsm = self.hsms[name]
        monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.path / "softhsm2.conf"))
        return {str(key["id"]): key for key in hsm.inspect(f"dns-{name}")}


def modes(place: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place, *place.iterdir())}


def test_each_node_signs_with_its_own_token(
    servers: Servers, peer_dir: Path, postgres: Postgres, tsig_key: TsigKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    nodes = TokenNodes(servers, peer_dir, postgres, tsig_key)
    first, second = nodes.owner, nodes.other()
    a, b = nodes.nodes[first], nodes.nodes[second]
    assert nodes.why_not(second), "not before all validators have its keys"
    nodes.wait_ready(second)
    assert len(published_tags(a)) == 4
    assert len(nodes.world.ds()) == 2
    assert {len(nodes.tags(first)), len(nodes.tags(second))} == {2}
    assert not nodes.tags(first) & nodes.tags(second)
    for node in (a, b):
        state = Path(node.config["server"]["state_dir"])
        assert modes(state / "signer/tokens/hsm.sealing") == {"hsm.sealing": 0o700, "sealing": 0o600}
        assert not (state / "keys").exists(), "no key is in a file"
        shown = node.cli_json("node", "key")
        assert shown["configured"]
        assert {row["state"] for row in node.cli_json("node", "list")["nodes"]} == {"running"}

    # The owner dies, and comes back; then to and fro, faster than caches forget.
    witness = nodes.world.witness()
    a.kill()
    nodes.owned_by(second)
    wait_until(lambda: nodes.update(second) == NOERROR, "updates", 30, every=0.2)
    a.start()
    nodes.wait_ready(first)
    for name in (first, second):
        assert nodes.nodes[name].cli("zone", "move", CHILD, name).ok
        nodes.owned_by(name)
        nodes.wait(lambda: not nodes.why_not(nodes.other()), "the other is ready at once", 20)

    # The ZSKs of both nodes are replaced, through the owner.
    old = {
        name: next(tag for tag, key in nodes.known(name).items() if key.role == "zsk")
        for name in (first, second)
    }
    assert b.cli("key", "rollover", CHILD, "--role", "zsk").ok
    retired = b.cli("key", "retire", CHILD, "--key-tag", str(old[first]))
    assert retired.ok, retired.text
    nodes.wait(lambda: not set(old.values()) & published_tags(b), "the old ZSKs left the zone", 90)
    assert len(published_tags(b)) == 4
    nodes.wait_ready(first)

    # The token of the owner fails: nothing is signed there, and the other node gets the zone by itself; for good.
    tokens = nodes.hsms[second].tokens
    tokens.rename(tokens.with_name("away"))
    wait_until(lambda: nodes.update(second) != NOERROR, "no updates", 30, every=0.2)
    began = time.monotonic()
    nodes.owned_by(first)
    wait_until(lambda: nodes.update(first) == NOERROR, "updates", 30, every=0.2)
    assert 25 < time.monotonic() - began < 75
    assert "this node cannot sign the zone and gives it up" in b.log_tail(2000)
    nodes.wait(lambda: nodes.why_not(second), "it cannot take it back", 20)
    tokens.with_name("away").rename(tokens)
    nodes.wait(lambda: not nodes.why_not(second), "the token works again", 60)
    assert nodes.update(first) == NOERROR
    assert nodes.nodes[first].cli_json("zone", "owner", CHILD)["owner"] == first
    witness.stop()

    a.stop()
    b.stop()
    for name in nodes.nodes:
        found = nodes.in_token(name, monkeypatch)
        assert {key.cka_id for key in nodes.known(name).values()} == set(found), "its own, and none of others"
        assert len(found) == 3
        assert not any(key["extractable"] for key in found.values())
