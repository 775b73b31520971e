"""Public keys as tokens keep them, and as they stand in DNSKEY RDATA (RFC 3110 §2, RFC 6605 §4, RFC 8080 §3)."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute

from dnssecd.signer import algorithms
from dnssecd.signer.algorithms import ALGORITHMS, PublicKey
from dnssecd.signer.pkcs11.ckr import CallError, calling
from dnssecd.signer.pkcs11.key_fields import CURVES as CURVES
from dnssecd.signer.pkcs11.key_fields import RSA as RSA
from dnssecd.signer.pkcs11.key_fields import field_bits as field_bits
from dnssecd.signer.pkcs11.key_fields import public_values as public_values
from dnssecd.signer.pkcs11.mechanisms import KEY_TYPES

CKA_PUBLIC_KEY_INFO = 0x129
_KEY_OCTETS = {13: 64, 14: 96, 15: 32, 16: 57}
#: What a token answers when it does not have an attribute, or does not give it out.
_NOT_THERE = frozenset({"AttributeTypeInvalid", "AttributeSensitive", "FunctionFailed"})


def read_attribute(found: Any, attribute: Attribute | int) -> Any:
    """Return the attribute of an object, or None where the token does not say it."""
    try:
        with calling("C_GetAttributeValue"):
            return found[attribute]
    except CallError as error:
        if error.kind not in _NOT_THERE:
            raise
    except (ValueError, KeyError, IndexError, NotImplementedError):
        pass  # a value of a wrong form, or none
    return None


def is_key_of(public: Any, dnskey: bytes) -> bool:
    """Whether the public key object has the public key of `dnskey` (RDATA)."""
    if public.key_type != KEY_TYPES[dnskey[3]]:
        return False
    return public_field(public, dnskey[3]) == dnskey[4:]


def public_field(found: Any, algorithm: int) -> bytes:
    """Return the public key field of DNSKEY RDATA of a key object, or b"" where it does not say its public key."""
    if algorithm in RSA:
        exponent = read_attribute(found, Attribute.PUBLIC_EXPONENT)
        modulus = read_attribute(found, Attribute.MODULUS)
        return rsa_field(bytes(exponent), bytes(modulus)) if exponent and modulus else b""
    point = read_attribute(found, Attribute.EC_POINT)
    return point_field(bytes(point), algorithm) if point else b""


def rsa_field(exponent: bytes, modulus: bytes) -> bytes:
    """Return the field of an RSA key (RFC 3110 §2)."""
    exponent = exponent.lstrip(b"\x00")
    length = bytes([len(exponent)]) if len(exponent) < 256 else b"\x00" + len(exponent).to_bytes(2)
    return length + exponent + modulus.lstrip(b"\x00")


def point_field(point: bytes, algorithm: int) -> bytes:
    """Return the field for a CKA_EC_POINT, b"" where that is none of `algorithm`.

    The standard wants a DER OCTET STRING; some modules leave it out. The length decides which it is.
    """
    prefix = b"\x04" if algorithm in CURVES else b""
    octets = len(prefix) + _KEY_OCTETS[algorithm]
    if len(point) != octets and point[:2] == bytes([4, len(point) - 2]):
        point = point[2:]
    return point[len(prefix) :] if len(point) == octets and point.startswith(prefix) else b""


def field_of_info(info: bytes, algorithm: int) -> bytes:
    """Return the field for a DER SubjectPublicKeyInfo (CKA_PUBLIC_KEY_INFO), b"" where it is none of `algorithm`."""
    try:
        return _field(load_der_public_key(info), algorithm)
    except Exception:  # the token's data: any error of the parser means that it is no such key
        return b""


def field_of_certificate(certificate: bytes, algorithm: int) -> bytes:
    """Return the field for a DER certificate (CKA_VALUE), b"" where its key is none of `algorithm`."""
    try:
        return _field(x509.load_der_x509_certificate(certificate).public_key(), algorithm)
    except Exception:  # as above
        return b""


def _field(public: Any, algorithm: int) -> bytes:
    if not isinstance(public, PublicKey) or not _fits(public, algorithm):
        return b""
    return algorithms.dnskey_rdata(0, algorithm, public)[4:]


def _fits(public: PublicKey, algorithm: int) -> bool:
    kind = ALGORITHMS[algorithm]
    if kind.kind == "rsa":
        return hasattr(public, "public_numbers") and hasattr(public.public_numbers(), "e")
    if kind.curve is not None:
        return getattr(getattr(public, "curve", None), "name", "") == kind.curve.name
    return type(public).__name__.lower().startswith("ed") and algorithms.bits_of(public) == kind.bits
