"""A listening socket that accepts in small batches, and rests when the process is out of descriptors.

asyncio's own accept loop does neither: when descriptors run out it reports each of its tries, thousands a second, and
keeps the event loop busy until some are free.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

#: Connections accepted before the event loop gets its turn.
BATCH = 32
#: How long to rest when accept finds no descriptor or memory.
REST_S = 1.0

#: Errors of accept() that stay until descriptors or memory are free.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Accepts from one bound stream socket, which it owns, until :meth:`close`. Belongs to the event loop's thread.

    accepted: is given each connection (non-blocking) and its peer's address; it owns the connection.
    exhausted: is called at each rest, with the error; what it closes is free for the next try.
    """

    def __init__(
        self,
        sock: socket.socket,
        backlog: int,
        accepted: Callable[[socket.socket, Any], None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._socket = sock
        self._accepted = accepted
        self._exhausted = exhausted
        self._resting: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(backlog)
        self._loop.add_reader(sock, self._readable)

    @property
    def address(self) -> Any:
        """The address in use, as sockets name it."""
        return self._socket.getsockname()

    def close(self) -> None:
        """Stop accepting and close the socket; accepted connections go on."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                connection, peer = self._socket.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rest(error)
                # Anything else is the end of that one connection, or no more are waiting (accept(2)).
                return
            connection.setblocking(False)
            self._accepted(connection, peer)

    def _rest(self, error: OSError) -> None:
        self._loop.remove_reader(self._socket)
        self._resting = self._loop.call_later(REST_S, self._go_on)
        self._exhausted(error)

    def _go_on(self) -> None:
        self._resting = None
        self._loop.add_reader(self._socket, self._readable)


async def streams(connection: socket.socket, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return reader and writer of an accepted connection; OSError when it is gone already.

    limit: reading rests while twice this many octets wait to be consumed.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
    except BaseException:
        connection.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
