"""CSYNC (RFC 7477): when the NS RRset or its glue changes, a CSYNC RRset asks the parent to copy them.

It stays in the zone until the next such change. A CSYNC RRset in the input is the operator's and is left alone.
"""

from bisect import insort
from collections.abc import Iterable, Mapping
from operator import itemgetter

from dnssecd.core.dns.names import APEX, is_subdomain, lower, owner_key
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.dns.rrtypes import AAAA, CSYNC, NS, A
from dnssecd.core.dns.serial import increment
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView

#: The parent copies at once, as soon as the SOA serial is not before that of the CSYNC (RFC 7477 §2.1.1.2).
_IMMEDIATE, _SOAMINIMUM = 1, 2
#: Type bitmap of A, NS and AAAA: window 0, four octets.
_BITMAP = bytes((0, 4, 0b0110_0000, 0, 0, 0b0000_1000))
_PLACE = itemgetter(0, 1)

New = Mapping[tuple[bytes, int], RRset | None]


Content = tuple[list[Change], list[RRset] | None]


def with_csync(
    changes: list[Change], rrsets: list[RRset] | None, old: ZoneView, serial: int | None, ttl: int
) -> Content:
    """Return the changes, and the whole content if it is given, with the CSYNC RRset that belongs to them.

    changes: ordered by (owner, type). serial: of the published version; None: no CSYNC is made.
    """
    held = old.rrset(APEX, CSYNC)
    new: New = {(change.owner, change.rtype): change.new for change in changes}
    if new.get((APEX, CSYNC)) is not None or (held is not None and rrsets is not None and held in rrsets):
        return changes, rrsets
    wanted = held
    if serial is not None and _delegation(old, {}) != _delegation(old, new):
        # The new version's serial is after the published one, and so not before this.
        wanted = RRset(APEX, CSYNC, ttl, pack([csync_rdata(increment(serial))]))
    changes = [change for change in changes if (change.owner, change.rtype) != (APEX, CSYNC)]
    if held != wanted:
        insort(changes, Change(APEX, CSYNC, held, wanted), key=_PLACE)
    if rrsets is not None and wanted is not None:
        rrsets = sorted([*rrsets, wanted], key=_PLACE)
    return changes, rrsets


def csync_rdata(serial: int) -> bytes:
    """Return the RDATA for a change of NS, A or AAAA that the versions from ``serial`` on have."""
    return serial.to_bytes(4, "big") + (_IMMEDIATE | _SOAMINIMUM).to_bytes(2, "big") + _BITMAP


def _delegation(old: ZoneView, new: New) -> set[tuple[bytes, int, bytes]]:
    """Return what the parent copies, as (owner, type, RDATA): NS, and the addresses of servers in the zone."""
    servers = _rrset(old, new, APEX, NS)
    if servers is None:
        return set()
    names = (lower(target) for target in unpack(servers.rdata))
    owners = [owner_key(name, old.origin) for name in names if is_subdomain(name, old.origin)]
    places = [(APEX, NS), *((owner, rtype) for owner in owners for rtype in (A, AAAA))]
    return set(_records(old, new, places))


def _records(
    old: ZoneView, new: New, places: Iterable[tuple[bytes, int]]
) -> Iterable[tuple[bytes, int, bytes]]:
    for owner, rtype in places:
        found = _rrset(old, new, owner, rtype)
        if found is not None:
            yield owner, rtype, found.rdata


def _rrset(old: ZoneView, new: New, owner: bytes, rtype: int) -> RRset | None:
    place = owner, rtype
    return new[place] if place in new else old.rrset(owner, rtype)
