"""A configured zone in the front: what is served of it and how it fares."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dnssecd.config.model import ZoneConfig
from dnssecd.control.command import Refused
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.rooms import JobsRoom, ParentRoom, PrimariesRoom, UpdatesRoom
from dnssecd.ingest.source import FileIdentity
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.state import Restored
from dnssecd.publish import exchange
from dnssecd.server.acl import ZoneAccess
from dnssecd.store import filemark
from dnssecd.store.catalogue import CatalogueEntry
from dnssecd.store.errors import StoreError
from dnssecd.store.filemark import FileMark
from dnssecd.store.interface import Identity, ZoneSnapshot, ZoneStore

if TYPE_CHECKING:
    from dnssecd.daemon.rollover.engine import Planning
    from dnssecd.daemon.rollover.zone_keys import ZoneKeys

_path = lru_cache(maxsize=16_384)(Path)


class ZoneGone(Refused, StoreError):
    """The zone was removed. What is still under way for it ends with this; its database is not opened again."""

    def __init__(self, zone: str) -> None:
        super().__init__(f"{zone} was removed meanwhile", "nothing is left to do")


@dataclass(frozen=True)
class Doubt:
    """Why a stored zone is verified whole before it is served. ``entry``: what the catalogue has of it, and keeps.

    ``refusal``: why it is not served after it was verified, and ``mark``: its database as it was then.
    """

    cause: str
    entry: CatalogueEntry | None = None
    refusal: Problem | None = None
    mark: FileMark | None = None


@dataclass(eq=False, slots=True)
class FrontZone:
    """One zone. ``state``: what is served of it, and why (``machine.py``); it moves when the fields below change.

    ``serial`` None: nothing has been published yet. ``orphan``: stored, but not configured any more.
    ``held``: it came out of a back-up and is not served before a version above all that is public was made.
    ``doubt``: its database is not as it was left, and is not served before all of it was verified.
    ``verified_at``: when all of it was last verified; ``swept_at``: when that was last tried by this process.

    ``expired``: by its SOA's expire, and the configuration follows that; the version is kept and not served.

    ``stepped``: the clock did, and the zone's key set does not have that yet.
    ``gone``: it was removed. The object is the identity of the zone: one that comes back under the same name is another
    object. What was asked for on behalf of this one looks at ``gone`` before its result is used.

    ``jobs``, ``updates``, ``upstream``, ``keys``, ``planning``, ``parent``: the rooms of the parts that work on it.

    Times in epoch seconds. ``primaries``: what each was last seen to serve, as ``status`` shows it.
    """

    config: ZoneConfig
    spec: ZoneSpec
    access: ZoneAccess
    secondaries: list[exchange.Peer]
    watched: list[exchange.Peer]
    databases: Databases
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
    gone: bool = False
    stepped: bool = False
    held: Restored | None = None
    doubt: Doubt | None = None
    stripped: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    blockers: list[str] = field(default_factory=list)
    files: tuple[FileIdentity, ...] = ()
    primaries: list[dict[str, object]] = field(default_factory=list)
    last: Outcome | None = None
    jobs: JobsRoom = field(default_factory=JobsRoom)
    updates: UpdatesRoom = field(default_factory=UpdatesRoom)
    upstream: PrimariesRoom | None = None
    keys: "ZoneKeys | None" = None
    planning: "Planning | None" = None
    parent: ParentRoom | None = None
    #: Recovery plans of compromised keys by the alert's subject, as text or what makes it; none outlives a restart.
    recovery: dict[str, str | Callable[[], str]] | None = None

    @property
    def asked_servers(self) -> tuple[exchange.Peer, ...]:
        """The public servers that may be asked what they serve: those of ``check_servers``, then secondaries."""
        return (*self.watched, *(peer for peer in self.secondaries if peer.query))

    @property
    def name(self) -> str:
        """The zone's name, text, absolute."""
        return self.config.name

    @property
    def origin(self) -> bytes:
        """The zone's name, wire form, lower-cased."""
        return self.spec.origin

    @property
    def database(self) -> ZoneStore:
        """The zone's database; ZoneGone, StoreError or OSError when it cannot be opened."""
        self.check()
        return self.databases.get(_path(self.spec.database), self.spec.origin)

    def database_identity(self) -> Identity | None:
        """Which file its database is (device, inode), None while there is none; OSError."""
        return self.databases.identity(_path(self.spec.database))

    def close(self) -> None:
        """Forget all that the parts of the daemon keep of it; it is gone."""
        self.jobs.close()
        self.updates.close()
        if self.upstream is not None:
            self.upstream.close()
        if self.planning is not None and self.planning.task is not None:
            self.planning.task.cancel()
        self.upstream = self.keys = self.planning = self.parent = self.recovery = None

    def check(self) -> None:
        """ZoneGone if the zone was removed."""
        if self.gone:
            raise ZoneGone(self.name)

    def snapshot(self) -> AbstractContextManager[ZoneSnapshot] | None:
        """Return the published version to serve, or None while there is none, or it has expired."""
        return self.database.snapshot() if self.state is State.SERVED else None

    def catalogue_entry(self) -> CatalogueEntry:
        """Return what the catalogue keeps of it, with its database marked as it is now."""
        if self.doubt is not None:
            entry = self.doubt.entry or CatalogueEntry(self.name)
            return entry._replace(frozen=int(self.frozen))
        with suppress(OSError):  # without a mark it is verified by the next start's sweep
            self.mark = filemark.take(self.spec.database)
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
