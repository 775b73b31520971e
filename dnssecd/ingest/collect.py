"""Collect records into sorted RRsets (RFC 2181 §5): equal records are merged, each set has one TTL."""

from typing import NamedTuple, cast

from dnssecd.core.dns.rrset import RRset, pack

#: One record: owner key, type, TTL, packed RDATA (two octets of length in front).
Row = tuple[bytes, int, int, bytes]


class Gathered(NamedTuple):
    """RRsets by (owner, type); ``duplicates``: records that merged; ``mixed``: sets with different TTLs, as given."""

    rrsets: list[RRset]
    duplicates: int
    mixed: dict[tuple[bytes, int], list[tuple[int, bytes]]]


def gather(rows: list[Row]) -> Gathered:
    """Return the RRsets of all rows; the smallest TTL of a set is that of the set (RFC 2181 §5.2).

    The RRsets replace the rows in place, so that a large zone is not held twice.
    """
    rows.sort()
    gathered = Gathered(cast(list[RRset], rows), 0, {})
    duplicates = 0
    kept = first = 0
    last_owner, last_type = b"", -1
    for index, row in enumerate(rows):
        owner, rtype, ttl, rdata = row
        if owner == last_owner:
            if rtype == last_type:
                continue
            owner = last_owner  # one object for all types of a name
        if index - first > 1:
            duplicates += _merge(rows, first, index, kept - 1, gathered.mixed)
        first = index
        rows[kept] = RRset(owner, rtype, ttl, rdata)
        kept += 1
        last_owner, last_type = owner, rtype
    if len(rows) - first > 1:
        duplicates += _merge(rows, first, len(rows), kept - 1, gathered.mixed)
    del rows[kept:]
    return gathered._replace(duplicates=duplicates)


def _merge(
    rows: list[Row], first: int, end: int, place: int, mixed: dict[tuple[bytes, int], list[tuple[int, bytes]]]
) -> int:
    """Write the RRset of rows[first:end] to its place; return how many records merged. rows[place] is the first."""
    group = [rows[place], *rows[first + 1 : end]]
    owner, rtype, ttl, rdata = group[0]
    if end - first == 2:
        _, _, other_ttl, other = group[1]
        if other_ttl == ttl and other != rdata:  # the usual case of a set with several records
            rows[place] = RRset(owner, rtype, ttl, rdata + other if rdata[2:] < other[2:] else other + rdata)
            return 0
    distinct = {rdata[2:] for _, _, _, rdata in group}
    if group[-1][2] != ttl:
        mixed[owner, rtype] = [(row_ttl, rdata[2:]) for _, _, row_ttl, rdata in group]
    rows[place] = RRset(owner, rtype, ttl, pack(distinct))
    return len(group) - len(distinct)
