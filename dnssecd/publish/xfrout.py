"""Transfers out, sans I/O: the messages of AXFR (RFC 5936) and IXFR (RFC 1995) answers from a served version.

Messages are built straight from wire bytes. RRs are grouped by owner, content, signatures and denial merged
in owner order, so that one owner name per group is written and the rest of the group points to it; names end
in a pointer to the question. Messages stop short of 16 KiB, as far as a compression pointer reaches; a larger
RR gets a message of its own. In a message of any size, ``reserve`` octets stay free for TSIG (and OPT).
"""

from collections.abc import Iterable, Iterator
from struct import Struct

import msgspec

from dnssecd.core.dns.names import APEX, ROOT_WIRE, key_labels
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CLASS_IN, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.zone.zoneview import JournalStep, ServedVersion
from dnssecd.publish.condense import CONDENSE_MAX_OCTETS, condense

#: Where a message is closed; every RR that starts below it can be pointed to (RFC 1035 §4.1.4: 14 bits).
FILL_OCTETS = 16_000
MESSAGE_MAX = 65_535
#: A difference no larger than this is sent as such without measuring the zone.
SMALL_DIFFERENCE = 32 * 1024

_HEADER = Struct("!6H")
_HEAD = Struct("!HHI")
_POINTER_TO_QUESTION = b"\xc0\x0c"
_QUESTION_AT = 12


class RecordTooBig(ValueError):
    """One RR does not fit into a message even alone; the zone check at load refuses such a zone."""


class Frame(msgspec.Struct, frozen=True):
    """The parts that all messages of one answer share.

    ``flags`` is the second word of the header; ``question`` the question section in wire form, whose name is the
    zone's; ``reserve`` octets of each message stay free.
    """

    message_id: int
    flags: int
    question: bytes
    reserve: int = 0

    def message(self, parts: list[bytes], count: int) -> bytes:
        """Return one message; ``parts`` are RRs to place after the question, ``count`` their number."""
        header = _HEADER.pack(self.message_id, self.flags, 1, count, 0, 0)
        return b"".join([header, self.question, *parts])

    @property
    def start(self) -> int:
        """Offset of the first RR."""
        return _QUESTION_AT + len(self.question)


class Transfer(msgspec.Struct, frozen=True):
    """An answer about to be sent. ``kind``: axfr, ixfr, axfr-style (asked for IXFR), or current (one SOA)."""

    kind: str
    messages: Iterator[bytes]


def axfr(version: ServedVersion, message_id: int, flags: int, question: bytes, reserve: int) -> Transfer:
    """Return the whole zone, SOA first and last."""
    frame = Frame(message_id, flags, question, reserve)
    return Transfer("axfr", pack_groups(_whole_zone(version), frame, version.origin))


def ixfr(
    version: ServedVersion, message_id: int, flags: int, question: bytes, reserve: int, client_serial: int
) -> Transfer:
    """Return the answer to an IXFR request over TCP from a client that holds ``client_serial`` (RFC 1995 §4)."""
    frame = Frame(message_id, flags, question, reserve)
    if client_serial == version.serial or is_after(client_serial, version.serial):
        return Transfer("current", iter([_soa_only(version, frame)]))
    size = version.journal_size(client_serial)
    if size is None or (size > SMALL_DIFFERENCE and size > zone_octets(version, size)):
        return Transfer("axfr-style", pack_groups(_whole_zone(version), frame, version.origin))
    return Transfer("ixfr", pack_records(_difference(version, client_serial, size), frame))


def ixfr_datagram(
    version: ServedVersion,
    message_id: int,
    flags: int,
    question: bytes,
    reserve: int,
    client_serial: int,
    size_max: int,
) -> bytes:
    """Return the one message that answers an IXFR request over UDP: the difference if it fits, or one SOA."""
    frame = Frame(message_id, flags, question, reserve)
    if is_after(version.serial, client_serial):
        size = version.journal_size(client_serial)
        if size is not None and size <= 4 * size_max:
            messages = list(pack_records(_difference(version, client_serial, size), frame))
            if len(messages) == 1 and len(messages[0]) <= size_max - reserve:
                return messages[0]
    return _soa_only(version, frame)


def zone_octets(version: ServedVersion, enough: int) -> int:
    """Return roughly how many octets an AXFR takes; counting stops above ``enough``."""
    total = 0
    for name, pieces in _groups(version):
        total += len(name) + 2 * len(pieces) + sum(map(len, pieces))
        if total > enough:
            break
    return total


def _soa_only(version: ServedVersion, frame: Frame) -> bytes:
    return frame.message([_POINTER_TO_QUESTION, _soa(version)], 1)


def _soa(version: ServedVersion) -> bytes:
    soa = version.rrset(APEX, SOA)
    assert soa is not None, "a served version has an SOA"
    return _HEAD.pack(SOA, CLASS_IN, soa.ttl) + soa.rdata


#: An octet of length as bytes, by length.
_LENGTHS = [bytes((length,)) for length in range(256)]


def relative_name(owner: bytes) -> bytes:
    """Return the wire labels of an owner key below the apex, leftmost first."""
    if b"\x01" not in owner:
        end = owner.find(b"\x00")
        if end == len(owner) - 1:
            return _LENGTHS[end] + owner[:-1]
        parts = owner.split(b"\x00")
        parts.reverse()
        return b"".join([_LENGTHS[len(part)] + part for part in parts[1:]])
    return b"".join([_LENGTHS[len(label)] + label for label in reversed(key_labels(owner))])


Group = tuple[bytes, list[bytes]]


def _whole_zone(version: ServedVersion) -> Iterator[Group]:
    soa = _soa(version)
    yield b"", [soa]
    yield from _groups(version)
    yield b"", [soa]


def _groups(version: ServedVersion) -> Iterator[Group]:
    """Yield (labels below the apex, RRs without their owner) by owner, all but the SOA."""
    heads: dict[int, bytes] = {}
    last = APEX
    pieces: list[bytes] = []
    for owner, rtype, ttl, rdata in version.whole_scan():
        if owner != last:
            if pieces:
                yield relative_name(last) if last else b"", pieces
                pieces = []
            last = owner
        elif rtype == SOA and not owner:
            continue
        head = heads.get(ttl << 16 | rtype)
        if head is None:
            head = heads[ttl << 16 | rtype] = _HEAD.pack(rtype, CLASS_IN, ttl)
        if rdata[1] == len(rdata) - 2 and not rdata[0]:
            pieces.append(head + rdata)
        else:
            pieces += [head + len(one).to_bytes(2, "big") + one for one in unpack(rdata)]
    if pieces:
        yield relative_name(last) if last else b"", pieces


def pack_groups(groups: Iterable[Group], frame: Frame, origin: bytes) -> Iterator[bytes]:
    """Yield the messages that carry the groups in order; one owner name per group and message is written."""
    start = frame.start
    room = min(FILL_OCTETS, MESSAGE_MAX - frame.reserve)
    suffix = _POINTER_TO_QUESTION if origin != ROOT_WIRE else ROOT_WIRE
    parts: list[bytes] = []
    size, count = start, 0
    for labels, pieces in groups:
        name = labels + suffix
        block = name + (_pointer(size) if labels else suffix).join(pieces)
        if size + len(block) > room:
            if count:
                yield frame.message(parts, count)
                parts, size, count = [], start, 0
            block = name + (_pointer(start) if labels else suffix).join(pieces)
            if start + len(block) > room:
                yield from _big_group(name, labels + origin, pieces, frame)
                continue
        parts.append(block)
        size += len(block)
        count += len(pieces)
    if count:
        yield frame.message(parts, count)


def _pointer(offset: int) -> bytes:
    return (0xC000 | offset).to_bytes(2, "big")


def _big_group(name: bytes, whole_name: bytes, pieces: list[bytes], frame: Frame) -> Iterator[bytes]:
    """Yield messages for a group that fills more than one; ``name`` is the owner compressed."""
    pointer = _pointer(frame.start) if len(name) > 2 else name
    room = min(FILL_OCTETS, MESSAGE_MAX - frame.reserve)
    parts: list[bytes] = []
    size = frame.start
    for piece in pieces:
        cost = len(pointer if parts else name) + len(piece)
        if parts and size + cost > room:
            yield frame.message(parts, len(parts))
            parts, size = [], frame.start
            cost = len(name) + len(piece)
        if size + cost > MESSAGE_MAX - frame.reserve:
            yield _lone(whole_name + piece, frame)
            continue
        parts.append((pointer if parts else name) + piece)
        size += cost
    if parts:
        yield frame.message(parts, len(parts))


def _lone(record: bytes, frame: Frame) -> bytes:
    """Return a message without the question, for one RR so large that it needs all room (RFC 5936 §2.2.1)."""
    if _QUESTION_AT + len(record) > MESSAGE_MAX - frame.reserve:
        raise RecordTooBig(f"an RR of {len(record)} octets fits into no message")
    return _HEADER.pack(frame.message_id, frame.flags, 0, 1, 0, 0) + record


def _difference(version: ServedVersion, client_serial: int, size: int) -> Iterator[bytes]:
    """Yield runs of whole RRs: the answer of RFC 1995 §4 with its framing SOAs."""
    owner = version.origin
    soa = owner + _soa(version)
    yield soa
    steps: Iterable[JournalStep] = version.journal(client_serial)
    if size <= CONDENSE_MAX_OCTETS:
        steps = condense(steps, version.serial)
    for step in steps:
        yield from _step(step, owner)
    yield soa


def _step(step: JournalStep, owner: bytes) -> Iterator[bytes]:
    yield _soa_rr(owner, step.old_soa_ttl, step.old_soa)
    adding = False
    for chunk in step.chunks:
        if chunk.added and not adding:
            yield _soa_rr(owner, step.new_soa_ttl, step.new_soa)
            adding = True
        yield chunk.rrs
    if not adding:
        yield _soa_rr(owner, step.new_soa_ttl, step.new_soa)


def _soa_rr(owner: bytes, ttl: int, rdata: bytes) -> bytes:
    return owner + _HEAD.pack(SOA, CLASS_IN, ttl) + len(rdata).to_bytes(2, "big") + rdata


def rr_end(rrs: bytes, position: int) -> int:
    """Return where the uncompressed RR that starts at ``position`` ends."""
    while length := rrs[position]:
        position += length + 1
    return position + 11 + (rrs[position + 9] << 8 | rrs[position + 10])


def pack_records(runs: Iterable[bytes], frame: Frame) -> Iterator[bytes]:
    """Yield the messages that carry runs of whole uncompressed RRs, in order, copied by the run."""
    room = min(FILL_OCTETS, MESSAGE_MAX - frame.reserve) - frame.start
    largest = MESSAGE_MAX - frame.reserve - frame.start
    parts: list[bytes] = []
    size = count = 0
    for run in runs:
        position = taken = 0
        while position < len(run):
            end = rr_end(run, position)
            if size + end - taken > room and (count or end - position > largest):
                parts.append(run[taken:position])
                if count:
                    yield frame.message(parts, count)
                parts, size, count, taken = [], 0, 0, position
                if end - position > largest:
                    yield _lone(run[position:end], frame)
                    position = taken = end
                continue
            count += 1
            position = end
        parts.append(run[taken:])
        size += len(run) - taken
    if count:
        yield frame.message(parts, count)
