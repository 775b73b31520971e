"""Zone digests (RFC 8976): SIMPLE scheme, SHA-384, over a signed version."""

import hashlib
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter

from dnssecd.core.dns.names import APEX, key_to_wire
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import CLASS_IN, RRSIG, ZONEMD
from dnssecd.core.zone.zoneview import ZoneView

SCHEME_SIMPLE = 1
HASH_SHA384 = 1
DIGEST_OCTETS = 48

_CLASS = CLASS_IN.to_bytes(2, "big")


def zonemd_rdata(serial: int, digest: bytes) -> bytes:
    """Return ZONEMD RDATA (RFC 8976 §2.2)."""
    return serial.to_bytes(4, "big") + bytes((SCHEME_SIMPLE, HASH_SHA384)) + digest


def placeholder(serial: int) -> bytes:
    """Return placeholder RDATA, for the bitmap at the apex while the zone is signed (RFC 8976 §3.1)."""
    return zonemd_rdata(serial, bytes(DIGEST_OCTETS))


def zone_digest(view: ZoneView) -> bytes:
    """Return the SHA-384 digest of a signed version (RFC 8976 §3.3.1).

    It covers all RRs in canonical order and form, except the apex ZONEMD RRset and its RRSIG. It walks over
    the whole zone.
    """
    digest = hashlib.sha384()
    owner, wire = None, b""
    for rrset in _ordered(view):
        if rrset.owner != owner:
            owner = rrset.owner
            wire = key_to_wire(owner, view.origin)
        head = wire + rrset.rtype.to_bytes(2, "big") + _CLASS + rrset.ttl.to_bytes(4, "big")
        for rdata in unpack(rrset.rdata):
            digest.update(head + len(rdata).to_bytes(2, "big") + rdata)
    return digest.digest()


def _ordered(view: ZoneView) -> Iterator[RRset]:
    content = (r for r in view.scan() if r.owner != APEX or r.rtype != ZONEMD)
    # The type covered begins RRSIG RDATA, so RRSIGs by type covered are in canonical order.
    signatures = (
        RRset(s.owner, RRSIG, s.ttl, s.rdata)
        for s in view.rrsig_scan()
        if s.owner != APEX or s.covered != ZONEMD
    )
    return merge(content, view.denial_scan(), signatures, key=itemgetter(0, 1))
