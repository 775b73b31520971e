"""The answer to the first message of a TCP connection, given at once if nothing has to be waited for.

A secondary opens a connection for each difference that it fetches, asks once, and closes it. Streams, a task and their
turns of the event loop take longer than such an answer, and the secondary waits for it.
"""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from dnssecd.core.dns.message import HEADER_SIZE, SERVFAIL
from dnssecd.server.connections import Connection
from dnssecd.server.reasons import Drop, TransferEnd
from dnssecd.server.transfer import NotServed, TransferJob

if TYPE_CHECKING:
    from dnssecd.server.listener import DnsServer

#: QR and opcode, in the third octet of a message.
_NO_QUERY = 0xF8


class FirstAnswer:
    """Answers first messages of connections. Belongs to the event loop."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def give(self, sock: socket.socket, connection: Connection, octets: bytearray) -> bytes | None:
        """Answer a query; return what could not be sent, or None if it has to be answered with a session.

        octets: what was read of the connection; it is a query that is answered here if there is nothing after it.
        """
        if len(octets) < 2 + HEADER_SIZE or octets[4] & _NO_QUERY or len(octets) != 2 + _length(octets):
            return None
        server = self._server
        proved = partial(server.ledger.promote, connection)
        outcome = server.dispatcher.handle(
            bytes(octets[2:]), connection.address, "tcp", proved, connection.channel
        )
        if isinstance(outcome, bytes):
            return _sent(sock, _framed(outcome))
        if isinstance(outcome, TransferJob):
            return self._transfer(sock, connection, outcome)
        return None

    def _transfer(self, sock: socket.socket, connection: Connection, job: TransferJob) -> bytes | None:
        """Send a small difference; None if the transfer is another one, which was not begun."""
        server = self._server
        if not job.wants_difference or server.drains.zones:
            return None
        slot = server.slots.acquire_now(job.client, connection.abort, job.zone)
        if slot is None:
            return None
        started = time.monotonic()
        outcome: TransferEnd | Drop | None = TransferEnd.FAILED
        try:
            job.open()
            if not job.is_small:
                outcome = None
                return None
            messages = []
            while not job.finished:
                messages += job.next_slice()
            server.hooks.transfer_started(job.zone.origin, job.kind, job.address, job.serial)
            octets = b"".join(messages)
            try:
                unsent = _send(sock, octets)
            except OSError:
                outcome = TransferEnd.BROKEN_OFF
                return b""
            outcome = TransferEnd.DONE
            return unsent
        except NotServed:
            outcome = TransferEnd.NO_VERSION
            return _sent(sock, _framed(job.decline(SERVFAIL)))
        except Exception as error:
            server.hooks.failed(job.zone.origin, job.kind, error)
            return _sent(sock, _framed(job.decline(SERVFAIL)))
        finally:
            job.close()
            server.slots.release(slot)
            if outcome is not None:
                server.hooks.transfer_ended(job.ended(time.monotonic() - started, outcome))


def _length(octets: bytearray) -> int:
    return octets[0] << 8 | octets[1]


def _framed(wire: bytes) -> bytes:
    return len(wire).to_bytes(2, "big") + wire


def _send(sock: socket.socket, octets: bytes) -> bytes:
    """Send what the connection takes now, and return the rest. Raise OSError if it is lost."""
    try:
        return octets[sock.send(octets) :]
    except BlockingIOError:
        return octets


def _sent(sock: socket.socket, octets: bytes) -> bytes:
    """Send as :func:`_send` does; of a lost connection nothing is left to send, and the next read ends it."""
    try:
        return _send(sock, octets)
    except OSError:
        return b""
