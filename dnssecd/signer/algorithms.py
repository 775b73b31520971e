"""DNSSEC algorithms: key pairs, DNSKEY RDATA, key tags, signatures in DNSSEC wire form.

RSA per RFC 3110 and 5702, ECDSA per RFC 6605, EdDSA per RFC 8080, ML-DSA per draft-westerbaan-dnssec-mldsa (``mldsa``).
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Struct

from dnssecd.signer import mldsa
from dnssecd.signer.errors import BadRequest, Unsupported

ZONE_FLAG = 0x0100
REVOKE_FLAG = 0x0080
SEP_FLAG = 0x0001
RSA_BITS_DEFAULT = 2048

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.PrivateKey
)
PublicKey = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.PublicKey
)
Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], None]


class Algorithm(Struct, frozen=True):
    """What is fixed for one DNSSEC algorithm number."""

    number: int
    name: str
    kind: str
    digest: hashes.HashAlgorithm | None = None
    curve: ec.EllipticCurve | None = None
    bits: int = 0


ALGORITHMS = {
    8: Algorithm(8, "RSASHA256", "rsa", hashes.SHA256()),
    10: Algorithm(10, "RSASHA512", "rsa", hashes.SHA512()),
    13: Algorithm(13, "ECDSAP256SHA256", "ec", hashes.SHA256(), ec.SECP256R1(), 256),
    14: Algorithm(14, "ECDSAP384SHA384", "ec", hashes.SHA384(), ec.SECP384R1(), 384),
    15: Algorithm(15, "ED25519", "ed25519", bits=256),
    16: Algorithm(16, "ED448", "ed448", bits=456),
    mldsa.NUMBER: Algorithm(mldsa.NUMBER, "MLDSA44", mldsa.KIND, bits=mldsa.BITS),
}
_RETIRED = {
    1: "RSAMD5 must not be used (RFC 9904)",
    3: "DSA must not be used (RFC 9904)",
    5: "RSASHA1 must not be used for signing (RFC 9905): validators no longer trust SHA-1",
    6: "DSA must not be used (RFC 9904)",
    7: "RSASHA1-NSEC3-SHA1 must not be used for signing (RFC 9905): validators no longer trust SHA-1",
    12: "GOST R 34.10-2001 must not be used (RFC 9906)",
}


def algorithm_of(number: int) -> Algorithm:
    """Return the algorithm; Unsupported with the reason when this service does not sign with it."""
    if number in ALGORITHMS:
        if number == mldsa.NUMBER and (lacking := mldsa.lacking()):
            raise Unsupported(lacking)
        return ALGORITHMS[number]
    known = ", ".join(f"{algorithm.number} ({algorithm.name})" for algorithm in ALGORITHMS.values())
    reason = _RETIRED.get(number, "it is not one this service knows")
    raise Unsupported(f"algorithm {number} is refused: {reason}; use one of {known}")


def check_bits(algorithm: Algorithm, bits: int) -> int:
    """Return the key size to make; BadRequest when `bits` does not fit the algorithm."""
    if algorithm.kind != "rsa":
        if bits not in (0, algorithm.bits):
            raise BadRequest(f"{algorithm.name} keys have {algorithm.bits} bits, not {bits}")
        return algorithm.bits
    bits = bits or RSA_BITS_DEFAULT
    if not 2048 <= bits <= 4096 or bits % 8:
        raise BadRequest(f"RSA keys of {bits} bits are refused; use 2048 to 4096, a multiple of 8")
    return bits


def generate(algorithm: Algorithm, bits: int) -> PrivateKey:
    """Make a private key."""
    if algorithm.kind == "rsa":
        return rsa.generate_private_key(65537, check_bits(algorithm, bits))
    if algorithm.curve is not None:
        return ec.generate_private_key(algorithm.curve)
    if algorithm.kind == mldsa.KIND:
        return mldsa.generate()
    if algorithm.kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ed448.Ed448PrivateKey.generate()


def flags_of(role: str) -> int:
    """DNSKEY flags: KSK and CSK have the SEP bit (RFC 4034 §2.1.1)."""
    return ZONE_FLAG if role == "zsk" else ZONE_FLAG | SEP_FLAG


def dnskey_rdata(flags: int, algorithm: int, public: PublicKey) -> bytes:
    """Return DNSKEY RDATA in wire form (RFC 4034 §2.1)."""
    return flags.to_bytes(2) + b"\x03" + bytes([algorithm]) + _public_field(public)


def _public_field(public: PublicKey) -> bytes:
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
        length = bytes([len(exponent)]) if len(exponent) < 256 else b"\x00" + len(exponent).to_bytes(2)
        return length + exponent + numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        octets = public.curve.key_size // 8
        return point.x.to_bytes(octets) + point.y.to_bytes(octets)
    return public.public_bytes_raw()


def public_from_dnskey(dnskey: bytes) -> PublicKey:
    """Return the public key in DNSKEY RDATA; ValueError when it is malformed."""
    algorithm, field = ALGORITHMS.get(dnskey[3]), dnskey[4:]
    if algorithm is None:
        raise ValueError(f"algorithm {dnskey[3]} is not known")
    if algorithm.kind == "rsa":
        start, length = (1, field[0]) if field[0] else (3, int.from_bytes(field[1:3]))
        modulus = int.from_bytes(field[start + length :])
        return rsa.RSAPublicNumbers(int.from_bytes(field[start : start + length]), modulus).public_key()
    if algorithm.curve is not None:
        return ec.EllipticCurvePublicKey.from_encoded_point(algorithm.curve, b"\x04" + field)
    if algorithm.kind == mldsa.KIND:
        return mldsa.from_public_bytes(field)
    if algorithm.kind == "ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(field)
    return ed448.Ed448PublicKey.from_public_bytes(field)


def bits_of(public: PublicKey) -> int:
    """Key size in bits."""
    if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return public.key_size
    if mldsa.is_public(public):
        return mldsa.BITS
    return 256 if isinstance(public, ed25519.Ed25519PublicKey) else 456


def key_tag(dnskey: bytes) -> int:
    """Key tag of DNSKEY RDATA (RFC 4034 appendix B)."""
    total = sum(dnskey[0::2]) * 256 + sum(dnskey[1::2])
    return (total + (total >> 16)) & 0xFFFF


def revoked(dnskey: bytes) -> bytes:
    """Return the same RDATA with the REVOKE bit set (RFC 5011 §2.1)."""
    return dnskey[:1] + bytes([dnskey[1] | REVOKE_FLAG]) + dnskey[2:]


def tries(base: int, taken: frozenset[int]) -> int:
    """Return how many keys to make at most until one has a tag not in `taken`: `base`, more where few tags are left."""
    return base * -(-65_536 // max(1, 65_536 - len(taken)))


def tags(dnskey: bytes) -> tuple[int, int]:
    """Key tags without and with the REVOKE bit."""
    return key_tag(dnskey), key_tag(revoked(dnskey))


def fits(algorithm: Algorithm, private: PrivateKey) -> bool:
    """Whether the private key is one of `algorithm`."""
    if isinstance(private, rsa.RSAPrivateKey):
        return algorithm.kind == "rsa" and 1024 <= private.key_size <= 4096
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return algorithm.curve is not None and private.curve.name == algorithm.curve.name
    if mldsa.is_private(private):
        return algorithm.kind == mldsa.KIND
    kind = "ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else "ed448"
    return algorithm.kind == kind


def signer(algorithm: Algorithm, private: PrivateKey, *, deterministic: bool = False) -> Sign:
    """Return sign(data) giving DNSSEC wire form; `deterministic` makes ECDSA follow RFC 6979."""
    if isinstance(private, rsa.RSAPrivateKey):
        return _rsa_signer(private, algorithm)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _ecdsa_signer(private, algorithm, deterministic)
    return private.sign


def _rsa_signer(private: rsa.RSAPrivateKey, algorithm: Algorithm) -> Sign:
    assert algorithm.digest is not None
    digest, scheme, sign = algorithm.digest, padding.PKCS1v15(), private.sign
    return lambda data: sign(data, scheme, digest)


def _ecdsa_signer(private: ec.EllipticCurvePrivateKey, algorithm: Algorithm, deterministic: bool) -> Sign:
    assert algorithm.digest is not None
    scheme = ec.ECDSA(algorithm.digest, deterministic_signing=deterministic)
    sign, half = private.sign, algorithm.bits // 8

    def wire(data: bytes) -> bytes:
        der = sign(data, scheme)  # 30 len 02 len r 02 len s; every length below 128 up to P-384
        r_octets = der[3]
        r, s = der[4 : 4 + r_octets], der[6 + r_octets :]
        return r[-half:].rjust(half, b"\x00") + s[-half:].rjust(half, b"\x00")

    return wire


def verifier(dnskey: bytes) -> Verify:
    """Return verify(signature, data) for DNSKEY RDATA; it raises InvalidSignature."""
    algorithm = ALGORITHMS[dnskey[3]]
    public = public_from_dnskey(dnskey)
    if isinstance(public, rsa.RSAPublicKey):
        return _rsa_verifier(public, algorithm)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _ecdsa_verifier(public, algorithm)
    return public.verify


def _rsa_verifier(public: rsa.RSAPublicKey, algorithm: Algorithm) -> Verify:
    assert algorithm.digest is not None
    digest, scheme = algorithm.digest, padding.PKCS1v15()
    return lambda signature, data: public.verify(signature, data, scheme, digest)


def _ecdsa_verifier(public: ec.EllipticCurvePublicKey, algorithm: Algorithm) -> Verify:
    assert algorithm.digest is not None
    scheme, half = ec.ECDSA(algorithm.digest), algorithm.bits // 8

    def verify(signature: bytes, data: bytes) -> None:
        if len(signature) != 2 * half:
            raise InvalidSignature
        der = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        public.verify(der, data, scheme)

    return verify
