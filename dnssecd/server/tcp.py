"""DNS over TCP (RFC 7766): pipelined requests, transfers one after another on a connection, every wait bounded.

Answers that are ready at once go out in order; those of NOTIFY and UPDATE when they are certain, so possibly out
of order. While a transfer runs, nothing more is read from its connection: a client that asks for a hundred
transfers gets them one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from dnssecd.acceptor import streams
from dnssecd.core.dns.message import SERVFAIL
from dnssecd.server.acl import client_address
from dnssecd.server.connections import Connection, Standing
from dnssecd.server.deferred import Deferred
from dnssecd.server.lobby import Lobby
from dnssecd.server.slots import Slot
from dnssecd.server.transfer import NotServed, TransferJob

if TYPE_CHECKING:
    from dnssecd.server.listener import DnsServer


#: A message and its length at most, and most often just one.
_READ_OCTETS = 65_537
#: Reading rests while twice this waits: 512 connections that send and never read cost little memory.
_STREAM_OCTETS = 32_768


class _Stop(Exception):
    """The connection ends; the text goes to the hooks, empty for an orderly end."""


class TcpService:
    """Serves the TCP connections of one DnsServer."""

    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lobby: Lobby | None = None
        self.closing = False

    def accepted(self, sock: socket.socket, peer: Any) -> None:
        """Give a new connection a place until its first message is there, or close it."""
        server = self._server
        address = client_address(peer[0])
        standing = Standing.PEER if server.known(address) else Standing.STRANGER
        connection = Connection(address, sock.close, standing)
        reason = "stopping" if self.closing else server.ledger.admit(connection)
        if reason is not None:
            server.hooks.dropped(reason)
            sock.close()
            return
        if self._lobby is None:
            self._lobby = Lobby(server.limits, self._begin, self._gone)
        self._lobby.enter(sock, connection)
        server.hooks.connections(len(server.ledger))

    def _begin(self, sock: socket.socket, connection: Connection, octets: bytearray) -> None:
        # Until its transport is made nothing may close the socket: its number would be another connection's.
        connection.abort = _no_transport_yet
        task = asyncio.get_running_loop().create_task(self._serve(sock, connection, octets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gone(self, connection: Connection, reason: str) -> None:
        server = self._server
        if reason:
            server.hooks.dropped(reason)
        server.ledger.leave(connection)
        server.hooks.connections(len(server.ledger))

    async def _serve(self, sock: socket.socket, connection: Connection, octets: bytearray) -> None:
        reason = ""
        try:
            reader, writer = await streams(sock, _STREAM_OCTETS)
            if connection not in self._server.ledger:
                writer.transport.abort()  # evicted meanwhile
                return
            connection.abort = writer.transport.abort
            await _Session(self._server, self, reader, writer, connection, octets).run()
        except OSError:
            reason = "connection lost"
        finally:
            self._gone(connection, reason)

    async def drain(self, grace_s: float) -> None:
        """Wait up to ``grace_s`` for connections that are in the middle of something."""
        self.closing = True
        self._server.ledger.abort_idle()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)


def _no_transport_yet() -> None:
    """Stand in for ``abort``: the ledger is asked once the transport is made."""


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
        self._ends_at = time.monotonic() + self._limits.connection_s
        self._deferred = asyncio.Semaphore(self._limits.deferred_per_connection_max)

    async def run(self) -> None:
        """Answer requests until either side has enough."""
        server = self._server
        try:
            while not self._service.closing:
                await self._respond(await self._receive())
        except (_Stop, OSError) as stop:
            if isinstance(stop, _Stop) and str(stop):
                server.hooks.dropped(str(stop))
                self._writer.transport.abort()
            else:
                await self._owed()
        finally:
            self._writer.close()

    async def _receive(self) -> bytes:
        """Return the next message; raises _Stop at the end or when a deadline passes."""
        if self._unread:
            await asyncio.sleep(0)  # reading and writing may not wait at all: others get their turn here
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
            raise _Stop("TCP message too slow") from None
        return wire

    async def _read(self) -> None:
        """Wait for some octets; raises _Stop at the end."""
        octets = await self._reader.read(_READ_OCTETS)
        if not octets:
            raise _Stop
        self._unread += octets

    def _taken(self) -> bytes | None:
        """Take the next message out of what was read, None unless all of it is there."""
        unread = self._unread
        if len(unread) < 2 or len(unread) < (end := 2 + (unread[0] << 8 | unread[1])):
            return None
        wire = bytes(unread[2:end])
        del unread[:end]
        return wire

    async def _respond(self, wire: bytes) -> None:
        outcome = self._server.dispatcher.handle(wire, self._connection.address, "tcp", self._proved)
        if outcome is None:
            raise _Stop("TCP message that is no request")
        if isinstance(outcome, bytes):
            await self._send(outcome)
        elif isinstance(outcome, TransferJob):
            await self._transfer(outcome)
        else:
            await self._defer(outcome)

    async def _defer(self, answer: Deferred) -> None:
        """Have an answer made while further messages are read, as soon as there is a place for it."""
        await self._deferred.acquire()
        try:
            await self._server.places.wait(answer.share)
        except asyncio.CancelledError:
            answer.close()
            raise
        self._server.spawn(answer.share, self._later(answer.work))

    def _proved(self, standing: Standing) -> None:
        self._server.ledger.promote(self._connection, standing)

    async def _later(self, work: Coroutine[Any, Any, bytes]) -> None:
        try:
            await self._send(await work)
        except _Stop:
            self._writer.transport.abort()
        finally:
            self._deferred.release()

    async def _owed(self) -> None:
        """Wait until all deferred answers went out: a client that asks nothing more may still be listening."""
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
            raise _Stop("TCP peer does not read") from None
        except OSError:
            raise _Stop from None

    async def _transfer(self, job: TransferJob) -> None:
        slot = await self._server.slots.acquire(job.client, self._writer.transport.abort)
        if slot is None:
            self._server.hooks.refused(job.zone.origin, "transfer", job.address, b"", "too many transfers")
            await self._send(job.decline(SERVFAIL))
            return
        started = time.monotonic()
        outcome = "failed"
        try:
            outcome = await self._run_transfer(job, slot, started + self._limits.transfer_s)
        except _Stop as stop:
            outcome = str(stop) or "connection lost"
            raise
        finally:
            self._server.slots.release(slot)
            self._server.hooks.transfer_ended(
                job.zone.origin,
                job.kind,
                job.address,
                job.serial,
                job.messages,
                job.octets,
                time.monotonic() - started,
                outcome,
            )

    async def _run_transfer(self, job: TransferJob, slot: Slot, ends_at: float) -> str:
        """Send all messages; return the outcome for the hooks."""
        loop = asyncio.get_running_loop()
        slice_: asyncio.Future[list[bytes]] | None = None
        try:
            job.open()
            at_once = job.is_small
            while not job.finished:
                if at_once:
                    messages = job.next_slice()
                else:
                    slice_ = loop.run_in_executor(self._server.pool, job.next_slice)
                    messages = await slice_
                if job.messages == len(messages):
                    self._server.hooks.transfer_started(job.zone.origin, job.kind, job.address, job.serial)
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    raise _Stop("transfer took too long")
                await self._write(b"".join(messages), min(self._limits.write_s, left_s))
                slot.progressed()
            return "done"
        except NotServed:
            await self._send(job.decline(SERVFAIL))
            return "no version"
        except _Stop:
            raise
        except Exception as error:
            self._server.hooks.failed(job.zone.origin, job.kind, error)
            if job.messages:
                raise _Stop("transfer failed") from error
            await self._send(job.decline(SERVFAIL))
            return "failed"
        finally:
            if slice_ is not None and not slice_.done():
                # Cancelled while a thread is at work: the snapshot must outlive the slice.
                slice_.add_done_callback(lambda _: job.close())
            else:
                job.close()
