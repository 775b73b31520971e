"""Checks of a peer's answer before it is decoded: whether it answers the request, and whether it is small enough.

Decoding makes an object of every record and label. That takes thousands of times as long as sending them, and
TSIG is checked only afterwards. So an answer may have at most UDP_OCTETS_MAX or TCP_OCTETS_MAX octets,
RECORDS_MAX records, and only the types that belong in answers to dnssecd's questions: each of them has two
names at most.
"""

import dns.rdatatype

from dnssecd.core.dns.message_names import HEADER_OCTETS, skip_name

#: dnssecd announces 1,232 octets, but some servers send up to 4,096.
UDP_OCTETS_MAX = 4096
#: A DNSKEY RRset of twenty RSA keys of 4,096 bits with its signatures; SOA and DS take a tenth of it.
TCP_OCTETS_MAX = 16_384
RECORDS_MAX = 128

_QR, _OPCODE, _RCODE = 0x80, 0x78, 0x0F
_UPDATE = 5 << 3
#: FORMERR, SERVFAIL, NOTIMP, REFUSED: the question may be missing.
_WITHOUT_QUESTION = frozenset({1, 2, 4, 5})
_TYPES = frozenset({
    1, 2, 5, 6, 28, 39, 41, 43, 46, 47, 48, 50, 51, 59, 60, 62, 63, 66, 250, 255,
})  # fmt: skip


class UnwantedAnswer(ValueError):
    """An answer that must not be used; the text says why."""


def is_answer(wire: bytes, request: bytes) -> bool:
    """Tell whether a message answers a request, as far as id, opcode and question say (RFC 5452 §9.1).

    An answer with several questions counts too: it is an answer, but malformed.
    """
    if len(wire) < HEADER_OCTETS or wire[:2] != request[:2] or not wire[2] & _QR:
        return False
    if (wire[2] ^ request[2]) & _OPCODE:
        return False
    if not any(wire[4:6]) and (wire[3] & _RCODE in _WITHOUT_QUESTION or wire[2] & _OPCODE == _UPDATE):
        return True
    if wire[4:6] > b"\x00\x01":
        return True
    end = skip_name(request, HEADER_OCTETS, AssertionError)
    return (
        wire[4:6] == request[4:6]
        and wire[HEADER_OCTETS:end].lower() == request[HEADER_OCTETS:end].lower()
        and wire[end : end + 4] == request[end : end + 4]
    )


def check_size(wire: bytes, octets_max: int) -> None:
    """Raise UnwantedAnswer for an answer that would take too long to decode, or is malformed."""
    if len(wire) > octets_max:
        raise UnwantedAnswer(f"longer than {octets_max:,} octets")
    questions, *counts = (int.from_bytes(wire[i : i + 2], "big") for i in range(4, HEADER_OCTETS, 2))
    if questions > 1 or sum(counts) > RECORDS_MAX:
        raise UnwantedAnswer(f"more than one question or more than {RECORDS_MAX} records")
    position = HEADER_OCTETS
    if questions:
        position = skip_name(wire, position, UnwantedAnswer) + 4
    for _ in range(sum(counts)):
        position = skip_name(wire, position, UnwantedAnswer)
        rtype = int.from_bytes(wire[position : position + 2], "big")
        if rtype not in _TYPES:
            kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))
            raise UnwantedAnswer(f"a record of type {kind} does not belong in an answer to the question")
        position += 10 + int.from_bytes(wire[position + 8 : position + 10], "big")
    if position != len(wire):
        raise UnwantedAnswer("cut short, or octets after the last record")
