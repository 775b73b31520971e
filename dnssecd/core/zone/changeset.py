"""Changesets: the difference between two zone versions as RRsets before and after (one RFC 1995 sequence)."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from dnssecd.core.dns.rrset import RRset


class Change(NamedTuple):
    """One RRset that differs; ``old`` or ``new`` is None where the set is added or removed."""

    owner: bytes
    rtype: int
    old: RRset | None
    new: RRset | None


def diff(old: Iterable[RRset], new: Iterable[RRset]) -> Iterator[Change]:
    """Yield the changes that lead from ``old`` to ``new``; both ordered by (owner, type), as is the result."""
    old_iter, new_iter = iter(old), iter(new)
    before, after = next(old_iter, None), next(new_iter, None)
    while before is not None and after is not None:
        if before == after:
            before, after = next(old_iter, None), next(new_iter, None)
        elif before[:2] < after[:2]:
            yield Change(before.owner, before.rtype, before, None)
            before = next(old_iter, None)
        elif after[:2] < before[:2]:
            yield Change(after.owner, after.rtype, None, after)
            after = next(new_iter, None)
        else:
            yield Change(after.owner, after.rtype, before, after)
            before, after = next(old_iter, None), next(new_iter, None)
    if before is not None:
        for rrset in chain((before,), old_iter):
            yield Change(rrset[0], rrset[1], rrset, None)
    if after is not None:
        for rrset in chain((after,), new_iter):
            yield Change(rrset[0], rrset[1], None, rrset)


def merge(first: Iterable[Change], second: Iterable[Change]) -> list[Change]:
    """Return the net effect of ``first`` followed by ``second``, ordered; changes that cancel out are omitted."""
    net: dict[tuple[bytes, int], Change] = {(c.owner, c.rtype): c for c in first}
    for change in second:
        place = (change.owner, change.rtype)
        earlier = net.get(place)
        old = change.old if earlier is None else earlier.old
        if old == change.new:
            net.pop(place, None)
        else:
            net[place] = Change(change.owner, change.rtype, old, change.new)
    return [net[place] for place in sorted(net)]
