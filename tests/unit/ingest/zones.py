"""Small zone files for tests."""

from __future__ import annotations

from pathlib import Path

from dnssecd.core.dns.names import key_to_text, text_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.export import rrset_lines
from dnssecd.ingest.limits import DEFAULT_LIMITS, Limits
from dnssecd.ingest.zonefile import ParsedZone, parse_zone_file

ORIGIN = text_to_wire("example.com.")
HEAD = "$TTL 300\n@ IN SOA ns hostmaster 7 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n"


def parse(
    directory: Path,
    content: str | bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    strip: bool = True,
    newline: bool = True,
) -> ParsedZone:
    """Parse content as the zone file of example.com."""
    path = directory / "example.zone"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return parse_zone_file(path, ORIGIN, limits, strip=strip, require_newline=newline)


def faults(directory: Path, content: str | bytes, **options: object) -> list[tuple[int, str]]:
    """Return line and cause of every error; the file must be refused."""
    try:
        zone = parse(directory, content, **options)  # type: ignore[arg-type]
    except ZoneFileErrors as error:
        return [(fault.line, fault.cause) for fault in error.errors]
    raise AssertionError(f"accepted: {lines(zone)}")


def lines(zone: ParsedZone) -> list[str]:
    """Return the zone's records as text, fields parted by one blank, without those of HEAD."""
    head = {(b"", 2), (b"", 6), (b"ns\x00", 1)}
    text = ""
    for rrset in zone.rrsets:
        if (rrset.owner, rrset.rtype) not in head:
            text += rrset_lines(key_to_text(rrset.owner, zone.origin), rrset.rtype, rrset.ttl, rrset.rdata)
    return [line.replace("\t", " ") for line in text.splitlines()]


def rdata(zone: ParsedZone, owner: bytes, rtype: int) -> list[bytes]:
    """Return the RDATA of one RRset."""
    return next(unpack(rrset.rdata) for rrset in zone.rrsets if rrset[:2] == (owner, rtype))
