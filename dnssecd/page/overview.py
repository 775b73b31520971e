"""What the overview shows of the zones of a survey: filtered, sorted, grouped.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.zones import ZoneStatus
from dnssecd.page.model import AlertGroup, Task
from dnssecd.replacing import replace

PER_PAGE = 50
PER_PAGE_MAX = 500
TEXT_MAX = 255
#: From this number of zones on, the same alert is shown once for all of them.
TOGETHER_MIN = 4
#: A page that is loaded again by itself: at least this often is too much.
REFRESH_MIN_S, REFRESH_MAX_S = 10, 3_600
#: Spans of weeks of the calendar: as far as forecasts go.
SPANS_MAX = 11

SEVERITIES = ("critical", "error", "warning", "info")
SHOWN = {
    "all": "all",
    "bad": "needing attention",
    "you": "waiting for you",
    "behind": "with a secondary behind",
    "bogus": "bogus",
    "ds-due": "DS due",
    "rolling": "rolling",
    "secure": "secure",
    "insecure": "insecure",
    "waiting": "not published yet",
}
SORTED = {"worst": "worst first", "name": "name", "runway": "runway", "security": "security"}
_SECURITY = ("bogus", "ds-due", "rolling", "unknown", "insecure", "secure")


@dataclass(frozen=True, slots=True)
class Query:
    """What the address of the page asks for.

    span: of the calendar, 0 for the present weeks; refresh: seconds, 0 never.
    """

    text: str = ""
    show: str = "all"
    sort: str = "worst"
    page: int = 1
    per: int = PER_PAGE
    span: int = 0
    refresh: int = 0

    def url(self, **changes: str | int) -> str:
        """Return the address of the page with changes; a change of what is shown begins with the first page."""
        if changes.keys() & {"text", "show", "sort", "per"}:
            changes = {"page": 1, **changes}
        new = replace(self, **changes)
        default = Query()
        names = {"text": "q"}
        parts = {
            names.get(name, name): getattr(new, name)
            for name in self.__slots__
            if getattr(new, name) != getattr(default, name)
        }
        return "?" + urlencode(parts)


def read_query(fields: Mapping[str, str]) -> Query:
    """Return the query of an address; a value that is not allowed is as if it were not given."""
    show, sort = fields.get("show", ""), fields.get("sort", "")
    refresh = _number(fields.get("refresh"), 0, 0, REFRESH_MAX_S)
    return Query(
        text="".join(fields.get("q", "").split())[:TEXT_MAX].lower(),
        show=show if show in SHOWN else "all",
        sort=sort if sort in SORTED else "worst",
        page=_number(fields.get("page"), 1, 1, 1_000_000),
        per=_number(fields.get("per"), PER_PAGE, 1, PER_PAGE_MAX),
        span=_number(fields.get("span"), 0, 0, SPANS_MAX),
        refresh=max(refresh, REFRESH_MIN_S) if refresh else 0,
    )


def _number(text: str | None, default: int, low: int, high: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return default
    return min(max(int(text), low), high)


def select(zones: Sequence[ZoneStatus], query: Query) -> list[ZoneStatus]:
    """Return the zones that a query asks for, in its order."""
    wanted = [zone for zone in zones if query.text in zone.zone] if query.text else list(zones)
    if query.show != "all":
        fits = _fits(query.show)
        wanted = [zone for zone in wanted if fits(zone)]
    return sorted(wanted, key=_ORDERS[query.sort])


def _fits(show: str) -> Callable[[ZoneStatus], bool]:
    tests: dict[str, Callable[[ZoneStatus], bool]] = {
        "bad": lambda zone: severity(zone) < SEVERITIES.index("info") or zone.security == "bogus",
        "you": lambda zone: bool(zone.waits_for_person),
        "behind": lambda zone: zone.serial is not None and current(zone) < len(zone.secondaries),
        "waiting": lambda zone: zone.serial is None,
    }
    return tests.get(show) or (lambda zone: zone.security == show)


def severity(zone: ZoneStatus) -> int:
    """Return the place in SEVERITIES of a zone's worst alert; beyond them if it has none."""
    return min((SEVERITIES.index(alert.severity) for alert in zone.alerts), default=len(SEVERITIES))


def current(zone: ZoneStatus) -> int:
    """Return how many servers have the serial that is served here."""
    return sum(one.serial is not None and one.serial == zone.serial for one in zone.secondaries)


def _runway(zone: ZoneStatus) -> float:
    return float("inf") if zone.runway_seconds is None else zone.runway_seconds


def _worst(zone: ZoneStatus) -> tuple[Any, ...]:
    return (
        zone.security != "bogus",
        severity(zone),
        not zone.waits_for_person,
        zone.serial is not None,
        zone.zone,
    )


_ORDERS: dict[str, Callable[[ZoneStatus], Any]] = {
    "worst": _worst,
    "name": lambda zone: zone.zone,
    "runway": lambda zone: (_runway(zone), zone.zone),
    "security": lambda zone: (_SECURITY.index(zone.security), zone.zone),
}


def list_tasks(zones: Sequence[ZoneStatus]) -> list[Task]:
    """Return what waits for people: what is late first, then what is due, then what comes."""
    tasks = [
        Task(zone=zone.zone, what=task.what, command=task.command, at=task.at, by=task.by)
        for zone in zones
        for task in zone.waits_for_person
    ]
    return sorted(tasks, key=lambda task: (task.at or 0.0, task.by or float("inf"), task.zone))


def list_alerts(of_daemon: Sequence[Alert], zones: Sequence[ZoneStatus]) -> list[Alert]:
    """Return all alerts, worst first, then oldest first."""
    every = [*of_daemon, *(alert for zone in zones for alert in zone.alerts)]
    unique = {(alert.name, alert.zone, alert.subject): alert for alert in every}
    return sorted(
        unique.values(),
        key=lambda alert: (SEVERITIES.index(alert.severity), alert.first_seen, alert.zone or ""),
    )


def group(alerts: Sequence[Alert]) -> list[AlertGroup]:
    """Return alerts in their order; the same alert of many zones is one."""
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.severity, alert.name), []).append(alert)
    found = []
    for members in groups.values():
        zones = list(dict.fromkeys(alert.zone for alert in members if alert.zone))
        if len(zones) >= TOGETHER_MIN:
            found.append(AlertGroup(first=members[0], zones=zones))
        else:
            found += [AlertGroup(first=alert, zones=[alert.zone] if alert.zone else []) for alert in members]
    return found
