"""Parse the words before the RDATA: names, TTLs, classes and types, as written in zone files."""

import re

import dns.rdatatype

from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrtypes import CLASS_IN
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.lexer import unescape

TTL_MAX = 2**31 - 1

_TTL = re.compile(rb"(?:\d+[wdhms])+|\d+", re.IGNORECASE)
_TTL_PART = re.compile(rb"(\d+)([wdhms]?)", re.IGNORECASE)
_LABEL_PIECE = re.compile(rb"[^.\\]+|\\.|\.", re.DOTALL)
_TTL_UNITS = {b"w": 604800, b"d": 86400, b"h": 3600, b"m": 60, b"s": 1, b"": 1}

#: Mnemonics that dnspython does not know (IANA, "Resource Record (RR) TYPEs").
_MORE_TYPES = {
    b"EID": 31, b"NIMLOC": 32, b"ATMA": 34, b"SINK": 40, b"RKEY": 57, b"TALINK": 58, b"HHIT": 67, b"BRID": 68,
    b"UINFO": 100, b"UID": 101, b"GID": 102, b"UNSPEC": 103, b"DOA": 259, b"CLA": 263, b"IPN": 264,
    b"KEYDATA": 65533,
}  # fmt: skip

TYPES: dict[bytes, int] = {
    **_MORE_TYPES,
    **{kind.name.replace("_", "-").encode(): int(kind) for kind in dns.rdatatype.RdataType if kind},
}

_CLASSES = {b"IN": 1, b"CS": 2, b"CH": 3, b"CHAOS": 3, b"HS": 4, b"HESIOD": 4, b"NONE": 254, b"ANY": 255}

#: OPT and the range that IANA reserves for question and meta types (RFC 6895 §3.1): never zone data.
META_TYPES = frozenset({0, 41, *range(128, 256)})


def type_text(rtype: int) -> str:
    """Return the mnemonic of a type, or TYPEnnn (RFC 3597 §5)."""
    return _TYPE_TEXTS.get(rtype) or f"TYPE{rtype}"


_TYPE_TEXTS = {number: word.decode() for word, number in TYPES.items()}


def name_wire(word: bytes, origin: bytes) -> bytes:
    """Return the lower-cased wire form of a name as written, relative to wire name ``origin``; RecordError."""
    if word == b"@":
        return origin
    if word == b".":
        return b"\x00"
    parts = _split_labels(word)
    absolute = not parts[-1]
    if absolute:
        parts.pop()
    out = bytearray()
    for part in parts:
        label = unescape(part)
        if not 0 < len(label) < 64:
            cause = "has an empty label" if not label else "has a label longer than 63 octets"
            raise RecordError(f"the name {shown(word)} {cause}")
        out.append(len(label))
        out += label
    out += b"\x00" if absolute else origin
    if len(out) > 255:
        raise RecordError(f"the name {shown(word)} is longer than 255 octets")
    return lower(bytes(out))


def _split_labels(word: bytes) -> list[bytes]:
    if b"\\" not in word and b'"' not in word:
        return word.split(b".")
    parts = [b""]
    for piece in _LABEL_PIECE.findall(word):
        if piece == b".":
            parts.append(b"")
        elif b'"' in piece and piece[0] != 0x5C:
            raise RecordError(f"a quoted string instead of a name: {shown(word)}")
        else:
            parts[-1] += piece
    return parts


def shown(word: bytes) -> str:
    """Return a word for a message, cut at 60 characters."""
    text = word.decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:57] + "...")[1:-1]


def ttl(word: bytes) -> int | None:
    """Return the TTL (seconds) that a word means, with BIND's units, or None if it is not one; raise RecordError."""
    if not _TTL.fullmatch(word):
        return None
    seconds = sum(int(number) * _TTL_UNITS[unit.lower()] for number, unit in _TTL_PART.findall(word[:256]))
    if seconds > TTL_MAX:
        raise RecordError(f"TTL {shown(word)} exceeds {TTL_MAX} (RFC 2181 §8)", "lower it")
    return seconds


def rclass(word: bytes) -> int | None:
    """Return the class that a word means, or None."""
    upper = word.upper()
    if upper.startswith(b"CLASS") and upper[5:].isdigit():
        return int(upper[5:11])
    return _CLASSES.get(upper)


def rtype(word: bytes) -> int | None:
    """Return the type that a word means, or None."""
    upper = word.upper()
    known = TYPES.get(upper)
    if known is None and upper.startswith(b"TYPE") and upper[4:].isdigit() and int(upper[4:10]) < 65536:
        return int(upper[4:10])
    return known


def ttl_class_type(rest: list[bytes]) -> tuple[int | None, int, int]:
    """Return the TTL if one is stated, the type, and where the RDATA begins; TTL and class may be in any order."""
    seconds = number = None
    for position, word in enumerate(rest):
        if number is None and (number := rclass(word)) is not None:
            if number != CLASS_IN:
                raise RecordError(f"class {shown(word)} in a zone of class IN", "write IN, or leave it out")
        elif seconds is None and (seconds := ttl(word)) is not None:
            continue
        else:
            return seconds, _zone_type(word), position + 1
    raise RecordError("the record ends before its type", "write OWNER [TTL] [IN] TYPE RDATA")


def is_tsig(rest: list[bytes]) -> bool:
    """Tell whether the words after an owner are a TSIG record of class ANY, which belongs to a message, not a zone."""
    for position, word in enumerate(rest[:3]):
        if word.upper() == b"TSIG":
            return any(before.upper() == b"ANY" for before in rest[:position])
    return False


def _zone_type(word: bytes) -> int:
    number = rtype(word)
    if number is None:
        raise RecordError(f"unknown type {shown(word)}", "write an unknown type as TYPEnnn (RFC 3597)")
    if number in META_TYPES:
        raise RecordError(f"type {type_text(number)} cannot be in a zone")
    return number
