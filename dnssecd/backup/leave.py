"""Leave a cluster, and come back to it: what becomes of the databases of a node while its daemon is stopped.

*Detach*: the database of the cluster is lost for good; the others are fenced. Each zone waits, as a restored one does,
until it has a version above everything that the secondaries serve. *Export*: the log says of each zone that it went to
a single host, so no node can make versions any more; nothing is lost, and nothing waits. *Rejoin*: a database that does
not fit the log any more is given a place in it, or is moved away and taken from the log.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from dnssecd.backup.manifest import COMMON
from dnssecd.config.model import Config
from dnssecd.daemon.zones.specs import database_path
from dnssecd.pipeline.version import state
from dnssecd.store.aside import set_aside
from dnssecd.store.backup_copy import HistoryEntry
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.leaving import change_place, has_entry, read_standing
from dnssecd.store.statedir import StateInUse, own
from dnssecd.store.version_log import Position

#: Entries of a zone's history.
DETACHED, EXPORTED = "detached from the cluster", "exported from the cluster"


class CannotLeave(Exception):
    """Nothing was changed; the message says why. ``remedy``: what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Moved(Struct, frozen=True):
    """What was done with a zone: its serial, and the record of the log that its database had."""

    zone: str
    serial: int | None
    sequence: int
    what: str


class LogOfZones(Protocol):
    """The log of all zones, as this module uses it (cluster.standing.Standing)."""

    def heads(self) -> Mapping[str, Position]:
        """Return the newest record of each zone's log."""
        ...

    def exported(self) -> frozenset[str]:
        """Return the zones that were given to a single host."""
        ...

    def configured(self, zones: Collection[str]) -> frozenset[str]:
        """Return those of some zones that the configuration of a node names."""
        ...

    def fits(self, zone: str, at: Position) -> bool:
        """Tell whether the log has the record at which a database is."""
        ...

    def export(self, zone: str, sequence: int) -> str:
        """Give a zone whose newest record has this sequence to a single host; return why it cannot be, or ""."""
        ...


@contextmanager
def _stopped(config: Config) -> Iterator[None]:
    try:
        lock = own(config.server.state_dir)
    except StateInUse as error:
        raise CannotLeave(str(error), "stop the daemon first") from None
    try:
        yield
    finally:
        os.close(lock)


def _databases(config: Config, known: Catalogue) -> dict[str, Path]:
    names = sorted({*config.zones, *known.serving()})
    paths = {name: database_path(config, name) for name in names}
    return {name: path for name, path in paths.items() if path.exists()}


def _forget(known: Catalogue, zones: list[str]) -> None:
    """Let the next start read the databases, before the first of them is changed."""
    entries = known.entries()
    known.forget({zone: zone in entries and bool(entries[zone].frozen) for zone in zones})


def detach(config: Config, now: int, who: str) -> list[Moved]:
    """Make a single host of a node whose cluster is lost; return its zones. Raise CannotLeave, StoreError, OSError."""
    source = "the log of the cluster, which is lost"
    with _stopped(config), closing(Catalogue(config.server.state_dir / COMMON[0])) as known:
        standing = {zone: (path, *read_standing(path)) for zone, path in _databases(config, known).items()}
        of_log = {zone: found for zone, found in standing.items() if found[1].sequence}
        _forget(known, list(of_log))
        for path, at, serial in of_log.values():
            held = state.Restored(at=now, who=who, source=source, floor=serial, standby=True)
            documents = {} if serial is None else {state.RESTORED: state.to_document(held)}
            detail = f"others are fenced; the last record of the log was {at.sequence}"
            change_place(path, None, documents, HistoryEntry(now, who, DETACHED, serial, detail))
    return [Moved(zone, serial, at.sequence, "detached") for zone, (_, at, serial) in of_log.items()]


def export(config: Config, log: LogOfZones, now: int, who: str) -> list[Moved]:
    """Give all zones back to this single host. Raise CannotLeave, StoreError, OSError, ClusterError.

    Nothing is changed unless this node has the newest record of each zone. After a failure in the middle the same call
    continues.
    """
    with _stopped(config), closing(Catalogue(config.server.state_dir / COMMON[0])) as known:
        databases = _databases(config, known)
        standing = {zone: read_standing(path) for zone, path in databases.items()}
        of_log = {zone: found for zone, found in standing.items() if found[0].sequence}
        _all_here(of_log, log)
        _forget(known, list(of_log))
        for zone, (at, serial) in of_log.items():
            why_not = log.export(zone, at.sequence)
            if why_not:
                raise CannotLeave(
                    f"{zone}: {why_not}", "start the daemon, drain the other nodes, and try again"
                )
            entry = HistoryEntry(now, who, EXPORTED, serial, f"its record {at.sequence}")
            change_place(databases[zone], None, {}, entry)
    return [Moved(zone, serial, at.sequence, "exported") for zone, (at, serial) in of_log.items()]


def _all_here(of_log: Mapping[str, tuple[Position, int | None]], log: LogOfZones) -> None:
    """Raise CannotLeave unless the databases have all records, or only lack that of an export which was cut short.

    Logs of zones that were removed from all nodes stay in the database; they hold nothing up.
    """
    heads, exported = log.heads(), log.exported()
    elsewhere = sorted(log.configured(heads.keys() - of_log.keys() - exported))
    behind = [
        zone
        for zone, (at, _) in of_log.items()
        if heads.get(zone, at).sequence > at.sequence + (zone in exported)
    ]
    if elsewhere or behind:
        zone = (elsewhere or behind)[0]
        more = len(elsewhere) + len(behind) - 1
        raise CannotLeave(
            f"this node lacks records of {zone}" + (f" and {more} more zones" if more else ""),
            "let this node follow until it has all zones (dnssecd zone owner ZONE), stop it, and try again",
        )


def _refuse_alone(zone: str, path: Path) -> None:
    """Raise CannotLeave for a zone that left the log: this host made versions of it since, which the log lacks."""
    if not read_standing(path)[0].sequence and (left := has_entry(path, (DETACHED, EXPORTED))):
        raise CannotLeave(
            f"{zone} was {left}: this host made its versions alone since then, and the log has older ones",
            "take an empty database into use instead: dnssecd cluster init, and start this host first (docs/ha.md)",
        )


def rejoin(config: Config, log: LogOfZones, now: int, who: str) -> list[Moved]:
    """Make the databases of this node fit the log again. Raise CannotLeave, StoreError, OSError, ClusterError.

    A database with records that the log lacks, because the database of the cluster went back in time, goes to the end
    of the log: as the owner, this node then puts the whole zone into the log. A database of another log is moved away.
    """
    found = []
    with _stopped(config), closing(Catalogue(config.server.state_dir / COMMON[0])) as known:
        heads, databases = log.heads(), _databases(config, known)
        for zone in databases.keys() & heads.keys():
            _refuse_alone(zone, databases[zone])
        for zone, path in databases.items():
            at, serial = read_standing(path)
            head = heads.get(zone)
            if head is None or log.fits(zone, at):
                if head is None and at.sequence:
                    _forget(known, [zone])
                    entry = HistoryEntry(
                        now, who, "rejoined the cluster", serial, "the log has no record of the zone"
                    )
                    change_place(path, None, {}, entry)
                    found.append(
                        Moved(zone, serial, at.sequence, "the log has nothing of it: it is put in whole")
                    )
                continue
            _forget(known, [zone])
            if at.sequence > head.sequence:
                entry = HistoryEntry(
                    now, who, "rejoined the cluster", serial, f"after record {head.sequence}"
                )
                change_place(path, Position(head.sequence, head.epoch, ""), {}, entry)
                found.append(
                    Moved(zone, serial, at.sequence, f"the log ends at {head.sequence}: it is put in whole")
                )
            else:
                set_aside(path, now)
                found.append(
                    Moved(zone, serial, at.sequence, "it is taken from the log; the database was moved away")
                )
    return found
