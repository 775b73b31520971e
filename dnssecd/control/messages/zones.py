"""Zones: ``zone.list``, ``zone.show``, ``zone.reload`` and what else is done with a zone."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType, field

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.base import (
    AcceptChange,
    AcceptOlder,
    Answer,
    FirstPublication,
    Message,
    Request,
    Seconds,
    Serial,
    Time,
    Zone,
)
from dnssecd.control.messages.keys import KeyRow


class ServerSeen(Answer, frozen=True, kw_only=True):
    """A server of a zone, as it was last seen."""

    name: str
    serial: Annotated[int | None, Meta(description="the serial it serves")]
    seen_at: Time | None
    detail: Annotated[str, Meta(description="why no serial is known")] = ""
    protection: Annotated[
        str, Meta(description="of a primary: how transfers from it are protected, by TLS and TSIG")
    ] = ""


#: unknown: not published, or the parent was not seen yet.
SecurityWord = Literal["unknown", "insecure", "ds-due", "secure", "rolling", "bogus"]
Security = Annotated[
    SecurityWord,
    Meta(
        description="as validators see the zone, from the DS that the parent serves and the answers of the servers"
    ),
]
DsDueAt = Annotated[
    Time | None, Meta(description="ds-due: when the DS can be handed over; null: when a server was seen")
]


class PersonTask(Answer, frozen=True, kw_only=True):
    """What waits for a person."""

    what: str
    command: Annotated[str, Meta(description="the command to begin with")]
    at: Annotated[Time | None, Meta(description="not before; null: now")] = None
    by: Annotated[Time | None, Meta(description="when it is late")] = None


class ZoneRow(Answer, frozen=True, kw_only=True):
    """A zone in one line."""

    zone: Zone
    state: Annotated[Literal["served", "waiting"], Meta(description="waiting: not published yet")]
    serial: Annotated[int | None, Meta(description="the serial that is served")]
    input_serial: Annotated[int | None, Meta(description="the serial of the input")]
    runway_seconds: Annotated[Seconds | None, Meta(description="seconds until the first RRSIG expires")]
    policy: str
    source: str
    records: int | None
    security: Security = "unknown"
    ds_due_at: DsDueAt = None
    servers: Annotated[int, Meta(description="number of public servers that are queried")] = 0
    servers_current: Annotated[int, Meta(description="how many of them serve this serial")] = 0
    alert_names: Annotated[list[str], Meta(description="names of the alerts that fire, worst first")] = field(
        default_factory=list
    )
    severity: Annotated[str, Meta(description="the worst severity among them")] = ""


class ZoneRows(Answer, frozen=True, kw_only=True):
    """All zones, one line each."""

    zones: list[ZoneRow]


class ListZones(Request[ZoneRows], frozen=True, kw_only=True):
    """List all zones."""

    command: ClassVar[str] = "zone.list"


class ZoneStatus(Answer, frozen=True, kw_only=True):
    """The state of a zone."""

    zone: Zone
    serial: Annotated[int | None, Meta(description="the serial that is served")]
    input_serial: Annotated[int | None, Meta(description="the serial of the input")]
    runway_seconds: Annotated[
        Seconds | None,
        Meta(
            description="seconds until the first RRSIG expires that cannot be renewed from what was signed ahead"
        ),
    ]
    secondaries: list[ServerSeen]
    primaries: list[ServerSeen]
    blockers: Annotated[list[str], Meta(description="what the zone waits for")]
    alerts: list[Alert]
    state: Annotated[Literal["served", "waiting"], Meta(description="waiting: not published yet")]
    policy: str
    source: str
    records: int | None
    input_error: Annotated[str | None, Meta(description="why the input is refused")]
    warnings: list[str]
    frozen: bool
    signed_ahead_until: Annotated[
        Time | None,
        Meta(description="until when an off-line KSK signed DNSKEY RRsets; null: no KSK is off-line"),
    ] = None
    security: Security = "unknown"
    security_detail: Annotated[str, Meta(description="the same in a sentence")] = ""
    ds_due_at: DsDueAt = None
    validated_at: Annotated[
        Time | None, Meta(description="when the answers of the public servers were last validated")
    ] = None
    next_step: Annotated[str, Meta(description="what happens next to its keys, in a sentence")] = ""
    refresh_seconds: Annotated[
        Seconds | None,
        Meta(description="signatures are renewed this many seconds before they expire; null: not published"),
    ] = None
    owner: Annotated[str | None, Meta(description="the node that signs it; null: a single host")] = None
    waits_for_person: list[PersonTask] = field(default_factory=list)


class ZoneDetails(ZoneStatus, frozen=True, kw_only=True):
    """All about a zone."""

    denial: Annotated[str, Meta(description="denial of existence")]
    signatures: Annotated[int | None, Meta(description="signatures made for the last version")]
    file: Annotated[str | None, Meta(description="path of its input")]
    last_published: Time | None
    earliest_expiration: Annotated[Time | None, Meta(description="when the first RRSIG expires")]
    next_wake: Annotated[Time | None, Meta(description="when the daemon next looks at it")]
    keys: list[KeyRow]
    stripped: Annotated[int, Meta(description="DNSSEC records of the input that were left out")]


class ShowZone(Request[ZoneDetails], frozen=True, kw_only=True):
    """Show all about a zone."""

    command: ClassVar[str] = "zone.show"

    zone: Zone


class ZoneReloaded(Answer, frozen=True, kw_only=True):
    """What became of a zone."""

    zone: Zone
    changed: bool
    serial: Serial | None
    signatures: Annotated[int, Meta(description="signatures made")]
    message: Message


class ReloadZone(Request[ZoneReloaded], frozen=True, kw_only=True):
    """Read the input of a zone again; transfer it when it comes from primaries."""

    command: ClassVar[str] = "zone.reload"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    zone: Zone
    accept_change: AcceptChange = False
    accept_older: AcceptOlder = False
    first_publication: FirstPublication = False


class ZoneRestored(Answer, frozen=True, kw_only=True):
    """What became of a zone."""

    zone: Zone
    changed: bool
    serial: Serial | None
    message: Message


class RestoreZone(Request[ZoneRestored], frozen=True, kw_only=True):
    """Bring a removed zone back with its content, keys and their states."""

    command: ClassVar[str] = "zone.restore"
    changes: ClassVar[bool] = True

    zone: Zone
    first_publication: FirstPublication = False


class ZoneImported(Answer, frozen=True, kw_only=True):
    """What became of a zone."""

    zone: Zone
    changed: bool
    serial: Serial | None
    changed_rrsets: int
    signatures: Annotated[int, Meta(description="signatures made")]
    warnings: list[str]
    message: Message


class ZoneAdded(Answer, frozen=True, kw_only=True):
    """A zone that was added."""

    zone: Zone
    changed: bool
    message: Message
    warnings: list[str]


class AddZone(Request[ZoneAdded], frozen=True, kw_only=True):
    """Add a zone while the daemon runs; it is stored, and is there after a restart."""

    command: ClassVar[str] = "zone.add"
    changes: ClassVar[bool] = True

    zone: Zone
    template: Annotated[str, Meta(description="name of a [zone-template.*]")]
    file: Annotated[
        str | None, Meta(description="absolute path of its zone file; null: as the template says")
    ] = None


class ZoneRemoved(Answer, frozen=True, kw_only=True):
    """A zone that was removed."""

    zone: Zone
    changed: bool
    message: Message


class RemoveZone(Request[ZoneRemoved], frozen=True, kw_only=True):
    """Remove a zone that was added, or that is no longer configured. Its database and keys are kept."""

    command: ClassVar[str] = "zone.remove"
    changes: ClassVar[bool] = True

    zone: Zone
    ds_is_gone: Annotated[bool, Meta(description="do not look for its DS at the parent")] = False


class ZoneReviewed(Answer, frozen=True, kw_only=True):
    """The result of an operator's decision on content."""

    zone: Zone
    changed: bool
    serial: Annotated[int | None, Meta(description="the serial that is served")]
    message: Message


class ApproveZone(Request[ZoneReviewed], frozen=True, kw_only=True):
    """Publish the content that waits for a review, if the input still has it."""

    command: ClassVar[str] = "zone.approve"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    zone: Zone
    first_publication: FirstPublication = False


class RejectZone(Request[ZoneReviewed], frozen=True, kw_only=True):
    """Refuse the content that waits for a review; the last version is still served."""

    command: ClassVar[str] = "zone.reject"
    changes: ClassVar[bool] = True

    zone: Zone


class ImportZone(Request[ZoneImported], frozen=True, kw_only=True):
    """Bring a zone file into a dynamic zone."""

    command: ClassVar[str] = "zone.import"
    changes: ClassVar[bool] = True
    progress: ClassVar[bool] = True

    zone: Zone
    path: Annotated[str, Meta(description="absolute path of a file that the daemon may read")]
    how: Annotated[
        Literal["replace", "merge"],
        Meta(
            description="replace: the zone becomes the file; merge: RRsets of the file replace those of the zone"
        ),
    ]
    accept_change: AcceptChange = False
    first_publication: FirstPublication = False


class ZoneExported(Answer, frozen=True, kw_only=True):
    """Which version was exported."""

    zone: Zone
    serial: Serial
    records: int


class ExportZone(Request[ZoneExported], frozen=True, kw_only=True):
    """Export a zone as it is served."""

    command: ClassVar[str] = "zone.export"
    chunks: ClassVar[str] = "the zone file"

    zone: Zone
    unsigned: Annotated[bool, Meta(description="without DNSSEC records")] = False


class HistoryEntry(Answer, frozen=True, kw_only=True):
    """Something that was done."""

    at: Time
    who: Annotated[str, Meta(description="the user, or a part of the daemon")]
    uid: Annotated[int | UnsetType, Meta(description="the user's number; operator actions only")] = UNSET
    what: str
    serial: Serial | None
    detail: str


class History(Answer, frozen=True, kw_only=True):
    """What was done, newest first."""

    entries: list[HistoryEntry]


class ShowHistory(Request[History], frozen=True, kw_only=True):
    """Show what was done to a zone; without one, to the daemon as a whole."""

    command: ClassVar[str] = "zone.history"

    zone: Zone | None = None
    limit: Annotated[int, Meta(ge=1, description="at most this many entries, and at most 1,000")] = 100


class SerialServed(Answer, frozen=True, kw_only=True):
    """The serial that is served, and by which servers."""

    zone: Zone
    serial: Serial | None
    secondaries: list[ServerSeen]


class WaitForSerial(Request[SerialServed], frozen=True, kw_only=True):
    """Wait until a serial, or a later one, is served."""

    command: ClassVar[str] = "zone.wait"
    progress: ClassVar[bool] = True

    zone: Zone
    serial: Annotated[int | None, Meta(description="the serial; null: the current one")] = None
    current: Annotated[bool, Meta(description="wait for the current serial")] = False
    all_secondaries: Annotated[bool, Meta(description="until every secondary serves it")] = False
    timeout: Annotated[Seconds, Meta(description="give up after this many seconds")] = 300.0


class ZoneFrozen(Answer, frozen=True, kw_only=True):
    """Whether a zone is frozen."""

    zone: Zone
    frozen: bool
    message: Message


class FreezeZone(Request[ZoneFrozen], frozen=True, kw_only=True):
    """Read no input and start no rollover step until the zone is thawed."""

    command: ClassVar[str] = "zone.freeze"
    changes: ClassVar[bool] = True

    zone: Zone


class ThawZone(Request[ZoneFrozen], frozen=True, kw_only=True):
    """End a freeze."""

    command: ClassVar[str] = "zone.thaw"
    changes: ClassVar[bool] = True

    zone: Zone
