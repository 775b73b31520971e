"""The text of ``status``: a verdict, what is wrong, what waits for a person, counts. Pure, at most LINES_MAX lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnssecd.cli.tables import pair_lines, shorten, wrap
from dnssecd.control import messages
from dnssecd.core.utc import about, minute

LINES_MAX = 30
#: From this number of zones on, the same alert is shown once for all of them.
TOGETHER_MIN = 4
NAMED_MAX = 3
#: Lines for cause and remedy of each problem; the first pair that fits is taken.
DETAIL = ((2, 2), (1, 1), (1, 0), (0, 0))
SEVERITIES = ("critical", "error", "warning", "info")
TASKS_MAX = 5
#: Lines for TSIG keys of peers that have several.
KEYS_MAX = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, in one zone, in several, or in the daemon."""

    head: str
    cause: str
    remedy: str


def screen(status: messages.status.Status, width: int | None) -> list[str]:
    """Return the lines of ``status`` for all zones."""
    counts = ["", *_counts(status, width)]
    head = [*shorten(status.verdict.text, width, 2)]
    if status.clock_suspect:
        text = f"clock not confirmed: {status.clock}; if the time is correct: dnssecd clock confirm"
        head += shorten(text, width, 3)
    tasks = _tasks(status, width)
    room = LINES_MAX - len(head) - len(counts) - len(tasks)
    return [*head, *_wrong(problems(_alerts(status)), width, room), *tasks, *counts]


def _alerts(status: messages.status.Status) -> list[messages.alerts.Alert]:
    """Return all alerts but those of severity info, worst first, then oldest first."""
    every = [*status.alerts, *(alert for zone in status.zones for alert in zone.alerts)]
    unique = {(alert.name, alert.zone, alert.subject): alert for alert in every if alert.severity != "info"}
    return sorted(
        unique.values(), key=lambda alert: (_rank(alert.severity), alert.first_seen, alert.zone or "")
    )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def problems(alerts: Sequence[messages.alerts.Alert]) -> list[Problem]:
    """Return the alerts as problems, in their order; the same alert of many zones is one problem."""
    groups: dict[tuple[str, str], list[messages.alerts.Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.severity, alert.name), []).append(alert)
    found = []
    for group in groups.values():
        zones = list(dict.fromkeys(alert.zone for alert in group if alert.zone))
        if len(zones) >= TOGETHER_MIN:
            found.append(_together(group, zones))
        else:
            found += [_alone(alert) for alert in group]
    return found


def _alone(alert: messages.alerts.Alert) -> Problem:
    subject = f" {alert.subject}" if alert.subject else ""
    acked = f" (acknowledged by {alert.acked_by})" if alert.acked_by else ""
    head = f"{alert.severity.upper()} {alert.name} {alert.zone or 'daemon'}{subject}{acked}"
    return Problem(head, alert.cause, alert.remedy)


def _together(group: Sequence[messages.alerts.Alert], zones: Sequence[str]) -> Problem:
    first = group[0]
    more = f" and {len(zones) - NAMED_MAX} more" if len(zones) > NAMED_MAX else ""
    return Problem(
        f"{first.severity.upper()} {first.name} in {len(zones)} zones: {', '.join(zones[:NAMED_MAX])}{more}",
        first.cause,
        f"{first.remedy}; all of them: dnssecd alerts list",
    )


def _wrong(found: Sequence[Problem], width: int | None, room: int) -> list[str]:
    """Return the problems in at most ``room`` lines, with as much detail as fits."""
    if not found:
        return []
    blocks: list[list[str]] = []
    for causes, remedies in DETAIL:
        blocks = [_block(problem, width, causes, remedies) for problem in found]
        if 1 + sum(map(len, blocks)) <= room:
            return ["", *(line for block in blocks for line in block)]
    shown = blocks[: max(1, room - 2)]
    more = len(blocks) - len(shown)
    rest = [f"and {more} more: dnssecd alerts list"] if more else []
    return ["", *(line for block in shown for line in block), *rest]


def _block(problem: Problem, width: int | None, causes: int, remedies: int) -> list[str]:
    lines = shorten(problem.head, width, 1)
    if causes:
        lines += shorten(problem.cause, width, causes, "  ")
    if remedies:
        lines += shorten(f"to do: {problem.remedy}", width, remedies, "  ")
    return lines


def _tasks(status: messages.status.Status, width: int | None) -> list[str]:
    """Return what waits for a person now."""
    now = [
        (zone.zone, task) for zone in status.zones for task in zone.waits_for_person if _is_due(task, status)
    ]
    if not now:
        return []
    ordered = sorted(now, key=lambda item: (item[1].by or float("inf"), item[0]))
    lines = ["", "Waits for you:"]
    for _, task in ordered[:TASKS_MAX]:
        lines += shorten(_task(task), width, 1, "  ")
    if len(ordered) > TASKS_MAX:
        lines.append(f"  and {len(ordered) - TASKS_MAX} more: dnssecd zone list --bad")
    return lines


def _is_due(task: messages.zones.PersonTask, status: messages.status.Status) -> bool:
    return task.at is None or (
        status.verdict.next_act_at is not None
        and task.at <= status.verdict.next_act_at
        and status.verdict.zones_waiting_for_person > 0
    )


def _task(task: messages.zones.PersonTask) -> str:
    when = f", not before {minute(task.at)}" if task.at else ""
    late = f", by {minute(task.by)}" if task.by else ""
    return f"{task.command}{when}{late}: {task.what}"


def _counts(status: messages.status.Status, width: int | None) -> list[str]:
    verdict = status.verdict
    waiting = verdict.zones - verdict.zones_served
    noted = [zone.zone for zone in status.zones if zone.warnings]
    more = max(len(noted), verdict.zones_noted) - NAMED_MAX  # the daemon lists some of them
    following = f" and {more} more" if more > 0 else ""
    return pair_lines(
        [
            ("zones", f"{verdict.zones_served} served" + (f", {waiting} waiting" if waiting else "")),
            (
                "secondaries",
                f"{verdict.secondaries_current} of {verdict.secondaries} current"
                if verdict.secondaries
                else "none",
            ),
            ("keys", f"{verdict.keys}, key service {status.signer.state} ({_mode(status.signer.mode)})"),
            ("runway", _runway(verdict)),
            ("TSIG keys", [_key_use(use) for use in status.tsig_keys[:KEYS_MAX]] or None),
            (
                "notes",
                f"{', '.join(noted[:NAMED_MAX])}{following}: dnssecd status ZONE" if noted else None,
            ),
            ("next for you", _next(verdict)),
        ],
        width,
    )


def _key_use(use: messages.status.TsigKeyUse) -> str:
    """Return one line: during a change of keys it shows which of them the peer uses."""
    received = (
        f"it signed with it {minute(use.received_at)}" if use.received_at else "it never signed with it"
    )
    sent = f"accepted it {minute(use.sent_at)}" if use.sent_at else "never accepted it"
    return f"{use.peer}, {use.key}: {received}, {sent}"


def _mode(mode: str) -> str:
    return "a child process of the daemon: for demos" if mode == "child" else mode


def _runway(verdict: messages.status.Verdict) -> str | None:
    if verdict.runway_seconds is None:
        return None
    if verdict.runway_seconds < 0:
        return f"signatures of {verdict.runway_zone} expired {about(-verdict.runway_seconds)} ago"
    return f"{about(verdict.runway_seconds)} ({verdict.runway_zone})"


def _next(verdict: messages.status.Verdict) -> str:
    if verdict.next_act_at is None or verdict.next_act is None:
        return "nothing"
    return f"{minute(verdict.next_act_at)}: {verdict.next_act}"


def security_text(word: str, due_at: float | None, *, day: str = "") -> str:
    """Return the security of a zone for a column. day: today's date (UTC); times of today have no date."""
    if word != "ds-due":
        return "-" if word == "unknown" else word
    if due_at is None:
        return "DS due later"
    text = minute(due_at).removesuffix(" UTC")
    return f"DS due {text.removeprefix(day + ' ')}"


def zone_screen(status: messages.status.Status, width: int | None) -> list[str]:
    """Return the lines of ``status ZONE``, without the alerts."""
    (zone,) = status.zones
    current = sum(1 for one in zone.secondaries if zone.serial is not None and one.serial == zone.serial)
    servers = [_server(one) for one in zone.secondaries]
    share = (
        f"{current} of {len(servers)} current" if zone.serial is not None else "not asked for this zone yet"
    )
    unknown = zone.security == "unknown"
    security = "not known yet" if unknown else security_text(zone.security, zone.ds_due_at)
    detail = f": {zone.security_detail}" if zone.security_detail else ""
    checked = f"; validated {minute(zone.validated_at)}" if zone.validated_at else ""
    runway = zone.runway_seconds
    return [
        *wrap(status.verdict.text or f"{zone.zone} is {zone.state}", width, "  "),
        "",
        *pair_lines(
            [
                ("zone", f"{zone.zone} ({zone.state})"),
                ("security", f"{security}{detail}{checked}"),
                ("serial", None if zone.serial is None else f"{zone.serial} (input {zone.input_serial})"),
                ("owner", f"node {zone.owner}" if zone.owner else None),
                ("runway", None if runway is None else _span(runway)),
                ("secondaries", [share, *servers] if servers else "none"),
                ("next step", zone.next_step or zone.blockers or None),
                ("for you", [_task(task) for task in zone.waits_for_person] or "nothing"),
                ("notes", zone.warnings),
                ("key service", f"{status.signer.state} ({_mode(status.signer.mode)})"),
            ],
            width,
        ),
    ]


def _span(seconds: float) -> str:
    return about(seconds) if seconds >= 0 else f"expired {about(-seconds)} ago"


def _server(one: messages.zones.ServerSeen) -> str:
    serial = "no known serial" if one.serial is None else f"serial {one.serial}"
    seen = f", seen {minute(one.seen_at)}" if one.seen_at else ""
    return f"{one.name} has {serial}{seen}" + (f": {one.detail}" if one.detail else "")


def check_line(status: messages.status.Status) -> str:
    """Return one line in the form of Nagios: state, text, and performance data after a bar."""
    verdict = status.verdict
    word = verdict.level.upper()
    text = verdict.text.removeprefix(f"{word}: ")
    worst = [f"{alert.name} {alert.zone or 'daemon'}" for alert in _alerts(status)]
    more = f" and {len(worst) - NAMED_MAX} more" if len(worst) > NAMED_MAX else ""
    named = f" ({', '.join(worst[:NAMED_MAX])}{more})" if worst else ""
    numbers = {
        "zones": verdict.zones,
        "served": verdict.zones_served,
        "wrong": verdict.zones_wrong,
        "waits_for_person": verdict.zones_waiting_for_person,
        "secondaries": verdict.secondaries,
        "secondaries_current": verdict.secondaries_current,
        "keys": verdict.keys,
    }
    data = [f"{name}={number}" for name, number in numbers.items()]
    if verdict.runway_seconds is not None:
        data.append(f"runway={verdict.runway_seconds:.0f}s")
    return f"DNSSECD {word} - {text}{named}".replace("|", "/") + f" | {' '.join(data)}"
