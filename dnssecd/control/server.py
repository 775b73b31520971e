"""The control socket, on which the daemon receives commands. ``docs/control-protocol.md`` describes the protocol.

Rights (SO_PEERCRED): root and the daemon's user may use all commands; others those of their role, by group (``peer``).
Limits: length and nesting of requests, number of clients, idle and total time. A client that hangs does not delay
others.

The daemon passes a CommandTable. Every command that changes something is recorded before its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from dnssecd.acceptor import StreamServer, log_exhausted
from dnssecd.control.client import ANSWER_MAX
from dnssecd.control.client import REQUEST_MAX as REQUEST_MAX
from dnssecd.control.command import Args, Call, ClientGone, Command, CommandTable, Refused
from dnssecd.control.peer import GROUPS_DEFAULT, Caller, Groups, Role, identify
from dnssecd.procs.frames import LENGTH_OCTETS, FrameError, build_frame, receive_frame

CLIENTS_MAX = 16
OPERATORS_ONLY = 4  # of CLIENTS_MAX: so read-only clients cannot block operators
IDLE_S = 30.0
WRITE_S = 30.0
_GONE_CHECK_S = 0.5
_LINGER_S = 1.0

log = structlog.get_logger("dnssecd.control")


class Frame(msgspec.Struct, forbid_unknown_fields=True):
    """A request as received. Its type limits the nesting."""

    command: str
    args: Args = {}


#: Called for each request with the command ("OTHER" if unknown) and the result ("ok", "error", "denied").
Observer = Callable[[str, str], None]

#: Called after every command that changes something: "" for success or the failure; and its result.
Recorder = Callable[[Call[Any], str, object], Awaitable[None]]


async def _unrecorded(call: Call[Any], ended: str, result: object) -> None:
    """Record nothing."""


class ControlServer:
    """The server of *commands* on a Unix socket at *path*, mode 0660."""

    def __init__(
        self,
        path: Path,
        commands: CommandTable,
        observe: Observer = lambda command, result: None,
        record: Recorder = _unrecorded,
        groups: Groups = GROUPS_DEFAULT,
    ) -> None:
        self._path = path
        self._commands = commands
        self._observe = observe
        self._record = record
        self._groups = groups
        self._server: StreamServer | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._inode: tuple[int, int] | None = None

    async def start(self) -> None:
        """Bind and serve. Raise OSError when the path cannot be used, FileExistsError when another daemon uses it."""
        if not self._path.parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT,
                f"the directory {self._path.parent} of the control socket does not exist. Create it, or write another "
                "path to [server] control_socket. The packaged systemd units create it (make install, make deb)",
            )
        listening = _bind(self._path)
        status = self._path.lstat()
        self._inode = (status.st_dev, status.st_ino)
        self._server = StreamServer(
            listening, CLIENTS_MAX, REQUEST_MAX + LENGTH_OCTETS, self._accept, log_exhausted("control socket")
        )

    async def stop(self) -> None:
        """Accept no more clients, disconnect all, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            status = self._path.lstat()
            if (
                status.st_dev,
                status.st_ino,
            ) == self._inode:  # not the socket of another daemon that was started meanwhile
                self._path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (ClientGone, OSError, EOFError, TimeoutError) as error:
            log.debug("control client gone", cause=str(error) or type(error).__name__)
        except asyncio.CancelledError:
            log.debug("control client ended by the daemon's stop")
        finally:
            self._clients.discard(task)
            _close(writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(message: object) -> None:
            await _send(writer, _frame(message))

        caller = identify(writer.get_extra_info("socket"), self._groups)
        if caller is None:
            await send(
                _error(
                    "you may not use this socket", "ask the administrator to add you to the daemon's group"
                )
            )
            return await _linger(reader)
        if len(self._clients) > CLIENTS_MAX - (0 if caller.may_change else OPERATORS_ONLY):
            await send(_error("too many commands are running", "try again later"))
            return await _linger(reader)
        while True:
            async with asyncio.timeout(IDLE_S):
                frame = await _receive(reader)
            if frame is None:
                return
            if isinstance(frame, Refused):
                await send(_error(frame.what, frame.remedy, frame.exit))
                return await _linger(reader)  # the start of the next frame is unknown
            answer = asyncio.ensure_future(self._answer(frame, caller, send))
            await _unless_gone(answer, reader)
            await _send(writer, answer.result())

    async def _answer(self, frame: bytes, caller: Caller, send: Callable[[object], Awaitable[None]]) -> bytes:
        """Return the last frame of the answer to the request in *frame*."""
        name, result = "OTHER", "error"
        try:
            request = _decode(frame)
            command = self._commands.find(request.command)
            if command is None:
                raise Refused(
                    f'this daemon has no command "{request.command[:64]}"',
                    "the command may be newer than the daemon: restart the daemon",
                    exit=2,
                )
            name = request.command
            if command.needs not in caller.roles:
                result = "denied"
                log.warning("denied", user=caller.user, uid=caller.uid, command=name, needs=command.needs)
                raise _refuse_role(caller, name, command.needs)
            call: Call[Any] = Call(name, request.args, caller, send)
            answer = _frame({"result": await self._carry_out(command, call)})
            result = "ok"
        except Refused as refused:
            answer = _frame(_error(refused.what, refused.remedy, refused.exit, refused.detail))
        except ClientGone:
            raise
        except Exception as error:
            log.exception("a control command failed", command=name)
            answer = _frame(
                _error(f"{name} failed: {error}", "this is a bug in dnssecd: see the log of the daemon")
            )
        self._observe(name, result)
        return answer

    async def _carry_out(self, command: Command[Any], call: Call[Any]) -> object:
        """Run a command. One that changes something is recorded before its answer, also if it fails."""
        if not command.changes:
            return await _run(command, call)
        ended, result = "cancelled: the client disconnected", None
        try:
            result = await _run(command, call)
            ended = ""
        except Refused as refused:
            ended = f"refused: {refused.what}"
            raise
        except Exception as error:
            ended = f"failed: {type(error).__name__}: {error}"
            raise
        finally:
            await self._record(call, ended, result)
        return result


def _refuse_role(caller: Caller, name: str, needs: Role) -> Refused:
    may = "may look, not change" if caller.roles == {"viewer"} else f"does not have the role {needs}"
    return Refused(
        f"{caller.user} {may}; {name} is not permitted",
        f"run this as root, the daemon's user, or a member of the group [roles] {needs}",
    )


async def _run(command: Command[Any], call: Call[Any]) -> object:
    try:
        async with asyncio.timeout(command.timeout) as deadline:
            return await command.answer(call)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise Refused(
            f"{call.command} did not finish within {command.timeout or 0:.0f} s", "see the log of the daemon"
        ) from None


async def _unless_gone(answer: asyncio.Future[bytes], reader: asyncio.StreamReader) -> None:
    """Wait for *answer*; cancel it when the client disconnects (ClientGone) or this task is cancelled."""
    try:
        while not (await asyncio.wait([answer], timeout=_GONE_CHECK_S))[0]:
            if reader.at_eof():
                raise ClientGone("the client closed the connection")
    finally:
        if not answer.done():
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)


async def _receive(reader: asyncio.StreamReader) -> bytes | Refused | None:
    """Return the JSON of the next request; None at the end; Refused when it is too long."""
    try:
        return await receive_frame(reader, REQUEST_MAX)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    except FrameError as error:
        return Refused(
            f"the request is empty or too long ({error})", f"the maximum is {REQUEST_MAX} bytes", exit=2
        )


async def _linger(reader: asyncio.StreamReader) -> None:
    """Read what the client has already sent: closing with unread data would discard the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            await reader.read(REQUEST_MAX)


def _decode(frame: bytes) -> Frame:
    try:
        return msgspec.json.decode(frame, type=Frame)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(
            f"the request cannot be parsed ({error})", "use the dnssecd command of the same version", exit=2
        ) from None


def _frame(message: object) -> bytes:
    return build_frame(msgspec.json.encode(message), ANSWER_MAX)


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """Write *frame* and wait until most of it is sent. Raise ClientGone when the client does not read."""
    writer.write(frame)
    try:
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
    except (OSError, TimeoutError) as error:
        raise ClientGone(str(error) or "the client does not read") from None


def _close(writer: asyncio.StreamWriter) -> None:
    """Close after pending data is sent, but do not wait for a client that does not read."""
    writer.close()
    if writer.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(WRITE_S, writer.transport.abort)


def _error(what: str, remedy: str, exit: int = 1, detail: object = None) -> dict[str, object]:
    error: dict[str, object] = {"what": what, "remedy": remedy}
    if detail is not None:
        error["detail"] = detail
    return {"error": error, "exit": exit}


def _bind(path: Path) -> socket.socket:
    """Return a listening socket at *path*; it has its final mode before a client can connect."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(str(path))
        os.chmod(path, 0o660)  # before listen(): until then the kernel refuses connections
        listening.listen(CLIENTS_MAX)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed daemon. Raise FileExistsError for another file or a socket in use."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket: remove it or change server.control_socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except (BlockingIOError, TimeoutError):
            pass  # a busy process listens on it
    raise FileExistsError(f"another daemon answers at {path}: stop it first")
