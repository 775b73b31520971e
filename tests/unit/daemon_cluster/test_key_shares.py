"""Rows that anyone may have written: which of them make a key of a zone, and which do not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dnssecd.cluster.shared_keys import Row
from dnssecd.core.ceremony.proof import proof_message
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import dnskey_rdata, key_tag
from dnssecd.daemon.cluster.key_shares import Envelope, KeyShares, nonce_of
from dnssecd.keyservice_protocol import KeyInfo, Proof, Role

Y, Z = text_to_wire("y.test."), text_to_wire("z.test.")
ID = "0123456789abcdef" * 2
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = PRIVATE.public_key().public_bytes_raw()


def proof_of(
    zone: bytes, node: str, key_id: str = ID, signer: Ed25519PrivateKey = PRIVATE, flags: int = 256
) -> bytes:
    tag = key_tag(dnskey_rdata(flags, 15, PUBLIC))
    preimage = proof_message(zone, 15, tag, nonce_of(node, key_id))
    return msgspec.msgpack.encode(Proof("token", preimage, signer.sign(preimage)))


class KeyService:
    """Node b's: it has no key, and notes which it was asked to bind."""

    def __init__(self) -> None:
        self.bound: list[tuple[bytes, str]] = []

    async def keys(self, zone: bytes) -> list[KeyInfo]:
        return []

    async def adopt(self, zone: bytes, role: Role, algorithm: int, **more: Any) -> Any:
        self.bound.append((zone, more["key_id"]))
        return SimpleNamespace(id=more["key_id"], dnskey=dnskey_rdata(256, algorithm, more["public_key"]))

    async def prove(self, zone: bytes, key_id: str, dnskey: bytes, nonce: bytes) -> list[Proof]:
        return [Proof("token", b"", b"")]


class Link:
    """No database: what is written there is noted."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(node="b", nodes=("a", "b"))
        self.database = SimpleNamespace(place=SimpleNamespace(node="b"))
        self.written: list[Any] = []

    async def run(self, call: Any, *words: Any) -> None:
        self.written.append((call.__name__, *words))


def shares(signer: object, link: Link) -> KeyShares:
    stores = SimpleNamespace(shared_keystores=frozenset({"hsm"}), sealed_keystores=frozenset({"files"}))
    return KeyShares(cast(Any, link), lambda: cast(Any, stores), {}, cast(Any, signer), cast(Any, None))


def envelope(proof: bytes, **more: Any) -> bytes:
    made = Envelope("hsm", "zsk", 15, PUBLIC, proof=proof)
    return msgspec.msgpack.encode(msgspec.structs.replace(made, **more))


async def taken(letter: bytes) -> tuple[str, list[tuple[bytes, str]]]:
    signer, link = KeyService(), Link()
    zone = cast(Any, SimpleNamespace(name="z.test.", origin=Z, cluster=None))
    why = await shares(signer, link)._take(zone, Row("z.test.", ID, "b", letter, "a"))
    return why, signer.bound


async def test_a_key_of_a_token_is_bound_when_its_sender_signs_for_the_zone_with_it() -> None:
    assert await taken(envelope(proof_of(Z, "a"))) == ("", [(Z, ID)])


@pytest.mark.parametrize(
    "letter",
    [
        envelope(b""),
        envelope(proof_of(Y, "a")),
        envelope(proof_of(Z, "c")),
        envelope(proof_of(Z, "a", "f" * 32)),
        envelope(proof_of(Z, "a", signer=Ed25519PrivateKey.generate())),
        envelope(proof_of(Z, "a"), role="ksk"),
        envelope(proof_of(Z, "a"), public_key=PUBLIC[:-1] + b"\0"),
        envelope(proof_of(Z, "a"), algorithm=300),
        envelope(proof_of(Z, "a"), algorithm=-1),
        envelope(b"\xc1"),
    ],
    ids=["none", "another zone", "another node", "another key", "a forger's", "another role", "another public key",
         "no algorithm", "a negative algorithm", "damaged"],
)  # fmt: skip
async def test_who_only_writes_rows_binds_no_key(letter: bytes) -> None:
    """A key of another zone, for one: it would be the spare that the next rollover takes."""
    assert await taken(letter) == ("node a has not proved that it signs for the zone with the key", [])


async def test_the_owner_s_letter_has_its_proof() -> None:
    class Owner(KeyService):
        async def prove(self, zone: bytes, key_id: str, dnskey: bytes, nonce: bytes) -> list[Proof]:
            assert (zone, key_id, nonce) == (Z, ID, nonce_of("b", ID))
            return [Proof("x", b"", b"", "away"), msgspec.msgpack.decode(proof_of(Z, "b"), type=Proof)]

    link = Link()
    zone = cast(Any, SimpleNamespace(name="z.test.", origin=Z))
    info = SimpleNamespace(
        store="hsm", role="zsk", algorithm=15, public_key=PUBLIC, id=ID, dnskey=dnskey_rdata(256, 15, PUBLIC)
    )
    await shares(Owner(), link)._write(zone, cast(Any, info), "a")
    ((_, *row, letter),) = link.written
    assert row == ["z.test.", ID, "a"]
    assert msgspec.msgpack.decode(letter, type=Envelope).proof == proof_of(Z, "b")
