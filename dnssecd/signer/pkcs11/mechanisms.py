"""Which mechanisms a token needs to sign with a DNSSEC algorithm, and to make keys for it; how it signs.

A token may sign with keys that it cannot make: those of a smart card, or of a cloud service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any

from pkcs11 import KeyType, Mechanism

SIGNATURE_OCTETS_MAX = 512

KEY_TYPES = {
    8: KeyType.RSA,
    10: KeyType.RSA,
    13: KeyType.EC,
    14: KeyType.EC,
    15: KeyType.EC_EDWARDS,
    16: KeyType.EC_EDWARDS,
}
GENERATING = {
    8: Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    10: Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    13: Mechanism.EC_KEY_PAIR_GEN,
    14: Mechanism.EC_KEY_PAIR_GEN,
    15: Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    16: Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
}
#: In the order of preference. CKM_RSA_PKCS signs a DigestInfo that is made here.
_SIGNING = {
    8: (Mechanism.SHA256_RSA_PKCS, Mechanism.RSA_PKCS),
    10: (Mechanism.SHA512_RSA_PKCS, Mechanism.RSA_PKCS),
    13: (Mechanism.ECDSA,),
    14: (Mechanism.ECDSA,),
    15: (Mechanism.EDDSA,),
    16: (Mechanism.EDDSA,),
}
_DIGESTS = {8: hashlib.sha256, 10: hashlib.sha512, 13: hashlib.sha256, 14: hashlib.sha384}
#: DER of DigestInfo up to the digest (RFC 8017 §9.2, note 1).
_DIGEST_INFO = {
    8: bytes.fromhex("3031300d060960864801650304020105000420"),
    10: bytes.fromhex("3051300d060960864801650304020305000440"),
}
#: CKM_EDDSA without parameters means Ed25519; Ed448 needs CK_EDDSA_PARAMS (PKCS#11 3.1 §6.3.16): pure, no context.
_PARAMETERS = {16: (False, None)}
_SIGNATURE_OCTETS = {13: 64, 14: 96, 15: 64, 16: 114}


def signing_mechanism(algorithm: int, mechanisms: Collection[Mechanism]) -> Mechanism | None:
    """Return the mechanism to sign with, or None where the token has none for `algorithm`."""
    return next((one for one in _SIGNING.get(algorithm, ()) if one in mechanisms), None)


def can_sign(mechanisms: Collection[Mechanism]) -> tuple[int, ...]:
    """Return the DNSSEC algorithms that a token with these mechanisms signs with."""
    return tuple(number for number in _SIGNING if signing_mechanism(number, mechanisms) is not None)


def can_make(mechanisms: Collection[Mechanism]) -> tuple[int, ...]:
    """Return the DNSSEC algorithms that a token with these mechanisms makes keys for."""
    return tuple(number for number, needed in GENERATING.items() if needed in mechanisms)


def make_signer(
    private: Any, algorithm: int, mechanisms: Collection[Mechanism], pin: str | None
) -> Callable[[bytes], bytes]:
    """Return sign(data) giving DNSSEC wire form. `pin`: to be given for each signature (CKA_ALWAYS_AUTHENTICATE)."""
    mechanism = signing_mechanism(algorithm, mechanisms) or _SIGNING[algorithm][0]
    options: dict[str, Any] = {
        "mechanism": mechanism,
        "buffer_size": _SIGNATURE_OCTETS.get(algorithm, SIGNATURE_OCTETS_MAX),
    }
    if algorithm in _PARAMETERS:
        options["mechanism_param"] = _PARAMETERS[algorithm]
    if pin is not None:
        options["pin"] = pin
    sign, prepare = private.sign, _preparation(algorithm, mechanism)

    def sign_prepared(data: bytes) -> bytes:
        signature: bytes = sign(prepare(data), **options)
        return signature

    return sign_prepared


def _preparation(algorithm: int, mechanism: Mechanism) -> Callable[[bytes], bytes]:
    """Return what is to be done with data before the token signs it: CKM_ECDSA takes the hash."""
    if mechanism is Mechanism.ECDSA:
        digest = _DIGESTS[algorithm]
        return lambda data: digest(data).digest()
    if mechanism is Mechanism.RSA_PKCS:
        digest, info = _DIGESTS[algorithm], _DIGEST_INFO[algorithm]
        return lambda data: info + digest(data).digest()
    return lambda data: data
