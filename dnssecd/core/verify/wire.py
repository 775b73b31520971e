"""Wire decoding and canonical form for the verifier (RFC 4034 §6, RFC 6840 §5.1), independent of the signing side."""

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import lower


class Malformed(ValueError):
    """RDATA or a packed RRset does not decode."""


def split(packed: bytes) -> list[bytes]:
    """Return the RDATAs of a packed set; raise Malformed when the lengths do not add up."""
    end = len(packed)
    if end >= 2 and (packed[0] << 8 | packed[1]) == end - 2:
        return [packed[2:]]
    out = []
    position = 0
    while position < end:
        start = position + 2
        if start > end:
            raise Malformed("truncated RDLENGTH")
        position = start + (packed[position] << 8 | packed[position + 1])
        out.append(packed[start:position])
    if position != end or not out:
        raise Malformed("RDLENGTH runs past the end of the set")
    return out


def name_end(data: bytes, start: int) -> int:
    """Return the offset after the uncompressed name at ``start``; raise Malformed if there is none."""
    position = start
    end = len(data)
    while position < end:
        length = data[position]
        if length == 0:
            if position + 1 - start > 255:
                break
            return position + 1
        if length > 63:
            raise Malformed("compressed or unknown label type")
        position += length + 1
    raise Malformed("name runs past the end or is too long")


_WHOLE_NAME = frozenset({rrtypes.NS, 3, 4, rrtypes.CNAME, 7, 8, 9, rrtypes.PTR, rrtypes.DNAME, 14, 17})
_AFTER_OCTETS = {rrtypes.MX: 2, 18: 2, 21: 2, 36: 2, 26: 2, rrtypes.SRV: 6}
_PARSED = frozenset({rrtypes.SOA, 24, rrtypes.RRSIG, 30, 35, 38})
#: Types whose RDATA holds names that are lower-cased in canonical form.
NAME_TYPES = _WHOLE_NAME | frozenset(_AFTER_OCTETS) | _PARSED


def canonical_rdata(rtype: int, rdata: bytes) -> bytes:
    """Return RDATA with the names that RFC 4034 §6.2 lists lower-cased; NSEC keeps its case (RFC 6840 §5.1)."""
    if rtype in _WHOLE_NAME:
        return lower(rdata)
    if rtype in _AFTER_OCTETS:
        cut = _AFTER_OCTETS[rtype]
        return rdata[:cut] + lower(rdata[cut:])
    if rtype in _PARSED:
        start, stop = _name_span(rtype, rdata)
        return rdata[:start] + lower(rdata[start:stop]) + rdata[stop:]
    return rdata


def _name_span(rtype: int, rdata: bytes) -> tuple[int, int]:
    if rtype == rrtypes.SOA:
        return 0, name_end(rdata, name_end(rdata, 0))
    if rtype in (24, rrtypes.RRSIG):
        return 18, name_end(rdata, 18)
    if rtype == 30:
        return 0, name_end(rdata, 0)
    if rtype == 35:
        position = 4
        for _ in range(3):
            if position >= len(rdata):
                raise Malformed("NAPTR is cut short")
            position += rdata[position] + 1
        return position, name_end(rdata, position)
    if not rdata or rdata[0] > 128:
        raise Malformed("bad A6 prefix length")
    start = 1 + (128 - rdata[0] + 7) // 8
    return (start, name_end(rdata, start)) if rdata[0] else (start, start)


#: Octets of RDATA of types that have a fixed size.
FIXED_SIZES = {rrtypes.A: 4, rrtypes.AAAA: 16}
#: The fewest octets of RDATA of types for which only the length is checked.
MINIMUM_SIZES = {rrtypes.DS: 5, rrtypes.CDS: 4, rrtypes.DNSKEY: 4, rrtypes.CDNSKEY: 4, rrtypes.ZONEMD: 6}
#: Types whose RDATA :func:`check_form` looks at.
CHECKED_TYPES = NAME_TYPES | frozenset(FIXED_SIZES) | frozenset(MINIMUM_SIZES)


def check_form(rtype: int, rdata: bytes) -> None:
    """Raise Malformed if RDATA does not have the form of its type, as far as the verifier knows it."""
    size = len(rdata)
    if rtype in FIXED_SIZES and size != FIXED_SIZES[rtype]:
        raise Malformed(f"RDATA has {size} octets, not {FIXED_SIZES[rtype]}")
    if size < MINIMUM_SIZES.get(rtype, 0):
        raise Malformed(f"RDATA has {size} octets only")
    if rtype in (14, 17):
        end = name_end(rdata, name_end(rdata, 0))
    elif rtype in _WHOLE_NAME:
        end = name_end(rdata, 0)
    elif rtype == 26:
        end = name_end(rdata, name_end(rdata, 2))
    elif rtype in _AFTER_OCTETS:
        end = name_end(rdata, _AFTER_OCTETS[rtype])
    elif rtype == rrtypes.SOA:
        end = _name_span(rtype, rdata)[1] + 20
    elif rtype in (35, 38):
        end = _name_span(rtype, rdata)[1]
    else:
        return
    if end != size:
        raise Malformed(f"RDATA has {size} octets, its fields take {end}")


def canonical_set(rtype: int, packed: bytes) -> list[bytes]:
    """Return the RDATAs of a packed set in canonical form and order, without duplicates."""
    rdatas = split(packed)
    if rtype in NAME_TYPES:
        rdatas = [canonical_rdata(rtype, rdata) for rdata in rdatas]
    return rdatas if len(rdatas) == 1 else sorted(set(rdatas))


class Soa:
    """The fields of an SOA that DNSSEC needs."""

    __slots__ = ("minimum", "serial")

    def __init__(self, rdata: bytes) -> None:
        """Decode SOA RDATA; raises Malformed."""
        fixed = name_end(rdata, name_end(rdata, 0))
        if len(rdata) != fixed + 20:
            raise Malformed("SOA has a wrong length")
        self.serial = int.from_bytes(rdata[fixed : fixed + 4], "big")
        self.minimum = int.from_bytes(rdata[fixed + 16 :], "big")


def bitmap(types: tuple[int, ...]) -> bytes:
    """Return the type bit maps field for ``types`` (RFC 4034 §4.1.2)."""
    windows: dict[int, bytearray] = {}
    for rtype in sorted(types):
        window = windows.setdefault(rtype >> 8, bytearray())
        octet = (rtype & 255) >> 3
        window.extend(bytes(octet + 1 - len(window)))
        window[octet] |= 128 >> (rtype & 7)
    return b"".join([bytes((number, len(octets))) + octets for number, octets in windows.items()])


def bitmap_types(field: bytes) -> list[int]:
    """Return the types a type bit maps field lists; Malformed unless it is encoded as RFC 4034 §4.1.2 demands."""
    out: list[int] = []
    position, last = 0, -1
    while position < len(field):
        if position + 2 > len(field):
            raise Malformed("type bit maps are cut short")
        window, length = field[position], field[position + 1]
        octets = field[position + 2 : position + 2 + length]
        if window <= last or not 1 <= length <= 32 or len(octets) != length or octets[-1] == 0:
            raise Malformed("type bit maps are not in canonical encoding")
        out += [
            window << 8 | index << 3 | bit
            for index, octet in enumerate(octets)
            for bit in range(8)
            if octet & 128 >> bit
        ]
        position += 2 + length
        last = window
    return out


class Nsec3:
    """Decoded NSEC3 RDATA (RFC 5155 §3.2)."""

    __slots__ = ("algorithm", "bitmap", "flags", "iterations", "next_hash", "salt")

    def __init__(self, rdata: bytes) -> None:
        """Decode; raises Malformed."""
        if len(rdata) < 7:
            raise Malformed("NSEC3 is cut short")
        self.algorithm, self.flags = rdata[0], rdata[1]
        self.iterations = rdata[2] << 8 | rdata[3]
        position = 5 + rdata[4]
        self.salt = rdata[5:position]
        if position >= len(rdata):
            raise Malformed("NSEC3 is cut short")
        start = position + 1
        position = start + rdata[position]
        self.next_hash = rdata[start:position]
        if position > len(rdata) or not self.next_hash:
            raise Malformed("NSEC3 is cut short")
        self.bitmap = rdata[position:]
