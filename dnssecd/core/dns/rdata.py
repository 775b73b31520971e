"""Domain names inside RDATA: where they stand, and RDATA in canonical form.

Canonical RDATA has its names uncompressed and, for the types of RFC 4034 §6.2 as amended by RFC 6840 §5.1,
lower-cased (NSEC and all types defined since keep the case of their names). HINFO is in that list but holds no
name. All RDATA here is uncompressed wire form, without RDLENGTH.
"""

from collections.abc import Iterator

from dnssecd.core.dns.names import lower

_NAME = -1
_STRING = -2

#: RDATA layout up to and including the last name: octets to skip, _STRING (RFC 1035 <character-string>), _NAME.
_LAYOUTS: dict[int, tuple[int, ...]] = {
    2: (_NAME,),  # NS
    3: (_NAME,),  # MD
    4: (_NAME,),  # MF
    5: (_NAME,),  # CNAME
    6: (_NAME, _NAME),  # SOA
    7: (_NAME,),  # MB
    8: (_NAME,),  # MG
    9: (_NAME,),  # MR
    12: (_NAME,),  # PTR
    14: (_NAME, _NAME),  # MINFO
    15: (2, _NAME),  # MX
    17: (_NAME, _NAME),  # RP
    18: (2, _NAME),  # AFSDB
    21: (2, _NAME),  # RT
    23: (_NAME,),  # NSAP-PTR
    24: (18, _NAME),  # SIG
    26: (2, _NAME, _NAME),  # PX
    30: (_NAME,),  # NXT
    33: (6, _NAME),  # SRV
    35: (4, _STRING, _STRING, _STRING, _NAME),  # NAPTR
    36: (2, _NAME),  # KX
    39: (_NAME,),  # DNAME
    46: (18, _NAME),  # RRSIG
    47: (_NAME,),  # NSEC
    58: (_NAME, _NAME),  # TALINK
    64: (2, _NAME),  # SVCB
    65: (2, _NAME),  # HTTPS
    66: (5, _NAME),  # DSYNC
    107: (2, _NAME),  # LP
}

#: Octets that must follow the last name; absent: any number.
_TAILS: dict[int, int] = {
    6: 20,
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12, 14, 15, 17, 18, 21, 23, 26, 33, 35, 36, 39, 58, 66, 107), 0),
}

A6 = 38

#: Types whose names are lower-cased in canonical form (RFC 4034 §6.2, RFC 6840 §5.1).
LOWERCASED_TYPES = frozenset(
    {2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 24, 26, 30, 33, 35, 36, A6, 39, 46}
)


class BadRdata(ValueError):
    """RDATA does not have the form of its type."""


def canonical(rtype: int, rdata: bytes) -> bytes:
    """Return RDATA in canonical form.

    Raises BadRdata where a name or string runs past the end, is compressed, or octets are missing or left over
    in a type whose length its names decide; other types pass unchanged and unchecked.
    """
    if rtype not in _LAYOUTS and rtype != A6:
        return rdata
    spans = list(name_spans(rtype, rdata))
    if rtype not in LOWERCASED_TYPES:
        return rdata
    for start, end in spans:
        name = lower(rdata[start:end])
        if name != rdata[start:end]:
            rdata = rdata[:start] + name + rdata[end:]
    return rdata


def names(rtype: int, rdata: bytes) -> list[bytes]:
    """Return the domain names in RDATA, as they stand; none for types that hold none."""
    return [rdata[start:end] for start, end in name_spans(rtype, rdata)]


def name_spans(rtype: int, rdata: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the names of RDATA begin and end; raises BadRdata as :func:`canonical` does."""
    layout = _a6_layout(rdata) if rtype == A6 else _LAYOUTS.get(rtype)
    if layout is None:
        return
    position = 0
    for part in layout:
        start = position
        if part == _NAME:
            position = name_end(rdata, start)
            yield start, position
        elif part == _STRING:
            position = start + 1 + _octet(rdata, start)
        else:
            position = start + part
        if position > len(rdata):
            raise BadRdata(f"RDATA of type {rtype} is cut short")
    tail = _TAILS.get(rtype)
    if tail is not None and len(rdata) - position != tail:
        raise BadRdata(f"RDATA of type {rtype} has the wrong length")


def name_end(wire: bytes, start: int) -> int:
    """Return the offset after the uncompressed name that begins at ``start``; raises BadRdata."""
    position = start
    while length := _octet(wire, position):
        if length > 63:
            raise BadRdata("a name in the RDATA is compressed or has a label of unknown kind")
        position += length + 1
    if position + 1 - start > 255:
        raise BadRdata("a name in the RDATA is longer than 255 octets")
    return position + 1


def _octet(wire: bytes, position: int) -> int:
    if position >= len(wire):
        raise BadRdata("a name or string in the RDATA runs past its end")
    return wire[position]


def _a6_layout(rdata: bytes) -> tuple[int, ...]:
    """RFC 2874 §3.1: prefix length, address suffix of the remaining bits, prefix name unless the length is 0."""
    prefix_length = _octet(rdata, 0)
    if prefix_length > 128:
        raise BadRdata("the prefix length of an A6 record exceeds 128")
    suffix = (128 - prefix_length + 7) // 8
    return (1 + suffix, _NAME) if prefix_length else (1 + suffix,)
