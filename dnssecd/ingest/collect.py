"""Records gathered into sorted RRsets (RFC 2181 §5): equal records merged, one TTL per set."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from dnssecd.core.rrset import RRset, pack


class Gathered(NamedTuple):
    """RRsets by (owner, type); ``duplicates``: records that merged; ``mixed``: sets whose TTLs differed, as given."""

    rrsets: list[RRset]
    duplicates: int
    mixed: dict[tuple[bytes, int], list[tuple[int, bytes]]]


#: One record: owner key, type, TTL, packed RDATA (two octets of length in front).
Row = tuple[bytes, int, int, bytes]


def gather(rows: list[Row]) -> Gathered:
    """Return the RRsets of all rows; the smallest TTL of a set is that of the set (RFC 2181 §5.2)."""
    rows.sort()
    rrsets = []
    duplicates = 0
    mixed = {}
    for (owner, rtype), group in _sets(rows):
        if len(group) == 1:
            rrsets.append(RRset(owner, rtype, group[0][2], group[0][3]))
            continue
        distinct = {row[3][2:] for row in group}
        duplicates += len(group) - len(distinct)
        ttl = group[0][2]
        if group[-1][2] != ttl:
            mixed[owner, rtype] = [(row[2], row[3][2:]) for row in group]
        rrsets.append(RRset(owner, rtype, ttl, pack(distinct)))
    return Gathered(rrsets, duplicates, mixed)


def _sets(rows: list[Row]) -> Iterator[tuple[tuple[bytes, int], list[Row]]]:
    for place, group in groupby(rows, key=lambda row: row[:2]):
        yield place, list(group)
