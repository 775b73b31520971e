"""Who answers at the key service's socket: the kernel says which user listens there (SO_PEERCRED, unix(7)).

Another user can take the socket's place while the key service is down, where the directory lets it. What is secret,
private keys and passphrases, must not go to that user.
"""

from __future__ import annotations

import socket
import struct

from dnssecd.keyservice_client.errors import OperatorNeeded

_UCRED = struct.Struct("3i")  # pid, uid, gid


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
