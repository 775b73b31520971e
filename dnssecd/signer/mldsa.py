"""ML-DSA-44 (FIPS 204) as DNSSEC algorithm 18: experimental, in software key stores only.

Pure ML-DSA with an empty context; DNSKEY and RRSIG have the public key and the signature as they are
(draft-westerbaan-dnssec-mldsa). All of it is the library's, and only newer ones have it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeGuard

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl import backend

__all__ = [
    "BITS",
    "KIND",
    "NUMBER",
    "PrivateKey",
    "PublicKey",
    "from_public_bytes",
    "generate",
    "is_private",
    "is_public",
    "lacking",
]

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey as PublicKey
else:
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey as PrivateKey
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey as PublicKey
    except ImportError:

        class PrivateKey:
            """Stands for the class that the library lacks; it has no instances."""

        class PublicKey:
            """Stands for the class that the library lacks; it has no instances."""


NUMBER = 18
KIND = "mldsa44"
PUBLIC_OCTETS = 1_312
#: The size of the public key, as other algorithms have one.
BITS = PUBLIC_OCTETS * 8


@cache
def lacking() -> str:
    """Return why ML-DSA-44 cannot be used on this host; "" if it can."""
    try:
        PublicKey.from_public_bytes(bytes(PUBLIC_OCTETS))
    except (AttributeError, UnsupportedAlgorithm):
        return (
            "algorithm 18 (MLDSA44) needs cryptography 47 or newer, built with OpenSSL 3.5 or newer; here is "
            f"cryptography {cryptography.__version__} with {backend.openssl_version_text()}"
        )
    return ""


def generate() -> PrivateKey:
    """Make a private key."""
    return PrivateKey.generate()


def from_public_bytes(field: bytes) -> PublicKey:
    """Return the public key in the field of a DNSKEY; ValueError when it is malformed."""
    if lacking():
        raise ValueError(lacking())
    return PublicKey.from_public_bytes(field)


def is_private(key: object) -> TypeGuard[PrivateKey]:
    """Tell whether a private key is one of ML-DSA-44."""
    return isinstance(key, PrivateKey)


def is_public(key: object) -> TypeGuard[PublicKey]:
    """Tell whether a public key is one of ML-DSA-44."""
    return isinstance(key, PublicKey)
