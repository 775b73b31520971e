"""What the pages show, as data: the JSON beside each page is this, and the templates read nothing else."""

from __future__ import annotations

import msgspec

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.status import Delivery, KeyServiceState, Status, Verdict
from dnssecd.control.messages.zones import HistoryEntry, ZoneDetails, ZoneStatus


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """Something that comes. at: epoch s. act: a person has to do it. key: a stable name, for calendars."""

    at: int
    zone: str
    what: str
    act: bool
    key: str


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """One token of a key store."""

    name: str
    state: str
    detail: str = ""


class StoreState(msgspec.Struct, frozen=True, kw_only=True):
    """A key store."""

    name: str
    kind: str
    state: str
    detail: str = ""
    signatures: int = 0
    tokens: list[TokenState] = []


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """A time (epoch s) in which zones of a policy begin no step."""

    policy: str
    start: int
    stop: int


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The state of all zones at one moment. status: as ``dnssecd status`` has it.

    looked_ahead: the number of zones whose coming steps are known; the others follow. docs_url: where the operations
    page is published, "": nowhere; the section of an alert has its name.
    """

    taken_at: float
    host: str
    status: Status
    stores: list[StoreState]
    coming: list[Coming]
    looked_ahead: int
    freezes: list[Freeze]
    docs_url: str = ""


class ParentServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of the parent, and the DS that it was last seen to have; None: it did not answer."""

    name: str
    seen_at: float | None
    ds: list[str] | None


class KeyTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The key time line: from start to stop (epoch s). svg: the picture, "" where there is none; why: why not."""

    start: int
    stop: int
    svg: str = ""
    why: str = ""
    notes: list[str] = []
    summary: str = ""


class ZoneView(msgspec.Struct, frozen=True, kw_only=True):
    """A zone at one moment. lines: as ``dnssecd explain`` has them. handover: the DS to copy, if they are due.

    island: the zone has no parent that is asked; validators have its trust anchors.
    """

    taken_at: float
    host: str
    version: str
    zone: ZoneDetails
    lines: list[str]
    parents: list[ParentServer]
    handover: list[str]
    history: list[HistoryEntry]
    coming: list[Coming]
    times: KeyTimes
    island: bool = False
    docs_url: str = ""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a person in a zone. at: not before; by: when it is late (epoch s)."""

    zone: str
    what: str
    command: str
    at: float | None
    by: float | None


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, or the same alert of several zones: the first of them, and the names of the zones."""

    first: Alert
    zones: list[str]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the overview shows of a survey.

    matching: zones that the filter leaves; of their ``pages`` pages, ``page`` is shown.
    """

    taken_at: float
    host: str
    version: str
    started_at: float
    verdict: Verdict
    clock: str
    key_service: KeyServiceState
    delivery: list[Delivery]
    tasks: list[Task]
    tasks_more: int
    alerts: list[AlertGroup]
    alerts_more: int
    zones: list[ZoneStatus]
    matching: int
    page: int
    pages: int
    stores: list[StoreState]
    coming: list[Coming]
    looked_ahead: int
    freezes: list[Freeze]
    docs_url: str = ""


class Unavailable(Exception):
    """The daemon could not give the data in time; the message says why."""
