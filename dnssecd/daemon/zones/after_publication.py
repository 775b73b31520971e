"""What follows a publication: the zone's ``output_file``, then its ``published`` command or webhook.

Both concern the newest version only: while they work or wait, later versions are joined. What failed is tried again
until it succeeds or another version comes. After a start the file is written again if it is not that of the served
version.
"""

import asyncio
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.config.model import WebhookConfig
from dnssecd.config.templates import is_webhook
from dnssecd.daemon.zones.job_runner import JobRunner
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.rooms import FollowUpRoom
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.ops.alerts.channel_webhook import WebhookChannel
from dnssecd.ops.alerts.channels import Parcel, Undelivered
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.output import EVENT as FILE_EVENT

COMMAND_EVENT = "published-command-failed"
COMMAND_S = 60.0
AT_ONCE_MAX = 4
#: Messages that are sent to one server at the same time: thousands of zones must not take all descriptors.
POSTS_MAX = 16
RETRY = Backoff(5.0, 300.0)
#: At least this long between two versions of a file or two runs of a command, and as long as they took.
PAUSE_S = 1.0
_HEAD_OCTETS = 4_096

log = structlog.get_logger("dnssecd.zones")


class FollowUps:
    """Writes the files and runs the commands. Belongs to the event loop."""

    def __init__(self, runner: JobRunner, events: EventCore, clock: Clock, mailbox: Mailbox) -> None:
        self._runner, self._events, self._clock = runner, events, clock
        self._hooks = HookRunner(COMMAND_S, AT_ONCE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._posting: dict[str, asyncio.Semaphore] = {}
        mailbox.published.subscribe(self._published)
        mailbox.finished.subscribe(self._finished)

    def _published(self, zone: FrontZone) -> None:
        """Note a version that this process published."""
        if zone.config.published:
            _room(zone).is_new = True
        self._finished(zone)

    def _finished(self, zone: FrontZone) -> None:
        """Start work for what is served, if there is any."""
        config = zone.config
        if zone.gone or zone.state is not State.SERVED or not (config.output_file or config.published):
            return
        room = _room(zone)
        if room.told is None and not room.is_new and zone.cluster is None:
            # It was published before the start. In a cluster another node may have died before it ran the command.
            room.told = zone.serial
        if room.task is None and self._is_due(zone, room):
            room.task = asyncio.get_running_loop().create_task(self._follow(zone, room))
            self._tasks.add(room.task)
            room.task.add_done_callback(lambda done: self._ended(zone, room, done))

    def _is_due(self, zone: FrontZone, room: FollowUpRoom) -> bool:
        file = zone.config.output_file is not None and room.written != (zone.serial, zone.config.output_file)
        # In a cluster the owner runs the command: a node that takes the zone over runs it once more.
        return file or (zone.owned and bool(zone.config.published) and room.told != zone.serial)

    async def _follow(self, zone: FrontZone, room: FollowUpRoom) -> None:
        failures = 0
        while not zone.gone and zone.state is State.SERVED and self._is_due(zone, room):
            started = self._clock.monotonic()
            done = await self._write(zone, room) and await self._tell(zone, room)
            failures = 0 if done else failures + 1
            took = self._clock.monotonic() - started
            await asyncio.sleep(max(PAUSE_S, took) if done else RETRY.delay_s(failures))

    def _ended(self, zone: FrontZone, room: FollowUpRoom, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        room.task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ZoneGone):
            log.error("work after a publication failed", zone=zone.name, exc_info=error)
        else:
            self._finished(zone)

    async def _write(self, zone: FrontZone, room: FollowUpRoom) -> bool:
        """Write the file if it has another version; return False if that failed."""
        path, serial = zone.config.output_file, zone.serial
        if path is None or room.written == (serial, path):
            return True
        if room.written is None and serial is not None and await asyncio.to_thread(_has, path, serial):
            room.written = serial, path
            return True
        outcome = await self._runner.run(zone, self._runner.job(zone, "output", path=str(path)))
        if outcome.problems:
            problem = outcome.problems[0]
            self._events.raise_event(FILE_EVENT, zone.name, problem.cause, remedy=problem.remedy or None)
            return False
        room.written = outcome.serial, path
        self._events.resolve(FILE_EVENT, zone.name)
        log.info("zone file written", zone=zone.name, serial=outcome.serial, file=str(path))
        return True

    async def _tell(self, zone: FrontZone, room: FollowUpRoom) -> bool:
        """Run the command for the served version; return False if that failed."""
        command, serial = zone.config.published, zone.serial
        if not command or not zone.owned or room.told == serial:
            return True
        file = zone.config.output_file
        document = {
            "event": "published",
            "zone": zone.name,
            "serial": serial,
            "published_at": zone.published_at,
            "output_file": None if file is None else str(file),
        }
        why = await (self._post if is_webhook(command[0]) else self._run)(command, document)
        if zone.gone:
            return True
        if why:
            cause = f"serial {serial} of {zone.name} was published, but {why}"
            self._events.raise_event(COMMAND_EVENT, zone.name, cause)
            return False
        room.told = serial
        self._events.resolve(COMMAND_EVENT, zone.name)
        return True

    async def _run(self, command: tuple[str, ...], document: Mapping[str, object]) -> str:
        run = await self._hooks.run(command, document)
        return "" if run.ok else run.detail

    async def _post(self, command: tuple[str, ...], document: Mapping[str, object]) -> str:
        server = urlsplit(command[0]).netloc
        async with self._posting.setdefault(server, asyncio.Semaphore(POSTS_MAX)):
            return await _post(command, document)

    async def close(self) -> None:
        """End all of it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _post(command: tuple[str, ...], document: Mapping[str, object]) -> str:
    body = json.dumps(document).encode()
    channel = WebhookChannel(WebhookConfig(command[0], None))
    # The same for all repetitions, those of another node included.
    id = sha256(f"{document['zone']} {document['serial']}".encode()).hexdigest()[:32]
    try:
        await channel.send(Parcel(id, body))
    except Undelivered as error:
        return str(error)
    return ""


def _room(zone: FrontZone) -> FollowUpRoom:
    if zone.follow_up is None:
        zone.follow_up = FollowUpRoom()
    return zone.follow_up


def _has(path: Path, serial: int) -> bool:
    """Tell whether a file that dnssecd wrote is that of a serial: its first record is the SOA."""
    try:
        with path.open("rb") as file:
            first = file.read(_HEAD_OCTETS).partition(b"\n")[0].split()
    except OSError:
        return False
    return len(first) > 6 and first[3] == b"SOA" and first[6] == str(serial).encode()
