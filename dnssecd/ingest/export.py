r"""RRsets as zone file lines, which other tools read back to the same wire form.

Data that BIND 9.18, Knot 3.2, NSD 4.6 or ldns 1.8 does not read as text (types, SVCB parameters, APL
families, empty fields) is written in the form of RFC 3597. An octet of a name that Knot reads only as
``\DDD`` is written that way. So all of these tools can read a signed zone.
"""

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from functools import lru_cache
from socket import AF_INET6, inet_ntoa, inet_ntop
from struct import Struct
from time import gmtime, strftime

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from dnssecd.core.dns import names
from dnssecd.core.dns.rdata import name_end
from dnssecd.core.dns.rdata import names as rdata_names
from dnssecd.core.dns.rrset import unpack
from dnssecd.ingest.words import TYPES

#: Mnemonics that at least one of these tools does not know.
_NOT_EVERYWHERE = frozenset({
    3, 4, 7, 8, 9, 10, 11, 19, 20, 22, 23, 24, 26, 27, 30, 31, 32, 34, 38, 40, 55, 56, 57, 58, 66, 67, 68, 100, 101,
    102, 103, *range(128, 256), 258, 259, 260, 261, 262, 263, 264, 32768, 32769, 65533,
})  # fmt: skip
_TYPE_TEXTS = {number: word.decode() for word, number in TYPES.items() if number not in _NOT_EVERYWHERE}

_RRSIG = Struct(">HBBIIIH")
_SOA = Struct(">IIIII")
#: The octets that Knot's reader accepts in a name without escape; BIND and NSD accept more.
_LABEL = b"-_/*0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KEY = _LABEL + b"\x00"
_STRING = bytes(c for c in range(32, 127) if c not in b'"\\')
_BASE32HEX = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
_BASE32_PAIRS = [high + low for high in _BASE32HEX for low in _BASE32HEX]
_SVCB_KEY_MAX = 6

Formatter = Callable[[bytes], str]


def rrset_lines(owner: str, rtype: int, ttl: int, packed: bytes) -> str:
    """Return the lines of one RRset, each with its line end; ``owner`` absolute, in presentation format."""
    head = f"{owner}\t{ttl}\tIN\t{type_text(rtype)}\t"
    rdata_text = _FORMATTERS.get(rtype)
    if rdata_text is None:
        return "".join([f"{owner}\t{ttl}\tIN\t{_other(rtype, rdata)}\n" for rdata in unpack(packed)])
    if len(packed) == 2 + (packed[0] << 8 | packed[1]):
        return head + rdata_text(packed[2:]) + "\n"
    return "".join([head + rdata_text(rdata) + "\n" for rdata in unpack(packed)])


def owner_text(key: bytes, origin: bytes) -> str:
    """Return the absolute name of an owner key in presentation format."""
    if not key.translate(None, _KEY):
        parts = key.split(b"\x00")
        parts.reverse()
        parts[0] = b""
        name = b".".join(parts)[1:].decode("ascii")
        above = _name_text(origin)
        return f"{name}." if above == "." else f"{name}.{above}" if name else above
    return _name_text(names.key_to_wire(key, origin))


def owner_texts(keys: Sequence[bytes], origin: bytes) -> list[str]:
    """Return the absolute names of many owner keys; this is fastest if equal keys are adjacent."""
    if not keys or b"".join(keys).translate(None, _KEY):
        return [owner_text(key, origin) for key in keys]
    apex = _name_text(origin)
    above = "" if apex == "." else apex
    names = []
    previous, name = "", apex
    for key in b"\n".join(keys).decode("ascii").split("\n"):
        if key != previous:
            previous = key
            parts = key.split("\0")
            parts[-1] = above
            if len(parts) > 2:
                parts[:-1] = parts[-2::-1]
            name = ".".join(parts) if key else apex
        names.append(name)
    return names


def type_text(rtype: int) -> str:
    """Return the mnemonic of a type if every reader knows it, else TYPEnnn."""
    return _TYPE_TEXTS.get(rtype) or f"TYPE{rtype}"


@lru_cache(maxsize=8192)
def _name_text(wire: bytes) -> str:
    parts = names.labels(wire)
    if not b"".join(parts).translate(None, _LABEL):
        return b".".join(parts).decode("ascii") + "."
    return "".join(["".join(map(_label_octet_text, part)) + "." for part in parts]) or "."


def _label_octet_text(octet: int) -> str:
    if octet in b'"().;\\@$':
        return "\\" + chr(octet)
    return chr(octet) if octet in _LABEL else f"\\{octet:03d}"


def _has_odd_name(rtype: int, rdata: bytes) -> bool:
    """Tell whether a name in the RDATA has octets that dnspython writes without escape and Knot does not read."""
    return any(b"".join(names.labels(name)).translate(None, _LABEL) for name in rdata_names(rtype, rdata))


def _has_no_text(rtype: int, rdata: bytes) -> bool:
    """Tell whether some reader has no text form for the RDATA: an address family, a gateway name, an empty field."""
    match rtype:
        case 25:  # KEY
            return len(rdata) == 4
        case 42:  # APL
            return _has_unknown_family(rdata)
        case 44:  # SSHFP
            return len(rdata) == 2
        case 45:  # IPSECKEY: no algorithm, or a gateway by name
            return rdata[1] == 3 or not rdata[2]
    return False


def _has_unknown_family(apl: bytes) -> bool:
    """Tell whether APL RDATA has an address family other than the two of RFC 3123 §5."""
    position = 0
    while position < len(apl):
        if apl[position : position + 2] not in (b"\x00\x01", b"\x00\x02"):
            return True
        position += 4 + (apl[position + 3] & 127)
    return False


def _other(rtype: int, rdata: bytes) -> str:
    """Return type and RDATA as dnspython writes them, or in the form of RFC 3597 if other readers need that."""
    generic = (
        rtype in _NOT_EVERYWHERE
        or _has_new_parameters(rtype, rdata)
        or _has_no_text(rtype, rdata)
        or _has_odd_name(rtype, rdata)
    )
    text = None if generic else _by_dnspython(rtype, rdata)
    if text is None or text.startswith("\\#"):
        return f"TYPE{rtype}\t{_generic(rdata)}".rstrip()
    return f"{type_text(rtype)}\t{text}"


def _by_dnspython(rtype: int, rdata: bytes) -> str | None:
    try:
        kind = dns.rdatatype.RdataType.make(rtype)
        return dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata)).to_text()
    except (dns.exception.DNSException, ValueError):
        return None


def _has_new_parameters(rtype: int, rdata: bytes) -> bool:
    """Tell whether SVCB or HTTPS RDATA has parameters defined after RFC 9460."""
    if rtype not in (64, 65):
        return False
    position = name_end(rdata, 2)
    while position + 4 <= len(rdata):
        key, length = (
            int.from_bytes(rdata[position : position + 2]),
            int.from_bytes(rdata[position + 2 : position + 4]),
        )
        if key > _SVCB_KEY_MAX:
            return True
        position += 4 + length
    return False


def _a(rdata: bytes) -> str:
    return inet_ntoa(rdata)


def _aaaa(rdata: bytes) -> str:
    return inet_ntop(AF_INET6, rdata)


def _mx(rdata: bytes) -> str:
    return f"{rdata[0] << 8 | rdata[1]} {_name_text(rdata[2:])}"


def _srv(rdata: bytes) -> str:
    a, b, c, d, e, f = rdata[:6]
    return f"{a << 8 | b} {c << 8 | d} {e << 8 | f} {_name_text(rdata[6:])}"


def _soa(rdata: bytes) -> str:
    end = name_end(rdata, 0)
    serial, refresh, retry, expire, minimum = _SOA.unpack(rdata[-20:])
    numbers = f"{serial} {refresh} {retry} {expire} {minimum}"
    return f"{_name_text(rdata[:end])} {_name_text(rdata[end:-20])} {numbers}"


def _ds(rdata: bytes) -> str:
    return f"{rdata[0] << 8 | rdata[1]} {rdata[2]} {rdata[3]} {rdata[4:].hex().upper()}"


def _zonemd(rdata: bytes) -> str:
    return f"{int.from_bytes(rdata[:4], 'big')} {rdata[4]} {rdata[5]} {rdata[6:].hex().upper()}"


def _dnskey(rdata: bytes) -> str:
    return f"{rdata[0] << 8 | rdata[1]} {rdata[2]} {rdata[3]} {_base64(rdata[4:])}".rstrip()


def _txt(rdata: bytes) -> str:
    strings = []
    position = 0
    while position < len(rdata):
        end = position + 1 + rdata[position]
        strings.append(_quoted(rdata[position + 1 : end]))
        position = end
    return " ".join(strings)


def _caa(rdata: bytes) -> str:
    end = 2 + rdata[1]
    if rdata[2:end] != rdata[2:end].lower():
        return _generic(rdata)  # NSD reads only tags in lower case
    return f"{rdata[0]} {rdata[2:end].decode('ascii')} {_quoted(rdata[end:])}"


def _quoted(octets: bytes) -> str:
    if not octets.translate(None, _STRING):
        return '"' + octets.decode("ascii") + '"'
    return '"' + "".join([_octet_text(octet) for octet in octets]) + '"'


def _octet_text(octet: int) -> str:
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 32 <= octet < 127 else f"\\{octet:03d}"


def _rrsig(rdata: bytes) -> str:
    covered, algorithm, labels, ttl, expiration, inception, tag = _RRSIG.unpack_from(rdata)
    end = name_end(rdata, 18)
    return (
        f"{type_text(covered)} {algorithm} {labels} {ttl} {_time_text(expiration)} {_time_text(inception)} {tag} "
        f"{_name_text(rdata[18:end])} {_base64(rdata[end:])}"
    )


def _nsec(rdata: bytes) -> str:
    end = name_end(rdata, 0)
    return f"{_name_text(rdata[:end])}{bitmap_text(rdata[end:])}"


def _nsec3(rdata: bytes) -> str:
    salt_end = 5 + rdata[4]
    hash_end = salt_end + 1 + rdata[salt_end]
    hashed = _base32hex(rdata[salt_end + 1 : hash_end])
    return f"{nsec3_head_text(rdata[:salt_end])} {hashed}{bitmap_text(rdata[hash_end:])}"


def nsec3_head_text(head: bytes) -> str:
    """Return the text of the fields, up to the salt, with which NSEC3 and NSEC3PARAM RRs begin."""
    return f"{head[0]} {head[1]} {head[2] << 8 | head[3]} {head[5:].hex().upper() or '-'}"


def _csync(rdata: bytes) -> str:
    if rdata[6:7] == b"\x00" and rdata[8] & 0x80:
        return _generic(rdata)  # NSD does not read a bit for type 0
    return f"{int.from_bytes(rdata[:4])} {int.from_bytes(rdata[4:6])}{bitmap_text(rdata[6:])}"


def _cert(rdata: bytes) -> str:
    # Numbers: the readers know different mnemonics.
    return f"{rdata[0] << 8 | rdata[1]} {rdata[2] << 8 | rdata[3]} {rdata[4]} {_base64(rdata[5:])}"


def _generic(rdata: bytes) -> str:
    """RFC 3597 §5: all readers accept this form, also for types that they know."""
    return f"\\# {len(rdata)} {rdata.hex().upper()}"


def _base64(octets: bytes) -> str:
    return b2a_base64(octets, newline=False).decode("ascii")


def _base32hex(octets: bytes) -> str:
    """RFC 4648 §7 without padding; hashes of NSEC3 are whole groups of five octets."""
    bits = 8 * len(octets)
    padded = -bits % 10
    number = int.from_bytes(octets, "big") << padded
    pairs = [_BASE32_PAIRS[number >> shift & 1023] for shift in range(bits + padded - 10, -1, -10)]
    return "".join(pairs)[: (bits + 4) // 5]


@lru_cache(maxsize=4096)
def bitmap_text(bitmap: bytes) -> str:
    """Return type bit maps as text, each type after a blank."""
    out = ""
    position = 0
    while position < len(bitmap):
        window, length = bitmap[position], bitmap[position + 1]
        octets = bitmap[position + 2 : position + 2 + length]
        position += 2 + length
        for index, octet in enumerate(octets):
            for bit in range(8):
                if octet & 0x80 >> bit:
                    out += " " + type_text(window << 8 | index << 3 | bit)
    return out


@lru_cache(maxsize=4096)
def _time_text(seconds: int) -> str:
    return strftime("%Y%m%d%H%M%S", gmtime(seconds))


def formatter(rtype: int) -> Formatter | None:
    """Return the function that formats RDATA of a type, None if :func:`rrset_lines` is needed."""
    return _FORMATTERS.get(rtype)


_FORMATTERS: dict[int, Formatter] = {
    1: _a, 2: _name_text, 5: _name_text, 6: _soa, 12: _name_text, 15: _mx, 16: _txt, 28: _aaaa, 33: _srv,
    37: _cert, 39: _name_text, 43: _ds, 46: _rrsig, 47: _nsec, 48: _dnskey, 50: _nsec3, 51: nsec3_head_text, 59: _ds,
    60: _dnskey, 62: _csync, 63: _zonemd, 257: _caa,
}  # fmt: skip
