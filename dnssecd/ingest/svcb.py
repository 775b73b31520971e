"""SVCB and HTTPS (RFC 9460): the parameters and checks that dnspython does not have."""

import re
from base64 import b64decode
from collections.abc import Callable

from dnssecd.core.dns.rdata import name_end
from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.lexer import unescape, unquote
from dnssecd.ingest.words import shown

TYPES = frozenset({64, 65})

_KNOWN = frozenset({"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath"} | {
    "ohttp", "docpath"})  # fmt: skip
_DOHPATH = 7
_DNS_VARIABLE = re.compile(r"\{[^{}]*\bdns\b[^{}]*\}")


#: Restores in dnspython's RDATA what the words say.
Restore = Callable[[bytes], bytes]

_ECH = 5
#: An ECHConfigList that dnspython accepts; the value from the words then replaces it.
_ANY_ECH = b'ech="AAQAAAAA"'


def prepare(words: list[bytes]) -> tuple[list[bytes], Restore]:
    """Return words that dnspython reads, with unknown parameters as keyNNNNN, and the function that undoes changes.

    Raises RecordError, ValueError.

    dnspython refuses parameters in AliasMode and an ``ech`` that is not an ECHConfigList, but all servers
    accept them.
    """
    alias = len(words) > 2 and words[0].isdigit() and not int(words[0])
    ech = next((word for word in words[2:] if word.startswith(b"ech=")), None)
    given = [b"1" if alias else word for word in words[:1]] + words[1:2]
    given += [_ANY_ECH if word is ech else _parameter(word) for word in words[2:]]
    value = None if ech is None else b64decode(unquote(ech.partition(b"=")[2]), validate=True)

    def restore(wire: bytes) -> bytes:
        head = bytes(2) if alias else wire[:2]
        return head + (wire[2:] if value is None else _with_ech(wire, value))

    return given, restore


def _with_ech(wire: bytes, value: bytes) -> bytes:
    """Return RDATA without its priority, with another value of ech."""
    position = name_end(wire, 2)
    while int.from_bytes(wire[position : position + 2], "big") != _ECH:
        position += 4 + int.from_bytes(wire[position + 2 : position + 4], "big")
    after = position + 4 + int.from_bytes(wire[position + 2 : position + 4], "big")
    return wire[2 : position + 2] + len(value).to_bytes(2, "big") + value + wire[after:]


def check(rdata: bytes) -> None:
    """Check RDATA in wire form; raise RecordError."""
    position = name_end(rdata, 2)
    while position + 4 <= len(rdata):
        key, length = (
            int.from_bytes(rdata[position : position + 2], "big"),
            rdata[position + 2 : position + 4],
        )
        position += 4 + int.from_bytes(length, "big")
        if key == _DOHPATH:
            _check_dohpath(rdata[position - int.from_bytes(length, "big") : position])


def _check_dohpath(value: bytes) -> None:
    """RFC 9461 §5: a relative URI template, in UTF-8, with the variable ``dns``."""
    try:
        template = value.decode()
    except UnicodeDecodeError:
        template = ""
    if not template.startswith("/") or not _DNS_VARIABLE.search(template):
        cause = f"dohpath {shown(value)} is not a path with the variable dns (RFC 9461 §5)"
        raise RecordError(cause, "write for example dohpath=/dns-query{?dns}")


def _parameter(word: bytes) -> bytes:
    name, equals, value = word.partition(b"=")
    key = name.decode("ascii", "replace")
    if key in _ENCODERS:
        number, encode = _ENCODERS[key]
        return b'key%d="%s"' % (
            number,
            b"".join([b"\\%03d" % octet for octet in encode(unescape(unquote(value)))]),
        )
    if key == "mandatory" and equals:
        return name + equals + _mandatory(value)
    if key not in _KNOWN and not re.fullmatch(r"key\d+", key):
        raise RecordError(f"unknown SvcParamKey {shown(name)}", "write it as keyNNNNN")
    return word


def _mandatory(value: bytes) -> bytes:
    """Return the list of mandatory keys with names unknown to dnspython as keyNNNNN."""
    names = unquote(value).split(b",")
    known = [
        b"key%d" % _ENCODERS[word.decode()][0] if word.decode("latin-1") in _ENCODERS else word
        for word in names
    ]
    return b'"' + b",".join(known) + b'"' if value.startswith(b'"') else b",".join(known)


def _groups(value: bytes) -> bytes:
    """tls-supported-groups: a list of distinct 16-bit numbers."""
    numbers = value.split(b",")
    if not all(number.isdigit() and len(number) <= 5 and int(number) < 65536 for number in numbers):
        raise RecordError("tls-supported-groups takes a list of numbers from 0 to 65535")
    groups = [int(number) for number in numbers]
    if len(set(groups)) < len(groups):
        raise RecordError("tls-supported-groups contains a group twice")
    return b"".join([group.to_bytes(2, "big") for group in groups])


def _nothing(value: bytes) -> bytes:
    if value:
        raise RecordError("pvd takes no value")
    return value


#: Key number and encoder of the value, by name (IANA, "Service Parameter Keys").
_ENCODERS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "tls-supported-groups": (9, _groups),
    "pvd": (11, _nothing),
}
