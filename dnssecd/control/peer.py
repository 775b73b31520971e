"""Who is at the other end of the control socket (unix(7): SO_PEERCRED, SO_PEERGROUPS)."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Literal

_SO_PEERGROUPS = 59  # not in Python's socket module
_CREDENTIALS = struct.Struct("3i")
_BUFFER_MAX = 1_024  # what Python allows: 256 groups

Role = Literal["operator", "reader"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A client: its process, user, and what it may do."""

    pid: int
    uid: int
    gid: int
    role: Role

    @property
    def user(self) -> str:
        """Name for the history: ``root``, or ``uid 1001`` when there is no such account."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def identify(connection: socket.socket) -> Caller | None:
    """The client of *connection*: root and our own user are operators, members of our group may look.

    None: an unknown user. OSError when the kernel does not say.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    if uid in (0, os.geteuid()):
        return Caller(pid, uid, gid, "operator")
    if os.getegid() in {gid, *_supplementary_groups(connection)}:
        return Caller(pid, uid, gid, "reader")
    return None


def _supplementary_groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _BUFFER_MAX)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
