"""Requests on raw bytes: a strict, small parser of what a server must know before it believes a message.

Names are read with the traps of RFC 9267 in mind: a compression pointer leads strictly backwards and never into
the header, a name is at most 255 octets, label types 01 and 10 do not exist, nothing is read past the end. All
records are walked, so a lying RDLENGTH, a count that is too high and octets after the last record are errors.
"""

from dataclasses import dataclass, field
from struct import Struct

from dnssecd.core.names import lower

QUERY, NOTIFY, UPDATE = 0, 4, 5
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
YXDOMAIN, NOTAUTH, BADVERS = 6, 9, 16

QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100

TYPE_SIG, TYPE_OPT, TYPE_TKEY, TYPE_TSIG, TYPE_IXFR, TYPE_AXFR, TYPE_ANY = 24, 41, 249, 250, 251, 252, 255
CLASS_IN, CLASS_NONE, CLASS_ANY = 1, 254, 255

HEADER_SIZE = 12
_HEADER = Struct("!6H")
_FIXED = Struct("!HHIH")
_QUESTION = Struct("!HH")
_ANSWER, _AUTHORITY, _ADDITIONAL = range(3)


class FormError(ValueError):
    """The message breaks the wire format: the answer is FORMERR."""


@dataclass(frozen=True, slots=True)
class Header:
    """The six words every message starts with (RFC 1035 §4.1.1)."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 15

    @property
    def is_response(self) -> bool:
        return bool(self.flags & QR)


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record of a request (RFC 6891 §6.1)."""

    udp_size: int
    version: int
    dnssec_ok: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Where one RR of a message lies: all positions are offsets from the start of the message."""

    start: int
    name: bytes
    rtype: int
    rclass: int
    ttl: int
    rdata: int
    end: int


@dataclass(slots=True)
class Message:
    """A request whose records were all walked; ``qname`` is lower-cased, ``question`` as it was sent.

    ``question`` is the question section in wire form, fit to be echoed; it is empty when QDCOUNT is 0.
    ``authority`` lists the records of that section for QUERY only. ``tsig`` is the TSIG record if there is one,
    checked for place, class and TTL only. ``signed0`` tells of a SIG(0) record.
    """

    header: Header
    question: bytes = b""
    qname: bytes = b""
    qtype: int = 0
    qclass: int = 0
    authority: list[Record] = field(default_factory=list)
    edns: Edns | None = None
    tsig: Record | None = None
    signed0: bool = False


def parse_header(wire: bytes) -> Header:
    """Return the header; raises FormError for less than twelve octets."""
    if len(wire) < HEADER_SIZE:
        raise FormError("shorter than a header")
    message_id, flags, *counts = _HEADER.unpack_from(wire)
    return Header(message_id, flags, (counts[0], counts[1], counts[2], counts[3]))


def read_name(wire: bytes, position: int) -> tuple[bytes, int]:
    """Return the uncompressed name at ``position``, case kept, and the offset after it; raises FormError."""
    parts: list[bytes] = []
    size = 1
    after = -1
    limit = position
    try:
        while length := wire[position]:
            if length < 64:
                end = position + 1 + length
                parts.append(wire[position:end])
                size += length + 1
                if size > 255:
                    raise FormError("name longer than 255 octets")
                position = end
            elif length >= 192:
                target = (length & 63) << 8 | wire[position + 1]
                if after < 0:
                    after = position + 2
                if not HEADER_SIZE <= target < limit:
                    raise FormError("compression pointer that does not lead back")
                position = limit = target
            else:
                raise FormError("unknown label type")
    except IndexError:
        raise FormError("name runs past the end") from None
    parts.append(b"\x00")
    return b"".join(parts), position + 1 if after < 0 else after


def parse(wire: bytes) -> Message:
    """Return the request in ``wire``; raises FormError for anything the wire format does not allow."""
    header = parse_header(wire)
    message = Message(header)
    qdcount, *counts = header.counts
    if qdcount > 1:
        raise FormError("more than one question")
    position = HEADER_SIZE
    if qdcount:
        position = _question(wire, message)
    for section, number in enumerate(counts):
        # An RR takes at least eleven octets: a count that cannot be true is refused before any walking.
        if number * 11 > len(wire) - position:
            raise FormError("more records announced than fit")
        for left in range(number - 1, -1, -1):
            record = _record(wire, position)
            _special(message, wire, record, section, last=section == _ADDITIONAL and not left)
            position = record.end
    if position != len(wire):
        raise FormError("octets after the last record")
    return message


def _question(wire: bytes, message: Message) -> int:
    name, position = read_name(wire, HEADER_SIZE)
    if position + 4 > len(wire):
        raise FormError("question cut short")
    message.qname = lower(name)
    message.qtype, message.qclass = _QUESTION.unpack_from(wire, position)
    message.question = wire[HEADER_SIZE : position + 4]
    return position + 4


def _record(wire: bytes, start: int) -> Record:
    name, position = read_name(wire, start)
    if position + 10 > len(wire):
        raise FormError("record cut short")
    rtype, rclass, ttl, length = _FIXED.unpack_from(wire, position)
    position += 10
    if position + length > len(wire):
        raise FormError("RDLENGTH past the end")
    return Record(start, name, rtype, rclass, ttl, position, position + length)


def _special(message: Message, wire: bytes, record: Record, section: int, last: bool) -> None:
    """Take note of OPT, TSIG, SIG(0) and the authority section; enforce where each may stand."""
    rtype = record.rtype
    if rtype == TYPE_OPT:
        if section != _ADDITIONAL or message.edns is not None or record.name != b"\x00":
            raise FormError("OPT doubled, misplaced or not at the root")
        message.edns = _edns(wire, record)
    elif rtype == TYPE_TSIG:
        if not last or record.rclass != CLASS_ANY or record.ttl:
            raise FormError("TSIG doubled, not last, or not class ANY and TTL 0")
        message.tsig = record
    elif rtype == TYPE_SIG and section == _ADDITIONAL and record.name == b"\x00":
        message.signed0 = True
    elif section == _AUTHORITY and message.header.opcode == QUERY:
        message.authority.append(record)


def _edns(wire: bytes, record: Record) -> Edns:
    position = record.rdata
    while position < record.end:
        if position + 4 > record.end:
            raise FormError("EDNS option cut short")
        position += 4 + int.from_bytes(wire[position + 2 : position + 4], "big")
    if position != record.end:
        raise FormError("EDNS option past the end of OPT")
    return Edns(max(record.rclass, 512), record.ttl >> 16 & 255, bool(record.ttl & 0x8000))


def ixfr_serial(wire: bytes, message: Message) -> int:
    """Return the serial an IXFR request names: exactly one SOA of the zone in its authority section.

    Raises FormError for none, several, or one that is not the zone's SOA (RFC 1995 §3).
    """
    if len(message.authority) != 1:
        raise FormError("an IXFR request carries exactly one authority record")
    record = message.authority[0]
    if record.rtype != 6 or record.rclass != CLASS_IN or lower(record.name) != message.qname:
        raise FormError("the authority record of an IXFR request is the zone's SOA")
    _, position = read_name(wire, record.rdata)
    _, position = read_name(wire, position)
    if position + 20 != record.end:
        raise FormError("SOA RDATA of a wrong length")
    return int.from_bytes(wire[position : position + 4], "big")
