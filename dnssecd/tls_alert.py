"""The alert of a TLS handshake that fails: it tells the peer why, as RFC 8446 §6.2 wants it.

asyncio closes such a connection without sending it: the peer's log then has an unexpected end of file where it should
have "certificate expired".
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_beginning: ContextVar[socket.socket | None] = ContextVar("beginning", default=None)


@contextmanager
def handshake_on(connection: socket.socket) -> Iterator[None]:
    """Name the connection of a handshake that begins here, in a context of :class:`AlertingContext`."""
    token = _beginning.set(connection)
    try:
        yield
    finally:
        _beginning.reset(token)


class _AlertingObject(ssl.SSLObject):
    """One end of a connection. ``outgoing``: octets for the peer; ``connection``: where they go."""

    outgoing: ssl.MemoryBIO | None = None
    connection: socket.socket | None = None

    def do_handshake(self) -> None:
        """Do as ``SSLObject.do_handshake``; send what OpenSSL has to say about a failure, as far as there is room."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            if self.outgoing is not None and self.connection is not None and (octets := self.outgoing.read()):
                with suppress(OSError):  # the peer has gone
                    self.connection.send(octets, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            raise


class AlertingContext(ssl.SSLContext):
    """A context whose failed handshakes send their alert, if the connection was named (:func:`handshake_on`)."""

    sslobject_class = _AlertingObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Do as ``SSLContext.wrap_bio``."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, _AlertingObject):
            made.outgoing, made.connection = outgoing, _beginning.get()
        return made
