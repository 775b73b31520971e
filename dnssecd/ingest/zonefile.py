"""A zone file read into RRsets: :func:`parse_zone_file`."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.dns.rrtypes import RRSIG
from dnssecd.ingest.collect import Gathered, Row, collector_paused, gather
from dnssecd.ingest.errors import FileChanged, ZoneFileError, ZoneFileErrors
from dnssecd.ingest.limits import DEFAULT_LIMITS, Limits
from dnssecd.ingest.reader import Reader, ZoneWarning
from dnssecd.ingest.source import Digest
from dnssecd.ingest.words import type_text


@dataclass(frozen=True, slots=True)
class ParsedZone:
    """The content of a zone file.

    ``rrsets``: by (owner key, type), canonical packed RDATA. ``stripped``: DNSSEC records of the input that were
    left out, number by type; when nothing is stripped, RRSIGs are in ``rrsigs``, by (owner key, type covered), and
    the other types among the RRsets. ``serial``: of the apex SOA. ``duplicates``: equal records merged. ``mixed``: sets
    whose records had unequal TTLs, as (TTL, RDATA) in no order; in ``rrsets`` they have the smallest.
    """

    origin: bytes
    serial: int
    rrsets: list[RRset]
    rrsigs: list[Rrsigs]
    stripped: dict[int, int]
    warnings: list[ZoneWarning]
    duplicates: int
    out_of_zone: int
    mixed: dict[tuple[bytes, int], list[tuple[int, bytes]]]
    digest: Digest

    @property
    def files(self) -> list[Path]:
        """Every file that was read, the zone file first: what is to be watched."""
        return [Path(file.path) for file in self.digest.files]


def parse_zone_file(
    path: Path,
    origin: bytes,
    limits: Limits = DEFAULT_LIMITS,
    *,
    strip: bool = True,
    require_newline: bool = True,
    part: bool = False,
) -> ParsedZone:
    """Read the zone file of ``origin`` (lower-cased wire name).

    strip: leave out RRSIG, NSEC, NSEC3, and DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD at the apex.
    require_newline: take a last line without line end for a file that is still being written (FileChanged), rather
    than warn. part: the file may hold some of the zone's records only, and no SOA; ``serial`` is 0 then.
    Raises ZoneFileErrors; FileChanged among them means: read it again shortly.
    """
    with collector_paused():
        return _parse(path, Reader(origin, limits, strip), require_newline, part)


def _parse(path: Path, reader: Reader, require_newline: bool, part: bool) -> ParsedZone:
    try:
        reader.read(path)
    except ZoneFileErrors as error:
        if reader.cut and require_newline:
            raise FileChanged(error.errors, more=error.more) from None
        raise
    if reader.cut and require_newline:
        cause = "the file does not end with a line end: it may still be being written, or was cut"
        raise FileChanged([ZoneFileError(reader.cut, 0, cause, "end its last line; it is read again")])
    if reader.soa is None and not part:
        remedy = "is the origin right, and does the file hold the zone's SOA record?"
        raise ZoneFileErrors([ZoneFileError(str(path), 0, "no SOA record at the apex", remedy)])
    rrsigs = take_rrsigs(reader.rows) if not reader.strip else []
    gathered = gather(reader.rows)
    warnings = reader.warnings + _warnings(reader, gathered, path)
    return ParsedZone(
        reader.zone,
        0 if reader.soa is None else int.from_bytes(reader.soa[-20:-16], "big"),
        gathered.rrsets,
        rrsigs,
        reader.stripped,
        warnings,
        gathered.duplicates,
        reader.out_of_zone,
        gathered.mixed,
        Digest(tuple(reader.files), reader.digest.digest()),
    )


def _warnings(reader: Reader, gathered: Gathered, path: Path) -> list[ZoneWarning]:
    """What is odd about the zone as a whole; unequal TTLs are listed up to the limit."""
    texts = []
    if reader.cut and reader.cut != str(path):
        texts.append(f"{reader.cut}, which it includes, does not end with a line end: was it cut?")
    elif reader.cut:
        texts.append("the file does not end with a line end: was it cut?")
    if reader.stripped:
        counts = ", ".join(f"{count} {type_text(rtype)}" for rtype, count in sorted(reader.stripped.items()))
        texts.append(f"DNSSEC records in the input are left out: {counts}")
    if gathered.duplicates:
        texts.append(f"{gathered.duplicates} record(s) occur more than once and were merged")
    for (owner, rtype), records in islice(gathered.mixed.items(), reader.limits.warnings):
        name = key_to_text(owner, reader.zone)
        lowest = min(ttl for ttl, _ in records)
        texts.append(
            f"the {type_text(rtype)} RRset of {name} has unequal TTLs; {lowest} is used for all of it"
        )
    return [ZoneWarning(str(path), 0, text) for text in texts]


def take_rrsigs(rows: list[Row]) -> list[Rrsigs]:
    """Take the RRSIG records out of the rows and return them as sets by the type they cover."""
    covering = [(row[0], row[3][2] << 8 | row[3][3], row[2], row[3]) for row in rows if row[1] == RRSIG]
    rows[:] = [row for row in rows if row[1] != RRSIG]
    return [Rrsigs(*rrset) for rrset in gather(covering).rrsets]
