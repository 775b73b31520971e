"""SVCB and HTTPS (RFC 9460): the parameters and checks that dnspython does not have."""

import re
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


def prepare(words: list[bytes]) -> list[bytes]:
    """Return the words of a record's RDATA with parameters unknown to dnspython as keyNNNNN; RecordError."""
    if len(words) > 2 and words[0].isdigit() and not int(words[0]):
        cause = "parameters in AliasMode (priority 0): every client ignores them (RFC 9460 §2.4.2)"
        raise RecordError(cause, "remove them, or use a priority above 0")
    return words[:2] + [_parameter(word) for word in words[2:]]


def check(rdata: bytes) -> None:
    """Check RDATA in wire form; raises RecordError."""
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
        cause = f"dohpath {shown(value)} is no path with the variable dns (RFC 9461 §5)"
        raise RecordError(cause, "write something like dohpath=/dns-query{?dns}")


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
        raise RecordError("tls-supported-groups names a group twice")
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
