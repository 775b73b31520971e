"""Checks of RDATA beyond its layout, so that no secondary refuses the zone: the checks that dnspython lacks.

A secondary parses every RR of a transfer; if it refuses one RR, it keeps the old zone. RDATA that BIND, Knot
and NSD all accept is accepted here, even if it breaks an RFC; core.dns.rdata_oddities warns of it.
"""

import re
from collections.abc import Callable

from dnssecd.core.dns.naptr import is_substitution
from dnssecd.core.dns.rdata import BadRdata, name_end

#: An expression of RFC 6570 §2.2, without its operator, and the variables in it.
_EXPRESSION = re.compile(rb"\{[+#./;?&]?([^{}]*)\}")
_VARIABLE = re.compile(rb"[\w.%]+(?:\*|:[1-9]\d{0,3})?")
_DNS_VARIABLE = re.compile(rb"dns(?:\*|:[1-9]\d{0,3})?")

_MANDATORY, _ALPN, _NO_DEFAULT_ALPN, _PORT, _IPV4HINT, _, _IPV6HINT, _DOHPATH, _OHTTP, _GROUPS = range(10)
_PVD = 11
_INVALID_KEY = 65535
_PRIVATEDNS = 253
_DIGEST_LENGTHS = {1: 20, 2: 32, 4: 48}


def check(rtype: int, rdata: bytes) -> None:
    """Check RDATA whose layout is right (uncompressed, without RDLENGTH); raise BadRdata."""
    checker = _CHECKS.get(rtype)
    if checker is not None:
        checker(rdata)


def _svcb(rdata: bytes) -> None:
    """RFC 9460 §2.2: parameters in strictly ascending order, each of its own form."""
    position = name_end(rdata, 2)
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
    """Return a list of one or more 16-bit numbers, None for malformed octets."""
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


def _is_dohpath(value: bytes) -> bool:
    """RFC 9461 §5: a relative URI template, in UTF-8, with the variable ``dns``."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return value.startswith(b"/") and any(map(_has_dns, _EXPRESSION.findall(value)))


def _has_dns(expression: bytes) -> bool:
    """Tell whether an expression of a template is sound and has the variable ``dns``.

    The variables are parsed one by one: a single pattern for all of them would try every way to split them.
    """
    variables = expression.split(b",")
    return all(map(_VARIABLE.fullmatch, variables)) and any(map(_DNS_VARIABLE.fullmatch, variables))


_SVC_VALUES: dict[int, Callable[[bytes], bool]] = {
    _MANDATORY: _is_mandatory,
    _ALPN: _is_alpn,
    _NO_DEFAULT_ALPN: lambda value: not value,
    _PORT: lambda value: len(value) == 2,
    _IPV4HINT: lambda value: bool(value) and not len(value) % 4,
    _IPV6HINT: lambda value: bool(value) and not len(value) % 16,
    _DOHPATH: _is_dohpath,
    _OHTTP: lambda value: not value,
    _GROUPS: _is_groups,
    _PVD: lambda value: not value,
}


def _naptr(rdata: bytes) -> None:
    """RFC 3403 §4.1: after order, preference, flags and services the regexp, which may be empty."""
    position = 4
    for _ in range(2):
        position += 1 + rdata[position]
    regexp = rdata[position + 1 : position + 1 + rdata[position]]
    if regexp and not is_substitution(regexp):
        raise BadRdata("NAPTR has a regexp that is not a substitution expression (RFC 3402 §3.2)")


def _loc(rdata: bytes) -> None:
    """RFC 1876 §2: sizes are powers of ten with one digit; latitude and longitude within their range."""
    if len(rdata) != 16 or rdata[0]:
        raise BadRdata("LOC has the wrong length or version")
    for octet in rdata[1:4]:
        if octet >> 4 > 9 or octet & 15 > 9 or (octet & 15 and not octet >> 4):
            raise BadRdata("LOC has a bad size or precision")
    for start, degrees in ((4, 90), (8, 180)):
        if abs(int.from_bytes(rdata[start : start + 4], "big") - 2**31) > degrees * 3_600_000:
            raise BadRdata("LOC has a latitude or longitude out of range")


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


def _x25(rdata: bytes) -> None:
    """RFC 1183 §3.1: a string of at least four digits."""
    if len(rdata) < 5 or rdata[0] != len(rdata) - 1 or not rdata[1:].isdigit():
        raise BadRdata("X25 is not a PSDN address")


def _wks(rdata: bytes) -> None:
    """RFC 1035 §3.4.2: address, protocol, a bit map of at most 65,536 ports, here without trailing zeros."""
    if not 5 <= len(rdata) <= 5 + 8192 or (len(rdata) > 5 and not rdata[-1]):
        raise BadRdata("WKS is cut short, or its bit map ends in a zero octet")


def _nxt(rdata: bytes) -> None:
    """RFC 2535 §5.2: a bit map of types 0 to 127, type 0 not among them, without trailing zeros."""
    bitmap = rdata[name_end(rdata, 0) :]
    if bitmap and (bitmap[0] & 128 or len(bitmap) > 16 or not bitmap[-1]):
        raise BadRdata("NXT has a bad bit map")


def _a6(rdata: bytes) -> None:
    """RFC 2874 §3.1: the padding of the address suffix is zero; a name follows where a prefix is left out."""
    prefix = rdata[0]
    name = 1 + (128 - prefix + 7) // 8
    if prefix < 128 and rdata[1] >> (8 - prefix % 8):
        raise BadRdata("A6 has bits set in its padding")
    if (name_end(rdata, name) if prefix else name) != len(rdata):
        raise BadRdata("A6 has octets after its end")


def _public_key(rdata: bytes) -> None:
    """DNSKEY, CDNSKEY: a key is there; one of a private algorithm begins with a name (RFC 4034 §2.1, §A.1.1)."""
    if len(rdata) < 5:
        raise BadRdata("the public key is empty")
    if rdata[3] == _PRIVATEDNS:
        name_end(rdata, 4)


def _key(rdata: bytes) -> None:
    """RFC 2535 §3.1.2: the flags of a KEY may say that there is no key."""
    if len(rdata) != 4 or rdata[0] & 0xC0 != 0xC0:
        _public_key(rdata)
        if rdata[0] & 0xC0 == 0xC0:
            raise BadRdata("a KEY with a key and the flags of one without")


def _rkey(rdata: bytes) -> None:
    _public_key(rdata)
    if rdata[0] or rdata[1]:
        raise BadRdata("the flags of an RKEY are not zero")


def _ds(rdata: bytes) -> None:
    """RFC 4034 §5.1: a digest, of the right length where that is known."""
    if len(rdata) < 5 or _DIGEST_LENGTHS.get(rdata[3], len(rdata) - 4) != len(rdata) - 4:
        raise BadRdata("the digest is empty or has the wrong length")


def _ipseckey(rdata: bytes) -> None:
    """RFC 4025 §2: gateway of the type announced, then a key; an empty key only has a place with algorithm 0."""
    sizes = {0: 3, 1: 7, 2: 19}
    if len(rdata) < 4 or rdata[1] > 3:
        raise BadRdata("IPSECKEY is cut short or has an unknown gateway type")
    if len(rdata) <= (name_end(rdata, 3) if rdata[1] == 3 else sizes[rdata[1]]):
        raise BadRdata("IPSECKEY has no key")


def _doa(rdata: bytes) -> None:
    if len(rdata) < 10 or rdata[9] > len(rdata) - 10:
        raise BadRdata("DOA is cut short")


def _nsec(rdata: bytes) -> None:
    """RFC 4034 §4.1.2: some type is there, if only NSEC itself."""
    if name_end(rdata, 0) == len(rdata):
        raise BadRdata("NSEC has an empty bit map")


def _gpos(rdata: bytes) -> None:
    """RFC 1712 §3: three strings."""
    position = 0
    for _ in range(3):
        if position >= len(rdata):
            raise BadRdata("GPOS lacks one of its three strings")
        position += 1 + rdata[position]
    if position != len(rdata):
        raise BadRdata("the strings of GPOS do not end with it")


def _amtrelay(rdata: bytes) -> None:
    """RFC 8777 §4.2: a relay of the type announced; of an unknown type, anything."""
    if len(rdata) < 2:
        raise BadRdata("AMTRELAY is cut short")
    kind = rdata[1] & 127
    end = name_end(rdata, 2) if kind == 3 else {0: 2, 1: 6, 2: 18}.get(kind, len(rdata))
    if end != len(rdata):
        raise BadRdata("AMTRELAY has a relay of the wrong length")


def _at_least(octets: int) -> Callable[[bytes], None]:
    def checker(rdata: bytes) -> None:
        if len(rdata) < octets:
            raise BadRdata(f"fewer than {octets} octets")

    return checker


def _atma(rdata: bytes) -> None:
    """ATM Name System §3: a format octet and an address, of digits in format E.164."""
    if len(rdata) < 2 or (rdata[0] == 1 and not rdata[1:].isdigit()):
        raise BadRdata("ATMA has no address of its format")


_CHECKS: dict[int, Callable[[bytes], None]] = {
    10: _at_least(1),  # NULL: Knot refuses an empty one
    11: _wks,
    19: _x25,
    22: _at_least(1),  # NSAP
    25: _key,
    27: _gpos,
    29: _loc,
    30: _nxt,
    31: _at_least(1),  # EID
    32: _at_least(1),  # NIMLOC
    34: _atma,
    35: _naptr,
    37: _at_least(6),  # CERT
    38: _a6,
    40: _at_least(3),  # SINK
    42: _apl,
    43: _ds,
    45: _ipseckey,
    47: _nsec,
    48: _public_key,
    49: _at_least(1),  # DHCID
    52: _at_least(4),  # TLSA
    53: _at_least(4),  # SMIMEA
    55: _hip,
    57: _rkey,
    59: _ds,
    60: _public_key,
    61: _at_least(1),  # OPENPGPKEY
    64: _svcb,
    65: _svcb,
    67: _at_least(1),  # HHIT: BIND refuses an empty one, and an empty BRID
    68: _at_least(1),  # BRID
    256: _at_least(4),  # URI
    259: _doa,
    260: _amtrelay,
    32768: _ds,  # TA
    32769: _ds,  # DLV
}

#: Types that :func:`check` and the name checks cover completely. Other checkers are too strict for them, or
#: (APL, HIP, SVCB, HTTPS) make an object of each of thousands of parts.
COMPLETE = frozenset({27, 42, 43, 49, 52, 53, 55, 59, 64, 65, 256, 260, 32768, 32769})
