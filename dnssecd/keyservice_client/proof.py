"""Checking that a token holds the published key: its signature over a nonce must verify in software.

The proof's preimage is an RRSIG preimage of type covered 0, original TTL, expiration and inception 0,
followed by one RR of type 0 whose RDATA holds the nonce: such a signature can never validate as data.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from dnssecd.core.verify.keys import ZoneKey
from dnssecd.keyservice_protocol import Proof

PROOF_LABEL = b"dnssecd proof"


def new_nonce() -> bytes:
    """Return a nonce that no proof was made for."""
    return secrets.token_bytes(32)


def check_proofs(proofs: Sequence[Proof], nonce: bytes, published_dnskey: bytes) -> list[Proof]:
    """Return the proofs, with `error` set on each that shows no possession of `published_dnskey` (RDATA)."""
    return [
        proof if proof.error else msgspec.structs.replace(proof, error=_fault(proof, nonce, published_dnskey))
        for proof in proofs
    ]


def why_unproven(proofs: Sequence[Proof]) -> str:
    """Return why no token can sign with a key, by what `check_proofs` returned; "" if one can."""
    faults = [proof.error for proof in proofs]
    return "" if "" in faults else "; ".join(faults) or "no token was asked"


def _fault(proof: Proof, nonce: bytes, dnskey: bytes) -> str:
    preimage = proof.preimage
    if preimage[:2] != b"\x00\x00" or not preimage.endswith(PROOF_LABEL + nonce):
        return "not a proof over our nonce"
    if preimage[2:3] != dnskey[3:4]:
        return f"made with algorithm {preimage[2]}, published is {dnskey[3]}"
    verify = ZoneKey(dnskey).verify
    if verify is None or not verify(proof.signature, preimage):
        return f"token {proof.token}: the signature does not verify with the published DNSKEY"
    return ""
