"""Make master file text of a zone, in pieces, for ``zone export`` and ``sign``."""

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from time import gmtime, strftime

from dnssecd.core.dns.rrset import RRset, Rrsigs, count, unpack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, NSEC3, SOA
from dnssecd.core.signing.nsec3hash import HASH_OCTETS, hashes_to_owners
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ingest.export import (
    Formatter,
    bitmap_text,
    formatter,
    nsec3_head_text,
    owner_text,
    owner_texts,
    rrset_lines,
    type_text,
)

PIECE_RRSETS = 500
DAY_S = 86_400

Piece = tuple[str, int]


def export_text(view: ZoneView, *, unsigned: bool) -> Iterator[Piece]:
    """Yield (text, records) pieces: SOA first, then content, chain and RRSIGs, each by owner.

    unsigned: leave out the DNSSEC records that the signer made.
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
    text = RRsetText(view.origin)
    rows = iter(rrsets)
    while chunk := list(islice(rows, PIECE_RRSETS)):
        yield text.piece(chunk)


class RRsetText:
    """RRsets as text: parts that are the same in thousands of RRsets are made once and looked up."""

    def __init__(self, origin: bytes) -> None:
        self._origin = origin
        self._middles: dict[tuple[int, int], tuple[str, Formatter | None]] = {}

    def piece(self, rrsets: Sequence[RRset]) -> Piece:
        """Return the lines of RRsets (at least one), in the order given."""
        names = owner_texts([rrset[0] for rrset in rrsets], self._origin)
        if _are_one_chain(rrsets):
            return self._nsec3_lines(names, rrsets), len(rrsets)
        lines: list[str] = []
        uncounted = 0
        for name, (_, rtype, ttl, packed) in zip(names, rrsets, strict=True):
            middle, rdata_text = self._middles.get((rtype, ttl)) or self._middle(rtype, ttl)
            if rdata_text is None:
                lines.append(rrset_lines(name, rtype, ttl, packed))
                uncounted += count(packed) - 1
            elif len(packed) == 2 + (packed[0] << 8 | packed[1]):
                lines.append(f"{name}{middle}{rdata_text(packed[2:])}\n")
            else:
                lines += [f"{name}{middle}{rdata_text(rdata)}\n" for rdata in unpack(packed)]
        return "".join(lines), len(lines) + uncounted

    def _middle(self, rtype: int, ttl: int) -> tuple[str, Formatter | None]:
        """Return the text between owner and RDATA, and the function that formats the RDATA."""
        made = self._middles[rtype, ttl] = f"\t{ttl}\tIN\t{type_text(rtype)}\t", formatter(rtype)
        return made

    def _nsec3_lines(self, names: list[str], rrsets: Sequence[RRset]) -> str:
        _, rtype, ttl, packed = rrsets[0]
        hash_at = _hash_at(packed)
        end = hash_at + HASH_OCTETS
        front = f"{self._middle(rtype, ttl)[0]}{nsec3_head_text(packed[2 : hash_at - 1])} "
        hashes = hashes_to_owners([rrset[3][hash_at:end] for rrset in rrsets])
        texts = b"".join(hashes).upper().decode("ascii").split("\0")
        return "".join([
            f"{name}{front}{hashed}{bitmap_text(rrset[3][end:])}\n"
            for name, rrset, hashed in zip(names, rrsets, texts, strict=False)
        ])  # fmt: skip


def _hash_at(packed: bytes) -> int:
    """Return where the next hashed owner begins in packed NSEC3 RDATA."""
    return 2 + 5 + packed[6] + 1


def _are_one_chain(rrsets: Sequence[RRset]) -> bool:
    """Tell whether all are NSEC3 RRsets of one RR, with the same TTL, parameters and length of hash."""
    _, rtype, ttl, packed = rrsets[0]
    if rtype != NSEC3 or packed[_hash_at(packed) - 1] != HASH_OCTETS:
        return False
    head = packed[2 : _hash_at(packed)]
    return all(
        rrset[1] == NSEC3 and rrset[2] == ttl and rrset[3].startswith(head, 2) and count(rrset[3]) == 1
        for rrset in rrsets
    )


def rrsig_text(view: ZoneView) -> Iterator[Piece]:
    """Yield all RRSIGs."""
    text = RrsigText(view.origin)
    rows = view.rrsig_scan()
    while chunk := list(islice(rows, PIECE_RRSETS)):
        yield text.piece(chunk)


class RrsigText:
    """RRSIG records as text: most parts are the same in thousands of records, so they are looked up."""

    def __init__(self, origin: bytes) -> None:
        self._origin = origin
        self._signature_at = 18 + len(origin)
        self._fronts: dict[bytes, str] = {}
        self._backs: dict[bytes, str] = {}
        self._days: dict[int, str] = {}
        self._seconds: dict[int, str] = {}

    def piece(self, rows: Sequence[Rrsigs]) -> Piece:
        """Return the lines of RRSIGs, in the order given."""
        lines: list[str] = []
        names = owner_texts([row[0] for row in rows], self._origin)
        for name, (_, _, ttl, rdata) in zip(names, rows, strict=True):
            if len(rdata) == 2 + (rdata[0] << 8 | rdata[1]):
                lines.append(self._line(name, ttl, rdata[2:]))
            else:
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
