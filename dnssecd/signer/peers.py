"""Who is at the other end of a connection, and what each role may ask for.

The kernel says which user and which groups a client has (unix(7): SO_PEERCRED, SO_PEERGROUPS). The roles:

* *daemon*: the user that runs the daemon. It has keys made, signs, and removes keys.
* *keeper*: root and the key service's own user, who can read the key files anyway.
* *officer*: a member of the key officers' group. Neither the daemon's user nor the service's own is one, in any group.

`MAY` has every request; a test compares it with the protocol.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from dnssecd import keyservice_protocol as wp

_SO_PEERGROUPS = 59  # not in Python's socket module
_UCRED = struct.Struct("3i")  # pid, uid, gid
_GROUPS_OCTETS_MAX = 1024  # what Python allows: 256 groups

Role = Literal["daemon", "keeper", "officer"]


class Peer(Struct, frozen=True):
    """A client: its user, and its roles; with none it may not connect."""

    uid: int
    roles: frozenset[Role]

    @property
    def is_officer(self) -> bool:
        """Whether it may give consent."""
        return "officer" in self.roles

    @property
    def is_keeper(self) -> bool:
        """Whether it is root or the key service's own user."""
        return "keeper" in self.roles

    @property
    def may_sign(self) -> bool:
        """Whether it may have data signed."""
        return not self.roles.isdisjoint(MAY[wp.SignRequest])


def identify(connection: socket.socket, allowed_uids: frozenset[int], officer_gid: int) -> Peer:
    """Return the client of *connection*. `officer_gid` is -1 where there are no key officers."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, gid = _UCRED.unpack(credentials)
    return assign_roles(uid, {gid, *_supplementary_groups(connection)}, allowed_uids, officer_gid)


def assign_roles(uid: int, groups: set[int], allowed_uids: frozenset[int], officer_gid: int) -> Peer:
    """Return the roles of a user with these groups."""
    own = os.geteuid()
    roles: set[Role] = set()
    if uid in allowed_uids:
        roles.add("daemon")
    if uid in (0, own):
        roles.add("keeper")
    if officer_gid >= 0 and officer_gid in groups and uid not in allowed_uids and uid != own:
        roles.add("officer")
    return Peer(uid, frozenset(roles))


def _supplementary_groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_OCTETS_MAX)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


_ALL: frozenset[Role] = frozenset({"daemon", "keeper", "officer"})
_USERS: frozenset[Role] = frozenset({"daemon", "keeper"})
_KEY_HOLDERS: frozenset[Role] = frozenset({"keeper", "officer"})

#: The roles that may send each request. Private keys come in and go out by people only, never by the daemon: it passes
#: on sealed letters between nodes that the configuration names, and can read none.
MAY: Mapping[type[wp.Message], frozenset[Role]] = {
    wp.HelloRequest: _ALL,
    wp.StatusRequest: _ALL,
    wp.KeysRequest: _ALL,
    wp.AuditRequest: _ALL,
    wp.TrashRequest: _ALL,
    wp.ConsentsRequest: _ALL,
    wp.BindRequest: _ALL,
    wp.GenerateRequest: _USERS,
    wp.AdoptRequest: _ALL,
    wp.SealingKeyRequest: _ALL,
    wp.SealRequest: _USERS,
    wp.OpenRequest: _USERS,
    wp.RemoveRequest: _USERS,
    wp.SignRequest: _USERS,
    wp.ProveRequest: _USERS,
    wp.ReportRequest: _USERS,
    wp.TestRequest: _USERS,
    wp.BenchRequest: _USERS,
    wp.ImportRequest: _KEY_HOLDERS,
    wp.ExportRequest: _KEY_HOLDERS,
    wp.RestoreRequest: _KEY_HOLDERS,
    wp.RecoverRequest: _KEY_HOLDERS,
    wp.DestroyRequest: _KEY_HOLDERS,
    wp.ConsentRequest: _KEY_HOLDERS,
}

_WHO: Mapping[frozenset[Role], str] = {
    _ALL: "for users with a role only",
    _USERS: "for the daemon, root and the key service's own user only",
    _KEY_HOLDERS: "for root, the key service's own user and key officers ([roles] key_officer) only",
}


def refusal_for(peer: Peer, kind: type[wp.Message]) -> str:
    """Return "" if the peer may send requests of this kind, else why not."""
    allowed = MAY[kind]
    if not peer.roles.isdisjoint(allowed):
        return ""
    act = kind.__name__.removesuffix("Request").lower()
    return f"user {peer.uid} may not {act}: it is {_WHO[allowed]}"
