"""Read the RRs of one transfer message from wire form to canonical rows, fast: this is the bulk of a transfer.

Names are read by core.message_names. Records that the signer derives (RRSIG, NSEC, NSEC3; at the apex DNSKEY,
CDS, CDNSKEY, NSEC3PARAM, ZONEMD and DS) are left out, and their RDATA is not checked; with ``keep``, for a
zone signed by another signer, nothing is left out. Faults that BIND, Knot and NSD ignore are ignored and
noted: names outside the zone, and a TTL with the top bit set, which counts as 0 (RFC 2181 §8).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct, error
from typing import Protocol

from dnssecd.core.dns.message_names import HEADER_OCTETS, NameTable, OwnerKeys
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.dns.rrtypes import AAAA, APEX_DERIVED_TYPES, CLASS_IN, DNSKEY, DS, SIGNATURE_TYPES, SOA, A
from dnssecd.ingest.collect import Row
from dnssecd.ingest.limits import RDATA_MAX
from dnssecd.ingest.words import META_TYPES, TTL_MAX, type_text

AXFR, IXFR = 252, 251

_HEADER = Struct("!6H")
_FIXED = Struct("!HHIH")
_QUESTION = Struct("!HH")
_QR, _OPCODE, _TC, _RCODE = 0x8000, 0x7800, 0x0200, 0x000F
_ADDRESS_OCTETS = {A: 4, AAAA: 16}
_APEX_LEFT_OUT = APEX_DERIVED_TYPES | {DS}

#: Takes a position in the message; gives the lower-cased name there and the position after it.
NameReader = Callable[[int], tuple[bytes, int]]


class TransferError(Exception):
    """The primary sent no correct transfer of this zone; the text names the fault."""


@dataclass(slots=True)
class Overlooked:
    """Records ignored or changed: RRs outside the zone and the first such name, TTLs counted as 0.

    ``dnskeys``: RDATA of the DNSKEY RRs at the apex that were left out.
    """

    outside: int = 0
    first_outside: bytes = b""
    ttls: int = 0
    dnskeys: list[bytes] = field(default_factory=list)


class RdataSource(Protocol):
    """Reads RDATA out of one message; ValueError where it is malformed."""

    def read(self, rtype: int, start: int, end: int) -> bytes:
        """Return the canonical form of the RDATA from start to end in the message."""
        ...


#: Makes the source for one message; the second argument reads its names.
RdataSources = Callable[[bytes, NameReader], RdataSource]


class TransferMessage:
    """One message of the answer to AXFR or IXFR (``qtype``) for ``origin``, a lower-cased wire name.

    ``left``: RRs of the answer section not yet taken. ``stripped`` counts records left out, by type;
    ``overlooked`` those ignored or changed. Raises TransferError if the message is not a good answer.
    """

    __slots__ = (
        "_keep", "_keys", "_names", "_origin", "_overlooked", "_position", "_rdata", "_stripped", "_wire", "left",
    )  # fmt: skip

    def __init__(
        self,
        wire: bytes,
        origin: bytes,
        qtype: int,
        sources: RdataSources,
        stripped: dict[int, int],
        overlooked: Overlooked,
        *,
        keep: bool = False,
    ) -> None:
        self._keep, self._overlooked = keep, overlooked
        self._wire, self._origin, self._stripped = wire, origin, stripped
        self._names = NameTable(wire, TransferError)
        self._rdata = sources(wire, self._names.read)
        self._keys = OwnerKeys(origin)
        if len(wire) < HEADER_OCTETS:
            raise TransferError("a message is shorter than a header")
        _, flags, questions, self.left, _, _ = _HEADER.unpack_from(wire)
        if not flags & _QR or flags & (_OPCODE | _TC | _RCODE):
            raise TransferError(f"a message is not a good answer (header {flags:#06x})")
        self._position = HEADER_OCTETS
        for _ in range(questions):
            self._question(qtype)

    def _question(self, qtype: int) -> None:
        try:
            name, position = self._names.read(self._position)
            kind, rclass = _QUESTION.unpack_from(self._wire, position)
        except (IndexError, error):
            raise TransferError("the question is cut short") from None
        if (name, kind, rclass) != (self._origin, qtype, CLASS_IN):
            raise TransferError(f"it answers a different question: {wire_to_text(name)} type {kind}")
        self._position = position + 4

    def take(self, rows: list[Row]) -> Row | None:
        """Append rows up to the next SOA at the apex, which is returned, or the end of the answer (None)."""
        wire, keys, read_name, read_rdata = self._wire, self._keys, self._names.read, self._rdata.read
        names = self._names.known
        fixed, append, addresses, octets = _FIXED.unpack_from, rows.append, _ADDRESS_OCTETS, len(self._wire)
        strip = not self._keep
        position, left = self._position, self.left
        try:
            while left:
                # Most owners are pointers to names that were read before.
                known = (
                    names.get((wire[position] & 63) << 8 | wire[position + 1])
                    if wire[position] >= 192
                    else None
                )
                if known is None:
                    name, position = read_name(position)
                else:
                    name, position = known, position + 2
                rtype, rclass, ttl, length = fixed(wire, position)
                start = position + 10
                position = start + length
                if position > octets:
                    raise TransferError("an RR runs past the end of its message")
                left -= 1
                key = keys[name]
                if key is None:
                    self._overlook(name, rtype)
                    continue
                if ttl > TTL_MAX:
                    self._overlooked.ttls += 1
                    ttl = 0
                if rclass != CLASS_IN:
                    raise TransferError(f"{wire_to_text(name)} {type_text(rtype)} is of class {rclass}")
                if addresses.get(rtype) == length:
                    append((key, rtype, ttl, wire[start - 2 : position]))
                elif strip and (rtype in SIGNATURE_TYPES or (not key and rtype in _APEX_LEFT_OUT)):
                    self._stripped[rtype] = self._stripped.get(rtype, 0) + 1
                    if rtype == DNSKEY and not key:
                        self._overlooked.dnskeys.append(wire[start:position])
                else:
                    if rtype == SOA or rtype in META_TYPES:
                        self._check_type(name, rtype)
                    rdata = read_rdata(rtype, start, position)
                    if len(rdata) > RDATA_MAX:
                        raise TransferError(f"{wire_to_text(name)} has an RR of {len(rdata)} octets")
                    row = (key, rtype, ttl, len(rdata).to_bytes(2, "big") + rdata)
                    if rtype == SOA:
                        return row
                    append(row)
        except (IndexError, error):
            raise TransferError("a message is cut short") from None
        except ValueError as bad:
            raise TransferError(f"{wire_to_text(name)} {type_text(rtype)}: {bad}") from None
        finally:
            self._position, self.left = position, left
        return None

    def _overlook(self, name: bytes, rtype: int) -> None:
        if rtype == SOA:
            raise TransferError(f"an SOA of {wire_to_text(name)}, which is not in the zone")
        if not self._overlooked.outside:
            self._overlooked.first_outside = name
        self._overlooked.outside += 1

    def _check_type(self, name: bytes, rtype: int) -> None:
        if rtype != SOA:
            raise TransferError(f"type {type_text(rtype)} cannot be in a zone")
        if name != self._origin:
            raise TransferError(f"an SOA of {wire_to_text(name)}, which is not the apex")
