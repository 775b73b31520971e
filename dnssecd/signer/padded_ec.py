"""EC private keys as GnuTLS writes them (Knot's key directory): PKCS#8 with the secret as a *signed* integer.

RFC 5915 section 3 gives the secret a fixed length; GnuTLS puts an octet of zeros before every second one, and
OpenSSL's readers and ours refuse that.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_SEQUENCE, _INTEGER, _OCTETS, _OBJECT = 0x30, 0x02, 0x04, 0x06
_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("2b81040022"): ec.SECP384R1,
}


def load_padded_ec(content: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key in PEM or DER; ValueError, quoting none of it, when it is no PKCS#8 EC key.

    The public key in the file, which GnuTLS always adds, must be that of the secret.
    """
    outer, _ = _element(_der(content), _SEQUENCE)
    _, rest = _element(outer, _INTEGER)
    kind, rest = _element(rest, _SEQUENCE)
    identity, parameters = _element(kind, _OBJECT)
    curve = _CURVES.get(_element(parameters, _OBJECT)[0])
    if identity != _EC_PUBLIC_KEY or curve is None:
        raise ValueError("not an EC key of a known curve")
    inner, _ = _element(_element(rest, _OCTETS)[0], _SEQUENCE)
    _, rest = _element(inner, _INTEGER)
    secret, rest = _element(rest, _OCTETS)
    private = ec.derive_private_key(int.from_bytes(secret), curve())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if not rest.endswith(point):
        raise ValueError("private and public key do not belong together")
    return private


def _der(content: bytes) -> bytes:
    if b"-----BEGIN" not in content:
        return content
    lines = content.partition(b"-----BEGIN PRIVATE KEY-----")[2].partition(b"-----END PRIVATE KEY-----")[0]
    try:
        return base64.b64decode(b"".join(lines.split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, which must have `tag`, and what follows it (X.690 section 8.1)."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("not the expected DER element")
    length, start = data[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start])
    if not 0 < length <= len(data) - start:
        raise ValueError("DER element cut off")
    return data[start : start + length], data[start + length :]
