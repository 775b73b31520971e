"""What RDATA must be beyond its layout, so that no secondary turns the zone away: the checks dnspython lacks.

A secondary parses every RR of a transfer; one it takes for malformed keeps it on the old zone for good.
"""

import re
from collections.abc import Callable

from dnssecd.core.rdata import BadRdata, name_end

_DNS_VARIABLE = re.compile(rb"\{[^{}]*\bdns\b[^{}]*\}")

_MANDATORY, _ALPN, _NO_DEFAULT_ALPN, _PORT, _IPV4HINT, _ECH, _IPV6HINT, _DOHPATH, _OHTTP, _GROUPS = range(10)
_PVD = 11
_INVALID_KEY = 65535


def check(rtype: int, rdata: bytes) -> None:
    """Check RDATA whose layout is right (uncompressed, without RDLENGTH); raises BadRdata."""
    checker = _CHECKS.get(rtype)
    if checker is not None:
        checker(rdata)


def _svcb(rdata: bytes) -> None:
    """RFC 9460 §2.2: parameters in strictly ascending order, each of its own form."""
    position = name_end(rdata, 2)
    if not int.from_bytes(rdata[:2], "big") and position != len(rdata):
        raise BadRdata("parameters in AliasMode (RFC 9460 §2.4.2)")
    values: dict[int, bytes] = {}
    last = -1
    while position < len(rdata):
        key, end = int.from_bytes(rdata[position : position + 2], "big"), position + 4
        length = int.from_bytes(rdata[position + 2 : end], "big")
        if end > len(rdata) or end + length > len(rdata):
            raise BadRdata("a parameter of SVCB is cut short")
        if key <= last or key == _INVALID_KEY:
            raise BadRdata("parameters of SVCB are not in ascending order, or have the invalid key")
        position, last = end + length, key
        values[key] = rdata[end:position]
    for key, value in values.items():
        _svc_parameter(key, value)
    _svc_dependencies(values)


def _svc_dependencies(values: dict[int, bytes]) -> None:
    mandatory = values.get(_MANDATORY, b"")
    keys = [int.from_bytes(mandatory[i : i + 2], "big") for i in range(0, len(mandatory), 2)]
    if any(key not in values for key in keys):
        raise BadRdata("a mandatory parameter is missing (RFC 9460 §8)")
    if _NO_DEFAULT_ALPN in values and _ALPN not in values:
        raise BadRdata("no-default-alpn without alpn (RFC 9460 §7.1.1)")


def _svc_parameter(key: int, value: bytes) -> None:
    check_value = _SVC_VALUES.get(key)
    if check_value is not None and not check_value(value):
        raise BadRdata(f"SvcParam {key} has a bad value")


def _uint16_list(value: bytes) -> list[int] | None:
    """A list of one or more 16-bit numbers, None when it is none."""
    if not value or len(value) % 2:
        return None
    return [int.from_bytes(value[i : i + 2], "big") for i in range(0, len(value), 2)]


def _is_mandatory(value: bytes) -> bool:
    keys = _uint16_list(value)
    return keys is not None and 0 not in keys and keys == sorted(set(keys))


def _is_groups(value: bytes) -> bool:
    groups = _uint16_list(value)
    return groups is not None and len(set(groups)) == len(groups)


def _is_alpn(value: bytes) -> bool:
    position = 0
    while position < len(value):
        if not value[position]:
            return False
        position += 1 + value[position]
    return bool(value) and position == len(value)


def _is_ech(value: bytes) -> bool:
    """An ECHConfigList has its length in front (RFC 9849 §4)."""
    return len(value) > 4 and int.from_bytes(value[:2], "big") == len(value) - 2


def _is_dohpath(value: bytes) -> bool:
    """RFC 9461 §5: a relative URI template, in UTF-8, with the variable ``dns``."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return value.startswith(b"/") and _DNS_VARIABLE.search(value) is not None


_SVC_VALUES: dict[int, Callable[[bytes], bool]] = {
    _MANDATORY: _is_mandatory,
    _ALPN: _is_alpn,
    _NO_DEFAULT_ALPN: lambda value: not value,
    _PORT: lambda value: len(value) == 2,
    _IPV4HINT: lambda value: bool(value) and not len(value) % 4,
    _ECH: _is_ech,
    _IPV6HINT: lambda value: bool(value) and not len(value) % 16,
    _DOHPATH: _is_dohpath,
    _OHTTP: lambda value: not value,
    _GROUPS: _is_groups,
    _PVD: lambda value: not value,
}


def _naptr(rdata: bytes) -> None:
    """RFC 3402 §3.2: the regexp field is empty, or delimiter, ERE, delimiter, replacement, delimiter, flag ``i``."""
    position = 4
    for _ in range(2):
        position += 1 + rdata[position]
    regexp = rdata[position + 1 : position + 1 + rdata[position]]
    if not regexp:
        return
    delimiter = regexp[:1]
    if delimiter in b"0123456789\\i\x00" or 0 in regexp:
        raise BadRdata("a NAPTR regexp with a bad delimiter or a NUL")
    plain = re.sub(rb"\\.", b"", regexp[1:], flags=re.DOTALL)
    if plain.count(delimiter) != 2 or plain.rpartition(delimiter)[2].strip(b"i"):
        raise BadRdata("a NAPTR regexp that is not delimited in three (RFC 3402 §3.2)")


def _loc(rdata: bytes) -> None:
    """RFC 1876 §2: sizes are powers of ten with one digit; latitude and longitude within their range."""
    if len(rdata) != 16 or rdata[0]:
        raise BadRdata("LOC has the wrong length or version")
    for octet in rdata[1:4]:
        if octet >> 4 > 9 or octet & 15 > 9 or (octet & 15 and not octet >> 4):
            raise BadRdata("LOC has a bad size or precision")
    for start, degrees in ((4, 90), (8, 180)):
        if abs(int.from_bytes(rdata[start : start + 4], "big") - 2**31) > degrees * 3_600_000:
            raise BadRdata("LOC lies off the globe")


def _apl(rdata: bytes) -> None:
    """RFC 3123 §4: address families with their own bounds, no trailing zero octets."""
    position = 0
    while position < len(rdata):
        if position + 4 > len(rdata):
            raise BadRdata("an APL item is cut short")
        family, prefix, length = (
            rdata[position] << 8 | rdata[position + 1],
            rdata[position + 2],
            rdata[position + 3],
        )
        address = rdata[position + 4 : position + 4 + (length & 127)]
        position += 4 + (length & 127)
        bits = {1: 32, 2: 128}.get(family)
        if bits is not None and (prefix > bits or len(address) > bits // 8):
            raise BadRdata("an APL item has a bad prefix or address")
        if position > len(rdata) or address.endswith(b"\x00"):
            raise BadRdata("an APL address is cut short or ends in a zero octet")


def _hip(rdata: bytes) -> None:
    """RFC 8005 §5: neither HIT nor key is empty; rendezvous servers are whole names."""
    if len(rdata) < 4 or not rdata[0] or not (rdata[2] or rdata[3]):
        raise BadRdata("HIP lacks its HIT or public key")
    position = 4 + rdata[0] + (rdata[2] << 8 | rdata[3])
    if position > len(rdata):
        raise BadRdata("HIP is cut short")
    while position < len(rdata):
        position = name_end(rdata, position)


_CHECKS: dict[int, Callable[[bytes], None]] = {29: _loc, 35: _naptr, 42: _apl, 55: _hip, 64: _svcb, 65: _svcb}
