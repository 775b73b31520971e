"""New TCP connections until their first message was answered at once, or needs more than that.

Here a connection costs a socket and a few octets, but no task. So a flood of connections that send nothing, or half a
message, is cheap, and so is a secondary that fetches one small difference. A TLS connection waits here for its first
octets only: before them no handshake begins.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dnssecd.server.connections import Connection
from dnssecd.server.limits import Limits
from dnssecd.server.reasons import Drop

_READ_OCTETS = 65_537
_LOOK_S = 0.1


@dataclass(eq=False, slots=True)
class _Waiting:
    sock: socket.socket
    connection: Connection
    ends_at: float
    tls: bool = False
    octets: bytearray = field(default_factory=bytearray)
    answered: bool = False


class Lobby:
    """Waits for first messages. All methods belong to the event loop's thread.

    ready: takes over a connection when its first message is complete, with the octets read (of TLS: none). at_once:
    called before with these octets; True if it answered all of them: then the connection waits here for its second
    message. gone: called when a connection ends, or is closed, before it is taken over; the reason is ENDED for an
    orderly end. The deadlines are those of Limits.
    """

    def __init__(
        self,
        limits: Limits,
        ready: Callable[[socket.socket, Connection, bytearray], None],
        at_once: Callable[[socket.socket, Connection, bytearray], bool],
        gone: Callable[[Connection, Drop], None],
    ) -> None:
        self._limits, self._ready, self._at_once, self._gone = limits, ready, at_once, gone
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[_Waiting, None] = {}
        self._look: asyncio.TimerHandle | None = None

    def enter(self, sock: socket.socket, connection: Connection) -> None:
        """Wait for the first message of a connection; its ``abort`` closes it from now on."""
        now = time.monotonic()
        waiting = _Waiting(sock, connection, now + self._limits.idle_s, connection.tls)
        connection.idle_since = now
        connection.abort = partial(self._end, waiting, Drop.ENDED)
        self._waiting[waiting] = None
        self._loop.add_reader(sock, self._readable, waiting)
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_S, self._end_late)

    def _readable(self, waiting: _Waiting) -> None:
        if waiting.tls:
            waiting.connection.idle_since = None
            self._leave(waiting)
            self._ready(waiting.sock, waiting.connection, bytearray())
            return
        try:
            octets = waiting.sock.recv(_READ_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._end(waiting, Drop.ENDED)
            return
        if not waiting.octets:
            waiting.connection.idle_since = None
            waiting.ends_at = time.monotonic() + self._limits.message_s
        waiting.octets += octets
        read = waiting.octets
        if len(read) >= 2 and len(read) >= 2 + (read[0] << 8 | read[1]):
            if not waiting.answered and self._at_once(waiting.sock, waiting.connection, read):
                self._wait_again(waiting)
            else:
                self._leave(waiting)
                self._ready(waiting.sock, waiting.connection, read)

    def _wait_again(self, waiting: _Waiting) -> None:
        now = time.monotonic()
        waiting.answered, waiting.octets = True, bytearray()
        waiting.ends_at, waiting.connection.idle_since = now + self._limits.idle_s, now

    def _end_late(self) -> None:
        """Close the connections whose deadline has passed."""
        now = time.monotonic()
        for waiting in [one for one in self._waiting if now >= one.ends_at]:
            self._end(waiting, Drop.TOO_SLOW if waiting.octets else Drop.ENDED)
        self._look = self._loop.call_later(_LOOK_S, self._end_late) if self._waiting else None

    def _end(self, waiting: _Waiting, reason: Drop) -> None:
        if waiting in self._waiting:
            self._leave(waiting)
            waiting.sock.close()
            self._gone(waiting.connection, reason)

    def _leave(self, waiting: _Waiting) -> None:
        del self._waiting[waiting]
        self._loop.remove_reader(waiting.sock)
