"""Watch ``[backup] directory``: whether the newest backup is new enough, and whether this host can be restored from it.

A new backup is checked when it appears, and each night again: the keys that are public may have changed since. The
check runs in a process of its own (``backup/self_check.py``) and changes nothing.
"""

import asyncio
import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import BackupConfig, Config
from dnssecd.daemon.backup_report import CheckReport, CheckRequest, Newest, describe_age, describe_fault
from dnssecd.daemon.zones.schedule import Schedule, Wake
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import BackupMetrics
from dnssecd.procs import child

CHECKER = "dnssecd.backup.self_check"
#: Interval between looks at the directory (s).
LOOK_S = 600.0
#: The first look comes this long after the start (s): the zones come first.
FIRST_LOOK_S = 10.0
#: Ten thousand zones take a few minutes.
DEADLINE_S = 4 * 3600.0
REPORT_OCTETS_MAX = 1 << 20
_ENTRIES_MAX = 100_000
_DAY_S = 86_400
_SUFFIX = ".tar"
OLD, UNUSABLE = "backup-old", "backup-unusable"

log = structlog.get_logger("dnssecd.backup")


class BackupWatch:
    """Checks the newest backup. ``wakes``, ``gone`` and ``name`` make it a subject of the schedule."""

    gone = False
    name = "daemon"

    def __init__(
        self,
        config: Callable[[], Config],
        schedule: Schedule,
        events: EventCore,
        metrics: BackupMetrics,
        clock: Clock,
    ) -> None:
        self.wakes: tuple[Wake, ...] = ()
        self._config, self._schedule, self._events = config, schedule, events
        self._metrics, self._clock = metrics, clock
        self._wanted = asyncio.Event()
        self._due = True  # check even a backup that was checked before
        self._checked: Newest | None = None
        self._report: CheckReport | None = None

    def configure(self) -> None:
        """Follow a new configuration."""
        self._due = True
        self._wanted.set()

    async def run(self) -> None:
        """Look until cancelled."""
        pause = FIRST_LOOK_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            self._wanted.clear()
            await self.look()
            pause = LOOK_S

    async def look(self) -> None:
        """Look at the directory once; check its newest backup if it is new, or if a check is due."""
        settings = self._config().backup
        if settings.directory is None:
            self._switched_off()
            return
        self._plan(settings)
        try:
            newest = await asyncio.to_thread(find_newest, settings.directory)
        except OSError as error:
            self._events.raise_event(OLD, None, f"{settings.directory}: {error.strerror}")
            self._due = True
            return
        if newest is None:
            self._checked = self._report = None
            self._events.resolve(UNUSABLE)
        elif self._due or newest != self._checked:
            self._due = False
            await self._check(newest)
        self._judge_age(settings)

    def _switched_off(self) -> None:
        self._schedule.forget(self, "backup-check")
        self._checked = self._report = None
        self._events.resolve(OLD)
        self._events.resolve(UNUSABLE)

    def _plan(self, settings: BackupConfig) -> None:
        """Request the next check at the time of day that is configured (UTC)."""
        now = self._clock.now()
        at = (now - settings.check_at) // _DAY_S * _DAY_S + _DAY_S + settings.check_at
        self._schedule.wake(self, "backup-check", at, lambda _: self.configure())

    async def _check(self, newest: Newest) -> None:
        report = await ask_checker(newest.path, self._config().path)
        self._checked, self._report = newest, report
        self._metrics.zones.labels("restorable").set(report.restorable)
        self._metrics.zones.labels("refused").set(report.refused)
        self._metrics.zones.labels("absent").set(report.absent)
        if report.usable:
            self._metrics.checked.set(self._clock.now())
            self._events.resolve(UNUSABLE)
        else:
            self._events.raise_event(UNUSABLE, None, describe_fault(report))
        log.info(
            "backup checked",
            file=report.file,
            usable=report.usable,
            restorable=report.restorable,
            refused=report.refused,
            absent=report.absent_zones,
            notes=report.notes,
        )

    def _judge_age(self, settings: BackupConfig) -> None:
        made_at = self._made_at()
        self._metrics.made.set(made_at or 0)
        why = describe_age(str(settings.directory), made_at, self._clock.now(), settings.max_age)
        if why:
            self._events.raise_event(OLD, None, why)
        else:
            self._events.resolve(OLD)

    def _made_at(self) -> int | None:
        """Return when the newest backup was made: by its manifest, or by its file where that is not readable."""
        if self._checked is None:
            return None
        if self._report is not None and self._report.made_at:
            return self._report.made_at
        return self._checked.changed_ns // 1_000_000_000


def find_newest(directory: Path) -> Newest | None:
    """Return the newest complete backup of a directory, None if there is none. Raise OSError.

    Incomplete backups have another suffix. Links count as what they lead to.
    """
    best: Newest | None = None
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if number >= _ENTRIES_MAX:
                break
            if not entry.name.endswith(_SUFFIX) or entry.name.startswith("."):
                continue
            try:
                info = entry.stat()
            except OSError:  # it was removed just now, or is a link to nothing
                continue
            if stat.S_ISREG(info.st_mode) and (best is None or info.st_mtime_ns > best.changed_ns):
                best = Newest(entry.path, info.st_mtime_ns)
    return best


async def ask_checker(file: str, config: Path, deadline_s: float = DEADLINE_S) -> CheckReport:
    """Let a process check a backup. A failure of the process is a report, too."""
    request = CheckRequest(file=os.path.abspath(file), config=str(config.absolute()))
    try:
        process = await child.start_async(
            CHECKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, new_session=True, limit=REPORT_OCTETS_MAX
        )
    except OSError as error:
        return _not_checked(request, str(error))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(deadline_s):
            process.stdin.write(msgspec.json.encode(request))
            process.stdin.close()
            text = await _read_report(process.stdout)
            status = await process.wait()
    except TimeoutError:
        return _not_checked(request, f"it took more than {deadline_s:g} s")
    except OSError as error:
        return _not_checked(request, str(error))
    finally:
        await child.kill_async(process)
    try:
        return msgspec.json.decode(text, type=CheckReport)
    except msgspec.DecodeError:
        return _not_checked(request, f"the check ended with status {status}; its log says why")


async def _read_report(stream: asyncio.StreamReader) -> bytes:
    """Return all of a report; of one that is too long only a part, which is then no report."""
    text = b""
    while len(text) < REPORT_OCTETS_MAX and (piece := await stream.read(REPORT_OCTETS_MAX - len(text))):
        text += piece
    return text


def _not_checked(request: CheckRequest, why: str) -> CheckReport:
    return CheckReport(file=request.file, problem=f"{request.file} could not be checked: {why}")
