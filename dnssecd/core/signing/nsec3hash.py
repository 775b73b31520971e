"""NSEC3 owner names: hashing and base32hex (RFC 5155 §5, RFC 4648 §7)."""

import hashlib
from collections.abc import Iterator, Sequence

HASH_OCTETS = 20

_DIGITS = b"0123456789abcdefghijklmnopqrstuv"
_PAIRS = [_DIGITS[i >> 5 : (i >> 5) + 1] + _DIGITS[i & 31 : (i & 31) + 1] for i in range(1024)]
_SHIFTS = tuple(range(150, -1, -10))
_sha1 = hashlib.sha1

_AT_ONCE = 128
_DIGIT_OF = _DIGITS + bytes(224)


def _in_every_lane(mask: int) -> int:
    return int.from_bytes(mask.to_bytes(8, "big") * 4 * _AT_ONCE, "big")


#: Masks of the lower and the upper halves, and how far the upper ones move: 40 bits to 20, 10 and 5.
_HALVES = tuple(
    (_in_every_lane(low), _in_every_lane(high), shift)
    for low, high, shift in (
        (0xFFFFF, 0xFFFFF << 20, 12),
        (0x000003FF000003FF, 0x000FFC00000FFC00, 6),
        (0x001F001F001F001F, 0x03E003E003E003E0, 3),
    )
)


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


def hashes_to_owners(digests: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the owner key for each of many 20-octet hashes, as :func:`hash_to_owner` gives it, a hundred at once."""
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        lanes = _spread(b"".join(some))
        for at in range(0, len(lanes), 32):
            yield lanes[at : at + 32] + b"\x00"


def _spread(octets: bytes) -> bytes:
    """Return whole groups of five octets (at most 4 * _AT_ONCE) in base32hex, one digit in each octet.

    Each group of 40 bits lies in a lane of 64; halves move apart until every octet holds five bits.
    """
    lanes = bytearray(len(octets) // 5 * 8)
    for place in range(5):
        lanes[3 + place :: 8] = octets[place::5]
    bits = int.from_bytes(lanes, "big")
    for low, high, shift in _HALVES:
        bits = bits & low | (bits & high) << shift
    return bits.to_bytes(len(lanes), "big").translate(_DIGIT_OF)


def owner_to_hash(owner: bytes) -> bytes:
    """Return the hash that an NSEC3 owner key stands for."""
    return int(owner[:-1], 32).to_bytes(20, "big")
