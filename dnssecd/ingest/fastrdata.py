"""Fast parsers of common RDATA from plain words, to packed canonical form; see fastlane.

Each parser takes the zone's PlainWords, the words of the line, the index where the RDATA begins, the line
itself, and the owner key. It raises one of DECLINED, or OSError for an address, if the words are not plain or
are wrong.
"""

import re
from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_pton

from dnssecd.ingest.limits import RDATA_MAX
from dnssecd.ingest.plainwords import PlainWords, uint

Parser = Callable[[PlainWords, list[bytes], int, bytes, bytes], bytes]

_DIGEST_LENGTHS = {b"1": 20, b"2": 32, b"4": 48}
_SOA_TIMES = 4
_TLSA_LENGTHS = {1: 32, 2: 64}
_STRING = rb'(?:"[ !#-\[\]-~]{0,255}"|[!#-\x27*-:<-\[\]-~]{1,255})'
_STRINGS = re.compile(_STRING + rb"(?:[ \t]+" + _STRING + rb")*[ \t]*")
_ONE_STRING = re.compile(_STRING)
_CAA_TAG = re.compile(rb"[A-Za-z0-9]{1,255}")


def pack_one(rdata: bytes) -> bytes:
    """Return RDATA with its length in front."""
    if len(rdata) > RDATA_MAX:
        raise ValueError
    return len(rdata).to_bytes(2, "big") + rdata


def _one_name(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    (word,) = fields[at:]
    return plain.name_rdata(word)


def _a(_plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    (word,) = fields[at:]
    return b"\x00\x04" + inet_pton(AF_INET, word.decode("ascii"))


def _aaaa(_plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    (word,) = fields[at:]
    return b"\x00\x10" + inet_pton(AF_INET6, word.decode("ascii"))


def _mx(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    preference, word = fields[at:]
    return pack_one(plain.uint16(preference) + plain.name_rdata(word)[2:])


def _srv(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    priority, weight, port, word = fields[at:]
    numbers = plain.uint16(priority) + plain.uint16(weight) + plain.uint16(port)
    return pack_one(numbers + plain.name_rdata(word)[2:])


def _soa(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    primary, mailbox, serial, *times = fields[at:]
    if len(times) != _SOA_TIMES:
        raise ValueError
    names = plain.name(primary) + plain.name(mailbox)
    numbers = uint(serial, 2**32 - 1), *[uint(word, 2**31 - 1) for word in times]
    return pack_one(names + b"".join([number.to_bytes(4, "big") for number in numbers]))


def _ds(plain: PlainWords, fields: list[bytes], at: int, _text: bytes, owner: bytes) -> bytes:
    tag, algorithm, kind = fields[at : at + 3]
    digest = bytes.fromhex(b"".join(fields[at + 3 :]).decode("ascii"))
    if len(digest) != _DIGEST_LENGTHS[kind] or not owner:
        raise ValueError
    return pack_one(plain.uint16(tag) + bytes((uint(algorithm, 255), int(kind))) + digest)


def _txt(_plain: PlainWords, _fields: list[bytes], at: int, text: bytes, _owner: bytes) -> bytes:
    strings = text.split(None, at)[at]
    if not _STRINGS.fullmatch(strings):
        raise ValueError
    inside = [string.strip(b'"') for string in _ONE_STRING.findall(strings)]
    return pack_one(b"".join([bytes((len(string),)) + string for string in inside]))


def _caa(_plain: PlainWords, _fields: list[bytes], at: int, text: bytes, _owner: bytes) -> bytes:
    flags, tag, value = text.split(None, at + 2)[at:]
    value = value.rstrip(b" \t")
    if not (_CAA_TAG.fullmatch(tag) and _ONE_STRING.fullmatch(value)):
        raise ValueError
    return pack_one(bytes((uint(flags, 255), len(tag))) + tag + value.strip(b'"'))


def _tlsa(_plain: PlainWords, fields: list[bytes], at: int, _text: bytes, _owner: bytes) -> bytes:
    usage, selector, matching = [uint(word, 255) for word in fields[at : at + 3]]
    data = bytes.fromhex(b"".join(fields[at + 3 :]).decode("ascii"))
    if len(data) != _TLSA_LENGTHS[matching]:
        raise ValueError
    return pack_one(bytes((usage, selector, matching)) + data)


PARSERS: dict[int, Parser] = {
    1: _a, 2: _one_name, 5: _one_name, 12: _one_name, 15: _mx, 16: _txt, 28: _aaaa, 33: _srv, 39: _one_name,
    43: _ds, 52: _tlsa, 257: _caa,
}  # fmt: skip
#: Types of which a zone has one record: the reader takes its line, to check what it is for the zone.
SINGLE: dict[int, Parser] = {6: _soa}
