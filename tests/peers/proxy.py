"""A TCP proxy that loses what it is told to lose: cut connections, answers that never come, half-open connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.peers.process import LOOPBACK


class Proxy:
    """Between clients and a server on loopback.

    ``silent``: nothing is passed in either direction, and no connection is closed (half-open). ``cut_after``: when a
    client sent these octets, they are passed to the server, but its connection is reset and the answer is lost.
    ``cut_before``: likewise, but the octets are not passed.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.silent = threading.Event()
        self.cut_after = self.cut_before = b""
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        with self._lock:
            held, self._open = self._open, []
        for each in held:
            _reset(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, self._target))
            except OSError:  # the server is down for a while
                _reset(client)
                continue
            with self._lock:
                self._open += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        """Pass what the client sends."""
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.silent.is_set():
                    continue
                for cut, passed in ((self.cut_before, False), (self.cut_after, True)):
                    if cut and cut in data:
                        self._cut(client, server, data if passed else b"")
                        return
                server.sendall(data)
        _reset(client)
        _reset(server)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        self.cut_after = self.cut_before = b""
        self.cuts += 1
        _reset(client)
        if data:
            server.sendall(data)
        else:
            _reset(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if not self.silent.is_set():
                    client.sendall(data)
        if not self.silent.is_set():
            _reset(client)


def _reset(each: socket.socket) -> None:
    """Close with RST, so that no one waits."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RDWR)
    each.close()
