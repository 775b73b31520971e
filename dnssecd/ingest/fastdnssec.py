"""Fast parsers of DNSSEC RDATA from plain words, for signed zones; see fastrdata."""

import re
from binascii import a2b_base64
from calendar import monthrange, timegm
from functools import lru_cache

from dnssecd.ingest import words
from dnssecd.ingest.fastrdata import Parser, pack_one
from dnssecd.ingest.plainwords import PlainWords, uint

_HASH = re.compile(rb"[0-9A-Va-v]{32}")
_UINT32 = 2**32 - 1
_PRIVATEDNS = 253


def _rrsig(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    covered, algorithm, labels, ttl, expiration, inception, tag, signer = fields[at : at + 8]
    return pack_one(
        _type(covered)
        + bytes((uint(algorithm, 255), uint(labels, 255)))
        + uint(ttl, _UINT32).to_bytes(4, "big")
        + _time(expiration)
        + _time(inception)
        + plain.uint16(tag)
        + plain.name_rdata(signer)[2:]
        + _base64(fields[at + 8 :])
    )


def _dnskey(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    flags, protocol, algorithm = fields[at : at + 3]
    numbers = bytes((uint(protocol, 255), uint(algorithm, 255)))
    if numbers[1] == _PRIVATEDNS:
        raise ValueError  # its key begins with a name
    return pack_one(plain.uint16(flags) + numbers + _base64(fields[at + 3 :]))


def _nsec(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    if at + 1 == len(fields):
        raise ValueError  # no types at all
    return pack_one(plain.name_as_written(fields[at]) + _bitmap(b" ".join(fields[at + 1 :])))


def _nsec3(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    algorithm, flags, iterations, salt, following = fields[at : at + 5]
    if not _HASH.fullmatch(following):
        raise ValueError
    salt = b"" if salt == b"-" else bytes.fromhex(salt.decode("ascii"))
    head = bytes((uint(algorithm, 255), uint(flags, 255))) + plain.uint16(iterations)
    hashed = int(following, 32).to_bytes(20, "big")
    return pack_one(
        head + bytes((len(salt),)) + salt + b"\x14" + hashed + _bitmap(b" ".join(fields[at + 5 :]))
    )


def _base64(chunks: list[bytes]) -> bytes:
    decoded = a2b_base64(b"".join(chunks), strict_mode=True)
    if not decoded:
        raise ValueError
    return decoded


@lru_cache(maxsize=256)
def _type(word: bytes) -> bytes:
    rtype = words.rtype(word)
    if not rtype:
        raise ValueError
    return rtype.to_bytes(2, "big")


@lru_cache(maxsize=1024)
def _time(word: bytes) -> bytes:
    """YYYYMMDDHHMMSS, or seconds since 1970 in at most ten digits (RFC 4034 §3.2)."""
    if not word.isdigit():
        raise ValueError
    if len(word) <= 10:
        return uint(word, _UINT32).to_bytes(4, "big")
    if len(word) != 14 or not b"1970" <= word[:4] <= b"2105":
        raise ValueError
    year, rest = int(word[:4]), [int(word[i : i + 2]) for i in range(4, 14, 2)]
    month, day, hour, minute, second = rest
    if not (
        0 < month < 13 and 0 < day <= monthrange(year, month)[1] and hour < 24 and minute < 60 and second < 60
    ):
        raise ValueError
    return timegm((year, month, day, hour, minute, second)).to_bytes(4, "big")


@lru_cache(maxsize=4096)
def _bitmap(types: bytes) -> bytes:
    """Type bit maps of RFC 4034 §4.1.2 from the words of the types, separated by blanks."""
    windows: dict[int, bytearray] = {}
    for word in types.split():
        window, low = _type(word)
        octets = windows.setdefault(window, bytearray(32))
        octets[low >> 3] |= 0x80 >> (low & 7)
    out = b""
    for window, octets in sorted(windows.items()):
        used = bytes(octets).rstrip(b"\x00")
        out += bytes((window, len(used))) + used
    return out


PARSERS: dict[int, Parser] = {46: _rrsig, 47: _nsec, 48: _dnskey, 50: _nsec3}
