"""DNSKEY RRs as the verifier sees them: flags, key tag (RFC 4034 app. B) and a function that checks signatures."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha1, sha256, sha384

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from dnssecd.core.verify.wire import Malformed

#: ``verify(signature, message)`` tells whether the signature is good; it never raises.
Verify = Callable[[bytes, bytes], bool]

_RSA_HASHES: dict[int, hashes.HashAlgorithm] = {
    5: hashes.SHA1(),  # noqa: S303 - foreign zones may still use it; we never sign with it
    7: hashes.SHA1(),  # noqa: S303
    8: hashes.SHA256(),
    10: hashes.SHA512(),
}
_CURVES: dict[int, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int]] = {
    13: (ec.SECP256R1(), hashes.SHA256(), 32),
    14: (ec.SECP384R1(), hashes.SHA384(), 48),
}
_MLDSA44 = 18
_MLDSA44_KEY_OCTETS, _MLDSA44_SIGNATURE_OCTETS = 1_312, 2_420


def _loads_mldsa() -> bool:
    """Tell whether the library has ML-DSA-44: cryptography 47 and OpenSSL 3.5 have (FIPS 204)."""
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa

        mldsa.MLDSA44PublicKey.from_public_bytes(bytes(_MLDSA44_KEY_OCTETS))
    except (ImportError, UnsupportedAlgorithm):
        return False
    return True


SUPPORTED = (
    frozenset(_RSA_HASHES) | frozenset(_CURVES) | {15, 16} | ({_MLDSA44} if _loads_mldsa() else frozenset())
)

SHA1 = 1
#: By digest type of DS.
DS_DIGESTS = {SHA1: sha1, 2: sha256, 4: sha384}

#: At most this many keys of one algorithm and tag are tried for a signature.
SHARED_TAG_MAX = 8

ZONE_KEY = 0x0100
REVOKE = 0x0080
SEP = 0x0001


def key_tag(rdata: bytes) -> int:
    """Return the key tag of DNSKEY RDATA (RFC 4034 app. B; algorithm 1 is not supported)."""
    total = sum(rdata[1::2]) + (sum(rdata[0::2]) << 8)
    return (total + (total >> 16)) & 0xFFFF


class ZoneKey:
    """One DNSKEY; ``verify`` is None when the key cannot be used, ``problem`` then says why."""

    __slots__ = ("algorithm", "flags", "problem", "problem_code", "rdata", "tag", "verify")

    def __init__(self, rdata: bytes) -> None:
        """Decode DNSKEY RDATA; never raises."""
        self.rdata = rdata
        self.verify: Verify | None = None
        self.problem = ""
        self.problem_code = "dnskey-malformed"
        self.tag = key_tag(rdata)
        self.flags = int.from_bytes(rdata[:2], "big")
        self.algorithm = rdata[3] if len(rdata) > 3 else 0
        if len(rdata) < 5:
            self.problem = "DNSKEY RDATA is cut short"
        elif rdata[2] != 3:
            self.problem = f"protocol is {rdata[2]}, not 3"
        elif self.algorithm not in SUPPORTED:
            self.problem_code = "algorithm-unsupported"
            self.problem = f"algorithm {self.algorithm} cannot be checked"
        else:
            self._load(rdata[4:])

    @property
    def is_zone_key(self) -> bool:
        """Zone Key flag set (RFC 4034 §2.1.1)."""
        return bool(self.flags & ZONE_KEY)

    @property
    def is_sep(self) -> bool:
        """Secure Entry Point flag set: by convention a KSK or CSK (RFC 4034 §2.1.1)."""
        return bool(self.flags & SEP)

    @property
    def is_revoked(self) -> bool:
        """REVOKE flag set (RFC 5011 §3)."""
        return bool(self.flags & REVOKE)

    @property
    def text(self) -> str:
        """Algorithm and tag, for messages."""
        return f"key {self.tag} (algorithm {self.algorithm})"

    def _load(self, material: bytes) -> None:
        try:
            self.verify = load_public_key(self.algorithm, material)
        except (ValueError, ArithmeticError, OverflowError) as error:
            self.problem = f"public key of algorithm {self.algorithm} cannot be decoded: {error}"


@lru_cache(maxsize=256)
def load_public_key(algorithm: int, material: bytes) -> Verify:
    """Return the checking function of a public key in DNSKEY form; raises ValueError."""
    if algorithm in _RSA_HASHES:
        return _rsa(_RSA_HASHES[algorithm], material)
    if algorithm in _CURVES:
        return _ecdsa(*_CURVES[algorithm], material)
    if algorithm == 15:
        return _eddsa(ed25519.Ed25519PublicKey.from_public_bytes(material), 64)
    if algorithm == 16:
        return _eddsa(ed448.Ed448PublicKey.from_public_bytes(material), 114)
    if algorithm == _MLDSA44 and _MLDSA44 in SUPPORTED:
        return _mldsa44(material)
    raise Malformed(f"algorithm {algorithm} is not supported")


def _rsa(digest: hashes.HashAlgorithm, material: bytes) -> Verify:
    if len(material) < 3:
        raise Malformed("too short")
    length, start = (material[0], 1) if material[0] else (material[1] << 8 | material[2], 3)
    exponent = int.from_bytes(material[start : start + length], "big")
    modulus_bytes = material[start + length :].lstrip(b"\0")
    modulus = int.from_bytes(modulus_bytes, "big")
    if exponent < 3 or len(modulus_bytes) < 64 or len(modulus_bytes) > 1024:
        raise Malformed("modulus or exponent out of range (RFC 3110, RFC 5702)")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    scheme = padding.PKCS1v15()

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(signature, message, scheme, digest)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _ecdsa(curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, size: int, material: bytes) -> Verify:
    if len(material) != 2 * size:
        raise Malformed(f"{len(material)} octets instead of {2 * size} (RFC 6605 §4)")
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + material)
    method = ec.ECDSA(digest)
    check = key.verify

    def verify(signature: bytes, message: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        try:
            check(_der(signature, size), message, method)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _der(signature: bytes, size: int) -> bytes:
    """Return r || s as the ASN.1 SEQUENCE of two INTEGERs; short forms only, sizes up to 48 octets each."""
    r, s = signature[:size].lstrip(b"\0"), signature[size:].lstrip(b"\0")
    if not r or r[0] & 128:
        r = b"\0" + r
    if not s or s[0] & 128:
        s = b"\0" + s
    return bytes((48, len(r) + len(s) + 4, 2, len(r))) + r + bytes((2, len(s))) + s


def _eddsa(key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey, size: int) -> Verify:
    return _of_size(key.verify, size)


def _mldsa44(material: bytes) -> Verify:
    """Pure ML-DSA-44 with an empty context (draft-westerbaan-dnssec-mldsa)."""
    from cryptography.hazmat.primitives.asymmetric import mldsa

    if len(material) != _MLDSA44_KEY_OCTETS:
        raise Malformed(f"{len(material)} octets instead of {_MLDSA44_KEY_OCTETS} (FIPS 204)")
    return _of_size(mldsa.MLDSA44PublicKey.from_public_bytes(material).verify, _MLDSA44_SIGNATURE_OCTETS)


def _of_size(check: Callable[[bytes, bytes], None], size: int) -> Verify:
    """Return the checking function for signatures of one size, which go to the library as they are."""

    def verify(signature: bytes, message: bytes) -> bool:
        if len(signature) != size:
            return False
        try:
            check(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


class KeyRing:
    """The keys that may sign: those of the DNSKEY RRset, and keys known but not published."""

    def __init__(self, published: Iterable[bytes], unpublished: Iterable[bytes] = ()) -> None:
        self.published = [ZoneKey(rdata) for rdata in published]
        self._by_tag: dict[tuple[int, int], list[ZoneKey]] = {}
        for key in [*self.published, *(ZoneKey(rdata) for rdata in unpublished)]:
            bucket = self._by_tag.setdefault((key.algorithm, key.tag), [])
            if all(other.rdata != key.rdata for other in bucket):
                bucket.append(key)

    def find(self, algorithm: int, tag: int) -> list[ZoneKey]:
        """Return the keys of this algorithm and tag; tags are not unique, so there may be several.

        At most SHARED_TAG_MAX of them: with keys made to collide, the cost is keys times signatures
        (CVE-2023-50387).
        """
        return self._by_tag.get((algorithm, tag), [])[:SHARED_TAG_MAX]

    def shared_tags(self) -> list[tuple[int, int]]:
        """Return each (algorithm, tag) that several keys have."""
        return sorted(place for place, keys in self._by_tag.items() if len(keys) > 1)

    @property
    def is_crowded(self) -> bool:
        """Tell whether more keys share a tag than are tried."""
        return any(len(keys) > SHARED_TAG_MAX for keys in self._by_tag.values())

    @property
    def algorithms(self) -> frozenset[int]:
        """Algorithms every RRset must be signed with: those of unrevoked zone keys in the DNSKEY RRset."""
        return frozenset(key.algorithm for key in self.published if key.is_zone_key and not key.is_revoked)


def ds_matches(ds: bytes, owner_wire: bytes, dnskey: bytes) -> bool | None:
    """Tell whether DS (or CDS) RDATA is of this DNSKEY RDATA; None when the digest type is unknown."""
    if len(ds) < 5 or len(dnskey) < 4:
        return False
    if int.from_bytes(ds[:2], "big") != key_tag(dnskey) or ds[2] != dnskey[3]:
        return False
    digest = DS_DIGESTS.get(ds[3])
    if digest is None:
        return None
    return digest(owner_wire + dnskey).digest() == ds[4:]
