"""The Unix socket of the key service: who may connect, frames in, replies out, bounds on both."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from dnssecd import keyservice_protocol as wp
from dnssecd import sdnotify
from dnssecd.acceptor import StreamServer, log_exhausted
from dnssecd.signer import files
from dnssecd.signer.errors import OperatorNeeded
from dnssecd.signer.peers import Peer, identify
from dnssecd.signer.room import Room, reply_octets
from dnssecd.signer.service import Service
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
CONNECTIONS_MAX = 128
#: Places that root alone can have, and the most that one other user has: no user shuts the others out.
KEPT_FOR_ROOT = 16
CONNECTIONS_OF_USER_MAX = 96
#: The time that is waited for the rest of a frame.
FRAME_DEADLINE_S = 10.0
#: How often a place is tried that another user has taken.
PLACE_RETRY_S = 0.25
REQUESTS_PER_CONNECTION_MAX = 16
WRITE_DEADLINE_S = 30.0
RECEIVE_OCTETS = 256 * 1024
#: How long a client that is turned away may take to send its request.
LINGER_S = 0.5


class PlaceTaken(Exception):
    """Another user has made a file where the socket or its lock is to be, and it cannot be removed."""


def bind_socket(path: Path, mode: int) -> tuple[socket.socket, int]:
    """Return a socket listening at `path`, born with `mode`, and the lock that says it is ours.

    A socket a dead service left is replaced. OperatorNeeded when another service is alive, PlaceTaken when the place
    is another user's.
    """
    files.make_private_directory(path.parent)
    lock_path = path.with_name(path.name + ".lock")
    _must_not_be_taken(lock_path)
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OperatorNeeded(f"another key service uses {path}; stop it first") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        os.close(lock)
        _must_not_be_taken(path)
        raise
    umask = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    except OSError as error:
        os.close(lock)
        raise OperatorNeeded(f"cannot bind {path}: {error.strerror or error}") from None
    finally:
        os.umask(umask)
    listener.listen(CONNECTIONS_MAX)
    listener.setblocking(False)
    return listener, lock


def _must_not_be_taken(path: Path) -> None:
    try:
        owner = path.lstat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        raise PlaceTaken(
            f"user {owner} has made {path}, where the key service belongs: find out why and remove it;"
            " a directory where only the key service may write keeps others out"
        )


class Place:
    """The key service's place at `path`. While another user has it the service waits for it, and says so."""

    def __init__(self, path: Path, mode: int, warnings: WarningBook) -> None:
        self._path, self._mode, self._warnings = path, mode, warnings
        self._bound: tuple[socket.socket, int] | None = None
        self._told = ""

    def take(self) -> socket.socket | None:
        """Return the listening socket, None while the place is another user's."""
        if self._bound is None:
            try:
                self._bound = bind_socket(self._path, self._mode)
            except PlaceTaken as error:
                if self._told != str(error):
                    self._told = str(error)
                    self._warnings.add("socket place taken", str(self._path), self._told, firing=False)
                return None
        return self._bound[0]

    async def wait(self) -> socket.socket:
        """Return the listening socket as soon as the place is free."""
        while (listener := self.take()) is None:
            await asyncio.sleep(PLACE_RETRY_S)
        return listener

    def leave(self) -> None:
        """Remove the socket, if it is ours, and give up the lock."""
        if self._bound is not None:
            with suppress(OSError):  # another user may have put something else there
                self._path.unlink()
            os.close(self._bound[1])
            self._bound = None


class Server:
    """Accepts connections of `allowed_uids`, root, its own user and key officers; hands requests to the service."""

    def __init__(
        self, service: Service, warnings: WarningBook, allowed_uids: frozenset[int], officer_gid: int
    ) -> None:
        self._service = service
        self._warnings = warnings
        self._allowed_uids = allowed_uids
        self._officer_gid = officer_gid
        self._lanes = itertools.count(1)
        self._connections: set[asyncio.Task[None]] = set()
        self._open: Counter[int] = Counter()
        self._rooms: dict[int, Room] = {}

    async def run(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then requests under way are given a moment to finish."""
        server = StreamServer(
            listener, CONNECTIONS_MAX, RECEIVE_OCTETS, self._accept, log_exhausted("key service")
        )
        try:
            await stop.wait()
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections, timeout=5.0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("connection failed by our own fault", error=repr(error))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = identify(writer.get_extra_info("socket"), self._allowed_uids, self._officer_gid)
        uid = peer.uid
        if not peer.roles:
            self._warnings.add("peer refused", f"uid {uid}", "not among the allowed users", firing=False)
            self._service.note_refused_peer(uid)
            await _turn_away(
                reader, writer, "refused", f"user {uid} may not use this key service; see allowed users"
            )
        elif why := self._full(uid):
            await _turn_away(reader, writer, "busy", why)
        else:
            self._open[uid] += 1
            room = self._rooms.setdefault(uid, Room())
            try:
                await Connection(self._service, next(self._lanes), reader, writer, peer, room).run()
            finally:
                self._open[uid] -= 1
                if not self._open[uid]:
                    del self._open[uid], self._rooms[uid]

    def _full(self, uid: int) -> str:
        """Return why a user gets no further connection, or ""."""
        if uid == 0:
            limit = CONNECTIONS_MAX
        elif self._open[uid] >= CONNECTIONS_OF_USER_MAX:
            return f"user {uid} has {CONNECTIONS_OF_USER_MAX} connections open already"
        else:
            limit = CONNECTIONS_MAX - KEPT_FOR_ROOT
        return f"{limit} connections are open already" if self._open.total() >= limit else ""


async def _turn_away(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: wp.ErrorCode, why: str
) -> None:
    """Answer with an error. A client that is just sending its request must be able to read it: wait a moment."""
    try:
        writer.write(wp.encode_frame(wp.ErrorReply(0, "operator", code, why)))
        writer.write_eof()
        async with asyncio.timeout(LINGER_S):
            await reader.read(RECEIVE_OCTETS)
    except (OSError, TimeoutError):
        log.debug("a client that was turned away sent nothing", code=code)
    finally:
        writer.close()


class Connection:
    """One client; at most REQUESTS_PER_CONNECTION_MAX of its requests are under way, further ones are not read.

    room: of all connections of its user.
    """

    def __init__(
        self,
        service: Service,
        lane: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: Peer,
        room: Room,
    ) -> None:
        self._service = service
        self._lane = lane
        self._room = room
        #: Taken for the frame that is being received.
        self._taken = 0
        self._peer = peer
        self._may_sign = peer.may_sign
        self._reader = reader
        self._writer = writer
        self._slots = asyncio.Semaphore(REQUESTS_PER_CONNECTION_MAX)
        self._tasks: dict[asyncio.Task[None], wp.Request] = {}

    async def run(self) -> None:
        """Serve the client until it closes or misbehaves."""
        try:
            await self._read()
        except wp.FrameError as error:
            log.warning("client does not speak the protocol", error=str(error))
            await self._reply(wp.ErrorReply(0, "caller", "bad_request", str(error)))
        except OSError as error:
            log.info("client connection lost", error=str(error))
        finally:
            # No client waits for signatures any more; changes of keys are finished, so that they are accounted for.
            for task, request in self._tasks.items():
                if isinstance(request, wp.SignRequest | wp.ProveRequest | wp.BenchRequest):
                    task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._release()
            self._writer.close()

    async def _read(self) -> None:
        frames = wp.frame_buffer()
        rest_s = FRAME_DEADLINE_S
        while True:
            if frames.partial:
                await self._take(frames.length)
                octets, rest_s = await self._rest(rest_s)
            else:
                octets, rest_s = await self._reader.read(RECEIVE_OCTETS), FRAME_DEADLINE_S
            if not octets:
                return
            for body in frames.feed(octets):
                rest_s = FRAME_DEADLINE_S
                await self._begin(body)
                del body  # it may be large, and the next frame may be long in coming

    async def _begin(self, body: bytes) -> None:
        """Answer a request at once, or begin to: waits for a slot, and for room."""
        request = wp.decode_request(body)
        if self._may_sign and (reply := self._service.at_once(request)) is not None:
            self._release()
            await self._reply(reply)
            await asyncio.sleep(0)  # neither answering nor the next request waits: others get their turn here
            return
        await self._slots.acquire()
        await self._take(len(body) + reply_octets(request))
        taken, self._taken = self._taken, 0
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks[task] = request
        task.add_done_callback(partial(self._ended, taken))

    def _release(self) -> None:
        self._room.give(self._taken)
        self._taken = 0

    async def _take(self, octets: int) -> None:
        """Have room for the frame that is being received. None is held while this waits for more: others need it."""
        if octets > self._taken:
            self._release()
            await self._room.take(octets)
            self._taken = octets

    async def _rest(self, rest_s: float) -> tuple[bytes, float]:
        """Read more of a frame that has begun; return it, and the time left for the frame."""
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        try:
            async with asyncio.timeout(rest_s):
                octets = await self._reader.read(RECEIVE_OCTETS)
        except TimeoutError:
            raise wp.ProtocolError(f"a frame was not complete within {FRAME_DEADLINE_S:g} s") from None
        return octets, rest_s - (loop.time() - begun_at)

    def _ended(self, taken: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._slots.release()
        self._room.give(taken)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request failed by our own fault", error=repr(error))
            self._writer.close()

    async def _answer(self, request: wp.Request) -> None:
        await self._reply(await self._service.answer(request, self._lane, self._peer))

    async def _reply(self, reply: wp.Reply) -> None:
        try:
            frame = wp.encode_frame(reply)
        except wp.FrameError as error:
            frame = wp.encode_frame(wp.ErrorReply(reply.id, "signer", "internal", str(error)))
        self._writer.write(frame)
        if not self._writer.transport.get_write_buffer_size():
            return
        try:
            await asyncio.wait_for(self._writer.drain(), WRITE_DEADLINE_S)
        except (OSError, TimeoutError):
            log.info("client does not read its replies")
            self._writer.close()


async def serve(
    server: Server,
    service: Service,
    listener: Callable[[], Awaitable[socket.socket]],
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Run the server and the service's own chores until `stop` is set; `listener` may have to wait for its place."""
    loop = asyncio.get_running_loop()
    chores = [loop.create_task(service.run()), loop.create_task(_feed_watchdog())]
    try:
        ready()
        if (bound := await _unless(stop, listener())) is not None:
            await server.run(bound, stop)
    finally:
        sdnotify.notify("STOPPING=1")
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        service.flush()


async def _unless(stop: asyncio.Event, work: Awaitable[socket.socket]) -> socket.socket | None:
    """Return what the work gives, None when `stop` was set before."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None


async def _feed_watchdog() -> None:
    """Feed systemd's watchdog, where there is one, while the event loop turns."""
    limit_s = sdnotify.watchdog_s()
    while limit_s > 0:
        sdnotify.notify("WATCHDOG=1")
        await asyncio.sleep(limit_s / 3)
