"""Parsers for types whose text dnspython does not read, or reads more strictly than BIND, Knot and NSD do.

Text that all of them accept is accepted here too; core.dns.rdata_oddities warns if it is odd.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from socket import AF_INET6, inet_pton

import dns.exception
import dns.name

from dnssecd.ingest.lexer import unescape, unquote
from dnssecd.ingest.plainwords import uint

#: Takes the words after the type and the wire origin; raises one of WRONG.
TextForm = Callable[[list[bytes], bytes], bytes]

WRONG = (ValueError, IndexError, OSError, dns.exception.DNSException)

_OCTET, _SHORT, _LONG = 255, 2**16 - 1, 2**32 - 1
_STRING_MAX = 255
_A6_BITS = 128


def _names(number: int) -> TextForm:
    """Return a form of this number of names."""

    def form(words: list[bytes], origin: bytes) -> bytes:
        if len(words) != number:
            raise ValueError(f"write {number} name(s)")
        return b"".join([_name(word, origin) for word in words])

    return form


def _name(word: bytes, origin: bytes) -> bytes:
    return dns.name.from_text(word.decode("ascii"), dns.name.from_wire(origin, 0)[0]).to_wire() or b""


def _string(word: bytes) -> bytes:
    octets = unescape(unquote(word))
    if len(octets) > _STRING_MAX:
        raise ValueError(f"a string of {len(octets)} octets; at most {_STRING_MAX} are allowed: split it")
    return bytes((len(octets),)) + octets


def _hex(words: list[bytes]) -> bytes:
    octets = bytes.fromhex(b"".join(words).decode("ascii"))
    if not octets:
        raise ValueError("write octets in hex")
    return octets


def _base64(words: list[bytes]) -> bytes:
    try:
        return b64decode(b"".join(words), validate=True)
    except NotBase64 as error:
        raise ValueError(f"not base64: {error}") from None


def _numbers(words: list[bytes], *bounds: int) -> bytes:
    if len(words) < len(bounds):
        raise ValueError(f"write {len(bounds)} numbers first")
    values = list(zip(words, bounds, strict=False))
    for word, bound in values:
        if not word.isdigit() or int(word[:11]) > bound:
            raise ValueError(f"{word.decode('ascii', 'replace')[:20]} is not a number from 0 to {bound}")
    return b"".join([uint(word, bound).to_bytes(bound.bit_length() // 8, "big") for word, bound in values])


def _octets_in_hex(words: list[bytes], _origin: bytes) -> bytes:
    return _hex(words)


def _gpos(words: list[bytes], _origin: bytes) -> bytes:
    """RFC 1712 §3: longitude, latitude, altitude; all servers take any three strings."""
    if len(words) != 3:
        raise ValueError("write LONGITUDE LATITUDE ALTITUDE")
    return b"".join([_string(word) for word in words])


def _atma(words: list[bytes], _origin: bytes) -> bytes:
    """ATM Name System §3: an AESA in hex, dots between octets allowed, or ``+`` and E.164 digits."""
    (word,) = words
    if word.startswith(b"+"):
        return b"\x01" + word[1:].replace(b".", b"")
    return b"\x00" + _hex([word.replace(b".", b"")])


def _a6(words: list[bytes], origin: bytes) -> bytes:
    """RFC 2874 §3.1: prefix length; the address unless that is 128; a name unless it is 0."""
    prefix = uint(words[0], _A6_BITS)
    rest = words[1:]
    suffix = b""
    if prefix < _A6_BITS:
        suffix = inet_pton(AF_INET6, rest.pop(0).decode("ascii"))[prefix // 8 :]
        suffix = bytes((suffix[0] & (0xFF >> prefix % 8),)) + suffix[1:]
    name = _name(rest.pop(0), origin) if prefix else b""
    if rest:
        raise ValueError("there are words after the end")
    return bytes((prefix,)) + suffix + name


def _sink(words: list[bytes], _origin: bytes) -> bytes:
    return _numbers(words, _OCTET, _OCTET, _OCTET) + _base64(words[3:])


def _rkey(words: list[bytes], _origin: bytes) -> bytes:
    return _numbers(words, _SHORT, _OCTET, _OCTET) + _base64(words[3:])


def _doa(words: list[bytes], _origin: bytes) -> bytes:
    if len(words) < 5:
        raise ValueError("write ENTERPRISE TYPE LOCATION MEDIA-TYPE DATA, DATA as base64 or -")
    data = b"" if words[4:] == [b"-"] else _base64(words[4:])
    return _numbers(words, _LONG, _LONG, _OCTET) + _string(words[3]) + data


def _association(words: list[bytes], _origin: bytes) -> bytes:
    """TLSA, SMIMEA (RFC 6698 §2.2); a length that does not match the matching type causes only a warning."""
    return _numbers(words, _OCTET, _OCTET, _OCTET) + _hex(words[3:])


def _locator(words: list[bytes], _origin: bytes) -> bytes:
    """NID, L64 (RFC 6742 §2.1.2): four groups of hex digits, leading zeros left out or not."""
    preference, groups = words
    parts = groups.split(b":")
    if len(parts) != 4 or not all(1 <= len(part) <= 4 for part in parts):
        raise ValueError("write four groups of one to four hex digits, with : between")
    return _numbers([preference], _SHORT) + b"".join([int(part, 16).to_bytes(2, "big") for part in parts])


#: By type.
FORMS: dict[int, TextForm] = {
    7: _names(1),  # MB
    8: _names(1),  # MG
    9: _names(1),  # MR
    14: _names(2),  # MINFO
    27: _gpos,
    31: _octets_in_hex,  # EID
    32: _octets_in_hex,  # NIMLOC
    34: _atma,
    38: _a6,
    40: _sink,
    57: _rkey,
    52: _association,  # TLSA
    53: _association,  # SMIMEA
    58: _names(2),  # TALINK
    104: _locator,  # NID
    106: _locator,  # L64
    259: _doa,
}

_CERT, _DS, _TA, _DLV, _URI = 37, 43, 32768, 32769, 256
_RESERVED_DIGEST = b"0"
#: As BIND reads them; the reserved type is replaced by one that dnspython accepts, until :func:`meant`.
_DIGEST_TYPES = {
    _RESERVED_DIGEST: b"255", b"SHA-1": b"1", b"SHA1": b"1", b"SHA-256": b"2", b"SHA256": b"2", b"GOST": b"3",
    b"SHA-384": b"4", b"SHA384": b"4",
}  # fmt: skip


def for_dnspython(rtype: int, words: list[bytes]) -> tuple[int, list[bytes]]:
    """Return type and words in a form that dnspython reads; :func:`meant` restores what that changes."""
    if rtype == _CERT:  # mnemonics of type and algorithm in any case
        return rtype, [word.upper() if place in (0, 2) else word for place, word in enumerate(words)]
    if rtype in (_DS, _TA, _DLV):
        kind = [_DIGEST_TYPES.get(word.upper(), word) for word in words[2:3]]
        return _DS, [*words[:2], *kind, *words[3:]]
    if rtype == _URI and words[2:] == [b'""']:
        return rtype, [*words[:2], b'"x"']
    return rtype, words


def meant(rtype: int, words: list[bytes], wire: bytes) -> bytes:
    """Return the RDATA that the words mean, from dnspython's result for :func:`for_dnspython`."""
    if rtype in (_DS, _TA, _DLV) and words[2] == _RESERVED_DIGEST:
        return wire[:3] + b"\x00" + wire[4:]
    if rtype == _URI and words[2:] == [b'""']:
        return wire[:4]
    return wire
