"""A strict reader of RDATA in messages: it parses common types itself and others with dnspython, to canonical form.

The result is uncompressed and canonical (core.rdata). Compression pointers are followed only in the types of
RFC 1035 and those that RFC 3597 §4 lists. Anything that the type does not allow is a FormError.
"""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.rdata import BadRdata, canonical
from dnssecd.core.dns.rdata_strict import COMPLETE, check

#: Reads the lower-cased name at a position of the message; gives it and the position after it.
NameReader = Callable[[int], tuple[bytes, int]]

_NAME = -1
_STRING = -2

#: Layout of the types in which names may be compressed: octets to copy, _STRING, _NAME; what follows is copied.
_COMPRESSIBLE: dict[int, tuple[int, ...]] = {
    3: (_NAME,),  # MD
    4: (_NAME,),  # MF
    7: (_NAME,),  # MB
    8: (_NAME,),  # MG
    9: (_NAME,),  # MR
    14: (_NAME, _NAME),  # MINFO
    17: (_NAME, _NAME),  # RP
    18: (2, _NAME),  # AFSDB
    21: (2, _NAME),  # RT
    24: (18, _NAME),  # SIG
    26: (2, _NAME, _NAME),  # PX
    30: (_NAME,),  # NXT
    35: (4, _STRING, _STRING, _STRING, _NAME),  # NAPTR
}

#: Types of these in which octets of any number follow the last name: SIG, NXT.
_OPEN_ENDED = frozenset({24, 30})

_DIGEST_LENGTHS = {1: 20, 2: 32, 4: 48}
_IN = dns.rdataclass.IN
#: Gives dnspython's class for a type; for an unknown type GenericRdata, which checks nothing.
_class_of: Callable[[dns.rdataclass.RdataClass, dns.rdatatype.RdataType], type[dns.rdata.Rdata]]
_class_of = dns.rdata.get_rdata_class


class RdataReader:
    """Reads the RDATA of one message; ``names`` reads its names."""

    __slots__ = ("_fast", "_names", "_wire")

    def __init__(self, wire: bytes, names: NameReader) -> None:
        self._wire = wire
        self._names = names
        self._fast: dict[int, Callable[[int, int], bytes]] = {
            1: self._a, 2: self._one_name, 5: self._one_name, 6: self._soa, 12: self._one_name, 15: self._mx,
            16: self._txt, 28: self._aaaa, 33: self._srv, 43: self._ds,
        }  # fmt: skip

    def read(self, rtype: int, start: int, end: int) -> bytes:
        """Return the canonical RDATA at wire[start:end]; raise FormError."""
        fast = self._fast.get(rtype)
        if fast is not None:
            return fast(start, end)
        return self._slow(rtype, start, end)

    def _a(self, start: int, end: int) -> bytes:
        if end - start != 4:
            raise FormError("A RDATA is not 4 octets")
        return self._wire[start:end]

    def _aaaa(self, start: int, end: int) -> bytes:
        if end - start != 16:
            raise FormError("AAAA RDATA is not 16 octets")
        return self._wire[start:end]

    def _one_name(self, start: int, end: int) -> bytes:
        name, after = self._names(start)
        if after != end:
            raise FormError("the name in the RDATA does not end with it")
        return name

    def _soa(self, start: int, end: int) -> bytes:
        mname, position = self._names(start)
        rname, position = self._names(position)
        if position + 20 != end:
            raise FormError("SOA RDATA of a wrong length")
        return mname + rname + self._wire[position:end]

    def _mx(self, start: int, end: int) -> bytes:
        return self._head_and_name(start, 2, end)

    def _srv(self, start: int, end: int) -> bytes:
        return self._head_and_name(start, 6, end)

    def _head_and_name(self, start: int, octets: int, end: int) -> bytes:
        if start + octets >= end:
            raise FormError("RDATA cut short")
        name, after = self._names(start + octets)
        if after != end:
            raise FormError("the name in the RDATA does not end with it")
        return self._wire[start : start + octets] + name

    def _txt(self, start: int, end: int) -> bytes:
        wire, position = self._wire, start
        while position < end:
            position += wire[position] + 1
        if position != end or start == end:
            raise FormError("the strings of the TXT RDATA do not end with it")
        return wire[start:end]

    def _ds(self, start: int, end: int) -> bytes:
        # RFC 4034 §5.1; dnspython checks a digest of another type, as in a zone file.
        if end - start > 4 and _DIGEST_LENGTHS.get(self._wire[start + 3]) == end - start - 4:
            return self._wire[start:end]
        return self._slow(43, start, end)

    def _slow(self, rtype: int, start: int, end: int) -> bytes:
        """Expand and check rare types; dnspython checks the form, the octets are returned as they were sent."""
        try:
            if rtype in _COMPRESSIBLE:
                rdata = self._expanded(rtype, start, end)
                check(rtype, rdata)
                return rdata
            rdata = canonical(rtype, self._wire[start:end])
            check(rtype, rdata)
            kind = dns.rdatatype.RdataType.make(rtype)
            if rtype in COMPLETE or _class_of(_IN, kind) is dns.rdata.GenericRdata:
                return rdata
            parsed = dns.rdata.from_wire(_IN, kind, rdata, 0, len(rdata))
            if parsed.to_wire() != rdata:
                raise FormError(f"RDATA of type {rtype} is not in its only correct form")
        except (BadRdata, dns.exception.DNSException) as error:
            raise FormError(f"bad RDATA of type {rtype}: {error}") from None
        return rdata

    def _expanded(self, rtype: int, start: int, end: int) -> bytes:
        """Return RDATA in canonical form: its names are uncompressed and lower-cased."""
        wire, layout = self._wire, _COMPRESSIBLE[rtype]
        parts = []
        position = start
        for part in layout:
            begin = position
            if begin >= end:
                raise FormError("RDATA cut short")
            if part == _NAME:
                name, position = self._names(begin)
                parts.append(name)
            else:
                position = begin + (1 + wire[begin] if part == _STRING else part)
                parts.append(wire[begin:position])
        if position > end or (position < end and rtype not in _OPEN_ENDED):
            raise FormError("RDATA cut short, or with octets after its end")
        return b"".join(parts) + wire[position:end]
