"""The asyncio client of the key service; see `dnssecd.keyservice_client.client` for the interface."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec

from dnssecd import keyservice_protocol as wp
from dnssecd.breaker import Breaker
from dnssecd.keyservice_client.errors import (
    BadRequest,
    SignerBroken,
    SignerBusy,
    SignerError,
    SignerTimeout,
    SignerUnreachable,
    error_from_reply,
    nobody_there,
)
from dnssecd.keyservice_client.peer import check_owner
from dnssecd.keyservice_client.proof import check_proofs, new_nonce
from dnssecd.keyservice_client.requests import adopt_request, generate_request, import_request, lower

R = TypeVar("R", bound=wp.Message)
UNDER_WAY_MAX = 1024


class AsyncSignerClient:
    """Any number of coroutines may share one client; at most `window` sign batches are under way.

    `deadline_s` bounds each call, or each batch of a long `sign`, from when it is sent. `owners`: user ids that the
    service may have beside root's (None: any). Nothing is sent to another.
    """

    def __init__(
        self,
        path: str,
        deadline_s: float = 10.0,
        *,
        window: int = 8,
        owners: frozenset[int] | None = None,
    ) -> None:
        self._path = path
        self._owners = owners
        self._deadline_s = deadline_s
        self._breaker = Breaker()
        self._slots = asyncio.Semaphore(window)
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[wp.Reply]] = {}
        self._next_id = 1

    @property
    def breaker_state(self) -> str:
        """ "closed", "open" or "half-open"."""
        return self._breaker.state

    async def status(self) -> wp.StatusReply:
        """State, counters and warnings of the service."""
        return await self._call(wp.StatusRequest(self._id()), wp.StatusReply)

    async def keys(self, zone: bytes = b"") -> list[wp.KeyInfo]:
        """Every key bound to `zone` (all zones when empty)."""
        found: list[wp.KeyInfo] = []
        more = True
        while more:
            after = found[-1].id if found else ""
            reply = await self._call(wp.KeysRequest(self._id(), lower(zone), after), wp.KeysReply)
            found += reply.keys
            more = reply.more and bool(reply.keys)
        return sorted(found, key=lambda info: (info.created, info.id))

    async def generate(
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
        """Make a key pair, or share one: see SignerClient.generate."""
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
        return (await self._call(request, wp.KeysReply)).keys[0]

    async def import_key(
        self, zone: bytes, role: wp.Role, algorithm: int, private: bytes, *, store: str = "", created: int = 0
    ) -> wp.KeyInfo:
        """Take a private key (BIND `.private` text, PEM or PKCS#8 DER) into a software store."""
        request = import_request(self._id(), zone, role, algorithm, private, store=store, created=created)
        return (await self._call(request, wp.KeysReply)).keys[0]

    async def adopt(
        self,
        zone: bytes,
        role: wp.Role,
        algorithm: int,
        *,
        store: str = "",
        cka_id: str = "",
        label: str = "",
    ) -> wp.KeyInfo:
        """Bind a key that is in a token already, by CKA_ID (hex) or label."""
        request = adopt_request(self._id(), zone, role, algorithm, store=store, cka_id=cka_id, label=label)
        return (await self._call(request, wp.KeysReply)).keys[0]

    async def export_key(self, key_id: str, passphrase: bytes) -> bytes:
        """A private key of a software store, sealed under `passphrase`; for root and the service's own user."""
        return (await self._call(wp.ExportRequest(self._id(), key_id, passphrase), wp.ExportReply)).sealed

    async def restore_key(self, sealed: bytes, passphrase: bytes, store: str = "") -> wp.KeyInfo:
        """Take an exported key back as it was: id, zones, role and all."""
        request = wp.RestoreRequest(self._id(), sealed, passphrase, store)
        return (await self._call(request, wp.KeysReply)).keys[0]

    async def bind(self, zone: bytes, key_id: str) -> wp.KeyInfo:
        """Let an existing key sign for `zone` too."""
        return (await self._call(wp.BindRequest(self._id(), lower(zone), key_id), wp.KeysReply)).keys[0]

    async def remove(self, zone: bytes, key_id: str) -> str:
        """Unbind the key from `zone`; with its last zone the private key is destroyed."""
        return (await self._call(wp.RemoveRequest(self._id(), lower(zone), key_id), wp.DoneReply)).detail

    async def prove(self, zone: bytes, key_id: str, published_dnskey: bytes) -> list[wp.Proof]:
        """Have every token holding the key sign a nonce; `error` is empty where it verifies."""
        nonce = new_nonce()
        reply = await self._call(wp.ProveRequest(self._id(), lower(zone), key_id, nonce), wp.ProveReply)
        return check_proofs(reply.proofs, nonce, published_dnskey)

    async def report_bad(self, zone: bytes, key_id: str, preimage: bytes, signature: bytes) -> str:
        """Tell the service that a signature it made does not verify; the token that made it is evicted."""
        request = wp.ReportRequest(self._id(), lower(zone), key_id, preimage, signature)
        return (await self._call(request, wp.DoneReply)).detail

    async def audit(self, limit: int = 100) -> wp.AuditReply:
        """Check the audit log's hash chain and return its last entries."""
        return await self._call(wp.AuditRequest(self._id(), limit), wp.AuditReply)

    async def test_store(self, store: str = "", algorithm: int = 13) -> str:
        """Generate, sign, verify and destroy a throw-away key; returns what was seen."""
        request = wp.TestRequest(self._id(), store, algorithm, int(self._deadline_s * 1000))
        return (await self._call(request, wp.DoneReply)).detail

    async def bench_store(self, request: wp.BenchRequest) -> list[wp.BenchLine]:
        """Measure a store; only the id of `request` is replaced."""
        numbered = msgspec.structs.replace(request, id=self._id())
        return list((await self._call(numbered, wp.BenchReply)).lines)

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
            await asyncio.wait([self._reader_task], timeout=1.0)

    async def _sign_batch(self, zone: bytes, key_id: str, preimages: list[bytes]) -> list[bytes]:
        async with self._slots:
            timeout_ms = int(self._deadline_s * 1000)
            request = wp.SignRequest(self._id(), lower(zone), key_id, preimages, timeout_ms)
            reply = await self._call(request, wp.SignReply)
        if len(reply.signatures) != len(preimages):
            raise self._broken(f"{len(reply.signatures)} signatures for {len(preimages)} preimages")
        return reply.signatures

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    async def _call(self, request: wp.Request, kind: type[R]) -> R:
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await self._exchange(request)
        except TimeoutError:
            self._breaker.failed()
            raise SignerTimeout(
                f"the key service at {self._path} gave no answer within {self._deadline_s:g} s;"
                " see `dnssecd keystore test` and the signer's log"
            ) from None
        if isinstance(reply, wp.ErrorReply):
            raise error_from_reply(reply)
        if not isinstance(reply, kind):
            raise self._broken(f"{type(reply).__name__} in answer to {type(request).__name__}")
        return reply

    async def _exchange(self, request: wp.Request) -> wp.Reply:
        try:
            frame = wp.encode_frame(request)
        except wp.FrameError as error:
            raise BadRequest(str(error)) from None
        if len(self._waiting) >= UNDER_WAY_MAX:
            raise SignerBusy(f"{UNDER_WAY_MAX} requests wait for the key service already", retry_in_s=1.0)
        writer = await self._connected()
        future: asyncio.Future[wp.Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        try:
            writer.write(frame)
            await writer.drain()
            return await future
        except OSError as error:
            raise SignerUnreachable(f"lost the key service at {self._path}: {error}") from None
        finally:
            self._waiting.pop(request.id, None)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            wait_s = self._breaker.wait_s()
            if wait_s > 0:
                raise SignerUnreachable(
                    f"the key service at {self._path} is down; next try in {wait_s:.1f} s", retry_in_s=wait_s
                )
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=wp.FRAME_OCTETS_MAX)
            except OSError as error:
                if not nobody_there(error):
                    self._breaker.failed()
                raise SignerUnreachable(
                    f"cannot reach the key service at {self._path}: {error.strerror or error};"
                    " is `dnssecd signer` running, and may this user use its socket?"
                ) from None
            try:
                check_owner(writer.get_extra_info("socket"), self._path, self._owners)
            except SignerError:
                writer.close()
                raise
            writer.write(wp.encode_frame(wp.HelloRequest(1)))
            self._writer = writer
            self._reader_task = asyncio.create_task(self._read(reader, writer))
            return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = wp.frame_buffer()
        why = "the key service closed the connection"
        try:
            while octets := await reader.read(256 * 1024):
                for body in frames.feed(octets):
                    self._accept(wp.decode_reply(body))
        except (OSError, wp.FrameError) as error:
            why = str(error)
            self._breaker.failed()
        if self._writer is writer:
            self._lost(why)
        writer.close()

    def _accept(self, reply: wp.Reply) -> None:
        self._breaker.succeeded()
        if reply.id <= 1 and isinstance(reply, wp.ErrorReply):
            raise wp.ProtocolError(reply.message)
        future = self._waiting.get(reply.id)
        if future is not None and not future.done():
            future.set_result(reply)

    def _lost(self, why: str) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SignerUnreachable(f"lost the key service at {self._path}: {why}"))

    def _broken(self, why: str) -> SignerBroken:
        self._breaker.failed()
        self._lost(why)
        return SignerBroken(f"the key service at {self._path} does not speak our protocol: {why}")
