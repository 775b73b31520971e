"""EDNS options about the version that answers: EXPIRE (RFC 7314) and ZONEVERSION (RFC 9660)."""

from __future__ import annotations

from dnssecd.core.dns.message import OPTION_EXPIRE, OPTION_ZONEVERSION, TYPE_AXFR, TYPE_IXFR
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.reply import option

_SOA_SERIAL = 0
_EXPIRE_FROM_END = 8


def zone_version(version: ServedVersion) -> bytes:
    """Return ZONEVERSION of type SOA-SERIAL: the labels of the zone name, and the serial (RFC 9660 §2)."""
    labels, position, origin = 0, 0, version.origin
    while origin[position]:
        labels, position = labels + 1, position + origin[position] + 1
    return option(OPTION_ZONEVERSION, bytes((labels, _SOA_SERIAL)) + version.serial.to_bytes(4, "big"))


def expire(qtype: int, version: ServedVersion, expires_at: float | None, now: float) -> bytes:
    """Return EXPIRE for a query for SOA, AXFR or IXFR, else nothing.

    The value is SOA expire, but not beyond the time when the first RRSIG expires, so that no secondary, nor a secondary
    behind it, serves expired signatures; nor beyond ``expires_at``, when this server stops serving the zone.
    """
    soa = version.rrset(APEX, SOA)
    if qtype not in (SOA, TYPE_AXFR, TYPE_IXFR) or soa is None:
        return b""
    seconds = int.from_bytes(soa.rdata[-_EXPIRE_FROM_END:-4], "big")
    ends = [end for end in (version.earliest_expiration(), expires_at) if end is not None]
    left = min([seconds, *(int(end - now) for end in ends)])
    return option(OPTION_EXPIRE, max(left, 1).to_bytes(4, "big"))
