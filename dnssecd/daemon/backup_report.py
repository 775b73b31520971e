"""What the check of the last backup is asked, what it reports, and what follows from that.

The daemon asks and judges; ``backup/self_check.py`` answers, in a process of its own.
"""

from typing import NamedTuple

import msgspec

from dnssecd.core.utc import about, minute

_SHOWN_MAX = 5


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The backup and the configuration file to judge it by; absolute paths."""

    file: str
    config: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that could not be restored; ``code`` as in ``backup/judge.py``."""

    zone: str
    code: str
    what: str


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result. ``problem``: why the backup cannot be used at all, or not be checked; "" where it was checked.

    ``made_at``: epoch seconds. ``restorable``, ``refused``, ``absent``: numbers of zones; absent zones are published
    and not in the backup. ``refusals``, ``absent_zones``, ``notes``: the first of them.
    """

    file: str
    problem: str = ""
    made_at: int = 0
    restorable: int = 0
    refused: int = 0
    absent: int = 0
    refusals: list[Refused] = []
    absent_zones: list[str] = []
    notes: list[str] = []

    @property
    def usable(self) -> bool:
        """Whether all zones in the backup can be restored. A zone that was added later is no fault of it."""
        return not self.problem and not self.refused and bool(self.restorable or not self.absent)


class Newest(NamedTuple):
    """The newest complete backup in the directory: its path and its time of change in nanoseconds."""

    path: str
    changed_ns: int


def describe_fault(report: CheckReport) -> str:
    """Return why a backup is not usable, as the cause of an event."""
    if report.problem:
        return report.problem
    if not report.refused:
        return f"{report.file} has none of the {report.absent} zones that are published here"
    shown = [f"{each.zone}: {each.what} ({each.code})" for each in report.refusals[:_SHOWN_MAX]]
    more = report.refused - len(shown)
    tail = f"; and {more} more" if more > 0 else ""
    return f"{report.file}: {report.refused} of {_zones(report)} cannot be restored: {'; '.join(shown)}{tail}"


def _zones(report: CheckReport) -> str:
    zones = report.restorable + report.refused
    return "1 zone" if zones == 1 else f"{zones} zones"


def describe_age(directory: str, made_at: int | None, now: float, age_max_s: int) -> str:
    """Return what is wrong with the age of the newest backup (None: there is none), "" if nothing."""
    if made_at is None:
        return f"there is no complete backup (*.tar) in {directory}"
    if now - made_at <= age_max_s:
        return ""
    return (
        f"the newest complete backup in {directory} is of {minute(made_at)}, {about(now - made_at)} old; "
        f"max_age is {about(age_max_s)}"
    )
