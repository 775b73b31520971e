"""Building answers: header, question, RRsets with compressed owner names, OPT."""

from struct import Struct

from dnssecd.core.dns.message import AA, CLASS_IN, HEADER_SIZE, QR, RD, TC, Message
from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrset import unpack

#: What we tell clients to send at most over UDP, and the most we send (the DNS flag day 2020 value).
UDP_SIZE = 1232
PLAIN_UDP_SIZE = 512

_HEADER = Struct("!6H")
_HEAD = Struct("!HHI")
_OPTION = Struct("!HHH")
OPT_SIZE = 11
#: An RR with the shortest name, without its RDLENGTH and RDATA, which are in the packed set.
_RR_OCTETS_MIN = 9
#: Octets of an answer besides question, records and text: header, OPT, the head of an Extended DNS Error.
EMPTY_SIZE = 12 + OPT_SIZE + 6


#: Option code of Extended DNS Errors and the info-code "Other" (RFC 8914 §2, §4.1); octets of text sent at most.
_EDE, _EDE_OTHER, _EDE_TEXT_MAX = 15, 0, 300


def opt_record(extended_rcode: int, dnssec_ok: bool, error_text: str = "") -> bytes:
    """Return an OPT record; ``extended_rcode`` is the whole RCODE, of which the upper bits go here (RFC 6891).

    error_text: sent as an Extended DNS Error (RFC 8914), cut where it is long.
    """
    ttl = (extended_rcode >> 4) << 24 | (0x8000 if dnssec_ok else 0)
    options = b""
    if error_text:
        text = error_text.encode("ascii", "replace")[:_EDE_TEXT_MAX]
        options = _OPTION.pack(_EDE, 2 + len(text), _EDE_OTHER) + text
    return (
        b"\x00\x00\x29"
        + UDP_SIZE.to_bytes(2, "big")
        + ttl.to_bytes(4, "big")
        + len(options).to_bytes(2, "big")
        + options
    )


def answer_flags(request: Message, rcode: int, authoritative: bool = False) -> int:
    """Return the flags of an answer: opcode and RD are copied, Z, AD and CD stay clear (RFC 1035 §4.1.1)."""
    return QR | request.header.flags & (0x7800 | RD) | (AA if authoritative else 0) | rcode & 15


def bare(message_id: int, flags: int) -> bytes:
    """Return a header without any section."""
    return _HEADER.pack(message_id, flags, 0, 0, 0, 0)


def truncated(request: Message, rcode: int, authoritative: bool) -> bytes:
    """Return an answer with nothing but the question and OPT, TC set: ask again over TCP."""
    opt = b"" if request.edns is None else opt_record(rcode, request.edns.dnssec_ok)
    flags = answer_flags(request, rcode, authoritative) | TC
    return _HEADER.pack(request.header.id, flags, 1, 0, 0, bool(opt)) + request.question + opt


def plain(request: Message, rcode: int, authoritative: bool = False, error_text: str = "") -> bytes:
    """Return an answer without records but OPT, echoing the question; ``error_text`` goes where EDNS was asked for."""
    return Reply(request).render(rcode, authoritative, error_text)


#: Owner (uncompressed wire name), type, TTL, packed RDATA.
_Entry = tuple[bytes, int, int, bytes]


class Reply:
    """One answer under construction: RRsets are added by section, rendered once.

    Owner names are compressed against the question and earlier owners (whole names and their suffixes).
    """

    def __init__(self, request: Message, size_max: int = 65_535) -> None:
        """size_max: octets the message may take, TSIG excluded."""
        self._request = request
        self._size_max = size_max
        #: The RRsets of each section, in order; looked up whenever one is added, so not a list.
        self._sections: tuple[dict[_Entry, None], ...] = ({}, {}, {})
        #: What each section takes at least.
        self._octets = [0, 0, 0]

    def add(self, section: int, owner: bytes, rtype: int, ttl: int, rdata: bytes) -> None:
        """Add an RRset to section 0 (answer), 1 (authority) or 2 (additional).

        owner: uncompressed wire name; rdata: packed as in core.rrset.
        """
        if self.is_full(section):
            return
        entries, entry = self._sections[section], (owner, rtype, ttl, rdata)
        if entry not in entries:
            entries[entry] = None
            self._octets[section] += len(rdata) + _RR_OCTETS_MIN

    def is_full(self, section: int) -> bool:
        """Tell whether nothing more of a section can get into the message: what comes before does not fit already.

        Then nothing need be looked up for it either.
        """
        return HEADER_SIZE + sum(self._octets[: section + 1]) > self._size_max

    def render(self, rcode: int, authoritative: bool = True, error_text: str = "") -> bytes:
        """Return the message; what does not fit is left out, with TC set: additional data is glue (RFC 9471 §3).

        error_text: an Extended DNS Error.
        """
        request = self._request
        flags = answer_flags(request, rcode, authoritative)
        opt = b"" if request.edns is None else opt_record(rcode, request.edns.dnssec_ok, error_text)
        room = self._size_max - len(opt)
        body = bytearray(12) + request.question
        names: dict[bytes, int] = {}
        if request.question:
            _remember(names, lower(request.question[:-4]), 12)
        counts = [0, 0, 0]
        for section, entries in enumerate(self._sections):
            for entry in entries:
                number = _write(body, names, entry, room)
                if not number:
                    flags |= TC
                    break
                counts[section] += number
            if flags & TC:
                break
        counts[2] += bool(opt)
        body += opt
        _HEADER.pack_into(body, 0, request.header.id, flags, bool(request.question), *counts)
        return bytes(body)


def _write(body: bytearray, names: dict[bytes, int], entry: _Entry, room: int) -> int:
    """Append the RRs of a set if they all fit; return their number, or 0 with ``body`` unchanged."""
    owner, rtype, ttl, rdata = entry
    start = len(body)
    if start + len(rdata) + _RR_OCTETS_MIN > room:
        return 0
    head = _HEAD.pack(rtype, CLASS_IN, ttl)
    number = 0
    for one in unpack(rdata):
        _write_name(body, names, owner, room)
        body += head
        body += len(one).to_bytes(2, "big")
        body += one
        number += 1
        if len(body) > room:
            del body[start:]
            for name in [name for name, offset in names.items() if offset >= start]:
                del names[name]
            return 0
    return number


def _write_name(body: bytearray, names: dict[bytes, int], owner: bytes, room: int) -> None:
    name, position = lower(owner), 0
    while name[position]:
        offset = names.get(name[position:])
        if offset is not None:
            break
        position += name[position] + 1
    else:
        offset = None
    _remember(names, name[:], len(body), until=position)
    body += owner[:position]
    body += b"\x00" if offset is None else (0xC000 | offset).to_bytes(2, "big")


def _remember(names: dict[bytes, int], name: bytes, offset: int, until: int | None = None) -> None:
    """Note where a name and its suffixes stand, as far as a pointer reaches."""
    position = 0
    while name[position] and (until is None or position < until) and offset + position < 0x4000:
        names.setdefault(name[position:], offset + position)
        position += name[position] + 1
