"""Who answers at the key service's socket: the kernel says which user listens there (SO_PEERCRED, unix(7)).

Another user can take the socket's place while the key service is down, where the directory lets it. What is secret,
private keys and passphrases, must not go to that user.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

from dnssecd.keyservice_client.errors import OperatorNeeded

#: How often a full queue is tried again.
QUEUE_RETRY_S = 0.02
_UCRED = struct.Struct("3i")  # pid, uid, gid


class KeyServicePlace(NamedTuple):
    """The socket of the key service, and the user ids that may listen there beside root (None: any)."""

    path: str
    owners: frozenset[int] | None


def check_owner(connection: socket.socket, path: str, owners: frozenset[int] | None) -> None:
    """OperatorNeeded when the listening process is neither root's nor one of `owners`; None: any may listen."""
    if owners is None:
        return
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    if uid != 0 and uid not in owners:
        wanted = " or ".join(map(str, sorted(owners))) or "root"
        raise OperatorNeeded(
            f"user {uid} listens at {path}, and the key service is user {wanted}: nothing was sent;"
            " find out who took the place, remove the socket and restart the key service"
        )


def enter_queue(connection: socket.socket, path: str, deadline: float) -> None:
    """Connect; while the queue of those who wait to be accepted is full, try again: unix(7) answers EAGAIN at once."""
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(QUEUE_RETRY_S)
        else:
            return
