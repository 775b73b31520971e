"""A strict parser of UPDATE messages (RFC 2136 §2): anything that is not exactly right is a FormError.

The whole message is read: sections, counts, classes, TTLs, RDATA of every type known. The common types take a
few microseconds an RR. FormError is the only exception for any octets.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from dnssecd.core.dns.message import (
    CLASS_ANY,
    CLASS_IN,
    CLASS_NONE,
    HEADER_SIZE,
    TYPE_ANY,
    TYPE_OPT,
    UPDATE,
    FormError,
    parse_header,
)
from dnssecd.core.dns.message_names import NameTable, OwnerKeys, skip_name
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.update.types import UpdateMessage, UpdateRR
from dnssecd.server.update_rdata import RdataReader

_FIXED = Struct("!HHIH")
_QUESTION = Struct("!HH")
#: An RR takes at least eleven octets.
_RR_SIZE_MIN = 11


def is_meta_type(rtype: int) -> bool:
    """Tell whether no data can be of this type: 0, OPT, and the range of Q and meta types (RFC 6895 §3.1)."""
    return not rtype or rtype == TYPE_OPT or 128 <= rtype <= 255


def parse_update(wire: bytes) -> UpdateMessage:
    """Return the update in ``wire`` (without its TSIG record; the additional section may have OPT).

    Owner keys are relative to the zone section's name. Raises FormError.
    """
    header = parse_header(wire)
    if header.opcode != UPDATE or header.is_response:
        raise FormError("not an UPDATE request")
    zones, *counts = header.counts
    if zones != 1:
        raise FormError("the zone section does not hold exactly one zone")
    return _Parser(wire).parse(counts)


def _judge_prerequisite(rtype: int, rclass: int, ttl: int, length: int) -> bool:
    """Tell whether a prerequisite has RDATA (RFC 2136 §2.4); raise FormError for an RR that is not a prerequisite."""
    if ttl:
        raise FormError("the TTL of a prerequisite is not 0")
    if rclass == CLASS_IN:
        if is_meta_type(rtype):
            raise FormError("a value-dependent prerequisite of a meta-type")
        return True
    _judge_bare(rtype, rclass, length)
    return False


def _judge_update(rtype: int, rclass: int, ttl: int, length: int) -> bool:
    """Tell whether an RR of the update section has RDATA (RFC 2136 §2.5, §3.4.1); raise FormError for a wrong one."""
    if rclass == CLASS_IN:
        if is_meta_type(rtype):
            raise FormError("an RR of a meta-type to be added")
        return True
    if ttl:
        raise FormError("the TTL of a deletion is not 0")
    if rclass == CLASS_NONE:
        if is_meta_type(rtype):
            raise FormError("an RR of a meta-type to be deleted")
        return True
    if rclass != CLASS_ANY:
        raise FormError("a class that is not the zone's, NONE or ANY")
    _judge_bare(rtype, rclass, length)
    return False


def _judge_bare(rtype: int, rclass: int, length: int) -> None:
    """Check an RR without data that names an RRset, or with type ANY all RRsets at a name."""
    if rclass not in (CLASS_ANY, CLASS_NONE):
        raise FormError("a class that is not the zone's, NONE or ANY")
    if length:
        raise FormError("RDATA where there must be none")
    if is_meta_type(rtype) and rtype != TYPE_ANY:
        raise FormError("an RRset of a meta-type")


#: Takes type, class, TTL and RDLENGTH.
_Judge = Callable[[int, int, int, int], bool]


class _Parser:
    """One message being parsed; names are remembered by position, owner keys by name."""

    __slots__ = ("_fixed_end", "_keys", "_names", "_rdata", "_wire")

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._names = NameTable(wire, FormError)
        self._rdata = RdataReader(wire, self._names.read)
        self._fixed_end = len(wire) - 10

    def parse(self, counts: list[int]) -> UpdateMessage:
        origin, position = self._names.read(HEADER_SIZE)
        self._keys = OwnerKeys(origin)
        if position + 4 > len(self._wire):
            raise FormError("zone section cut short")
        ztype, zclass = _QUESTION.unpack_from(self._wire, position)
        if ztype != SOA or zclass != CLASS_IN:
            raise FormError("the zone section is not of type SOA and class IN")
        sections = []
        position += 4
        for number, judge in zip(counts, (_judge_prerequisite, _judge_update, None), strict=True):
            if number * _RR_SIZE_MIN > len(self._wire) - position:
                raise FormError("more records announced than fit")
            section: list[UpdateRR] = []
            for _ in range(number):
                if judge is None:
                    position = self._skip(position)
                    continue
                position = self._rr(position, judge, section)
            sections.append(section)
        if position != len(self._wire):
            raise FormError("octets after the last record")
        return UpdateMessage(origin, sections[0], sections[1])

    def _rr(self, position: int, judge: _Judge, section: list[UpdateRR]) -> int:
        """Append the RR at a position and return the position after it."""
        name, position = self._names.read(position)
        rtype, rclass, ttl, start, end = self._fixed(position)
        rdata = self._rdata.read(rtype, start, end) if judge(rtype, rclass, ttl, end - start) else b""
        section.append(UpdateRR(self._keys[name], rtype, rclass, ttl, rdata))
        return end

    def _skip(self, position: int) -> int:
        """Return the position after an RR that is not needed."""
        return self._fixed(skip_name(self._wire, position, FormError))[-1]

    def _fixed(self, position: int) -> tuple[int, int, int, int, int]:
        """Return type, class and TTL of an RR whose name ends at a position, and where its RDATA begins and ends."""
        if position > self._fixed_end:
            raise FormError("record cut short")
        rtype, rclass, ttl, length = _FIXED.unpack_from(self._wire, position)
        start = position + 10
        end: int = start + length
        if end > len(self._wire):
            raise FormError("RDLENGTH past the end")
        return rtype, rclass, ttl, start, end
