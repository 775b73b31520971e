"""The asyncio client of the key service; see `dnssecd.keyservice_client.client` for the interface."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client import operations
from dnssecd.keyservice_client.core import ClientCore
from dnssecd.keyservice_client.errors import SignerBroken, SignerError
from dnssecd.keyservice_client.operations import Operation
from dnssecd.keyservice_client.peer import QUEUE_RETRY_S, check_owner

RECEIVE_OCTETS = 256 * 1024
CLOSE_DEADLINE_S = 1.0

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=wp.Message)


def _awaitable(
    operation: Callable[P, Operation[T]],
) -> Callable[Concatenate[AsyncSignerClient, P], Coroutine[Any, Any, T]]:
    """Return a coroutine method that runs the operation on the client."""

    @functools.wraps(operation)
    async def method(self: AsyncSignerClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(operation(*args, **kwargs))

    return method


class AsyncSignerClient:
    """Any number of coroutines may share one client; at most ``window`` sign batches are under way.

    ``deadline_s`` bounds each call, or each batch of a long `sign`, from when it is sent. ``owners``: user ids that
    the service may have beside root's (None: any). Nothing is sent to another.
    """

    def __init__(
        self,
        path: str,
        deadline_s: float = 10.0,
        *,
        owners: frozenset[int] | None,
        window: int = 8,
    ) -> None:
        self._path = path
        self._owners = owners
        self._deadline_s = deadline_s
        self._core = ClientCore(path, deadline_s, Breaker())
        self._slots = asyncio.Semaphore(window)
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}

    status = _awaitable(operations.status)
    keys = _awaitable(operations.keys)
    keys_or_new = _awaitable(operations.keys_or_new)
    keys_of_zones = _awaitable(operations.keys_of_zones)
    generate = _awaitable(operations.generate)
    generate_proven = _awaitable(operations.generate_proven)
    import_key = _awaitable(operations.import_key)
    adopt = _awaitable(operations.adopt)
    export_key = _awaitable(operations.export_key)
    restore_key = _awaitable(operations.restore_key)
    sealing_key = _awaitable(operations.sealing_key)
    seal = _awaitable(operations.seal)
    open_letter = _awaitable(operations.open_letter)
    bind = _awaitable(operations.bind)
    remove = _awaitable(operations.remove)
    list_trash = _awaitable(operations.list_trash)
    recover = _awaitable(operations.recover)
    destroy = _awaitable(operations.destroy)
    list_consents = _awaitable(operations.list_consents)
    decide_consent = _awaitable(operations.decide_consent)
    prove = _awaitable(operations.prove)
    report_bad = _awaitable(operations.report_bad)
    audit = _awaitable(operations.audit)
    test_store = _awaitable(operations.try_store)
    bench_store = _awaitable(operations.bench_store)

    @property
    def breaker_state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._core.breaker_state

    async def sign(self, zone: bytes, key_id: str, preimages: list[bytes]) -> list[bytes]:
        """Sign any number of preimages; one signature each, in order. The first error is raised."""
        batches = list(wp.split_batches(preimages))
        if len(batches) == 1:
            return await self._sign_batch(zone, key_id, batches[0])
        tasks: list[asyncio.Task[list[bytes]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self._sign_batch(zone, key_id, batch)) for batch in batches]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [signature for task in tasks for signature in task.result()]

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        self._lost("closed by us")
        if self._reader_task is not None:
            await asyncio.wait([self._reader_task], timeout=CLOSE_DEADLINE_S)

    async def _sign_batch(self, zone: bytes, key_id: str, preimages: list[bytes]) -> list[bytes]:
        async with self._slots:
            request = operations.sign_request(zone, key_id, preimages, self._deadline_s)
            return (await self._call(request, wp.SignReply)).signatures

    async def _run(self, operation: Operation[T]) -> T:
        try:
            question = next(operation)
            while True:
                question = operation.send(await self._call(question.request, question.kind))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _call(self, request: wp.Request, kind: type[R]) -> R:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._exchange(request, kind)
        except TimeoutError:
            raise self._core.timed_out() from None
        except SignerBroken:
            self._lost("it answered another request with something else")
            raise

    async def _exchange(self, request: wp.Request, kind: type[R]) -> R:
        prepared = self._core.prepare(request)
        loop = asyncio.get_running_loop()
        writer = await self._connected()
        ticket = self._core.submit(prepared, loop.time())
        arrival = self._waiting[ticket] = loop.create_future()
        try:
            self._write(writer)
            await writer.drain()
            await arrival
            return self._core.take(ticket, kind)
        except OSError as error:
            raise self._core.loss(str(error)) from None
        finally:
            self._waiting.pop(ticket, None)
            self._core.forget(ticket)

    def _write(self, writer: asyncio.StreamWriter) -> None:
        octets = bytes(self._core.outgoing)
        self._core.sent(len(octets), asyncio.get_running_loop().time())
        writer.write(octets)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            self._lost("the connection broke", failed=self._writer is not None)
            self._core.check_breaker()
            try:
                reader, writer = await open_streams(self._path, wp.FRAME_OCTETS_MAX)
            except OSError as error:
                raise self._core.cannot_connect(error) from None
            try:
                check_owner(writer.get_extra_info("socket"), self._path, self._owners)
            except SignerError:
                writer.close()
                raise
            self._core.connected()
            self._write(writer)
            self._writer = writer
            self._reader_task = asyncio.create_task(self._read(reader, writer))
            return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why, failed = "the key service closed the connection", False
        try:
            while (octets := await reader.read(RECEIVE_OCTETS)) and self._writer is writer:
                for ticket in self._core.receive(octets, asyncio.get_running_loop().time()):
                    self._arrived(ticket)
        except (OSError, wp.FrameError) as error:
            why, failed = str(error), True
        if self._writer is writer:
            self._lost(why, failed=failed)
        writer.close()

    def _arrived(self, ticket: int) -> None:
        future = self._waiting.get(ticket)
        if future is not None and not future.done():
            future.set_result(None)

    def _lost(self, why: str, *, failed: bool = False) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        self._core.drop(failed=failed)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._core.loss(why))


async def open_streams(path: str, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as `peer.enter_queue` does, for an event loop; the caller has the deadline.

    asyncio alone takes a full queue for a connection.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        while (error := connection.connect_ex(path)) == errno.EAGAIN:
            await asyncio.sleep(QUEUE_RETRY_S)
        if error:
            raise OSError(error, os.strerror(error))
        return await asyncio.open_unix_connection(sock=connection, limit=limit)
    except BaseException:
        connection.close()
        raise
