"""Talking to the key service.

Two clients speak the same protocol: `SignerClient`, blocking, for zone workers and one-shot commands, and
`AsyncSignerClient` (module `dnssecd.keyservice_client.async_client`, re-exported here) for the event loop of the front.

Zones are uncompressed wire names (any case; sent in lower case). Preimages are what RFC 4034 §3.1.8.1 says is
signed: the RRSIG RDATA without its signature field, then every RR of the set in canonical form and order
(owner, type, class, original TTL, RDLENGTH, RDATA). Signatures come back in DNSSEC wire form, in the order
of the preimages; they are untrusted until verified. Lists of any length are cut into batches and pipelined.

    with SignerClient(path, deadline_s=10.0) as signer:
        ksk = signer.generate(zone, "ksk", 13)                       # -> KeyInfo
        keys = signer.keys(zone)                                     # -> list[KeyInfo], available or not
        signatures = signer.sign(zone, ksk.id, preimages)            # -> list[bytes]
        for signatures in signer.sign_stream((zone, key_id, preimages) for ...):   # in order
            ...
        ticket = signer.submit(zone, ksk.id, preimages)              # at most 512 preimages, 1 MiB
        signatures = signer.collect(ticket)                          # in any order
        signer.prove(zone, ksk.id, published_dnskey)                 # -> list[Proof], checked in software

    signer = AsyncSignerClient(path, deadline_s=10.0)
    signatures = await signer.sign(zone, key_id, preimages)          # and the same for the other calls
    await signer.aclose()

Errors are `dnssecd.keyservice_client.errors.SignerError` and its kinds; each names its `fault` and whether it is
`temporary`. The deadline bounds the time without any progress on the connection. A broken connection is
made again once and what was under way is sent again, where that is harmless; a breaker answers at once
while the service stays down. A client belongs to one thread.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client.async_client import AsyncSignerClient
from dnssecd.keyservice_client.errors import (
    BadRequest,
    SignerBroken,
    SignerError,
    SignerTimeout,
    SignerUnreachable,
    error_from_reply,
    nobody_there,
)
from dnssecd.keyservice_client.peer import check_owner
from dnssecd.keyservice_client.proof import check_proofs, new_nonce
from dnssecd.keyservice_client.requests import (
    adopt_request,
    generate_request,
    import_request,
    lower,
    repeatable,
)

__all__ = ["AsyncSignerClient", "SignerClient", "SignerError"]

RECEIVE_OCTETS = 256 * 1024
SEND_OCTETS = 256 * 1024

R = TypeVar("R", bound=wp.Message)


class SignerClient:
    """Blocking client. `deadline_s` is the longest time without progress; `window` the batches under way.

    `owners`: user ids that the service may have beside root's (None: any). Nothing is sent to another.
    """

    def __init__(
        self,
        path: str,
        deadline_s: float = 10.0,
        *,
        window: int = 12,
        owners: frozenset[int] | None = None,
    ) -> None:
        self._path = path
        self._owners = owners
        self._deadline_s = deadline_s
        self._window = window
        self._breaker = Breaker()
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._frames = wp.frame_buffer()
        self._out = bytearray()
        self._next_id = 1
        self._under_way: dict[int, wp.Request] = {}
        self._done: dict[int, wp.Reply] = {}
        self._progress_at = 0.0
        self._reconnected = False

    # Calls

    def status(self) -> wp.StatusReply:
        """State, counters and warnings of the service."""
        return self._call(wp.StatusRequest(self._id()), wp.StatusReply)

    def keys(self, zone: bytes = b"") -> list[wp.KeyInfo]:
        """Every key bound to `zone` (all zones when empty), also those missing or out of reach."""
        found: list[wp.KeyInfo] = []
        more = True
        while more:
            after = found[-1].id if found else ""
            reply = self._call(wp.KeysRequest(self._id(), lower(zone), after), wp.KeysReply)
            found += reply.keys
            more = reply.more and bool(reply.keys)
        return sorted(found, key=lambda info: (info.created, info.id))

    def generate(
        self,
        zone: bytes,
        role: wp.Role,
        algorithm: int,
        *,
        store: str = "",
        bits: int = 0,
        idempotency: str = "",
        share: str = "",
        known: tuple[str, ...] = (),
    ) -> wp.KeyInfo:
        """Make a key pair; the same `idempotency` text returns the same key: no second one by accident.

        `share`: take the newest key of those who share theirs under this name, but none of `known`.
        """
        request = generate_request(
            self._id(),
            zone,
            role,
            algorithm,
            store=store,
            bits=bits,
            idempotency=idempotency,
            share=share,
            known=known,
        )
        return self._call(request, wp.KeysReply).keys[0]

    def import_key(
        self, zone: bytes, role: wp.Role, algorithm: int, private: bytes, *, store: str = "", created: int = 0
    ) -> wp.KeyInfo:
        """Take a private key (BIND `.private` text, PEM or PKCS#8 DER) into a software store."""
        request = import_request(self._id(), zone, role, algorithm, private, store=store, created=created)
        return self._call(request, wp.KeysReply).keys[0]

    def adopt(
        self,
        zone: bytes,
        role: wp.Role,
        algorithm: int,
        *,
        store: str = "",
        cka_id: str = "",
        label: str = "",
        public_key: bytes = b"",
    ) -> wp.KeyInfo:
        """Bind a key that is in a token already, by CKA_ID (hex), label or public key (then no other)."""
        request = adopt_request(
            self._id(), zone, role, algorithm, store=store, cka_id=cka_id, label=label, public_key=public_key
        )
        return self._call(request, wp.KeysReply).keys[0]

    def export_key(self, key_id: str, passphrase: bytes) -> bytes:
        """A private key of a software store, sealed under `passphrase`; for root and the service's own user."""
        return (self._call(wp.ExportRequest(self._id(), key_id, passphrase), wp.ExportReply)).sealed

    def restore_key(self, sealed: bytes, passphrase: bytes, store: str = "") -> wp.KeyInfo:
        """Take an exported key back as it was: id, zones, role and all."""
        request = wp.RestoreRequest(self._id(), sealed, passphrase, store)
        return (self._call(request, wp.KeysReply)).keys[0]

    def bind(self, zone: bytes, key_id: str) -> wp.KeyInfo:
        """Let an existing key sign for `zone` too (`share_keys`)."""
        return self._call(wp.BindRequest(self._id(), lower(zone), key_id), wp.KeysReply).keys[0]

    def remove(self, zone: bytes, key_id: str) -> str:
        """Unbind the key from `zone`; with its last zone the private key is destroyed. Says what was done."""
        return self._call(wp.RemoveRequest(self._id(), lower(zone), key_id), wp.DoneReply).detail

    def prove(self, zone: bytes, key_id: str, published_dnskey: bytes) -> list[wp.Proof]:
        """Have every token holding the key sign a nonce; `error` is empty where that verifies.

        `published_dnskey` is the DNSKEY RDATA it must verify with, in wire form.
        """
        nonce = new_nonce()
        reply = self._call(wp.ProveRequest(self._id(), lower(zone), key_id, nonce), wp.ProveReply)
        return check_proofs(reply.proofs, nonce, published_dnskey)

    def report_bad(self, zone: bytes, key_id: str, preimage: bytes, signature: bytes) -> str:
        """Tell the service that a signature it made does not verify; the token that made it is evicted."""
        request = wp.ReportRequest(self._id(), lower(zone), key_id, preimage, signature)
        return self._call(request, wp.DoneReply).detail

    def audit(self, limit: int = 100) -> wp.AuditReply:
        """Check the audit log's hash chain and return its last entries."""
        return self._call(wp.AuditRequest(self._id(), limit), wp.AuditReply)

    def test_store(self, store: str = "", algorithm: int = 13) -> str:
        """Generate, sign, verify and destroy a throw-away key; returns what was seen."""
        return self._call(wp.TestRequest(self._id(), store, algorithm), wp.DoneReply).detail

    def bench_store(self, request: wp.BenchRequest) -> list[wp.BenchLine]:
        """Measure a store; only the id of `request` is replaced."""
        numbered = msgspec.structs.replace(request, id=self._id())
        return list(self._call(numbered, wp.BenchReply).lines)

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
        if len(self._under_way) >= self._window:
            self._pump_until_below(self._window)
        allowed_s = self._deadline_s * (len(self._under_way) + 1)
        request = wp.SignRequest(self._id(), lower(zone), key_id, preimages, int(allowed_s * 1000))
        self._send(request)
        return request.id

    def collect(self, ticket: int) -> list[bytes]:
        """Wait for the batch `ticket` stands for; raises what went wrong with it."""
        reply = self._wait(ticket)
        if not isinstance(reply, wp.SignReply):
            raise self._broken(f"{type(reply).__name__} in answer to a sign request")
        return reply.signatures

    def forget(self, ticket: int) -> None:
        """Give up a ticket; its answer is thrown away when it comes."""
        self._done.pop(ticket, None)
        self._under_way.pop(ticket, None)

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
        self._socket = None
        self._out.clear()
        self._frames = wp.frame_buffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Machinery

    def _id(self) -> int:
        self._next_id += 1  # 1 is hello's, 0 stands for the connection as a whole
        return self._next_id

    def _call(self, request: wp.Request, kind: type[R]) -> R:
        self._send(request)
        reply = self._wait(request.id)
        if not isinstance(reply, kind):
            raise self._broken(f"{type(reply).__name__} in answer to {type(request).__name__}")
        return reply

    def _send(self, request: wp.Request) -> None:
        try:
            frame = wp.encode_frame(request)
        except wp.FrameError as error:
            raise BadRequest(str(error)) from None
        if not self._under_way:
            self._progress_at = time.monotonic()
            self._reconnected = False
        if self._socket is None:
            self._connect()
        self._under_way[request.id] = request
        self._out += frame
        self._transfer(0.0)

    def _wait(self, ticket: int) -> wp.Reply:
        while ticket not in self._done:
            if ticket not in self._under_way:
                raise BadRequest(f"ticket {ticket} is not under way")
            self._pump()
        reply = self._done.pop(ticket)
        if isinstance(reply, wp.ErrorReply):
            raise error_from_reply(reply)
        return reply

    def _pump_until_below(self, count: int) -> None:
        while len(self._under_way) >= count:
            self._pump()

    def _pump(self) -> None:
        """Move octets until something happened; raises SignerTimeout after the deadline without progress."""
        left_s = self._progress_at + self._deadline_s - time.monotonic()
        if left_s <= 0:
            self._lost()
            self._breaker.failed()
            raise SignerTimeout(
                f"the key service at {self._path} gave no answer within {self._deadline_s:g} s;"
                " see `dnssecd keystore test` and the signer's log"
            )
        if self._socket is None:
            self._connect()
        self._transfer(left_s)

    def _transfer(self, wait_s: float) -> None:
        assert self._socket is not None
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
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
        with memoryview(self._out) as view:
            sent = self._socket.send(view[:SEND_OCTETS])
        del self._out[:sent]

    def _read(self) -> None:
        assert self._socket is not None
        octets = self._socket.recv(RECEIVE_OCTETS)
        if not octets:
            raise ConnectionResetError("the key service closed the connection")
        try:
            replies = [wp.decode_reply(body) for body in self._frames.feed(octets)]
        except wp.FrameError as error:
            raise self._broken(str(error)) from None
        for reply in replies:
            self._accept(reply)

    def _accept(self, reply: wp.Reply) -> None:
        self._progress_at = time.monotonic()
        self._breaker.succeeded()
        request = self._under_way.pop(reply.id, None)
        if reply.id <= 1 and isinstance(reply, wp.ErrorReply):
            raise self._broken(reply.message)
        if request is None:
            return
        if (
            isinstance(request, wp.SignRequest)
            and isinstance(reply, wp.SignReply)
            and len(reply.signatures) != len(request.preimages)
        ):
            raise self._broken(f"{len(reply.signatures)} signatures for {len(request.preimages)} preimages")
        self._done[reply.id] = reply

    def _connect(self) -> None:
        wait_s = self._breaker.wait_s()
        if wait_s > 0:
            raise SignerUnreachable(
                f"the key service at {self._path} is down; next try in {wait_s:.1f} s", retry_in_s=wait_s
            )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(self._deadline_s)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            if not nobody_there(error):
                self._breaker.failed()
            raise SignerUnreachable(
                f"cannot reach the key service at {self._path}: {error.strerror or error};"
                " is `dnssecd signer` running, and may this user use its socket?"
            ) from None
        try:
            check_owner(connection, self._path, self._owners)
        except SignerError:
            connection.close()
            raise
        connection.setblocking(False)
        self._socket = connection
        self._poll.register(connection, select.POLLIN)
        self._out += wp.encode_frame(wp.HelloRequest(1))

    def _reconnect(self, why: str) -> None:
        """After a broken connection: send again what is under way, once, if that is harmless."""
        repeat = dict(self._under_way)
        again = not self._reconnected and all(repeatable(request) for request in repeat.values())
        self._lost()
        if not again:
            self._breaker.failed()
            raise SignerUnreachable(f"lost the key service at {self._path}: {why}")
        self._reconnected = True
        self._connect()
        self._under_way = repeat
        for request in repeat.values():
            self._out += wp.encode_frame(request)

    def _lost(self) -> None:
        self.close()
        self._under_way.clear()

    def _broken(self, why: str) -> SignerBroken:
        self._lost()
        self._breaker.failed()
        return SignerBroken(f"the key service at {self._path} does not speak our protocol: {why}")
