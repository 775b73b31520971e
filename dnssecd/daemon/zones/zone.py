"""A zone in the daemon: its served version and its state."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from dnssecd.config.model import ZoneConfig
from dnssecd.control.command import Refused
from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.daemon.zones.databases import OPEN_MAX, Databases
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.rooms import (
    ClusterRoom,
    FollowUpRoom,
    JobsRoom,
    ParentRoom,
    PrimariesRoom,
    ReviewRoom,
    ServedRoom,
    TransfersRoom,
    UpdatesRoom,
)
from dnssecd.ingest.source import FileIdentity
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.committed import FirstVersion
from dnssecd.pipeline.version.state import Restored
from dnssecd.publish import exchange
from dnssecd.publish.notify import ZoneServers
from dnssecd.server.acl import ZoneAccess
from dnssecd.store import filemark
from dnssecd.store.catalogue import CatalogueEntry
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark
from dnssecd.store.interface import Identity, ZoneSnapshot, ZoneStore

if TYPE_CHECKING:
    from dnssecd.daemon.parent.room import DsRoom
    from dnssecd.daemon.rollover.planning import Planning
    from dnssecd.daemon.rollover.zone_keys import ZoneKeys
    from dnssecd.daemon.zones.schedule import Wake

#: A path takes as much as ten numbers: only those of databases that are in use are kept.
_path = lru_cache(maxsize=OPEN_MAX)(Path)


class ZoneGone(Refused, StoreError):
    """The zone was removed. Running work on it ends with this exception; its database is not opened again."""

    def __init__(self, zone: str) -> None:
        super().__init__(f"{zone} was removed meanwhile", "no action is needed")


class Doubt(Struct, frozen=True):
    """Why a stored zone must be verified before it is served. ``entry``: its catalogue entry, which is kept.

    ``refusal``: why it is not served after verification; ``mark``: the mark of its database at that time.
    """

    cause: str
    entry: CatalogueEntry | None = None
    refusal: Problem | None = None
    mark: FileMark | None = None


@dataclass(eq=False, slots=True)
class FrontZone:
    """One zone. ``state``: what is served, and why (``machine.py``); it changes with the fields below.

    ``serial`` None: nothing has been published yet. ``orphan``: stored, but no longer configured. ``held``:
    restored from a backup; it is not served before it has a version with a serial after all public ones.
    ``doubt``: its database was changed; it is not served before the whole zone was verified. ``verified_at``:
    when the whole zone was last verified; ``swept_at``: when this process last tried that.

    ``expired``: by its SOA's expire, if the configuration follows that; the version is kept but not served.
    ``expires_at``: when it will be, if no primary confirms it (epoch seconds).

    ``stepped``: the clock stepped, and the zone's key set has not yet taken account of it. ``gone``: it was
    removed. The object is the identity of the zone: a zone that is added again under the same name is another
    object. Results of work for this zone are used only after a check of ``gone``.

    ``cluster``: of a zone that several nodes share; None on a single host.

    ``jobs``, ``updates``, ``upstream``, ``keys``, ``planning``, ``parent``, ``ds``, ``transfers``, ``served``,
    ``review``, ``follow_up``: the data of the parts that work on it. ``wakes``: its wake-ups, one for a purpose
    (``schedule.py``).

    ``seen_input``: what inputs this node saw since it owns the zone, in a cluster.

    Times in epoch seconds. ``primaries``: the last sighting of each, for ``status``. ``signatures_made``: by the last
    job that this process ran, None before it.
    """

    config: ZoneConfig
    spec: ZoneSpec
    access: ZoneAccess
    secondaries: tuple[exchange.Peer, ...]
    watched: tuple[exchange.Peer, ...]
    databases: "Databases[FrontZone]"
    state: State = State.WAITING
    serial: int | None = None
    input_serial: int | None = None
    published_at: float | None = None
    earliest_expiration: int | None = None
    next_due: int | None = None
    refresh_s: int = 0
    records: int | None = None
    verified_at: float | None = None
    swept_at: float | None = None
    mark: FileMark | None = None
    frozen: bool = False
    orphan: bool = False
    expired: bool = False
    expires_at: float | None = None
    gone: bool = False
    stepped: bool = False
    held: Restored | None = None
    doubt: Doubt | None = None
    stripped: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    #: Why it waits; None: as its plan says.
    blockers: tuple[str, ...] | None = ()
    files: tuple[FileIdentity, ...] = ()
    seen_input: SeenInput | None = None
    #: The first version, from the job that made it, until its keys are planned: its database need not be opened.
    first: FirstVersion | None = None
    primaries: Sequence[dict[str, object]] = ()
    signatures_made: int | None = None
    jobs: JobsRoom = field(default_factory=JobsRoom)
    updates: UpdatesRoom = field(default_factory=UpdatesRoom)
    upstream: PrimariesRoom | None = None
    keys: "ZoneKeys | None" = None
    planning: "Planning | None" = None
    parent: ParentRoom | None = None
    ds: "DsRoom | None" = None
    servers: ZoneServers | None = None
    wakes: "tuple[Wake, ...]" = ()
    transfers: TransfersRoom | None = None
    served: ServedRoom | None = None
    review: ReviewRoom | None = None
    follow_up: FollowUpRoom | None = None
    #: Of a catalog that dnssecd makes: the members that its file has, with their groups.
    listed: dict[str, str] | None = None
    cluster: ClusterRoom | None = None
    #: Recovery plans of compromised and lost keys by alert, as text or the function that makes it; not stored.
    recovery: dict[str, str | Callable[[], str]] | None = None

    @property
    def asked_servers(self) -> tuple[exchange.Peer, ...]:
        """Return the public servers that may be queried: those of ``check_servers``, then secondaries."""
        return (*self.watched, *(peer for peer in self.secondaries if peer.query))

    @property
    def owned(self) -> bool:
        """Whether this node may make versions of it: always on a single host."""
        return self.cluster is None or self.cluster.owned

    @property
    def signed_elsewhere(self) -> bool:
        """Whether this node took it over, and has not signed it with its own keys yet."""
        return self.cluster is not None and self.cluster.signed_elsewhere

    @property
    def name(self) -> str:
        """Return the zone's name, text, absolute."""
        return self.config.name

    @property
    def origin(self) -> bytes:
        """Return the zone's name, wire form, lower-cased."""
        return self.spec.origin

    @property
    def database(self) -> ZoneStore:
        """Return the zone's database; raise ZoneGone, StoreError or OSError if it cannot be opened."""
        return self.databases.get(self, _path(self.spec.database), self.spec.origin, self.check)

    def database_identity(self) -> Identity | None:
        """Return the identity of its database file (device, inode), None if there is none; raise OSError."""
        return self.databases.identity(self, _path(self.spec.database))

    def close(self) -> None:
        """Forget all data of the parts of the daemon; the zone is gone."""
        self.jobs.close()
        self.updates.close()
        if self.cluster is not None:
            self.cluster.close()
        if self.upstream is not None:
            self.upstream.close()
        if self.planning is not None and self.planning.task is not None:
            self.planning.task.cancel()
        if self.ds is not None:
            self.ds.stop()
        if self.servers is not None:
            self.servers.withdraw()
        if self.follow_up is not None:
            self.follow_up.close()
        for wake in self.wakes:
            wake.cancel()
        self.upstream = self.keys = self.planning = self.parent = self.ds = self.recovery = None
        self.wakes = ()
        self.transfers = self.servers = self.served = self.review = self.follow_up = None

    def check(self) -> None:
        """Raise ZoneGone if the zone was removed."""
        if self.gone:
            raise ZoneGone(self.name)

    def snapshot(self) -> AbstractContextManager[ZoneSnapshot] | None:
        """Return the published version to serve, or None if there is none, or it has expired."""
        return self.database.snapshot() if self.state is State.SERVED else None

    def mark_now(self) -> FileMark | None:
        """Return the mark of its database; the previous one if that is another file now: a start must see this.

        Raise OSError.
        """
        found = filemark.take(self.spec.database)
        replaced = self.mark is not None and (found is None or found.inode != self.mark.inode)
        return self.mark if replaced else found

    def catalogue_entry(self) -> CatalogueEntry:
        """Return its catalogue entry, with the present mark of its database."""
        if self.doubt is not None:
            entry = self.doubt.entry or CatalogueEntry(self.name)
            return entry._replace(frozen=int(self.frozen))
        with suppress(OSError):  # without a mark the sweep after the next start verifies it
            self.mark = self.mark_now()
        return CatalogueEntry(
            self.name,
            self.serial,
            self.input_serial,
            None if self.published_at is None else int(self.published_at),
            self.earliest_expiration,
            self.next_due,
            self.records,
            None if self.verified_at is None else int(self.verified_at),
            int(self.frozen),
            filemark.encode(self.mark),
        )

    def runway_s(self, now: float) -> float | None:
        """Return the seconds until the first published RRSIG expires; negative when it has."""
        return None if self.earliest_expiration is None else self.earliest_expiration - now
