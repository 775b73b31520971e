"""NSEC3 owner names: hashing and base32hex (RFC 5155 §5, RFC 4648 §7)."""

import hashlib

_DIGITS = b"0123456789abcdefghijklmnopqrstuv"
_PAIRS = [_DIGITS[i >> 5 : (i >> 5) + 1] + _DIGITS[i & 31 : (i & 31) + 1] for i in range(1024)]
_SHIFTS = tuple(range(150, -1, -10))
_sha1 = hashlib.sha1


def nsec3_hash(wire: bytes, iterations: int = 0, salt: bytes = b"") -> bytes:
    """Return the 20-octet hash of a lower-cased wire name (RFC 5155 §5); iterations are the additional ones."""
    digest = _sha1(wire + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = _sha1(digest + salt, usedforsecurity=False).digest()
    return digest


def hash_to_owner(digest: bytes) -> bytes:
    """Return the owner key of the NSEC3 RRset for a 20-octet hash: one base32hex label below the apex."""
    number = int.from_bytes(digest, "big")
    pairs = _PAIRS
    return b"".join([pairs[number >> shift & 1023] for shift in _SHIFTS]) + b"\x00"


def owner_to_hash(owner: bytes) -> bytes:
    """Return the hash that an NSEC3 owner key stands for."""
    return int(owner[:-1], 32).to_bytes(20, "big")
