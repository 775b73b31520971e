"""Checking that a token holds the published key: its signature over a nonce must verify in software.

The proof's preimage is an RRSIG preimage of type covered 0, original TTL, expiration and inception 0,
followed by one RR of type 0 whose RDATA holds the nonce: such a signature can never validate as data.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from dnssecd.keyservice_protocol import Proof

PROOF_LABEL = b"dnssecd proof"
_RSA_HASH: dict[int, hashes.HashAlgorithm] = {8: hashes.SHA256(), 10: hashes.SHA512()}
_CURVES: dict[int, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    13: (ec.SECP256R1(), hashes.SHA256()),
    14: (ec.SECP384R1(), hashes.SHA384()),
}


def new_nonce() -> bytes:
    """A nonce no proof was ever made for."""
    return secrets.token_bytes(32)


def check_proofs(proofs: Sequence[Proof], nonce: bytes, published_dnskey: bytes) -> list[Proof]:
    """Return the proofs, with `error` set on each that shows no possession of `published_dnskey` (RDATA)."""
    return [
        proof if proof.error else msgspec.structs.replace(proof, error=_fault(proof, nonce, published_dnskey))
        for proof in proofs
    ]


def _fault(proof: Proof, nonce: bytes, dnskey: bytes) -> str:
    preimage = proof.preimage
    if preimage[:2] != b"\x00\x00" or not preimage.endswith(PROOF_LABEL + nonce):
        return "not a proof over our nonce"
    if preimage[2:3] != dnskey[3:4]:
        return f"made with algorithm {preimage[2]}, published is {dnskey[3]}"
    try:
        verifier(dnskey)(proof.signature, preimage)
    except (InvalidSignature, ValueError, IndexError):
        return f"token {proof.token}: the signature does not verify with the published DNSKEY"
    return ""


def verifier(dnskey: bytes) -> Callable[[bytes, bytes], None]:
    """Return verify(signature, data) for DNSKEY RDATA; it raises InvalidSignature.

    ValueError when the algorithm is unknown or the key malformed.
    """
    algorithm, key = dnskey[3], dnskey[4:]
    if algorithm in _RSA_HASH:
        return _rsa(key, _RSA_HASH[algorithm])
    if algorithm in _CURVES:
        return _ecdsa(key, *_CURVES[algorithm])
    if algorithm == 15:
        return ed25519.Ed25519PublicKey.from_public_bytes(key).verify
    if algorithm == 16:
        return ed448.Ed448PublicKey.from_public_bytes(key).verify
    raise ValueError(f"algorithm {algorithm} is not known")


def _rsa(key: bytes, digest: hashes.HashAlgorithm) -> Callable[[bytes, bytes], None]:
    length, start = key[0], 1  # RFC 3110 §2
    if length == 0:
        length, start = int.from_bytes(key[1:3]), 3
    exponent = int.from_bytes(key[start : start + length])
    public = rsa.RSAPublicNumbers(exponent, int.from_bytes(key[start + length :])).public_key()
    scheme = padding.PKCS1v15()
    return lambda signature, data: public.verify(signature, data, scheme, digest)


def _ecdsa(
    key: bytes, curve: ec.EllipticCurve, digest: hashes.HashAlgorithm
) -> Callable[[bytes, bytes], None]:
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + key)
    scheme = ec.ECDSA(digest)
    half = curve.key_size // 8

    def verify(signature: bytes, data: bytes) -> None:
        if len(signature) != 2 * half:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
        public.verify(encode_dss_signature(r, s), data, scheme)

    return verify
