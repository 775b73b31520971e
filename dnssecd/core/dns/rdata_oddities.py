"""RDATA that breaks an RFC but that BIND, Knot and NSD all accept: accepted here too, with a warning."""

from collections.abc import Callable

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.rdata import name_end
from dnssecd.core.dns.rrset import unpack

_ECH = 5
_DIGEST_OCTETS = {1: 32, 2: 64}
_DHCID_MIN = 3
_RELAY_MAX = 3
#: A packed set of one DS RR with SHA-256 or SHA-384: its octets, and where its digest type stands.
_USUAL_DS = {38: 2, 54: 4}
_DS_TYPE_AT = 5


def oddity(rtype: int, packed: bytes) -> str:
    """Return what is odd about a packed RRset of canonical, well-formed RDATA; empty for nothing."""
    if rtype == t.DS and packed[_DS_TYPE_AT] == _USUAL_DS.get(len(packed)):
        return ""
    look = _LOOKS[rtype]
    return next((text for rdata in unpack(packed) if (text := look(rdata))), "")


def _svcb(rdata: bytes) -> str:
    position = name_end(rdata, 2)
    if not int.from_bytes(rdata[:2], "big") and position < len(rdata):
        return "parameters in AliasMode (priority 0); clients ignore them (RFC 9460 §2.4.2)"
    while position < len(rdata):
        key = int.from_bytes(rdata[position : position + 2], "big")
        end = position + 4 + int.from_bytes(rdata[position + 2 : position + 4], "big")
        if key == _ECH and not _is_ech(rdata[position + 4 : end]):
            return "the value of ech is not an ECHConfigList; clients ignore it (RFC 9849 §4)"
        position = end
    return ""


def _is_ech(value: bytes) -> bool:
    return len(value) > 4 and int.from_bytes(value[:2], "big") == len(value) - 2


def _association(rdata: bytes) -> str:
    wanted = _DIGEST_OCTETS.get(rdata[2], len(rdata) - 3)
    if wanted == len(rdata) - 3:
        return ""
    return f"{len(rdata) - 3} octets of data do not match matching type {rdata[2]}, a digest of {wanted}"


def _uri(rdata: bytes) -> str:
    return "" if len(rdata) > 4 else "the target is empty (RFC 7553 §4.4)"


def _gpos(rdata: bytes) -> str:
    try:
        position = 0
        while position < len(rdata):
            end = position + 1 + rdata[position]
            float(rdata[position + 1 : end])
            position = end
    except ValueError:
        return "a coordinate is not a number (RFC 1712 §3)"
    return ""


def _ds(rdata: bytes) -> str:
    if rdata == bytes(5):
        return ""  # the delete form of CDS (RFC 8078 §4)
    return (
        "" if rdata[3] else "digest type 0 is reserved; validators ignore the record, kzonecheck refuses it"
    )


def _dhcid(rdata: bytes) -> str:
    return "" if len(rdata) >= _DHCID_MIN else "shorter than identifier and digest type (RFC 4701 §3.1)"


def _relay(rdata: bytes) -> str:
    kind = rdata[1] & 127
    return "" if kind <= _RELAY_MAX else f"relay type {kind} is unknown (RFC 8777 §4.2.3)"


_LOOKS: dict[int, Callable[[bytes], str]] = {
    27: _gpos,
    t.DS: _ds,
    49: _dhcid,
    52: _association,  # TLSA
    53: _association,  # SMIMEA
    t.CDS: _ds,
    64: _svcb,
    65: _svcb,
    256: _uri,
    260: _relay,  # AMTRELAY
    32768: _ds,  # TA
    32769: _ds,  # DLV
}
#: Types that :func:`oddity` checks.
ODD_TYPES = frozenset(_LOOKS)
