"""The commands' side of the control socket: blocking, small, quick to import.

docs/control-protocol.md describes frames and messages. This side must not import `dnssecd/control/server.py`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dnssecd.control.messages.base import Answer, Request

A = TypeVar("A", bound="Answer")

CONNECT_S = 5.0
#: Longest silence of the daemon; longer work sends progress.
ANSWER_S = 120.0
_FRAME_MAX = 256 * 2**20

OnProgress = Callable[[float, float | None, str], None]
OnChunk = Callable[[str], None]


class Unreachable(Exception):
    """The daemon cannot be reached: exit code 3."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Failed(Exception):
    """The daemon answered with an error. exit: the exit code it asks for. detail: more, or None."""

    def __init__(self, what: str, remedy: str, exit: int = 1, detail: object = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.exit = exit
        self.detail = detail


def ask(
    path: str,
    request: Request[A],
    *,
    on_progress: OnProgress | None = None,
    on_chunk: OnChunk | None = None,
    silence_s: float = ANSWER_S,
) -> A:
    """Return the daemon's answer to a request. Arguments and errors as of call."""
    import msgspec

    from dnssecd.control.messages.base import answer_type

    result = call(
        path,
        request.command,
        msgspec.to_builtins(request),
        on_progress=on_progress,
        on_chunk=on_chunk,
        silence_s=silence_s,
    )
    try:
        answer: A = msgspec.convert(result, answer_type(type(request)))
    except msgspec.ValidationError as error:
        raise Failed(
            f"the daemon's answer to {request.command} cannot be read: {error}",
            "the daemon is of another version than this command: restart the daemon",
        ) from None
    return answer


def call(
    path: str,
    command: str,
    args: dict[str, Any] | None = None,
    *,
    on_progress: OnProgress | None = None,
    on_chunk: OnChunk | None = None,
    silence_s: float = ANSWER_S,
) -> Any:
    """The result of *command* from the daemon at the socket *path*. Raises Unreachable or Failed.

    silence_s: how long the daemon may say nothing.
    """
    with _connect(path) as connection:
        connection.settimeout(silence_s)
        body = json.dumps({"command": command, "args": args or {}}).encode()
        try:
            connection.sendall(struct.pack("!I", len(body)) + body)
            while True:
                message = _receive(connection)
                if "progress" in message:
                    if on_progress:
                        progress = message["progress"]
                        on_progress(progress["done"], progress.get("total"), progress.get("text", ""))
                elif "chunk" in message:
                    if on_chunk:
                        on_chunk(message["chunk"])
                else:
                    return _result(message)
        except TimeoutError:
            raise Unreachable(
                f"the daemon has said nothing for {silence_s:.0f} s",
                "is it overloaded or stopped? see its log",
            ) from None
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(
                f"the daemon broke off the answer ({error})", "is it being restarted? see its log"
            ) from None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise Unreachable(f"no daemon answers at {path} ({_cause(error)})", _remedy(error)) from None
    return connection


def _cause(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "become root or the daemon's user, or a member of its group"
    return "start it (dnssecd run), or name its socket with --socket or its configuration with --config"


def _receive(connection: socket.socket) -> dict[str, Any]:
    (length,) = struct.unpack("!I", _exactly(connection, 4))
    if length > _FRAME_MAX:
        raise ValueError(f"a frame of {length} octets")
    message = json.loads(_exactly(connection, length))
    if not isinstance(message, dict):
        raise ValueError("no JSON object")
    return message


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(min(length - len(data), 2**20))
        if not piece:
            raise EOFError("end of file")
        data += piece
    return bytes(data)


def _result(message: dict[str, Any]) -> Any:
    if "error" in message:
        error = message["error"]
        raise Failed(error["what"], error["remedy"], int(message.get("exit", 1)), error.get("detail"))
    return message["result"]
