"""Building answers: header, question, RRsets with compressed owner names, OPT."""

from struct import Struct
from typing import NamedTuple

from dnssecd.core.dns.message import AA, CLASS_IN, HEADER_SIZE, OPTION_EDE, QR, RD, TC, Message
from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrset import unpack

#: The largest UDP message that dnssecd announces and sends (the DNS flag day 2020 value).
UDP_SIZE = 1232
PLAIN_UDP_SIZE = 512

_HEADER = Struct("!6H")
_HEAD = Struct("!HHI")
_OPTION = Struct("!HHH")
OPT_SIZE = 11
#: Octets of text in an Extended DNS Error at most.
EDE_TEXT_MAX = 300
#: An RR with the shortest name, without its RDLENGTH and RDATA, which are in the packed set.
_RR_OCTETS_MIN = 9
#: Octets of an answer except question, records and options: header and OPT.
EMPTY_SIZE = 12 + OPT_SIZE
_EDE_HEAD = 6


class Ede(NamedTuple):
    """An Extended DNS Error (RFC 8914): INFO-CODE and EXTRA-TEXT."""

    code: int
    text: str = ""


#: Info-codes (RFC 8914 §4).
OTHER, NOT_READY, PROHIBITED, NOT_AUTHORITATIVE, NOT_SUPPORTED = 0, 14, 18, 20, 21


def option(code: int, data: bytes) -> bytes:
    """Return an EDNS option (RFC 6891 §6.1.2)."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def ede_option(error: Ede, room: int) -> bytes:
    """Return the option for an Extended DNS Error in at most ``room`` octets; its text is cut, or it is left out."""
    text = error.text.encode("ascii", "replace")[: min(EDE_TEXT_MAX, max(room - _EDE_HEAD, 0))]
    if room < _EDE_HEAD:
        return b""
    return _OPTION.pack(OPTION_EDE, 2 + len(text), error.code) + text


def opt_record(extended_rcode: int, dnssec_ok: bool, options: bytes = b"") -> bytes:
    """Return an OPT record with the upper bits of ``extended_rcode``, the whole RCODE (RFC 6891)."""
    ttl = (extended_rcode >> 4) << 24 | (0x8000 if dnssec_ok else 0)
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


def truncated(request: Message, rcode: int, authoritative: bool, options: bytes = b"") -> bytes:
    """Return an answer with only the question and OPT, and TC set: the client asks again over TCP."""
    opt = b"" if request.edns is None else opt_record(rcode, request.edns.dnssec_ok, options)
    flags = answer_flags(request, rcode, authoritative) | TC
    return _HEADER.pack(request.header.id, flags, 1, 0, 0, bool(opt)) + request.question + opt


def plain(request: Message, rcode: int, authoritative: bool = False, options: bytes = b"") -> bytes:
    """Return an answer with the question and no records but OPT; ``options`` are sent if the request has EDNS."""
    return Reply(request).render(rcode, authoritative, options)


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
        #: The RRsets of each section, in order; a dict, because it is searched whenever one is added.
        self._sections: tuple[dict[_Entry, None], ...] = ({}, {}, {})
        #: The least octets that each section takes.
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
        """Tell whether a section has no room left in the message because earlier RRsets already fill it.

        Then look-ups for that section are useless.
        """
        return HEADER_SIZE + sum(self._octets[: section + 1]) > self._size_max

    def render(self, rcode: int, authoritative: bool = True, options: bytes = b"") -> bytes:
        """Return the message; RRsets that do not fit are left out, and TC is set, also for glue (RFC 9471 §3).

        options: EDNS options.
        """
        request = self._request
        flags = answer_flags(request, rcode, authoritative)
        opt = b"" if request.edns is None else opt_record(rcode, request.edns.dnssec_ok, options)
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
    """Note the positions of a name and its suffixes, as far as a compression pointer reaches."""
    position = 0
    while name[position] and (until is None or position < until) and offset + position < 0x4000:
        names.setdefault(name[position:], offset + position)
        position += name[position] + 1
