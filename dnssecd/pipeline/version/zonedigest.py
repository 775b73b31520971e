"""The ZONEMD RRset of a version: a placeholder while the zone is signed, then the digest, signed last.

The digest covers the whole zone, so with ``zonemd`` every version needs a walk over the zone (RFC 8976 §2.3).
"""

from collections.abc import Iterable, Iterator

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import ZONEMD
from dnssecd.core.signing.signplan import Drop, SignNeed
from dnssecd.core.signing.zonemd import placeholder, zone_digest, zonemd_rdata
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.store.interface import Transaction


def is_plain(spec: ZoneSpec, old: ZoneView) -> bool:
    """Tell whether a version has no ZONEMD RRset, and the one before it has none."""
    return not spec.zonemd and old.rrset(APEX, ZONEMD) is None


def reserve(transaction: Transaction, serial: int, ttl: int) -> None:
    """Put a ZONEMD RRset of the right size at the apex; its digest is computed last."""
    held = RRset(APEX, ZONEMD, ttl, pack([placeholder(serial)]))
    transaction.apply_content([Change(APEX, ZONEMD, None, held)], journalled=False)


def drop(transaction: Transaction) -> None:
    """Remove the ZONEMD RRset of the previous version, if there is one."""
    old = transaction.old.rrset(APEX, ZONEMD)
    if old is not None:
        transaction.apply_content([Change(APEX, ZONEMD, old, None)])


def without_zonemd(plan: Iterable[SignNeed | Drop]) -> Iterator[SignNeed | Drop]:
    """Leave the ZONEMD RRset out of a signature plan."""
    for step in plan:
        if not (isinstance(step, SignNeed) and step.rrset.rtype == ZONEMD and step.rrset.owner == APEX):
            yield step


def complete(transaction: Transaction, serial: int) -> list[SignNeed]:
    """Write the digest of the signed zone; return the RRsets that remain to be signed."""
    held = transaction.rrset(APEX, ZONEMD)
    assert held is not None, "its place was kept"
    made = held._replace(rdata=pack([zonemd_rdata(serial, zone_digest(transaction))]))
    transaction.apply_content([Change(APEX, ZONEMD, transaction.old.rrset(APEX, ZONEMD), made)])
    return [SignNeed(made, transaction.old.rrsigs(APEX, ZONEMD))]
