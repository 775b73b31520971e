"""The user at the other end of the control socket (unix(7): SO_PEERCRED, SO_PEERGROUPS)."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from typing import Literal

from msgspec import Struct

_SO_PEERGROUPS = 59  # Python's socket module does not define it
_CREDENTIALS = struct.Struct("3i")
_BUFFER_MAX = 1_024  # the limit of Python's getsockopt: 256 groups

Role = Literal["viewer", "operator", "key_officer"]
ALL_ROLES: frozenset[Role] = frozenset({"viewer", "operator", "key_officer"})


class Groups(Struct, frozen=True):
    """The Unix groups of the roles, as numbers.

    viewer None: the daemon's group. operator None: root and the daemon's user alone. key_officer None: operators are
    key officers, too.
    """

    viewer: int | None = None
    operator: int | None = None
    key_officer: int | None = None


GROUPS_DEFAULT = Groups()


class Caller(Struct, frozen=True):
    """A client: its process, its user and its roles."""

    pid: int
    uid: int
    gid: int
    roles: frozenset[Role]

    @property
    def may_change(self) -> bool:
        """Whether it has another role than that of a viewer."""
        return self.roles != {"viewer"}

    @property
    def user(self) -> str:
        """Name for the history: ``root``, or ``uid 1001`` for an unknown account."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def identify(connection: socket.socket, groups: Groups) -> Caller | None:
    """Return the client of *connection*. Root and the daemon's user have every role, others those of their groups.

    None: another user. Raise OSError when the kernel does not identify the client.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    if uid in (0, os.geteuid()):
        return Caller(pid, uid, gid, ALL_ROLES)
    roles = assign_roles({gid, *_supplementary_groups(connection)}, groups, os.getegid())
    return Caller(pid, uid, gid, roles) if roles else None


def assign_roles(of_user: set[int], groups: Groups, own_group: int) -> frozenset[Role]:
    """Return the roles of a user who is in these groups. Who may change something may look, too."""
    roles: set[Role] = set()
    if groups.operator in of_user:
        roles.add("operator")
    if (groups.operator if groups.key_officer is None else groups.key_officer) in of_user:
        roles.add("key_officer")
    if roles or (own_group if groups.viewer is None else groups.viewer) in of_user:
        roles.add("viewer")
    return frozenset(roles)


def _supplementary_groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _BUFFER_MAX)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
