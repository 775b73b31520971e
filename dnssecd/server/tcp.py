"""DNS over TCP (RFC 7766): pipelined requests, transfers one after another on a connection, every wait bounded.

Immediate answers are sent in order; answers to NOTIFY and UPDATE when they are certain, so possibly out of
order. During a transfer nothing more is read from its connection: a client that asks for a hundred transfers
gets them one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from dnssecd.acceptor import TlsServerSide, streams
from dnssecd.core.dns.message import SERVFAIL
from dnssecd.server.acl import Channel, client_address
from dnssecd.server.connections import Connection, Standing
from dnssecd.server.deferred import Deferred
from dnssecd.server.first_answer import FirstAnswer
from dnssecd.server.handshakes import HandshakeBudget
from dnssecd.server.lobby import Lobby
from dnssecd.server.reasons import Drop, Refusal, TransferEnd
from dnssecd.server.slots import Slot
from dnssecd.server.transfer import NotServed, TransferJob
from dnssecd.tls import TlsFailed, TlsFault, fault_of

if TYPE_CHECKING:
    from dnssecd.server.listener import DnsServer


#: At most one message with its length.
_READ_OCTETS = 65_537
#: Reading stops while twice this is unsent: 512 connections that send and never read cost little memory.
_STREAM_OCTETS = 32_768


class _Stop(Exception):
    """The connection ends; the hooks get the reason, if it is no orderly end."""

    def __init__(self, reason: Drop = Drop.ENDED) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TcpService:
    """Serves the TCP connections of one DnsServer."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lobby: Lobby | None = None
        self._first = FirstAnswer(server)
        self._unsent: dict[Connection, bytes] = {}
        self._handshakes = HandshakeBudget(server.limits, time.monotonic())
        self.closing = False

    def accepted(self, sock: socket.socket, peer: Any, tls: bool = False) -> None:
        """Give a new connection a place until its first message is there, or close it."""
        server = self._server
        address = client_address(peer[0])
        standing = Standing.PEER if server.known(address) else Standing.STRANGER
        connection = Connection(address, sock.close, standing, tls=tls)
        reason = Drop.STOPPING if self.closing else server.ledger.admit(connection)
        if reason is not None:
            server.hooks.dropped(reason)
            sock.close()
            return
        if self._lobby is None:
            self._lobby = Lobby(server.limits, self._begin, self._answered, self._gone)
        self._lobby.enter(sock, connection)
        server.hooks.connections(len(server.ledger))

    def _answered(self, sock: socket.socket, connection: Connection, octets: bytearray) -> bool:
        """Answer a first message at once; False if a session has to continue with what is left in ``octets``."""
        if self.closing:
            return False
        unsent = self._first.give(sock, connection, octets)
        if unsent:
            self._unsent[connection] = unsent
            octets.clear()
        return unsent == b""

    def _begin(self, sock: socket.socket, connection: Connection, octets: bytearray) -> None:
        # The socket must stay open until its transport exists: another connection could get its descriptor
        # number. A handshake takes long, so it ends by cancellation, which closes the socket in order.
        connection.abort = _no_transport_yet
        task = asyncio.get_running_loop().create_task(self._serve(sock, connection, octets))
        if connection.tls:
            connection.abort = partial(_cancel, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gone(self, connection: Connection, reason: Drop) -> None:
        server = self._server
        if reason:
            server.hooks.dropped(reason)
        self._unsent.pop(connection, None)
        server.ledger.leave(connection)
        server.hooks.connections(len(server.ledger))

    async def _serve(self, sock: socket.socket, connection: Connection, octets: bytearray) -> None:
        reason = Drop.ENDED
        try:
            tls = self._tls(sock, connection) if connection.tls else None
            reader, writer = await streams(sock, _STREAM_OCTETS, tls)
            if connection not in self._server.ledger:
                writer.transport.abort()  # evicted meanwhile
                return
            connection.abort = writer.transport.abort
            if connection.tls:
                connection.channel = _channel(writer)
                self._server.hooks.handshake(connection.address, None)
            writer.write(self._unsent.pop(connection, b""))
            await _Session(self._server, self, reader, writer, connection, octets).run()
        except TlsFailed as failed:
            reason = Drop.HANDSHAKES if failed.fault is TlsFault.FLOOD else Drop.NO_CERTIFICATE
            self._server.hooks.handshake(connection.address, failed)
        except OSError as error:
            reason = Drop.CONNECTION_LOST
            if connection.tls and connection.channel is None:
                reason = Drop.HANDSHAKE
                self._server.hooks.handshake(connection.address, fault_of(error))
        finally:
            self._gone(connection, reason)

    def _tls(self, sock: socket.socket, connection: Connection) -> TlsServerSide:
        """Return what a handshake needs; raise TlsFailed if none may begin."""
        server, limits = self._server, self._server.limits
        try:
            if connection.standing is Standing.STRANGER and not self._handshakes.allows(
                connection.network, time.monotonic()
            ):
                raise TlsFailed(
                    TlsFault.FLOOD, "too many TLS handshakes from addresses that are not a peer's"
                )
            context = server.tls_context()
            if context is None:
                raise TlsFailed(TlsFault.NO_IDENTITY, "dnssecd has no certificate that can be used")
        except TlsFailed:
            sock.close()
            raise
        return TlsServerSide(context, limits.handshake_s, limits.tls_shutdown_s)

    async def drain(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` seconds for connections with work in progress."""
        self.closing = True
        self._server.ledger.abort_idle()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)


def _channel(writer: asyncio.StreamWriter) -> Channel:
    """Return the channel of a connection whose handshake is done."""
    return Channel(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _no_transport_yet() -> None:
    """Do nothing in place of ``abort``: the ledger is checked once the transport exists."""


class _Session:
    """One connection."""

    def __init__(
        self,
        server: DnsServer,
        service: TcpService,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: Connection,
        unread: bytearray,
    ) -> None:
        self._server = server
        self._service = service
        self._limits = server.limits
        self._reader = reader
        self._writer = writer
        self._connection = connection
        self._unread = unread
        self._begun = False
        self._ends_at = time.monotonic() + self._limits.connection_s
        self._deferred = asyncio.Semaphore(self._limits.deferred_per_connection_max)
        self._answers_owed = 0

    async def run(self) -> None:
        """Answer requests until either side closes the connection."""
        server = self._server
        try:
            while not self._service.closing:
                await self._respond(await self._receive())
        except (_Stop, OSError) as stop:
            if isinstance(stop, _Stop) and stop.reason:
                server.hooks.dropped(stop.reason)
                self._writer.transport.abort()
            else:
                await self._owed()
        finally:
            self._writer.close()

    async def _receive(self) -> bytes:
        """Return the next message; raise _Stop at the end or when a deadline passes."""
        if self._unread and self._begun:
            await asyncio.sleep(0)  # reading and writing may never wait: let other tasks run here
        self._begun = True
        now = time.monotonic()
        if now >= self._ends_at:
            raise _Stop
        if not self._unread:
            self._connection.idle_since = now
            try:
                async with asyncio.timeout(min(self._limits.idle_s, self._ends_at - now)):
                    await self._read()
            except TimeoutError:
                raise _Stop from None
            self._connection.idle_since = None
        wire = self._taken()
        if wire is not None:
            return wire
        try:
            async with asyncio.timeout(self._limits.message_s):
                while wire is None:
                    await self._read()
                    wire = self._taken()
        except TimeoutError:
            raise _Stop(Drop.TOO_SLOW) from None
        return wire

    async def _read(self) -> None:
        """Wait for some octets; raise _Stop at the end."""
        octets = await self._reader.read(_READ_OCTETS)
        if not octets:
            raise _Stop
        self._unread += octets

    def _taken(self) -> bytes | None:
        """Take the next message from the octets read, None unless it is complete."""
        unread = self._unread
        if len(unread) < 2 or len(unread) < (end := 2 + (unread[0] << 8 | unread[1])):
            return None
        wire = bytes(unread[2:end])
        del unread[:end]
        return wire

    async def _respond(self, wire: bytes) -> None:
        connection = self._connection
        outcome = self._server.dispatcher.handle(
            wire, connection.address, "tcp", self._proved, connection.channel
        )
        if outcome is None:
            raise _Stop(Drop.NO_REQUEST)
        if isinstance(outcome, bytes):
            await self._send(outcome)
        elif isinstance(outcome, TransferJob):
            await self._transfer(outcome)
        else:
            await self._defer(outcome)

    async def _defer(self, answer: Deferred) -> None:
        """Start a deferred answer as soon as it has a place; further messages are read meanwhile."""
        await self._deferred.acquire()
        try:
            await self._server.places.wait(answer.share)
        except asyncio.CancelledError:
            answer.close()
            raise
        self._answers_owed += 1
        self._server.spawn(answer.share, self._later(answer.work))

    def _proved(self, standing: Standing) -> None:
        self._server.ledger.promote(self._connection, standing)

    async def _later(self, work: Coroutine[Any, Any, bytes]) -> None:
        try:
            await self._send(await work)
        except _Stop:
            self._writer.transport.abort()
        finally:
            self._answers_owed -= 1
            self._deferred.release()

    async def _owed(self) -> None:
        """Wait until all deferred answers are sent: a client without further requests may still be reading."""
        if not self._answers_owed:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.owed_s):
                for _ in range(self._limits.deferred_per_connection_max):
                    await self._deferred.acquire()

    async def _send(self, wire: bytes) -> None:
        await self._write(len(wire).to_bytes(2, "big") + wire, self._limits.write_s)

    async def _write(self, octets: bytes, deadline_s: float) -> None:
        if self._writer.transport.is_closing():
            raise _Stop
        self._writer.write(octets)
        if not self._writer.transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(deadline_s):
                await self._writer.drain()
        except TimeoutError:
            raise _Stop(Drop.NOT_READING) from None
        except OSError:
            raise _Stop from None

    async def _transfer(self, job: TransferJob) -> None:
        if not await self._server.drains.passed(job, self._limits.transfer_wait_s):
            await self._put_off(job, Refusal.LOG_TOO_LONG)
            return
        slot = await self._server.slots.acquire(job.client, self._writer.transport.abort, job.zone)
        if slot is None:
            await self._put_off(job, Refusal.TOO_MANY_TRANSFERS)
            return
        started = time.monotonic()
        outcome: TransferEnd | Drop = TransferEnd.FAILED
        try:
            outcome = await self._run_transfer(job, slot, started + self._limits.transfer_s)
        except _Stop as stop:
            outcome = stop.reason or TransferEnd.BROKEN_OFF
            raise
        finally:
            self._server.slots.release(slot)
            seconds = time.monotonic() - started
            self._server.hooks.transfer_ended(job.ended(seconds, outcome))

    async def _put_off(self, job: TransferJob, reason: Refusal) -> None:
        self._server.hooks.refused(job.zone.origin, "transfer", job.address, b"", reason)
        await self._send(job.decline(SERVFAIL))

    async def _run_transfer(self, job: TransferJob, slot: Slot, ends_at: float) -> TransferEnd:
        """Send all messages; return the outcome for the hooks."""
        loop = asyncio.get_running_loop()
        try:
            job.open()
            at_once = job.is_small
            while not job.finished:
                if at_once:
                    messages = job.next_slice()
                else:
                    messages = await loop.run_in_executor(self._server.pool, job.next_slice)
                if job.messages == len(messages):
                    self._server.hooks.transfer_started(job.zone.origin, job.kind, job.address, job.serial)
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    raise _Stop(Drop.TRANSFER_TOO_LONG)
                await self._write(b"".join(messages), min(self._limits.write_s, left_s))
                slot.progressed()
            return TransferEnd.DONE
        except NotServed:
            await self._send(job.decline(SERVFAIL))
            return TransferEnd.NO_VERSION
        except _Stop:
            raise
        except Exception as error:
            self._server.hooks.failed(job.zone.origin, job.kind, error)
            if job.messages:
                raise _Stop(Drop.TRANSFER_FAILED) from error
            await self._send(job.decline(SERVFAIL))
            return TransferEnd.FAILED
        finally:
            job.close()
