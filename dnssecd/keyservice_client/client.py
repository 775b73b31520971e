"""Talking to the key service.

Two clients speak the same protocol: `SignerClient`, blocking, for zone workers and one-shot commands, and
`AsyncSignerClient` (module `dnssecd.keyservice_client.async_client`, re-exported here) for the event loop of the
daemon. Both are shells: `operations` says what can be asked, `core` holds the conversation.

Zones are uncompressed wire names (any case; sent in lower case). Preimages are what RFC 4034 §3.1.8.1 says is
signed: the RRSIG RDATA without its signature field, then every RR of the set in canonical form and order
(owner, type, class, original TTL, RDLENGTH, RDATA). Signatures come back in DNSSEC wire form, in the order
of the preimages; they are untrusted until verified. Lists of any length are cut into batches and pipelined.

    with SignerClient(path, deadline_s=10.0, owners=owners) as signer:
        ksk = signer.generate(zone, "ksk", 13)                       # -> KeyInfo
        keys = signer.keys(zone)                                     # -> list[KeyInfo], available or not
        signatures = signer.sign(zone, ksk.id, preimages)            # -> list[bytes]
        for signatures in signer.sign_stream((zone, key_id, preimages) for ...):   # in order
            ...
        ticket = signer.submit(zone, ksk.id, preimages)              # at most 512 preimages, 1 MiB
        signatures = signer.collect(ticket)                          # in any order
        signer.prove(zone, ksk.id, published_dnskey)                 # -> list[Proof], checked in software

    signer = AsyncSignerClient(path, deadline_s=10.0, owners=owners)
    signatures = await signer.sign(zone, key_id, preimages)          # and the same for the other calls
    await signer.aclose()

Errors are `dnssecd.keyservice_client.errors.SignerError` and its kinds; each names its `fault` and whether it is
`temporary`. The deadline bounds a wait without any progress on the connection; other work of the caller between
submit and collect does not count. A broken connection is made again once and what was under way is sent again,
where that is harmless; a breaker answers at once while the service stays down. A client belongs to one thread.
"""

from __future__ import annotations

import functools
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client import operations
from dnssecd.keyservice_client.async_client import AsyncSignerClient
from dnssecd.keyservice_client.core import ClientCore
from dnssecd.keyservice_client.errors import BadRequest, SignerBroken, SignerError
from dnssecd.keyservice_client.operations import Operation
from dnssecd.keyservice_client.peer import check_owner, enter_queue

__all__ = ["AsyncSignerClient", "SignerClient", "SignerError"]

RECEIVE_OCTETS = 256 * 1024
SEND_OCTETS = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=wp.Message)


def _blocking(operation: Callable[P, Operation[T]]) -> Callable[Concatenate[SignerClient, P], T]:
    """Return a method that runs the operation on the client and waits for its result."""

    @functools.wraps(operation)
    def method(self: SignerClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(operation(*args, **kwargs))

    return method


class SignerClient:
    """Blocking client. ``deadline_s`` is the longest wait without progress; ``window`` the batches under way.

    ``owners``: user ids that the service may have beside root's (None: any). Nothing is sent to another.
    """

    def __init__(
        self,
        path: str,
        deadline_s: float = 10.0,
        *,
        owners: frozenset[int] | None,
        window: int = 12,
    ) -> None:
        self._path = path
        self._owners = owners
        self._deadline_s = deadline_s
        self._window = window
        self._core = ClientCore(path, deadline_s, Breaker())
        self._socket: socket.socket | None = None
        self._poll = select.poll()

    status = _blocking(operations.status)
    keys = _blocking(operations.keys)
    keys_or_new = _blocking(operations.keys_or_new)
    keys_of_zones = _blocking(operations.keys_of_zones)
    generate = _blocking(operations.generate)
    generate_proven = _blocking(operations.generate_proven)
    import_key = _blocking(operations.import_key)
    adopt = _blocking(operations.adopt)
    export_key = _blocking(operations.export_key)
    restore_key = _blocking(operations.restore_key)
    sealing_key = _blocking(operations.sealing_key)
    seal = _blocking(operations.seal)
    open_letter = _blocking(operations.open_letter)
    bind = _blocking(operations.bind)
    remove = _blocking(operations.remove)
    list_trash = _blocking(operations.list_trash)
    recover = _blocking(operations.recover)
    destroy = _blocking(operations.destroy)
    list_consents = _blocking(operations.list_consents)
    decide_consent = _blocking(operations.decide_consent)
    prove = _blocking(operations.prove)
    report_bad = _blocking(operations.report_bad)
    audit = _blocking(operations.audit)
    test_store = _blocking(operations.try_store)
    bench_store = _blocking(operations.bench_store)

    # Signing

    def sign(self, zone: bytes, key_id: str, preimages: list[bytes]) -> list[bytes]:
        """Sign any number of preimages; one signature each, in order."""
        signatures: list[bytes] = []
        batches = ((zone, key_id, batch) for batch in wp.split_batches(preimages))
        for part in self.sign_stream(batches):
            signatures += part
        return signatures

    def sign_stream(self, requests: Iterable[tuple[bytes, str, list[bytes]]]) -> Iterator[list[bytes]]:
        """Yield the signatures of each (zone, key id, preimages) in order, `window` of them under way.

        The iterable is drawn on while earlier batches are being signed, so planning overlaps signing. On an
        error the stream ends; what was under way is forgotten.
        """
        tickets: deque[int] = deque()
        try:
            for zone, key_id, preimages in requests:
                if len(tickets) >= self._window:
                    yield self.collect(tickets.popleft())
                tickets.append(self.submit(zone, key_id, preimages))
            while tickets:
                yield self.collect(tickets.popleft())
        finally:
            for ticket in tickets:
                self.forget(ticket)

    def submit(self, zone: bytes, key_id: str, preimages: list[bytes]) -> int:
        """Send one batch and return a ticket for `collect`; waits while `window` batches are under way."""
        if len(preimages) > wp.BATCH_PREIMAGES_MAX:
            raise BadRequest(f"{len(preimages)} preimages in one batch; at most {wp.BATCH_PREIMAGES_MAX}")
        if self._core.under_way >= self._window:
            self._core.wait_begins(time.monotonic())
        while self._core.under_way >= self._window:
            self._pump()
        allowed_s = self._deadline_s * (self._core.under_way + 1)
        return self._send(operations.sign_request(zone, key_id, preimages, allowed_s))

    def collect(self, ticket: int) -> list[bytes]:
        """Wait for the batch `ticket` stands for; raises what went wrong with it."""
        return self._wait(ticket, wp.SignReply).signatures

    def forget(self, ticket: int) -> None:
        """Give up a ticket; its answer is thrown away when it comes."""
        self._core.forget(ticket)

    def close(self) -> None:
        """Close the connection and give up what is under way; the next call makes a new one."""
        self._core.drop()
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Octets and time

    def _run(self, operation: Operation[T]) -> T:
        try:
            question = next(operation)
            while True:
                question = operation.send(self._wait(self._send(question.request), question.kind))
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, request: wp.Request) -> int:
        prepared = self._core.prepare(request)
        if self._socket is None:
            self._connect()
        ticket = self._core.submit(prepared, time.monotonic())
        self._transfer(0.0)
        return ticket

    def _wait(self, ticket: int, kind: type[R]) -> R:
        if not self._core.is_done(ticket):
            self._core.wait_begins(time.monotonic())
        while not self._core.is_done(ticket):
            self._pump()
        try:
            return self._core.take(ticket, kind)
        except SignerBroken:
            self._disconnect()
            raise

    def _pump(self) -> None:
        """Move octets until something happened; raises SignerTimeout after the deadline without progress."""
        left_s = self._core.left_s(time.monotonic())
        if left_s <= 0:
            error = self._core.timed_out()
            self.close()
            raise error
        if self._socket is None:
            self._connect()
        self._transfer(left_s)

    def _transfer(self, wait_s: float) -> None:
        assert self._socket is not None
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if self._core.outgoing else 0))
        for _, events in self._poll.poll(wait_s * 1000):
            try:
                if events & select.POLLOUT:
                    self._write()
                if events & ~select.POLLOUT:
                    self._read()
            except OSError as error:
                self._reconnect(str(error))

    def _write(self) -> None:
        assert self._socket is not None
        with memoryview(self._core.outgoing) as view:
            sent = self._socket.send(view[:SEND_OCTETS])
        self._core.sent(sent, time.monotonic())

    def _read(self) -> None:
        assert self._socket is not None
        octets = self._socket.recv(RECEIVE_OCTETS)
        if not octets:
            raise ConnectionResetError("the key service closed the connection")
        try:
            self._core.receive(octets, time.monotonic())
        except wp.FrameError as error:
            self._disconnect()
            raise self._core.broken(str(error)) from None

    def _connect(self) -> None:
        self._core.check_breaker()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(self._deadline_s)
        try:
            enter_queue(connection, self._path, time.monotonic() + self._deadline_s)
        except OSError as error:
            connection.close()
            raise self._core.cannot_connect(error) from None
        try:
            check_owner(connection, self._path, self._owners)
        except SignerError:
            connection.close()
            self._core.drop()
            raise
        connection.setblocking(False)
        self._socket = connection
        self._poll.register(connection, select.POLLIN)
        self._core.connected()

    def _reconnect(self, why: str) -> None:
        """After a broken connection: send again what is under way, once, if that is harmless."""
        self._disconnect()
        self._core.interrupted(why)
        self._connect()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
        self._socket = None
