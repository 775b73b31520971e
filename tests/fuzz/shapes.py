"""Messages that are as dear to read as their octets allow: chains of pointers, long names, thousands of small things.

A shape takes where its records begin and how many octets they may have, and gives the records. All names end in the
zone's, which stands at offset 12, so that a parser that refuses names outside the zone goes on.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

ZONE = b"\x07example\x00"
QUESTION_AT = 12
IN = 1
REACH = 0x4000
#: 240 octets in 120 labels, the zone's name after them: the longest name with the most labels.
LABELS = b"\x01a" * 120


class Record(NamedTuple):
    """One RR but for its TTL, which is 0."""

    owner: bytes
    rtype: int
    rdata: bytes = b""

    def wire(self, rclass: int = IN) -> bytes:
        return self.owner + struct.pack("!HHIH", self.rtype, rclass, 0, len(self.rdata)) + self.rdata

    @property
    def octets(self) -> int:
        return len(self.owner) + 10 + len(self.rdata)


Shape = Callable[[int, int], list[Record]]
NOTHING, ZONE_POINTER = 65280, b"\xc0\x0c"


def pointer(target: int) -> bytes:
    return (0xC000 | target).to_bytes(2)


def repeated(octets: int, record: Record) -> list[Record]:
    return [record] * max(0, octets // record.octets)


def chain_in_rdata(at: int, octets: int) -> list[Record]:
    """A chain of pointers in the RDATA of an unknown type; the owner of every other record is its end."""
    start = at + 12
    hops = max(1, (min(REACH, at + octets * 2 // 3) - start) // 2)
    chain = b"".join(pointer(QUESTION_AT if not i else start + 2 * (i - 1)) for i in range(hops))
    first = Record(ZONE_POINTER, NOTHING, chain)
    return [first, *repeated(octets - first.octets, Record(pointer(start + 2 * (hops - 1)), NOTHING))]


def chains_of_sixteen(at: int, octets: int) -> list[Record]:
    """As many chains of lawful length as fit, each ended at once by one owner."""
    start = at + 12
    hops = max(1, min(REACH - start, octets // 2) // 2)
    chain = b"".join(pointer(QUESTION_AT if not i % 15 else start + 2 * (i - 1)) for i in range(hops))
    owners = (Record(pointer(start + 2 * i), NOTHING) for i in range(14, hops, 15))
    return fitted(octets, [Record(ZONE_POINTER, NOTHING, chain)], owners)


def owners_on_owners(at: int, octets: int) -> list[Record]:
    """Each owner is a pointer to the one before."""
    owners = (
        Record(pointer(QUESTION_AT if not i else min(at + 12 * (i - 1), REACH - 20)), NOTHING)
        for i in count()
    )
    return fitted(octets, [], owners)


def labels_on_owners(at: int, octets: int) -> list[Record]:
    """Each owner is one label before the one before, up to the length of a name, and again."""
    owners = (
        Record(
            b"\x01b" + pointer(QUESTION_AT if not i % 119 else min(at + 14 * (i - 1), REACH - 20)), NOTHING
        )
        for i in count()
    )
    return fitted(octets, [], owners)


def one_long_name(at: int, octets: int) -> list[Record]:
    """One long name, and thousands of pointers to it."""
    first = Record(LABELS + ZONE, NOTHING)
    return [first, *repeated(octets - first.octets, Record(pointer(at), NOTHING))]


def below_a_long_name(at: int, octets: int) -> list[Record]:
    """Thousands of different names, each one label below one long name."""
    first = Record(LABELS[4:] + ZONE, NOTHING)
    return fitted(
        octets, [first], (Record(b"\x02%c%c" % divmod(i, 256) + pointer(at), NOTHING) for i in range(65_536))
    )


def middles_of_long_names(at: int, octets: int) -> list[Record]:
    """Long names in the RDATA of an unknown type, and a pointer to each label in them, farthest first."""
    start = at + 12
    blocks = max(1, min(REACH - start, octets // 2) // 250)
    first = Record(ZONE_POINTER, NOTHING, (LABELS + ZONE) * blocks)
    targets = [start + 249 * b + 2 * i for b in range(blocks) for i in range(120)]
    return fitted(octets, [first], (Record(pointer(t), NOTHING) for t in reversed(targets) if t < REACH))


def smallest(at: int, octets: int) -> list[Record]:
    """As many records as fit."""
    return repeated(octets, Record(b"\x00", NOTHING))


def smallest_in_zone(at: int, octets: int) -> list[Record]:
    """As many records of the zone as fit."""
    return repeated(octets, Record(ZONE_POINTER, NOTHING))


def many_labels(at: int, octets: int) -> list[Record]:
    """Different long names, uncompressed."""
    return fitted(
        octets, [], (Record(b"\x02%c%c" % divmod(i, 256) + LABELS[4:] + ZONE, NOTHING) for i in count())
    )


def outside_the_zone(at: int, octets: int) -> list[Record]:
    """Different long names that are not in the zone."""
    return fitted(
        octets, [], (Record(b"\x02%c%c" % divmod(i, 256) + LABELS + b"\x00", NOTHING) for i in count())
    )


def compressed_rdata(at: int, octets: int) -> list[Record]:
    """Records of the types that may hold compressed names, all pointing to a long one."""
    first, name = Record(LABELS + ZONE, NOTHING), pointer(at)
    rdatas = [
        (2, name), (5, name), (12, name), (15, b"\0\1" + name), (14, name * 2), (17, name * 2), (30, name),
        (26, b"\0\1" + name * 2), (33, bytes(6) + name), (35, bytes(4) + b"\0\0\0" + name), (24, bytes(18) + name),
    ]  # fmt: skip
    return fitted(
        octets, [first], (Record(b"\x01c" + pointer(at + 40), *rdatas[i % len(rdatas)]) for i in count())
    )


def rdata_names_on_names(at: int, octets: int) -> list[Record]:
    """The name in each RDATA is a pointer to the one in the RDATA before."""
    return fitted(
        octets,
        [],
        (Record(ZONE_POINTER, 2, pointer(min(at + 14 * i - 2, REACH - 20) if i else 12)) for i in count()),
    )


def signatures_of_old(at: int, octets: int) -> list[Record]:
    """SIG records: a parser looks whether their owner is the root."""
    first = Record(LABELS + ZONE, NOTHING)
    return [first, *repeated(octets - first.octets, Record(pointer(at), 24))]


def of_type(rtype: int, head: bytes, item: bytes, tail: bytes = b"") -> Shape:
    """One record whose RDATA is full of one thing."""

    def shape(at: int, octets: int) -> list[Record]:
        number = max(0, min(octets, 65_000) - 12 - len(head) - len(tail)) // len(item)
        return [Record(ZONE_POINTER, rtype, head + item * number + tail)]

    return shape


def svcb_parameters(at: int, octets: int) -> list[Record]:
    """As many empty SVCB parameters as fit."""
    number = max(1, (octets - 15) // 4)
    return [
        Record(ZONE_POINTER, 64, b"\0\1\0" + b"".join(struct.pack("!HH", 100 + i, 0) for i in range(number)))
    ]


def svcb_value(key: int, item: bytes, head: bytes = b"", tail: bytes = b"") -> Shape:
    """One SVCB parameter with a value of many parts."""

    def shape(at: int, octets: int) -> list[Record]:
        value = head + item * (max(0, octets - 19 - len(head) - len(tail)) // len(item)) + tail
        return [Record(ZONE_POINTER, 64, b"\0\1\0" + struct.pack("!HH", key, len(value)) + value)]

    return shape


def svcb_mandatory(at: int, octets: int) -> list[Record]:
    """A list of mandatory keys, each of them there."""
    number = max(1, (octets - 19) // 6)
    keys = [struct.pack("!H", 100 + i) for i in range(number)]
    rest = b"".join(key + b"\0\0" for key in keys)
    return [Record(ZONE_POINTER, 64, b"\0\1\0" + struct.pack("!HH", 0, 2 * number) + b"".join(keys) + rest)]


def regexps(at: int, octets: int) -> list[Record]:
    """NAPTR with regular expressions of nested groups."""
    regexp = b"!" + b"(" * 80 + b"a*" + b")*" * 40 + b")" * 40 + b"!\\1!"
    rdata = bytes(4) + b"\0\0" + bytes([len(regexp)]) + regexp + b"\0"
    return repeated(octets, Record(ZONE_POINTER, 35, rdata))


def options(at: int, octets: int) -> list[Record]:
    """One OPT record full of empty options."""
    return [Record(b"\x00", 41, b"\xfd\xe9\0\0" * (max(0, octets - 11) // 4))]


def count() -> Iterator[int]:
    return iter(range(1 << 20))


def fitted(octets: int, first: list[Record], more: Iterator[Record]) -> list[Record]:
    """The first records and as many of the others as fit."""
    left = octets - sum(record.octets for record in first)
    taken = list(first)
    for record in more:
        left -= record.octets
        if left < 0:
            break
        taken.append(record)
    return taken


SHAPES: dict[str, Shape] = {
    shape.__name__: shape
    for shape in (
        chain_in_rdata, chains_of_sixteen, owners_on_owners, labels_on_owners, one_long_name, below_a_long_name,
        middles_of_long_names, smallest, smallest_in_zone, many_labels, outside_the_zone, compressed_rdata,
        rdata_names_on_names, signatures_of_old, svcb_parameters, svcb_mandatory, regexps, options,
    )
} | {
    "empty_strings": of_type(16, b"", b"\x00"),
    "hip_servers": of_type(55, b"\x01\x02\0\x01\x01\x01", b"\x00"),
    "apl_items": of_type(42, b"", b"\0\1\0\0"),
    "bit_maps": of_type(47, b"\x00", b"\0\1\1"),
    "svcb_template": svcb_value(7, b"dns,", b"/{", b""),
    "svcb_template_closed": svcb_value(7, b"{dns,a}", b"/"),
    "svcb_template_open": svcb_value(7, b"{dns", b"/"),
    "svcb_hints": svcb_value(4, b"\xc0\0\2\1"),
    "svcb_protocols": svcb_value(1, b"\x01a"),
    "svcb_groups": svcb_value(9, b"\0\1"),
}  # fmt: skip


def mixed(rng: random.Random, at: int, octets: int) -> list[Record]:
    """Records of several shapes, each from where the last ended."""
    records: list[Record] = []
    while octets > 300:
        share = rng.randrange(200, octets + 1)
        made = SHAPES[rng.choice(sorted(SHAPES))](at, share)
        records += made
        taken = sum(record.octets for record in made)
        at, octets = at + taken, octets - max(taken, 100)
    return records
