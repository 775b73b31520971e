"""The rows by which nodes get keys and prove them, against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dnssecd.cluster.shared_keys import LETTER_OCTETS_MAX, SharedKeys
from dnssecd.daemon.cluster.key_shares import is_proof, nonce_of
from dnssecd.daemon.zones.key_holders import KeyToHold
from dnssecd.keyservice_client.proof import PROOF_LABEL
from dnssecd.keyservice_protocol import Proof
from tests.integration.cluster.world import World

pytestmark = pytest.mark.integration
ZONE, KEY = "example.com.", "0123456789abcdef" * 2


@pytest.fixture
def rows(world: World) -> Iterator[dict[str, SharedKeys]]:
    world["a"].ownership.claim([ZONE])
    world.node("c").join()
    yield {name: SharedKeys(world[name].database) for name in "abc"}
    world.sql("DELETE FROM shared_key")


def test_a_letter_goes_to_its_node(rows: dict[str, SharedKeys]) -> None:
    a, b, c = rows.values()
    a.give(ZONE, KEY, "b", b"letter")
    assert [(row.key_id, row.letter, row.sender) for row in b.work(10).letters] == [(KEY, b"letter", "a")]
    assert not c.work(10).letters
    a.give(ZONE, KEY, "b", b"another")
    assert b.work(10).letters[0].letter == b"letter", "a letter that waits stays as it is"
    assert a.proofs(ZONE, [KEY]) == {(KEY, "b"): b""}
    b.proved(ZONE, KEY, b"proof")
    assert a.proofs(ZONE, [KEY]) == {(KEY, "b"): b"proof"}
    assert not b.work(10).letters


def test_a_node_asks_for_a_key(rows: dict[str, SharedKeys]) -> None:
    a, b, c = rows.values()
    b.ask(ZONE, [KEY])
    b.ask(ZONE, [KEY])
    assert [(row.node, row.key_id) for row in a.work(10).asked] == [("b", KEY)]
    assert not c.work(10).asked, "the owner of the zone answers"
    assert not b.work(10).asked
    a.give(ZONE, KEY, "b", b"letter")
    assert not a.work(10).asked
    b.ask(ZONE, [KEY])
    assert not a.work(10).asked, "the letter waits to be opened"
    b.failed(b.work(10).letters[0], "it is for another key")
    assert not b.work(10).letters, "it is tried again later"
    b.ask(ZONE, [KEY])
    assert [row.node for row in a.work(10).asked] == ["b"], "and a new one is asked for"


def test_the_owner_asks_a_node_that_has_a_key(rows: dict[str, SharedKeys]) -> None:
    """The node that made it ended before another got it, and is back."""
    a, b, c = rows.values()
    a.ask(ZONE, [KEY])
    assert [row.node for row in b.work(10).asked] == ["a"]
    b.failed(b.work(10).asked[0], "the key service of node b does not hold it")
    assert not c.work(10).asked, "for the moment"


def test_a_node_that_lost_its_disk_gets_the_key_again(rows: dict[str, SharedKeys]) -> None:
    a, b, _ = rows.values()
    a.give(ZONE, KEY, "b", b"letter")
    b.proved(ZONE, KEY, b"proof")
    b.ask(ZONE, [KEY])
    assert a.proofs(ZONE, [KEY]) == {(KEY, "b"): b""}, "its old proof does not count any more"
    assert [row.node for row in a.work(10).asked] == ["b"]


def test_a_key_is_withdrawn(rows: dict[str, SharedKeys]) -> None:
    a, b, c = rows.values()
    a.give(ZONE, KEY, "b", b"letter")
    b.proved(ZONE, KEY, b"proof")
    a.withdraw(ZONE, KEY, ["a", "b", "c"])
    assert not a.work(10).withdrawn
    for node in (b, c):
        (row,) = node.work(10).withdrawn
        assert row.letter == b""
        node.ask(ZONE, [KEY])
        assert not a.work(10).asked, "nobody gets it any more"
        node.removed(row)
        assert not node.work(10).withdrawn
    assert a.proofs(ZONE, [KEY]) == {}


def test_rows_are_read_in_bounded_size_and_number(world: World, rows: dict[str, SharedKeys]) -> None:
    a, b, _ = rows.values()
    a.give(ZONE, KEY, "b", b"x" * (LETTER_OCTETS_MAX + 1))
    assert b.work(10).letters[0].letter == b""
    world.sql(
        f"UPDATE shared_key SET proof = decode(repeat('00', {LETTER_OCTETS_MAX + 1}), 'hex'), node = repeat('n', 9999)"
    )
    (((_, node), proof),) = a.proofs(ZONE, [KEY]).items()
    assert (len(node), proof) == (256, b"")
    for number in range(20):
        b.ask(ZONE, [f"{number:032x}"])
    assert len(a.work(5).asked) == 5


def test_only_the_key_itself_proves_who_holds_it() -> None:
    """Whoever can write the rows cannot make a proof, nor turn that of one node into that of another."""
    private, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    key = KeyToHold(KEY, b"\x01\x00\x03\x0f" + public)

    def proof(signer: Ed25519PrivateKey, node: str, key_id: str = KEY, **fields: object) -> bytes:
        preimage = b"\x00\x00\x0f" + bytes(20) + PROOF_LABEL + nonce_of(node, key_id)
        made = Proof("", preimage, signer.sign(preimage))
        return msgspec.msgpack.encode(msgspec.structs.replace(made, **fields))

    assert is_proof(proof(private, "b"), "b", key)
    assert not is_proof(proof(private, "a"), "b", key), "the owner's own"
    assert not is_proof(proof(private, "b", "f" * 32), "b", key), "of another key"
    assert not is_proof(proof(other, "b"), "b", key), "made by who writes the rows"
    assert not is_proof(proof(private, "b", error="out of order"), "b", key)
    assert not is_proof(proof(private, "b", preimage=b""), "b", key)
    for octets in (b"", b"\xc1", b"\x93\xa0\xa0\xa0", b"[" * 1000):
        assert not is_proof(octets, "b", key)
