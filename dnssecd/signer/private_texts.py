"""Private keys as other signers read them: the two files of BIND (format v1.3), and PKCS#8 in PEM."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dnssecd.signer.algorithms import ALGORITHMS, PrivateKey

#: The names that BIND writes behind the numbers, where they differ from ours.
BIND_NAMES = {
    8: "RSASHA256",
    10: "RSASHA512",
    13: "ECDSAP256SHA256",
    14: "ECDSAP384SHA384",
    15: "ED25519",
    16: "ED448",
}


def write_pem(private: PrivateKey) -> str:
    """Return a private key as PKCS#8 in PEM, not encrypted."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def write_bind_private(private: PrivateKey, algorithm: int, created: int) -> str:
    """Return the content of BIND's ``.private`` file; `created` in epoch seconds."""
    stamp = f"{datetime.fromtimestamp(created, UTC):%Y%m%d%H%M%S}"
    fields = [
        ("Private-key-format", "v1.3"),
        ("Algorithm", f"{algorithm} ({BIND_NAMES[algorithm]})"),
        *((name, base64.b64encode(octets).decode()) for name, octets in _numbers(private, algorithm)),
        *((name, stamp) for name in ("Created", "Publish", "Activate")),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields)


def write_bind_public(zone: str, role: str, tag: int, dnskey: bytes, created: int) -> str:
    """Return the content of BIND's ``.key`` file; `dnskey` is RDATA in wire form."""
    kind = "zone-signing" if role == "zsk" else "key-signing"
    made = datetime.fromtimestamp(created, UTC)
    key = base64.b64encode(dnskey[4:]).decode()
    return (
        f"; This is a {kind} key, keyid {tag}, for {zone}\n"
        f"; Created: {made:%Y%m%d%H%M%S} ({made:%a %b %e %H:%M:%S %Y})\n"
        f"{zone} IN DNSKEY {int.from_bytes(dnskey[:2])} {dnskey[2]} {dnskey[3]} {key}\n"
    )


def _numbers(private: PrivateKey, algorithm: int) -> Iterator[tuple[str, bytes]]:
    if isinstance(private, rsa.RSAPrivateKey):
        yield from _rsa_numbers(private.private_numbers())
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        curve = ALGORITHMS[algorithm].curve
        assert curve is not None
        yield "PrivateKey", private.private_numbers().private_value.to_bytes((curve.key_size + 7) // 8)
    else:
        yield "PrivateKey", private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _rsa_numbers(numbers: rsa.RSAPrivateNumbers) -> Iterator[tuple[str, bytes]]:
    public = numbers.public_numbers
    for name, number in (
        ("Modulus", public.n),
        ("PublicExponent", public.e),
        ("PrivateExponent", numbers.d),
        ("Prime1", numbers.p),
        ("Prime2", numbers.q),
        ("Exponent1", numbers.dmp1),
        ("Exponent2", numbers.dmq1),
        ("Coefficient", numbers.iqmp),
    ):
        yield name, number.to_bytes((number.bit_length() + 7) // 8)
