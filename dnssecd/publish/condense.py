"""Condensed IXFR: several difference sequences as one with the same effect (RFC 1995 §5).

An RR that one version adds and a later one removes again (or vice versa) is left out. The framing SOAs
are those of the first and the last version. All of the RRs are held in memory, so callers bound the size.
"""

from collections.abc import Iterable, Iterator

from dnssecd.core.zone.zoneview import JournalChunk, JournalStep

#: Larger differences are sent as they are in the journal.
CONDENSE_MAX_OCTETS = 8 * 1024 * 1024


def condense(steps: Iterable[JournalStep], serial: int) -> Iterator[JournalStep]:
    """Yield one step with the effect of all ``steps`` to ``serial``; a single step is passed through unchanged."""
    iterator = iter(steps)
    first = next(iterator, None)
    if first is None or first.to_serial == serial:
        if first is not None:
            yield first
        return
    # Dicts keep the order of the journal, so the result is ordered by owner where the steps were.
    removed: dict[bytes, None] = {}
    added: dict[bytes, None] = {}
    _apply(first, removed, added)
    last = first
    for step in iterator:
        _apply(step, removed, added)
        last = step
    chunks = [JournalChunk(False, b"".join(removed)), JournalChunk(True, b"".join(added))]
    yield first._replace(
        to_serial=last.to_serial,
        new_soa=last.new_soa,
        new_soa_ttl=last.new_soa_ttl,
        chunks=[chunk for chunk in chunks if chunk.rrs],
    )


def _apply(step: JournalStep, removed: dict[bytes, None], added: dict[bytes, None]) -> None:
    for chunk in step.chunks:
        mine, other = (added, removed) if chunk.added else (removed, added)
        for rr in _split(chunk.rrs):
            if rr in other:
                del other[rr]
            else:
                mine[rr] = None


def _split(rrs: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(rrs):
        start = position
        while length := rrs[position]:
            position += length + 1
        position += 11 + (rrs[position + 9] << 8 | rrs[position + 10])
        yield rrs[start:position]
