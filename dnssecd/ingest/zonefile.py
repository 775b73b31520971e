"""Read a zone file into RRsets: :func:`parse_zone_file`."""

from itertools import islice
from pathlib import Path

from msgspec import Struct

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.dns.rrtypes import RRSIG
from dnssecd.ingest.collect import Gathered, Row, gather
from dnssecd.ingest.errors import FileChanged, ZoneFileError, ZoneFileErrors
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.ingest.limits import DEFAULT_LIMITS, Limits
from dnssecd.ingest.reader import Reader, ZoneWarning
from dnssecd.ingest.source import Digest
from dnssecd.ingest.words import type_text


class ParsedZone(Struct, frozen=True):
    """The content of a zone file.

    ``rrsets``: by (owner key, type), canonical packed RDATA. ``stripped``: DNSSEC records of the input that
    were left out, number by type; without stripping, RRSIGs are in ``rrsigs``, by (owner key, type covered),
    and the other types are among the RRsets. ``serial``: of the apex SOA. ``duplicates``: equal records
    merged. ``mixed``: sets whose records have different TTLs, as (TTL, RDATA), unordered; in ``rrsets`` they
    have the smallest. ``dnskeys``: RDATA of the DNSKEY RRs at the apex that were left out, if asked for.
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
    dnskeys: tuple[bytes, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Return every file that was read, the zone file first: these must be watched."""
        return [Path(file.path) for file in self.digest.files]


def parse_zone_file(
    path: Path,
    origin: bytes,
    limits: Limits = DEFAULT_LIMITS,
    *,
    strip: bool = True,
    require_newline: bool = True,
    part: bool = False,
    keep_dnskeys: bool = False,
) -> ParsedZone:
    """Read the zone file of ``origin`` (lower-cased wire name).

    strip: leave out RRSIG, NSEC, NSEC3, and DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD at the apex.
    require_newline: a last line without line end means that the file is still being written (FileChanged);
    otherwise it causes a warning. part: the file may hold only some of the zone's records, and no SOA;
    ``serial`` is 0 then. Raises ZoneFileErrors; FileChanged among them means: read the file again shortly.
    """
    with collection_paused():
        reader = Reader(origin, limits, strip, keep_dnskeys=keep_dnskeys)
        return _parse(path, reader, require_newline, part)


def _parse(path: Path, reader: Reader, require_newline: bool, part: bool) -> ParsedZone:
    try:
        reader.read(path)
    except ZoneFileErrors as error:
        if reader.cut and require_newline:
            raise FileChanged(error.errors, more=error.more) from None
        raise
    if reader.cut and require_newline:
        cause = "the file does not end with a line end: it is still being written, or was cut"
        raise FileChanged(
            [ZoneFileError(reader.cut, 0, cause, "end its last line; dnssecd then reads it again")]
        )
    if reader.soa is None and not part:
        remedy = "check the origin, and that the file has the zone's SOA record"
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
        tuple(sorted(set(reader.dnskeys))),
    )


def _warnings(reader: Reader, gathered: Gathered, path: Path) -> list[ZoneWarning]:
    """Warn about the zone as a whole; different TTLs are listed up to the limit."""
    texts = []
    if reader.cut and reader.cut != str(path):
        texts.append(f"{reader.cut}, which it includes, does not end with a line end: it may have been cut")
    elif reader.cut:
        texts.append("the file does not end with a line end: it may have been cut")
    if reader.stripped:
        counts = ", ".join(f"{count} {type_text(rtype)}" for rtype, count in sorted(reader.stripped.items()))
        texts.append(f"DNSSEC records in the input are ignored: {counts}")
    if gathered.duplicates:
        texts.append(f"{gathered.duplicates} record(s) occur more than once and were merged")
    for (owner, rtype), records in islice(gathered.mixed.items(), reader.limits.warnings):
        name = key_to_text(owner, reader.zone)
        lowest = min(ttl for ttl, _ in records)
        texts.append(
            f"the {type_text(rtype)} RRset of {name} has different TTLs; {lowest} is used for all records"
        )
    return [ZoneWarning(str(path), 0, text) for text in texts]


def take_rrsigs(rows: list[Row]) -> list[Rrsigs]:
    """Remove the RRSIG records from the rows; return them as sets by the type they cover."""
    covering = [(row[0], row[3][2] << 8 | row[3][3], row[2], row[3]) for row in rows if row[1] == RRSIG]
    rows[:] = [row for row in rows if row[1] != RRSIG]
    return [Rrsigs(*rrset) for rrset in gather(covering).rrsets]
