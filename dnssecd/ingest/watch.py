"""Watch zone files and the files they include, so that an edit is read within a fraction of a second.

An event is only a hint; ``stat`` decides. An event for a watched name causes a comparison of the zone's files
with the files that were read. Directories are watched, not files: so a rename over the file, an editor's
temporary file, a changed link, and a directory that is removed and made again are all noticed. If inotify is
missing or its limit is reached, and on file systems without events, the periodic comparison remains.
"""

import asyncio
import os
import stat
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Iterable
from pathlib import Path
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from dnssecd.ingest.inotify import Inotify
from dnssecd.ingest.source import FileIdentity, identity

_LINKS_MAX = 40
#: Zones placed before other tasks run.
_BATCH = 100
#: Up to this many zones of one file are kept in a tuple.
_FEW = 4
#: After a comparison of everything, the pause is this many times its duration, but at most ten minutes.
POLL_PAUSE, POLL_LAST_S = 1000.0, 600.0


class Timing(NamedTuple):
    """Delays in seconds.

    ``quiet``: time without events before files are compared; ``most``: the longest wait for that; ``poll``:
    between comparisons of everything.
    """

    quiet: float = 0.2
    most: float = 2.0
    poll: float = 60.0


DEFAULT_TIMING = Timing()


class Point(NamedTuple):
    """A name in a directory whose appearance, change or removal affects a file."""

    directory: bytes
    name: bytes


def identity_now(path: Path) -> FileIdentity:
    """Return the identity of a file, or one that equals no other if it cannot be read."""
    try:
        return identity(path)
    except OSError:
        return FileIdentity(str(path), 0, 0, -1, 0, 0)


def points(path: Path) -> list[Point]:
    """Return the names to watch for a file: each link on its path, and its last name or the first missing one."""
    found: list[Point] = []
    directory = b"/"
    ahead = [part for part in os.path.abspath(os.fsencode(path)).split(b"/") if part]
    links = 0
    while ahead:
        name = ahead.pop(0)
        if name == b"..":
            directory = os.path.dirname(directory)
            continue
        here = os.path.join(directory, name)
        try:
            mode = os.lstat(here).st_mode
        except OSError:
            return [*found, Point(directory, name)]
        if stat.S_ISLNK(mode):
            found.append(Point(directory, name))
            links += 1
            target = os.readlink(here)
            ahead = [part for part in target.split(b"/") if part not in (b"", b".")] + ahead
            directory = b"/" if target.startswith(b"/") else directory
            if links > _LINKS_MAX:
                return found
        elif ahead:
            directory = here
        else:
            found.append(Point(directory, name))
    return found


Zone = TypeVar("Zone", bound=Hashable)


class ZoneWatcher(Generic[Zone]):
    """Reports which zones' files have changed since they were read; one task iterates over :meth:`changes`.

    A zone is an object that the caller takes for its identity: a change that is found late is not reported for another
    zone of the same name.
    """

    def __init__(self, timing: Timing = DEFAULT_TIMING) -> None:
        self._timing = timing
        #: The identities of the files read, by zone.
        self._read: dict[Zone, tuple[FileIdentity, ...]] = {}
        self._hinted: set[Zone] = set()
        self._woken = asyncio.Event()
        self._inotify: Inotify | None = None
        #: Zones by watch and name that affect them, and the reverse.
        #: Most files are of one zone, and a set takes four times the memory of a tuple.
        self._zones: dict[tuple[int, bytes], tuple[Zone, ...] | set[Zone]] = {}
        self._places: dict[Zone, tuple[tuple[int, bytes], ...]] = {}
        self._names: dict[int, int] = defaultdict(int)
        #: Why there are no events, by directory; empty if all directories have events.
        self.polled: dict[str, str] = {}

    def watch(self, zone: Zone, files: Iterable[FileIdentity]) -> None:
        """Watch the files of a zone; their identities are those at reading (or of :func:`identity_now`)."""
        self._read[zone] = tuple(files)
        self._hint([zone])

    def forget(self, zone: Zone) -> None:
        """Stop watching a zone's files."""
        self._read.pop(zone, None)
        self._hinted.discard(zone)
        self._place(zone, set())

    async def changes(self) -> AsyncIterator[frozenset[Zone]]:
        """Yield the zones whose files differ from those read; each difference once, until the zone is watched again."""
        self._start()
        try:
            next_poll = monotonic() + self._timing.poll
            while True:
                await self._wait(next_poll - monotonic())
                changed = await self._compare_hinted()
                if monotonic() >= next_poll:
                    began = monotonic()
                    changed |= await self._poll()
                    next_poll = monotonic() + self._pause_after(monotonic() - began)
                if changed:
                    yield changed
        finally:
            self._stop()

    def _pause_after(self, took: float) -> float:
        """Return the seconds until everything is compared again; more if very many files have events."""
        if self._inotify is None or self.polled:
            return self._timing.poll
        return max(self._timing.poll, min(POLL_PAUSE * took, POLL_LAST_S))

    def _start(self) -> None:
        try:
            self._inotify = Inotify()
        except OSError as error:
            self.polled["*"] = error.strerror or str(error)
            return
        for places in (self._zones, self._places, self._names):
            places.clear()
        self._hint(self._read)
        asyncio.get_running_loop().add_reader(self._inotify.descriptor, self._readable)

    def _stop(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None

    def _readable(self) -> None:
        assert self._inotify is not None
        for event in self._inotify.read():
            if event.watch < 0:
                self._hint(self._read)
            elif event.gone or not event.name:
                self._hint(
                    {
                        zone
                        for (watch, _), zones in self._zones.items()
                        if watch == event.watch
                        for zone in zones
                    }
                )
            else:
                self._hint(self._zones.get((event.watch, event.name), ()))

    def _hint(self, zones: Iterable[Zone]) -> None:
        hinted = set(zones)
        if hinted:
            self._hinted |= hinted
            self._woken.set()

    async def _wait(self, seconds: float) -> None:
        """Return when events arrived and then paused, or after ``seconds``."""
        if not await self._wake(seconds):
            return
        deadline = monotonic() + self._timing.most
        while (left := deadline - monotonic()) > 0:
            if not await self._wake(min(self._timing.quiet, left)):
                return

    async def _wake(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _compare_hinted(self) -> frozenset[Zone]:
        """Watch the right directories for the hinted zones, then compare: a change in between causes an event."""
        hinted = {zone: self._read[zone] for zone in self._hinted if zone in self._read}
        self._hinted.clear()
        if not hinted:
            return frozenset()
        # File system calls may hang (network file systems), so they do not run in the event loop.
        to_watch = await asyncio.to_thread(_points_of, hinted)
        for number, (zone, wanted) in enumerate(to_watch.items(), 1):
            if zone in self._read:
                self._place(zone, wanted)
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        return await self._compare(hinted)

    async def _poll(self) -> frozenset[Zone]:
        """Compare all zones; renew the watches of zones whose events were missed or are impossible."""
        changed = await self._compare(dict(self._read))
        self._hint(zone for zone in self._read if zone in changed or zone not in self._places)
        return changed

    async def _compare(self, read: dict[Zone, tuple[FileIdentity, ...]]) -> frozenset[Zone]:
        now = await asyncio.to_thread(_identities_of, read)
        changed = frozenset(zone for zone in read if self._read.get(zone) == read[zone] != now[zone])
        for zone in changed:
            self._read[zone] = now[zone]
        return changed

    def _place(self, zone: Zone, wanted: set[Point]) -> None:
        """Set the watches of a zone to the given points."""
        if self._inotify is None:
            return
        places = set()
        for point in wanted:
            watch = self._add(point.directory)
            if watch is not None:
                places.add((watch, point.name))
        before = set(self._places.pop(zone, ()))
        if places:
            self._places[zone] = tuple(places)
        for place in places - before:
            self._zones[place] = _with(self._zones.get(place, ()), zone)
            self._names[place[0]] += 1
        for place in before - places:
            self._leave(zone, place)

    def _add(self, directory: bytes) -> int | None:
        assert self._inotify is not None
        shown = os.fsdecode(directory)
        try:
            watch = self._inotify.add(directory)
        except OSError as error:
            self.polled[shown] = error.strerror or str(error)
            return None
        self.polled.pop(shown, None)
        return watch

    def _leave(self, zone: Zone, place: tuple[int, bytes]) -> None:
        assert self._inotify is not None
        left = _without(self._zones.pop(place, ()), zone)
        if left:
            self._zones[place] = left
        self._names[place[0]] -= 1
        if not self._names[place[0]]:
            del self._names[place[0]]
            self._inotify.remove(place[0])


def _with(zones: tuple[Zone, ...] | set[Zone], zone: Zone) -> tuple[Zone, ...] | set[Zone]:
    """Add a zone to those of a file: to a set, or to a tuple while they are few."""
    if isinstance(zones, set):
        zones.add(zone)
        return zones
    if zone in zones:
        return zones
    return (*zones, zone) if len(zones) < _FEW else {*zones, zone}


def _without(zones: tuple[Zone, ...] | set[Zone], zone: Zone) -> tuple[Zone, ...] | set[Zone]:
    if isinstance(zones, set):
        zones.discard(zone)
        return zones
    return tuple(each for each in zones if each != zone)


def _points_of(zones: dict[Zone, tuple[FileIdentity, ...]]) -> dict[Zone, set[Point]]:
    return {
        zone: {point for file in files for point in points(Path(file.path))} for zone, files in zones.items()
    }


def _identities_of(zones: dict[Zone, tuple[FileIdentity, ...]]) -> dict[Zone, tuple[FileIdentity, ...]]:
    return {zone: tuple(identity_now(Path(file.path)) for file in files) for zone, files in zones.items()}
