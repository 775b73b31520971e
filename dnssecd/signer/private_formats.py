"""Private keys made elsewhere: BIND `.private` files (formats v1.2 and v1.3), PEM, PKCS#8 DER (Knot's too)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from dnssecd.signer import mldsa
from dnssecd.signer.algorithms import Algorithm, PrivateKey, algorithm_of, fits
from dnssecd.signer.errors import BadRequest
from dnssecd.signer.padded_ec import load_padded_ec

_RSA_FIELDS = ("modulus", "publicexponent", "privateexponent", "prime1", "prime2")


#: Large RSA numbers take long to check, so they are refused by their size before that.
_RSA_BITS_MAX = 4096


def load(content: bytes, number: int, *, validate: bool = True) -> PrivateKey:
    """Return the private key in `content`; BadRequest, quoting none of it, when it is none of `number`.

    To validate RSA numbers takes up to a second: not for an event loop. Without, the caller has a signature verified.
    """
    algorithm = algorithm_of(number)
    private: object
    try:
        if content.lstrip().startswith(b"Private-key-format:"):
            private = _bind(content, algorithm)
        elif b"-----BEGIN" in content:
            private = _standard(content, algorithm, load_pem_private_key, validate=validate)
        else:
            private = _standard(content, algorithm, load_der_private_key, validate=validate)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError, UnsupportedAlgorithm):
        # The parser's own message could quote the key.
        raise BadRequest("not a readable private key (BIND .private, PEM or PKCS#8, not encrypted)") from None
    if not isinstance(
        private,
        rsa.RSAPrivateKey
        | ec.EllipticCurvePrivateKey
        | ed25519.Ed25519PrivateKey
        | ed448.Ed448PrivateKey
        | mldsa.PrivateKey,
    ) or not fits(algorithm, private):
        raise BadRequest(f"the private key is not one of algorithm {number} ({algorithm.name})")
    return private


def _standard(
    content: bytes, algorithm: Algorithm, load_private: Callable[..., object], *, validate: bool
) -> object:
    try:
        private = load_private(content, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(private, rsa.RSAPrivateKey):
            return private
        numbers = private.private_numbers()
        _check_sizes(numbers.public_numbers.n, numbers.public_numbers.e, numbers.d, numbers.p, numbers.q)
        return load_private(content, None) if validate else private
    except ValueError:
        if algorithm.curve is None:
            raise
        return load_padded_ec(content)


def _bind(content: bytes, algorithm: Algorithm) -> PrivateKey:
    fields = _fields(content)
    if int(fields["algorithm"].split()[0]) != algorithm.number:
        raise BadRequest(f"the file is not for algorithm {algorithm.number}: {fields['algorithm']}")
    if algorithm.kind == "rsa":
        return _rsa(*(int.from_bytes(_decode(fields[name])) for name in _RSA_FIELDS))
    if algorithm.kind == mldsa.KIND:
        raise BadRequest("there is no BIND format for keys of algorithm 18: give PKCS#8 (PEM or DER)")
    secret = _decode(fields["privatekey"])
    if algorithm.curve is not None:
        return ec.derive_private_key(int.from_bytes(secret), algorithm.curve)
    if algorithm.kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    return ed448.Ed448PrivateKey.from_private_bytes(secret)


def _check_sizes(n: int, *others: int) -> None:
    """Raise ValueError for RSA numbers that no key here has."""
    if n.bit_length() > _RSA_BITS_MAX or any(number.bit_length() > n.bit_length() for number in others):
        raise ValueError("RSA numbers beyond reason")


def _rsa(n: int, e: int, d: int, p: int, q: int) -> rsa.RSAPrivateKey:
    _check_sizes(n, e, d, p, q)
    numbers = rsa.RSAPrivateNumbers(
        p,
        q,
        d,
        rsa.rsa_crt_dmp1(d, p),
        rsa.rsa_crt_dmq1(d, q),
        rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(e, n),
    )
    return numbers.private_key()


def _fields(content: bytes) -> dict[str, str]:
    fields = {}
    for line in content.decode("ascii").splitlines():
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return fields


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None
