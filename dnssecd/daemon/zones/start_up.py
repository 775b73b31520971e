"""Restore each zone's published state at start, and decide which zones must be verified before they are served."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.signing.lifetimes import refresh_s
from dnssecd.daemon.zones.machine import Event, happened
from dnssecd.daemon.zones.zone import Doubt, FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_expire
from dnssecd.store import filemark
from dnssecd.store.catalogue import CatalogueEntry
from dnssecd.store.errors import DAMAGE, StoreError
from dnssecd.store.filemark import Standing

#: The event for a database that was changed while dnssecd was not running; up to this many zones get separate
#: events.
CHANGED = "stored-zone-changed"
REPORTED_EACH_MAX = 10
GONE = "the file is gone"
NO_ENTRY = "the catalogue has no entry for it: it was restored, or the catalogue was lost"


def recall(zone: FrontZone, entry: CatalogueEntry | None, *, exact: bool) -> bool:
    """Set the served version of a zone: from its database if ``exact`` or changed, else from the catalogue.

    A zone is in ``doubt``, and not served yet, if its database was changed or is gone, or a restore put it there.
    Return whether its database was changed while dnssecd was not running. A change that a killed dnssecd may have
    made itself, with the log still present, is served immediately, and the sweep verifies it first.

    Raises StoreError or OSError if the database exists and cannot be read.
    """
    if entry is not None:
        zone.verified_at, zone.frozen = entry.verified_at, bool(entry.frozen)
    found = filemark.take(zone.spec.database)
    if found is None:
        if (
            entry is None or entry.serial is None or zone.cluster is not None
        ):  # a node takes it from the zone's log
            return False
        # Not a new zone: its first version would be made with older content, and with a serial that was used.
        _doubt(zone, Doubt(GONE, entry))
        return True
    if entry is None or entry.serial is None:
        _doubt(zone, Doubt(NO_ENTRY, entry))
        return False
    zone.mark = filemark.decode(entry.mark)
    standing, how = filemark.compare(zone.mark, found)
    if standing is Standing.CHANGED:
        _doubt(zone, Doubt(how, entry))
        return True
    zone.databases.expect(zone, (found.device, found.inode))
    if standing is not Standing.SAME:
        zone.verified_at = None
    if exact or standing in (Standing.GROWN, Standing.MERGED):
        read(zone)
    else:
        _from_catalogue(zone, entry)
    return False


def _doubt(zone: FrontZone, doubt: Doubt) -> None:
    zone.doubt = doubt
    happened(zone, Event.CHANGED)
    zone.blockers = (f"the whole stored version is verified first: {doubt.cause}",)


def report_changed(events: EventCore, zones: list[FrontZone]) -> None:
    """Report zones whose databases were changed while dnssecd was not running: one by one, or many together."""
    many = len(zones) > REPORTED_EACH_MAX
    each = {} if many else {zone.name: zone for zone in zones}
    for event in events.firing():
        if event.name == CHANGED and event.zone not in each:
            events.resolve(CHANGED, event.zone or None)
    for zone in each.values():
        assert zone.doubt is not None
        events.raise_event(CHANGED, zone.name, f"{zone.spec.database}: {zone.doubt.cause}")
    if many:
        names = ", ".join(zone.name for zone in zones[:REPORTED_EACH_MAX])
        events.raise_event(CHANGED, None, f"the databases of {len(zones)} zones were changed: {names}, …")


def _from_catalogue(zone: FrontZone, entry: CatalogueEntry) -> None:
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
    happened(zone, Event.RECALLED)


def read(zone: FrontZone) -> None:
    """Set the served version of a zone from its database; raise StoreError or OSError.

    A restored zone is ``held`` until its next version.
    """
    try:
        _read(zone)
    except DAMAGE as error:
        raise StoreError(f"it is damaged: {type(error).__name__}: {error}") from error


def _read(zone: FrontZone) -> None:
    with zone.database.snapshot() as snapshot:
        version = state.from_document(snapshot.version, state.VersionState)
        soa = snapshot.rrset(APEX, SOA)
        if version is None or soa is None:
            happened(zone, Event.EMPTY)
            return
        zone.held = state.restored_from(snapshot.state(state.RESTORED))
        if zone.held is not None:
            happened(zone, Event.RESTORED)
            return
        zone.serial, zone.input_serial = version.serial, version.input_serial
        zone.published_at, zone.records = version.published_at, version.records
        zone.earliest_expiration = snapshot.earliest_expiration()
    spec = zone.spec
    zone.refresh_s, _ = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(soa), version.largest_ttl)
    if zone.earliest_expiration is not None:
        zone.next_due = zone.earliest_expiration - zone.refresh_s
    happened(zone, Event.RECALLED)
