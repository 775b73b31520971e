"""A zone as master file text, in pieces: what ``zone export`` and ``sign`` write."""

from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from itertools import islice
from time import gmtime, strftime

from dnssecd.core.rrset import RRset, Rrsigs, count, unpack
from dnssecd.core.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.zoneview import ZoneView
from dnssecd.ingest.export import owner_text, rrset_lines, type_text

PIECE_RRSETS = 500
DAY_S = 86_400

Piece = tuple[str, int]


def export_text(view: ZoneView, *, unsigned: bool) -> Iterator[Piece]:
    """Yield (text, records) pieces: SOA first, then content, chain and RRSIGs, each by owner.

    unsigned: without the DNSSEC records that the signer made.
    """
    yield from content_text(view, frozenset(APEX_DERIVED_TYPES) if unsigned else frozenset())
    if not unsigned:
        yield from chain_text(view)
        yield from rrsig_text(view)


def content_text(view: ZoneView, apex_left_out: frozenset[int] = frozenset()) -> Iterator[Piece]:
    """Yield content, the SOA first; without RRsets of some types at the apex."""
    soa = view.rrset(b"", SOA)
    if soa is not None:
        yield rrset_lines(owner_text(b"", view.origin), SOA, soa.ttl, soa.rdata), 1
    left_out = apex_left_out | {SOA}
    yield from _rrset_pieces(view, (r for r in view.scan() if r.owner or r.rtype not in left_out))


def chain_text(view: ZoneView) -> Iterator[Piece]:
    """Yield the NSEC or NSEC3 chain."""
    yield from _rrset_pieces(view, view.denial_scan())


def _rrset_pieces(view: ZoneView, rrsets: Iterable[RRset]) -> Iterator[Piece]:
    origin = view.origin
    rows = iter(rrsets)
    while chunk := list(islice(rows, PIECE_RRSETS)):
        lines = []
        records = 0
        previous, name = None, ""
        for owner, rtype, ttl, rdata in chunk:
            if owner != previous:
                previous, name = owner, owner_text(owner, origin)
            lines.append(rrset_lines(name, rtype, ttl, rdata))
            records += count(rdata)
        yield "".join(lines), records


def rrsig_text(view: ZoneView) -> Iterator[Piece]:
    """Yield all RRSIGs."""
    text = RrsigText(view.origin)
    rows = view.rrsig_scan()
    while chunk := list(islice(rows, PIECE_RRSETS)):
        yield text.piece(chunk)


class RrsigText:
    """RRSIG records as text. Nearly all of one is the same in thousands of others, so it is looked up."""

    def __init__(self, origin: bytes) -> None:
        self._origin = origin
        self._signature_at = 18 + len(origin)
        self._fronts: dict[bytes, str] = {}
        self._backs: dict[bytes, str] = {}
        self._days: dict[int, str] = {}
        self._seconds: dict[int, str] = {}

    def piece(self, rows: Iterable[Rrsigs]) -> Piece:
        """Return the lines of RRSIGs, in the order given."""
        lines: list[str] = []
        previous, name = None, ""
        for owner, _, ttl, rdata in rows:
            if owner != previous:
                previous, name = owner, owner_text(owner, self._origin)
            lines += [self._line(name, ttl, one) for one in unpack(rdata)]
        return "".join(lines), len(lines)

    def _line(self, owner: str, ttl: int, rdata: bytes) -> str:
        front = self._fronts.get(rdata[:8]) or self._front(rdata[:8])
        back = self._backs.get(rdata[12 : self._signature_at]) or self._back(rdata)
        signature = b2a_base64(rdata[self._signature_at :]).decode("ascii")
        return f"{owner}\t{ttl}\tIN\tRRSIG\t{front} {self._time(rdata[8:12])} {back} {signature}"

    def _front(self, octets: bytes) -> str:
        covered, ttl = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[4:8], "big")
        text = f"{type_text(covered)} {octets[2]} {octets[3]} {ttl}"
        self._fronts[octets] = text
        return text

    def _back(self, rdata: bytes) -> str:
        octets = rdata[12 : self._signature_at]
        tag = int.from_bytes(octets[4:6], "big")
        text = f"{self._time(octets[:4])} {tag} {owner_text(b'', octets[6:])}"
        self._backs[octets] = text
        return text

    def _time(self, field: bytes) -> str:
        """Return a time field as YYYYMMDDHHMMSS, from a table of days and one of seconds."""
        day, second = divmod(int.from_bytes(field, "big"), DAY_S)
        date = self._days.get(day)
        if date is None:
            date = self._days[day] = strftime("%Y%m%d", gmtime(day * DAY_S))
        clock = self._seconds.get(second)
        if clock is None:
            clock = self._seconds[second] = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
        return date + clock
