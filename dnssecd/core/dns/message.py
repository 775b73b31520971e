"""A small, strict parser of requests in wire form: it reads what the server needs before it trusts a message.

The parser walks over all records. A wrong RDLENGTH, a count that is too high and octets after the last record
are errors. The walk comes before the TSIG and access checks, so it must be cheap: one step for each label. It
reads only the names that the server needs (core.message_names) and follows no compression pointer of other
names.
"""

from dataclasses import dataclass
from struct import Struct

import msgspec

from dnssecd.core.dns import message_names
from dnssecd.core.dns.message_names import skip_name
from dnssecd.core.dns.rrtypes import SOA

QUERY, NOTIFY, UPDATE = 0, 4, 5
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
YXDOMAIN, NOTAUTH, BADVERS = 6, 9, 16

QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100

TYPE_SIG, TYPE_OPT, TYPE_TKEY, TYPE_TSIG, TYPE_IXFR, TYPE_AXFR, TYPE_ANY = 24, 41, 249, 250, 251, 252, 255
OPTION_EXPIRE, OPTION_COOKIE, OPTION_EDE, OPTION_ZONEVERSION = 9, 10, 15, 19
_CLIENT_COOKIE = 8
CLASS_IN, CLASS_NONE, CLASS_ANY = 1, 254, 255

HEADER_SIZE = message_names.HEADER_OCTETS
#: The longest request accepted over UDP, where the sender proves nothing, not even its address. Longer
#: requests must use TCP.
UDP_REQUEST_MAX = 4096
_HEADER = Struct("!6H")
_FIXED = Struct("!HHIH")
_QUESTION = Struct("!HH")
_ANSWER, _AUTHORITY, _ADDITIONAL = range(3)
_SPECIAL_TYPES = frozenset({TYPE_SIG, TYPE_OPT, TYPE_TSIG})


class FormError(ValueError):
    """The message breaks the wire format: the answer is FORMERR."""


class Header(msgspec.Struct, frozen=True):
    """The six words every message starts with (RFC 1035 §4.1.1)."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def opcode(self) -> int:
        """Return the opcode."""
        return self.flags >> 11 & 15

    @property
    def is_response(self) -> bool:
        """Tell whether the QR bit is set."""
        return bool(self.flags & QR)


class Edns(msgspec.Struct, frozen=True):
    """The OPT record of a request (RFC 6891 §6.1).

    The options that are answered: ``expire`` (RFC 7314) and ``zoneversion`` (RFC 9660): asked for; ``cookie``: the data
    of COOKIE (RFC 7873), "" if absent.
    """

    udp_size: int
    version: int
    dnssec_ok: bool
    expire: bool = False
    zoneversion: bool = False
    cookie: bytes = b""


class Record(msgspec.Struct, frozen=True):
    """The place of one RR in a message: all positions are offsets from the start of the message."""

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
    ``authority`` is the record of that section where a QUERY has exactly one. ``tsig`` is the TSIG record if there
    is one, checked for place, class and TTL only. ``signed0``: there is a SIG(0) record.
    """

    header: Header
    question: bytes = b""
    qname: bytes = b""
    qtype: int = 0
    qclass: int = 0
    authority: Record | None = None
    edns: Edns | None = None
    tsig: Record | None = None
    signed0: bool = False


def parse_header(wire: bytes) -> Header:
    """Return the header; raise FormError for less than twelve octets."""
    if len(wire) < HEADER_SIZE:
        raise FormError("shorter than a header")
    message_id, flags, *counts = _HEADER.unpack_from(wire)
    return Header(message_id, flags, (counts[0], counts[1], counts[2], counts[3]))


def read_name(wire: bytes, position: int) -> tuple[bytes, int]:
    """Return the lower-cased uncompressed name at ``position`` and the offset after it; raises FormError."""
    return message_names.read_name(wire, position, FormError)


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
        # An RR takes at least eleven octets: a count that cannot be true is refused before the walk.
        if number * 11 > len(wire) - position:
            raise FormError("more records announced than fit")
        sole = section == _AUTHORITY and number == 1 and header.opcode == QUERY
        for left in range(number - 1, -1, -1):
            start, fixed = position, skip_name(wire, position, FormError)
            rtype, position = _after_record(wire, fixed)
            if rtype in _SPECIAL_TYPES:
                _special(message, wire, (start, fixed), section, last=section == _ADDITIONAL and not left)
            elif sole:
                message.authority = _record(wire, start, fixed)
    if position != len(wire):
        raise FormError("octets after the last record")
    return message


def _question(wire: bytes, message: Message) -> int:
    message.qname, position = read_name(wire, HEADER_SIZE)
    if position + 4 > len(wire):
        raise FormError("question cut short")
    message.qtype, message.qclass = _QUESTION.unpack_from(wire, position)
    message.question = wire[HEADER_SIZE : position + 4]
    return position + 4


def _after_record(wire: bytes, fixed: int) -> tuple[int, int]:
    """Return the type of a record whose name ends at ``fixed``, and the offset after the record."""
    if fixed + 10 > len(wire):
        raise FormError("record cut short")
    rtype, _, _, length = _FIXED.unpack_from(wire, fixed)
    end: int = fixed + 10 + length
    if end > len(wire):
        raise FormError("RDLENGTH past the end")
    return rtype, end


def _record(wire: bytes, start: int, fixed: int) -> Record:
    """Return a record that was walked, its name read."""
    name, _ = read_name(wire, start)
    rtype, rclass, ttl, length = _FIXED.unpack_from(wire, fixed)
    return Record(start, name, rtype, rclass, ttl, fixed + 10, fixed + 10 + length)


def _special(message: Message, wire: bytes, at: tuple[int, int], section: int, last: bool) -> None:
    """Note OPT, TSIG and SIG(0) records, and check their place. ``at``: start of the record, end of its name.

    OPT and SIG(0) have the root as their owner, one octet (RFC 6891 §6.1.2, RFC 2931 §3): there is no name to read.
    """
    start, fixed = at
    rtype, rclass, ttl, length = _FIXED.unpack_from(wire, fixed)
    if rtype == TYPE_OPT:
        if section != _ADDITIONAL or message.edns is not None or wire[start]:
            raise FormError("OPT doubled, misplaced or not at the root")
        message.edns = _edns(wire, rclass, ttl, (fixed + 10, fixed + 10 + length))
    elif rtype == TYPE_TSIG:
        if not last or rclass != CLASS_ANY or ttl:
            raise FormError("TSIG doubled, not last, or not class ANY and TTL 0")
        message.tsig = _record(wire, start, fixed)
    elif section == _ADDITIONAL and not wire[start]:
        message.signed0 = True


def _edns(wire: bytes, udp_size: int, ttl: int, rdata: tuple[int, int]) -> Edns:
    position, end = rdata
    codes, cookie = set(), b""
    while position < end:
        if position + 4 > end:
            raise FormError("EDNS option cut short")
        code = int.from_bytes(wire[position : position + 2], "big")
        data, position = position + 4, position + 4 + int.from_bytes(wire[position + 2 : position + 4], "big")
        if code == OPTION_COOKIE and OPTION_COOKIE not in codes:
            cookie = wire[data:position]
        codes.add(code)
    if position != end:
        raise FormError("EDNS option past the end of OPT")
    if OPTION_COOKIE in codes and len(cookie) != _CLIENT_COOKIE and not 16 <= len(cookie) <= 40:
        raise FormError("COOKIE of a wrong length")  # RFC 7873 §5.2.2
    wanted = OPTION_EXPIRE in codes, OPTION_ZONEVERSION in codes
    return Edns(max(udp_size, 512), ttl >> 16 & 255, bool(ttl & 0x8000), *wanted, cookie)


def ixfr_serial(wire: bytes, message: Message) -> int:
    """Return the serial an IXFR request names: exactly one SOA of the zone in its authority section.

    Raises FormError for none, several, or one that is not the zone's SOA (RFC 1995 §3).
    """
    record = message.authority
    if record is None:
        raise FormError("an IXFR request carries exactly one authority record")
    if record.rtype != SOA or record.rclass != CLASS_IN or record.name != message.qname:
        raise FormError("the authority record of an IXFR request is the zone's SOA")
    position = skip_name(wire, skip_name(wire, record.rdata, FormError), FormError)
    if position + 20 != record.end:
        raise FormError("SOA RDATA of a wrong length")
    return int.from_bytes(wire[position : position + 4], "big")
