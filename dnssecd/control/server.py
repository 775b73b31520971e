"""The control socket: how commands reach the daemon.

Frames
    4 octets of length (big endian), then JSON in UTF-8. A connection carries any number of requests, one after
    the other.

    request      {"command": "zone.show", "args": {"zone": "example.com."}}     at most 1 MiB; args hold
                 scalars and lists of scalars only, so nesting is bounded by the type
    answer       {"progress": {"done": 3, "total": 10, "text": "…"}}            any number, long work only
                 {"chunk": "example.com. 3600 IN SOA …\\n"}                      any number, zone.export only
                 then one of  {"result": …}
                              {"error": {"what": "…", "remedy": "…"}, "exit": 1}    exit: status of the command

    The client keeps its end open until the answer is there: an end of file is taken as "not wanted any more".

Who may: root and the daemon's own user everything; members of its group what changes nothing (SO_PEERCRED).
Bounds: requests, clients, idle and total time; a client that hangs takes nothing from others.

Handlers
    The daemon passes ``{name: Command(handler, …)}``. A handler is ``async def handler(call: Call) -> result``;
    it reads ``call.args``, may send ``await call.progress(…)`` and ``await call.chunk(text)``, and returns what
    JSON can hold (msgspec: dataclasses and Structs, too). It raises Refused(what, remedy) when the thing asked
    about is bad. Each act by an operator goes into the history with ``call.caller.user``.

Commands and shapes. Z is a zone name as text; times are epoch seconds; null where there is none; fields may be
added. Those marked * change something.

    status            {zone: Z|null} → {"zones": [STATUS], "alerts": [ALERT], "version": str, "pid": int,
                          "started_at": float, "signer": {"mode": "child"|"service", "state": str},
                          "clock_suspect": bool, "clock": str}
        STATUS        {"zone", "serial", "input_serial", "runway_seconds",
                          "secondaries": [{"name", "serial", "seen_at"}], "blockers": [str], "alerts": [ALERT],
                          "state": "served"|"waiting", "policy": str, "source": str, "input_error": str|null,
                          "warnings": [str], "frozen": bool}
        ALERT         {"name", "zone", "subject", "severity", "cause", "effect", "remedy", "firing",
                          "first_seen", "last_seen", "count", "acked_by"}     (alert_dict() makes it)
    zone.list         {} → {"zones": [{"zone", "state", "serial", "input_serial", "runway_seconds", "policy",
                          "source", "records"}]}
    zone.show         {zone} → STATUS and {"denial", "records", "signatures", "file", "last_published",
                          "earliest_expiration", "next_wake", "keys": [KEY], "stripped": int}
    zone.reload *     {zone, accept_change: bool, first_publication: bool}
                          → {"zone", "changed": bool, "serial", "signatures": int, "message": str}
    zone.restore *    {zone, first_publication: bool} → {"zone", "changed": bool, "serial", "message": str}
    zone.export       {zone, unsigned: bool} → chunks of master file text, then {"zone", "serial", "records"}
    zone.history      {zone: Z|null, limit: int} → {"entries": [{"at", "who", "what", "serial", "detail"}]}, newest
                          first; null: what was done to the daemon as a whole. Acts of people have "uid", too
    zone.wait         {zone, serial: int|null, current: bool, all_secondaries: bool, timeout: float}
                          → {"zone", "serial", "secondaries": [{"name", "serial", "seen_at"}]}, or Refused when
                          the time is up; progress meanwhile
    zone.freeze *, zone.thaw *   {zone} → {"zone", "frozen": bool, "message"}
    key.list          {zone: Z|null} → {"keys": [KEY]}
        KEY           {"zone", "role", "algorithm", "tag", "public_key", "goal", "dnskey", "zrrsig", "krrsig",
                          "ds", "keystore", "label"}       states: hidden, rumoured, omnipresent, unretentive, null
    key.stored        {zone: Z|null} → {"keys": [STORED]}, what the key stores hold, in use or not
        STORED        {"id", "keystore", "zones": [Z], "role", "algorithm", "bits", "tag", "public_key", "created",
                          "state": "available"|"unavailable"|"missing"|"unproven", "detail"}
    key.generate *    {zone, role, algorithm: int, bits: int, keystore; each but zone may be null}
                          → {"zone", "keys": [STORED], "message"}; progress meanwhile
    key.adopt *       {zone, role, algorithm, keystore, cka_id: hex|null, label: str|null} → as key.generate
    migrate.keys *    {zone, keys: [JSON of dnssecd.migration.foreign.ForeignKey]} → {"zone", "tags": [int], "message"}
    migrate.check *, migrate.adopt *   {zone, file: path|null, server: str|null, tsig: str|null, accept_change: bool,
                          first_publication: bool} → {"zone", "ok": bool, "published": bool, "serial": {"served",
                          "ours"}, "kept": int, "fresh": int, "differing": int, "differences": [{"kind", "owner",
                          "type", "detail", "served": [str], "ours": [str]}], "remarks": [str], "held": [str],
                          "warnings": [str]}; progress meanwhile
    migrate.forget *  {zone} → {"zone", "message"}
    key.audit         {limit: int} → {"ok": bool, "detail", "count": int, "head", "entries": [{"number", "at",
                          "event", "fields": {}, "hash"}]}
    keystore.list     {} → {"stores": [StoreStatus of dnssecd.keyservice_protocol], "warnings": [Warning]}
    keystore.test *   {keystore: str|null, algorithm: int|null} → {"ok": bool, "results": [{"keystore", "algorithm",
                          "ok", "detail"}]}; progress meanwhile
    keystore.bench *  {keystore, algorithm, seconds: float} → {"lines": [{"keystore", "token", "algorithm",
                          "sessions", "batch", "signatures", "seconds", "per_second"}], "sustains": [{"zone",
                          "signatures_per_name", "million_names_s", "names_in_an_hour", "names_fresh"}]}
    key.rollover *    {zone, role: "ksk"|"zsk"|"csk"} → {"zone", "message", "waiting": [WAIT]}; Refused while the
                          roll-over before, of the same role, is under way
    key.retire *, key.revoke *   {zone, key_tag: int} → as key.rollover
    key.approve *     {zone, step: str|null} → as key.rollover; step: a WAIT's token, null: the only one
    key.compromised * {zone, key_tag: int} → {"zone", "key_tag", "safe_at", "costs": [str], "steps": [{"at", "who",
                          "text"}], "text": str}
    explain           {zone} → {"zone", "text": str, "waiting": [WAIT], "next_wake"}
        WAIT          {"step", "gate", "rule", "detail", "key_tag", "since", "until", "token", "missing": [{"from",
                          "seen", "wanted", "next_look"}], "next_look"}
    schedule          {load: bool} → {"wakes": [{"at", "what", "subject"}], "load": null|[{"keystore", "days":
                          [{"day", "signatures"}], "earliest_expiration", "runway_seconds"}]}
    plan              {} → {"zones": [{"zone", "notes": [str], "events": [SIM], "days": int}], "added": [Z],
                          "removed": [Z]}, of the configuration file as it is now
    simulate          {zone, days: int, ds_delay: seconds, ds_never: bool, outages: ["WHAT:FROM:FOR"], svg: bool}
                          → {"zone", "start", "stop", "notes": [str], "events": [SIM]}, and "svg": str if asked for
        SIM           {"at", "zone", "role", "key_tag", "event", "detail", "stand_in": int}    stand_in: 0 for a key
                          there is; n for the n-th key of its role still to be made, whose tag is made up
    clock.confirm *   {} → {"changed": bool, "doubt": str, "message"}
    ds.check          {zone} → {"zone", "ok": bool, "wanted": [tag], "servers": [{"server", "ok", "ds": [tag],
                          "foreign": [tag], "ttl", "at", "failure", "next_look"}]}
    ds.confirm *      {zone, key_tag: int} → {"zone", "key_tag", "present": bool, "message"}
    ds.show           {zone} → {"zone", "ds": [{"tag", "algorithm", "digest_type", "digest", "text"}],
                          "dnskey": [str], "cds": [str], "at_parent": [str]|null, "text": str, "dsset": [str],
                          "later": [{"tag", "role", "ready_at"}],  # keys whose DS must not be handed over yet
                          "task": "nothing"|"submit"|"replace"|"withdraw"|"remove-all"|"restore",
                          "epp": {"ds": str, "key": str}, "handover": as dnssecd.core.parent.forms.document}
    alerts.list       {zone: Z|null} → {"alerts": [ALERT]}
    alerts.ack *      {name, zone: Z|null} → {"acknowledged": int}
    config.diff       {} → as config.reload, nothing done (dnssecd.config.diff makes it)
    config.reload *   {remove: [Z], ds_is_gone: bool} → {"changed": bool, "added": [Z], "removed": [Z],
                          "changes": [str], "warnings": [str]}; Refused when there are errors, with "errors" in detail
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from dnssecd.acceptor import StreamServer, log_exhausted
from dnssecd.control.peer import Caller, identify
from dnssecd.store.event_log import Event

REQUEST_MAX = 2**20
CLIENTS_MAX = 16
OPERATORS_ONLY = 4  # of these: readers cannot lock operators out
IDLE_S = 30.0
WRITE_S = 30.0
HANDLER_S = 60.0
CHUNK_MAX = 2**18
_GONE_CHECK_S = 0.5
_LINGER_S = 1.0

log = structlog.get_logger("dnssecd.control")

Scalar = str | int | float | bool | None
Args = dict[str, Scalar | list[Scalar]]


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """A request as it comes in. Its type bounds the nesting."""

    command: str
    args: Args = {}


class Refused(Exception):
    """A handler's answer: this cannot be done, why, and what to do. exit: status of the command (1 or 2)."""

    def __init__(self, what: str, remedy: str, *, exit: int = 1, detail: object = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.exit = exit
        self.detail = detail


class ClientGone(Exception):
    """The client went away, or stopped reading, before its answer was sent."""


class Call:
    """One request being answered."""

    def __init__(
        self, command: str, args: Args, caller: Caller, send: Callable[[object], Awaitable[None]]
    ) -> None:
        self.command = command
        self.args = args
        self.caller = caller
        self.notes: list[tuple[str, str]] = []
        self._send = send

    def text(self, key: str) -> str:
        """The argument *key*; Refused when it is absent or no text."""
        value = self.args.get(key)
        if not isinstance(value, str):
            raise Refused(f'{self.command} needs "{key}" as text', "see the command's --help", exit=2)
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.args.get(key) is None else self.text(key)

    def flag(self, key: str) -> bool:
        return self.args.get(key) is True

    def number(self, key: str, default: float) -> float:
        value = self.args.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(f'{self.command} needs "{key}" as a number', "see the command's --help", exit=2)
        return value

    def texts(self, key: str) -> list[str]:
        value = self.args.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def note(self, what: str, detail: str = "") -> None:
        """Have something that was done, and the arguments do not tell, recorded along with the command."""
        self.notes.append((what, detail))

    async def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        await self._send({"progress": {"done": done, "total": total, "text": text}})

    async def chunk(self, text: str) -> None:
        """A piece of streamed output. Waits while the client is slow."""
        for start in range(0, len(text), CHUNK_MAX):
            await self._send({"chunk": text[start : start + CHUNK_MAX]})


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Command:
    """changes: for operators only. timeout: seconds a handler may take; None: it ends by itself (zone.wait)."""

    handler: Handler
    changes: bool = False
    timeout: float | None = HANDLER_S


#: Told of each request: command ("OTHER" when unknown) and result ("ok", "error", "denied").
Observer = Callable[[str, str], None]

#: Told of every command that changes something when it has ended: "" well, or how else; and its result.
Recorder = Callable[[Call, str, object], Awaitable[None]]


async def _unrecorded(call: Call, ended: str, result: object) -> None:
    """Record nothing."""


class ControlServer:
    """Serves *commands* on a Unix socket at *path*, mode 0660."""

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command],
        observe: Observer = lambda command, result: None,
        record: Recorder = _unrecorded,
    ) -> None:
        self._path = path
        self._commands = commands
        self._observe = observe
        self._record = record
        self._server: StreamServer | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._inode: tuple[int, int] | None = None

    async def start(self) -> None:
        """Bind and serve. OSError when the path cannot be used; FileExistsError when another daemon has it."""
        if not self._path.parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT,
                f"the directory {self._path.parent} of the control socket does not exist. Create it, or name another "
                "place in [server] control_socket. The packaged systemd units create it (make install, make deb)",
            )
        listening = _bind(self._path)
        status = self._path.lstat()
        self._inode = (status.st_dev, status.st_ino)
        self._server = StreamServer(
            listening, CLIENTS_MAX, REQUEST_MAX + 4, self._accept, log_exhausted("control socket")
        )

    async def stop(self) -> None:
        """Take no more clients, end those there are, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._inode:  # not one that a successor has bound
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

        caller = identify(writer.get_extra_info("socket"))
        if caller is None:
            await send(_error("you may not use this socket", "ask to be put into the daemon's group"))
            return await _linger(reader)
        if len(self._clients) > CLIENTS_MAX - (0 if caller.role == "operator" else OPERATORS_ONLY):
            await send(_error("too many commands run at once", "try again when some have ended"))
            return await _linger(reader)
        while True:
            async with asyncio.timeout(IDLE_S):
                frame = await _receive(reader)
            if frame is None:
                return
            if isinstance(frame, Refused):
                await send(_error(frame.what, frame.remedy, frame.exit))
                return await _linger(reader)  # where the next frame begins is not known
            answer = asyncio.ensure_future(self._answer(frame, caller, send))
            await _unless_gone(answer, reader)
            await _send(writer, answer.result())

    async def _answer(self, frame: bytes, caller: Caller, send: Callable[[object], Awaitable[None]]) -> bytes:
        """The last frame of the answer to the request in *frame*."""
        name, result = "OTHER", "error"
        try:
            request = _decode(frame)
            command = self._commands.get(request.command)
            if command is None:
                raise Refused(
                    f'this daemon has no command "{request.command[:64]}"',
                    "is the command of a newer version than the daemon? restart the daemon",
                    exit=2,
                )
            name = request.command
            if command.changes and caller.role != "operator":
                result = "denied"
                log.warning("denied", user=caller.user, uid=caller.uid, command=name)
                raise Refused(f"{caller.user} may look, but not {name}", "become the daemon's user, or root")
            call = Call(name, request.args, caller, send)
            answer = _frame({"result": await self._carry_out(command, call)})
            result = "ok"
        except Refused as refused:
            answer = _frame(_error(refused.what, refused.remedy, refused.exit, refused.detail))
        except ClientGone:
            raise
        except Exception as error:
            log.exception("a control command failed", command=name)
            answer = _frame(_error(f"{name} failed: {error}", "this is a fault of the daemon: see its log"))
        self._observe(name, result)
        return answer

    async def _carry_out(self, command: Command, call: Call) -> object:
        """Run a command; one that changes something is recorded before it is answered, however it ends."""
        if not command.changes:
            return await _run(command, call)
        ended, result = "broken off: its client went away", None
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


async def _run(command: Command, call: Call) -> object:
    try:
        async with asyncio.timeout(command.timeout) as deadline:
            return await command.handler(call)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise Refused(
            f"{call.command} did not end within {command.timeout or 0:.0f} s", "look at the daemon's log"
        ) from None


async def _unless_gone(answer: asyncio.Future[bytes], reader: asyncio.StreamReader) -> None:
    """Wait for *answer*; give it up when the client goes away meanwhile (ClientGone) or we are cancelled."""
    try:
        while not (await asyncio.wait([answer], timeout=_GONE_CHECK_S))[0]:
            if reader.at_eof():
                raise ClientGone("it closed the connection")
    finally:
        if not answer.done():
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)


async def _receive(reader: asyncio.StreamReader) -> bytes | Refused | None:
    """The next request's JSON; None at the end; Refused when it is too long."""
    try:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    if length > REQUEST_MAX:
        return Refused(f"a request of {length} octets is too long", f"at most {REQUEST_MAX} octets", exit=2)
    return await reader.readexactly(length)


async def _linger(reader: asyncio.StreamReader) -> None:
    """Take what the client has already sent: closing over unread data would lose it our answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            await reader.read(REQUEST_MAX)


def _decode(frame: bytes) -> Request:
    try:
        return msgspec.json.decode(frame, type=Request)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(
            f"the request cannot be read ({error})", "use the dnssecd command of the same version", exit=2
        ) from None


def _frame(message: object) -> bytes:
    body = msgspec.json.encode(message)
    return struct.pack("!I", len(body)) + body


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """Write *frame* and wait until most of it is taken. ClientGone when it is not."""
    writer.write(frame)
    try:
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
    except (OSError, TimeoutError) as error:
        raise ClientGone(str(error) or "it does not read") from None


def _close(writer: asyncio.StreamWriter) -> None:
    """Let what is written go out, but do not wait for a client that does not read."""
    writer.close()
    if writer.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(WRITE_S, writer.transport.abort)


def _error(what: str, remedy: str, exit: int = 1, detail: object = None) -> dict[str, object]:
    error: dict[str, object] = {"what": what, "remedy": remedy}
    if detail is not None:
        error["detail"] = detail
    return {"error": error, "exit": exit}


def _bind(path: Path) -> socket.socket:
    """A listening socket at *path* with its final mode before anybody can connect."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(str(path))
        os.chmod(path, 0o660)  # before listen(): until then every connect is refused
        listening.listen(CLIENTS_MAX)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the socket a killed daemon left. FileExistsError when something else, or somebody, is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} is there and no socket: remove it or change server.control_socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except (BlockingIOError, TimeoutError):
            pass  # somebody is there, if busy
    raise FileExistsError(f"another daemon answers at {path}: stop it first")


def alert_dict(event: Event) -> dict[str, Any]:
    """ALERT of an event, as commands get it."""
    return {
        "name": event.name,
        "zone": event.zone or None,
        "subject": event.subject or None,
        "severity": event.severity,
        "cause": event.cause,
        "effect": event.effect,
        "remedy": event.remedy,
        "firing": event.firing,
        "first_seen": event.first_seen,
        "last_seen": event.last_seen,
        "count": event.count,
        "acked_by": event.acked_by or None,
    }
