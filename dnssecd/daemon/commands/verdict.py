"""The verdict on all zones: one sentence, a level for exit statuses, and the numbers behind it."""

from collections.abc import Sequence
from typing import Literal

from dnssecd.control.messages.alerts import Alert
from dnssecd.control.messages.status import Verdict
from dnssecd.control.messages.zones import PersonTask, ZoneStatus
from dnssecd.core.utc import about

Level = Literal["ok", "warning", "critical"]

#: An alert of severity ``info`` needs no attention.
_LEVELS: dict[str, Level] = {"critical": "critical", "error": "warning", "warning": "warning"}


def judge(
    zones: Sequence[ZoneStatus],
    alerts: Sequence[Alert],
    keys: int,
    key_service: str,
    clock: str,
    now: float,
) -> Verdict:
    """Judge the zones shown and the alerts that fire. clock: why the time is in doubt, "" if it is not."""
    everything = {(a.name, a.zone, a.subject): a for a in (*alerts, *(a for z in zones for a in z.alerts))}
    levels = {_LEVELS.get(alert.severity, "ok") for alert in everything.values()}
    if clock or any(zone.security == "bogus" for zone in zones):
        levels.add("critical")
    elif key_service.startswith("down"):
        levels.add("warning")
    level: Level = "critical" if "critical" in levels else "warning" if "warning" in levels else "ok"
    wrong = sum(_is_wrong(zone) for zone in zones)
    tasks = [(task, zone) for zone in zones for task in zone.waits_for_person]
    waiting = len({zone.zone for task, zone in tasks if _is_due(task, now)})
    of_daemon = [a for a in everything.values() if a.zone is None and a.severity in _LEVELS]
    runway = min(
        ((zone.runway_seconds, zone.zone) for zone in zones if zone.runway_seconds is not None), default=None
    )
    next_task, its_zone = min(tasks, key=lambda item: item[0].at or 0.0, default=(None, None))
    return Verdict(
        level=level,
        text=_sentence(level, zones, wrong, waiting, len(of_daemon)),
        zones=len(zones),
        zones_served=sum(zone.serial is not None for zone in zones),
        zones_wrong=wrong,
        zones_waiting_for_person=waiting,
        zones_noted=sum(bool(zone.warnings) for zone in zones),
        secondaries=sum(len(zone.secondaries) for zone in zones),
        secondaries_current=sum(count_current(zone) for zone in zones),
        keys=keys,
        runway_seconds=None if runway is None else runway[0],
        runway_zone=None if runway is None else runway[1],
        next_act_at=None if next_task is None else max(next_task.at or 0.0, now),
        next_act=None if next_task is None or its_zone is None else _named(next_task.what, its_zone.zone),
    )


def _named(what: str, zone: str) -> str:
    return what if zone in what.split() else f"{what} ({zone})"


def count_current(zone: ZoneStatus) -> int:
    """Return how many servers were seen to serve the serial that is served here."""
    return sum(1 for one in zone.secondaries if zone.serial is not None and one.serial == zone.serial)


def _is_wrong(zone: ZoneStatus) -> bool:
    return zone.security == "bogus" or any(alert.severity in _LEVELS for alert in zone.alerts)


def _is_due(task: PersonTask, now: float) -> bool:
    return task.at is None or task.at <= now


def _sentence(level: Level, zones: Sequence[ZoneStatus], wrong: int, waiting: int, daemon: int) -> str:
    parts = []
    if wrong:
        parts.append(
            f"{wrong} of {_zones(len(zones))} need{'s' if wrong == 1 else ''} attention"
            if len(zones) > 1
            else f"{zones[0].zone} needs attention"
        )
    if daemon:
        parts.append(f"dnssecd itself has {daemon} alert{'s' if daemon > 1 else ''}")
    if waiting:
        parts.append(f"{_zones(waiting)} wait{'s' if waiting == 1 else ''} for you")
    if not parts and level == "ok":
        parts.append(_well(zones))
    head = {"ok": "OK", "warning": "WARNING", "critical": "CRITICAL"}[level]
    return f"{head}: " + ("; ".join(parts) or "see below")


def _well(zones: Sequence[ZoneStatus]) -> str:
    if not zones:
        return "no zones are configured"
    served = sum(zone.serial is not None for zone in zones)
    if served < len(zones):
        return f"{served} of {_zones(len(zones))} served, the others are being made"
    shortest = min((zone.runway_seconds for zone in zones if zone.runway_seconds is not None), default=None)
    runway = "" if shortest is None else f"; signatures last {about(shortest)} at least"
    one = f"{zones[0].zone} is served" if len(zones) == 1 else f"all {len(zones)} zones are served"
    return f"all is well: {one}{runway}"


def _zones(number: int) -> str:
    return f"{number} zone{'' if number == 1 else 's'}"
