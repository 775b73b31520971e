"""Error messages for RDATA in a zone file: which field is wrong, and what to write.

This module is used only after RDATA was refused; slowlane decides which RDATA is good. Fields have the names
of the RFC of their type.
"""

import re
from binascii import Error, a2b_base64
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from dnssecd.ingest import words as zone_words
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.lexer import unescape, unquote
from dnssecd.ingest.words import shown, type_text

STRING_OCTETS_MAX = 255
#: Words of parsers about themselves, not about what is in the file.
_JARGON = re.compile(r"expect|pop from|unpack|invalid literal|argument|index|object|does not start with")
GENERIC = rb"\#"

_FORMS = {
    1: "ADDRESS:ipv4",
    2: "NAME-SERVER:name",
    5: "TARGET:name",
    6: "PRIMARY:name MAILBOX:name SERIAL:u32 REFRESH:ttl RETRY:ttl EXPIRE:ttl MINIMUM:ttl",
    11: "ADDRESS:ipv4 PROTOCOL:word SERVICE:word?",
    12: "TARGET:name",
    13: "CPU:string OS:string",
    15: "PREFERENCE:u16 MAIL-SERVER:name",
    16: "STRING:string*",
    17: "MAILBOX:name TEXT:name",
    18: "SUBTYPE:u16 HOST:name",
    19: "ADDRESS:string",
    20: "ADDRESS:string SUBADDRESS:string?",
    21: "PREFERENCE:u16 HOST:name",
    22: "ADDRESS:nsap",
    23: "TARGET:name",
    25: "FLAGS:u16 PROTOCOL:u8 ALGORITHM:word KEY:base64*",
    26: "PREFERENCE:u16 MAP822:name MAPX400:name",
    27: "LONGITUDE:decimal LATITUDE:decimal ALTITUDE:decimal",
    28: "ADDRESS:ipv6",
    29: "LATITUDE-LONGITUDE-ALTITUDE:word*",
    33: "PRIORITY:u16 WEIGHT:u16 PORT:u16 TARGET:name",
    35: "ORDER:u16 PREFERENCE:u16 FLAGS:string SERVICES:string REGEXP:string REPLACEMENT:name",
    36: "PREFERENCE:u16 EXCHANGER:name",
    37: "TYPE:word KEY-TAG:u16 ALGORITHM:word CERTIFICATE:base64*",
    39: "TARGET:name",
    42: "PREFIX:prefix?",
    43: "KEY-TAG:u16 ALGORITHM:word DIGEST-TYPE:u8 DIGEST:hex*",
    44: "ALGORITHM:u8 TYPE:u8 FINGERPRINT:hex*",
    45: "PRECEDENCE:u8 GATEWAY-TYPE:u8 ALGORITHM:u8 GATEWAY:word KEY:base64?",
    48: "FLAGS:u16 PROTOCOL:u8 ALGORITHM:word KEY:base64*",
    49: "DATA:base64*",
    52: "USAGE:word SELECTOR:word MATCHING-TYPE:word DATA:hex*",
    53: "USAGE:word SELECTOR:word MATCHING-TYPE:word DATA:hex*",
    55: "ALGORITHM:u8 HIT:hex KEY:base64 SERVER:name?",
    59: "KEY-TAG:u16 ALGORITHM:word DIGEST-TYPE:u8 DIGEST:hex*",
    60: "FLAGS:u16 PROTOCOL:u8 ALGORITHM:word KEY:base64*",
    61: "KEY:base64*",
    62: "SERIAL:u32 FLAGS:u16 TYPE:word?",
    64: "PRIORITY:u16 TARGET:name PARAMETER:svcparam?",
    65: "PRIORITY:u16 TARGET:name PARAMETER:svcparam?",
    99: "STRING:string*",
    104: "PREFERENCE:u16 NODE:word",
    105: "PREFERENCE:u16 ADDRESS:ipv4",
    106: "PREFERENCE:u16 LOCATOR:word",
    107: "PREFERENCE:u16 HOST:name",
    108: "ADDRESS:eui48",
    109: "ADDRESS:eui64",
    256: "PRIORITY:u16 WEIGHT:u16 TARGET:string",
    257: "FLAGS:u8 TAG:string VALUE:string",
    260: "PRECEDENCE:u8 DISCOVERY:u8 TYPE:u8 RELAY:word",
}


class _Field(NamedTuple):
    """One field: ``many`` "*" takes one or more words, "?" any number, "" exactly one."""

    name: str
    kind: str
    many: str


def _fields(rtype: int) -> list[_Field]:
    out = []
    for word in _FORMS.get(rtype, "").split():
        name, kind = word.split(":")
        many = kind[-1] if kind[-1] in "*?" else ""
        out.append(_Field(name, kind.rstrip("*?"), many))
    return out


def refused(rtype: int, given: list[bytes], reason: str) -> RecordError:
    """Return the error for refused RDATA; ``reason`` is the parser's message, used if no field is found to be wrong."""
    text = shown(b" ".join(given))
    what, remedy = _generic(given, reason) if given[:1] == [GENERIC] else _worded(rtype, given)
    return RecordError(f"bad {type_text(rtype)} RDATA {text}: {what or _in_words(reason)}", remedy)


def _in_words(reason: str) -> str:
    return "it does not have the form of this type" if _JARGON.search(reason) else reason


def _worded(rtype: int, given: list[bytes]) -> tuple[str, str]:
    fields = _fields(rtype)
    if not fields:
        return "", "see the RFC of the type, or write the generic form of RFC 3597: \\# LENGTH HEX"
    form = " ".join(field.name + ("…" if field.many else "") for field in fields)
    remedy = f"write {type_text(rtype)} {form}"
    for position, field in enumerate(fields):
        taken = given[position:] if field.many else given[position : position + 1]
        if not taken and field.many != "?":
            return f"{field.name} is missing", remedy
        for word in taken:
            fault = _FAULTS[field.kind](word)
            if fault:
                return f"{field.name} {shown(word)} {fault}", _REMEDIES.get(field.kind, remedy)
        if field.many and field.kind in _JOINED and (fault := _JOINED[field.kind](b"".join(taken))):
            return f"{field.name} {fault}", remedy
    if not fields[-1].many and len(given) > len(fields):
        more = given[len(fields) :]
        count = "a word" if len(more) == 1 else f"{len(more)} words"
        return f"{count} too many: {shown(b' '.join(more))}", remedy
    return "", remedy


def _generic(given: list[bytes], reason: str) -> tuple[str, str]:
    r"""RFC 3597 §5: ``\# LENGTH HEX``."""
    remedy = "write \\# LENGTH HEX, or the fields of the type in words"
    try:
        size = int(given[1])
        data = bytes.fromhex(b"".join(given[2:]).decode("ascii"))
    except (IndexError, ValueError):
        return "the generic form has a length and hexadecimal digits", remedy
    if size != len(data):
        return f"the length is {size}, but there are {len(data)} octets", remedy
    if "pointer" in reason:
        return "a name in it is compressed, which is allowed only in messages (RFC 3597 §4)", remedy
    return "these octets are not RDATA of this type", remedy


def _number(most: int) -> Callable[[bytes], str]:
    def fault(word: bytes) -> str:
        good = word.isdigit() and len(word) <= 10 and int(word) <= most
        return "" if good else f"is not a number from 0 to {most}"

    return fault


def _ttl(word: bytes) -> str:
    return (
        "" if zone_words.ttl(word) is not None else "is not a time in seconds, or a number with w, d, h, m, s"
    )


def _name(word: bytes) -> str:
    try:
        zone_words.name_wire(word, b"\x00")
    except RecordError as error:
        return f"is not a name: {error.cause}"
    return ""


def _ipv4(word: bytes) -> str:
    try:
        IPv4Address(word.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return "is not an IPv4 address"
    return ""


def _ipv6(word: bytes) -> str:
    try:
        address = IPv6Address(word.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        return "is not an IPv6 address"
    return "has a zone index, which is not allowed in a zone file" if address.scope_id else ""


def _string(word: bytes) -> str:
    size = len(unescape(unquote(word)))
    return (
        ""
        if size <= STRING_OCTETS_MAX
        else f"has {size} octets, at most {STRING_OCTETS_MAX} fit in one string"
    )


def _decimal(word: bytes) -> str:
    return "" if re.fullmatch(rb'"?[+-]?\d+(?:\.\d*)?"?', word) else "is not a number (RFC 1712 §3)"


def _eui(octets: int) -> Callable[[bytes], str]:
    pattern = re.compile(rb"[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){%d}" % (octets - 1))
    example = "-".join(["xx"] * octets)
    return lambda word: "" if pattern.fullmatch(word) else f"is not {octets} octets written as {example}"


def _nsap(word: bytes) -> str:
    return (
        "" if re.fullmatch(rb"0[xX][0-9a-fA-F.]+", word) else "is not 0x and hexadecimal digits (RFC 1706 §5)"
    )


def _prefix(word: bytes) -> str:
    good = re.fullmatch(rb"!?\d+:[0-9a-fA-F.:]+/\d+", word)
    return "" if good else "is not FAMILY:ADDRESS/LENGTH, as in 1:192.0.2.0/24 (RFC 3123 §5)"


def _hex(word: bytes) -> str:
    return "" if re.fullmatch(rb"[0-9a-fA-F]*", word) else "is not hexadecimal"


def _hex_whole(word: bytes) -> str:
    return "has an odd number of hexadecimal digits" if len(word) % 2 else ""


def _base64(word: bytes) -> str:
    return "" if re.fullmatch(rb"[0-9A-Za-z+/=]*", word) else "is not base64"


def _base64_whole(word: bytes) -> str:
    try:
        a2b_base64(word, strict_mode=True)
    except Error as error:
        return f"is not base64: {error}"
    return ""


def _svcparam(word: bytes) -> str:
    name, equals, value = word.partition(b"=")
    if name == b"ech" and equals:
        fault = _base64_whole(unescape(unquote(value)))
        return fault and f"has a value that {fault}"
    return ""


def _any(_word: bytes) -> str:
    return ""


_FAULTS: dict[str, Callable[[bytes], str]] = {
    "u8": _number(255), "u16": _number(65535), "u32": _number(2**32 - 1), "ttl": _ttl, "name": _name,
    "ipv4": _ipv4, "ipv6": _ipv6, "string": _string, "decimal": _decimal, "eui48": _eui(6), "eui64": _eui(8),
    "hex": _hex, "base64": _base64, "svcparam": _svcparam, "nsap": _nsap, "prefix": _prefix,
    "word": _any,
}  # fmt: skip
#: Checks of all words of the last field together.
_JOINED: dict[str, Callable[[bytes], str]] = {"hex": _hex_whole, "base64": _base64_whole}
_REMEDIES = {"string": 'split it into several: "…" "…"'}
