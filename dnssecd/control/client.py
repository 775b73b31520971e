"""The client of the control socket, for commands: blocking, small, quick to import.

docs/control-protocol.md describes frames and messages. The client must not import ``dnssecd/control/server.py``.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from dnssecd.procs.frames import FrameError, build_frame, read_frame

if TYPE_CHECKING:
    from dnssecd.control.messages.base import Answer, Request

A = TypeVar("A", bound="Answer")

CONNECT_S = 5.0
#: Longest time without data from the daemon; long work sends progress.
ANSWER_S = 120.0
ANSWER_MAX = 256 * 2**20
REQUEST_MAX = 2**20

OnProgress = Callable[[float, float | None, str], None]
OnChunk = Callable[[str], None]


class Unreachable(Exception):
    """The daemon cannot be reached: exit code 3."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Failed(Exception):
    """The daemon answered with an error. exit: exit code of the command. detail: more data, or None."""

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
    """Return the daemon's answer to a request. Arguments and errors as in :func:`call`."""
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
            "daemon and command have different versions: restart the daemon",
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
    """Return the result of *command* from the daemon at the socket *path*. Raise Unreachable or Failed.

    silence_s: longest time (s) without data from the daemon.
    """
    with _connect(path) as connection, connection.makefile("rb") as answers:
        connection.settimeout(silence_s)
        body = json.dumps({"command": command, "args": args or {}}).encode()
        try:
            connection.sendall(build_frame(body, REQUEST_MAX))
            while True:
                message = _receive(answers)
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
                f"no data from the daemon for {silence_s:.0f} s",
                "check the log of the daemon: it may be overloaded or stopped",
            ) from None
        except (OSError, EOFError, FrameError, ValueError) as error:
            raise Unreachable(
                f"the daemon ended the connection before its answer was complete ({error})",
                "check the log of the daemon: it may be restarting",
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
        return "run this as root, the daemon's user, or a member of its group"
    return (
        "start the daemon (systemctl start dnssecd; without systemd: dnssecd run), or give its socket with --socket "
        "or its configuration with --config"
    )


def _receive(answers: BinaryIO) -> dict[str, Any]:
    body = read_frame(answers, ANSWER_MAX)
    if body is None:
        raise EOFError("end of file")
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def _result(message: dict[str, Any]) -> Any:
    if "error" in message:
        error = message["error"]
        raise Failed(error["what"], error["remedy"], int(message.get("exit", 1)), error.get("detail"))
    return message["result"]
