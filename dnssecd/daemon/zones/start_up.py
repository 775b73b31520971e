"""Knowing again, at start, what was published before."""

from pathlib import Path

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.store.catalogue import CatalogueEntry


def recall(zone: FrontZone, entry: CatalogueEntry | None, *, exact: bool) -> None:
    """Set what is served of a zone: from its database if ``exact`` or not catalogued, else from the catalogue.

    One that came out of a back-up is ``held`` until its next version: restoring takes it out of the catalogue.

    StoreError, sqlite3.Error or OSError when the database is there and cannot be read.
    """
    if entry is not None:
        zone.verified_at, zone.frozen = entry.verified_at, bool(entry.frozen)
    if not exact and entry is not None and entry.serial is not None:
        zone.serial, zone.input_serial, zone.published_at = (
            entry.serial,
            entry.input_serial,
            entry.published_at,
        )
        zone.earliest_expiration, zone.next_due, zone.records = (
            entry.earliest_expiration,
            entry.next_wake,
            entry.records,
        )
        return
    if not Path(zone.spec.database).exists():
        return
    with zone.database.snapshot() as snapshot:
        version = state.from_document(snapshot.version, state.VersionState)
        soa = snapshot.rrset(APEX, SOA)
        if version is None or soa is None:
            return
        zone.held = state.restored_from(snapshot.state(state.RESTORED))
        if zone.held is not None:
            return
        zone.serial, zone.input_serial = version.serial, version.input_serial
        zone.published_at, zone.records = version.published_at, version.records
        zone.earliest_expiration = snapshot.earliest_expiration()
    spec = zone.spec
    zone.refresh_s, _ = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(soa), version.largest_ttl)
    if zone.earliest_expiration is not None:
        zone.next_due = zone.earliest_expiration - zone.refresh_s
