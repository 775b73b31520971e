"""The software key store: keys from a `KeyDirectory`, signing in threads, or in processes when there is much to do.

Private keys stay in memory once opened, except those of a removable medium: they are forgotten as soon as it
is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature

from dnssecd.keyservice_protocol import (
    BenchLine,
    BenchRequest,
    KeyState,
    KeystoreSettings,
    Proof,
    Role,
    StoreStatus,
)
from dnssecd.signer import algorithms, selftest
from dnssecd.signer.algorithms import PrivateKey, Sign
from dnssecd.signer.errors import Collision, MissingKey, ServiceError, Unavailable, Unsupported
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.key_file import Description, SealedKey
from dnssecd.signer.keystore import Account
from dnssecd.signer.now import Now
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.registry import Registry
from dnssecd.signer.software_pool import IDLE_S, SigningProcesses
from dnssecd.signer.software_pool import PIECE as PROCESS_PIECE
from dnssecd.signer.software_worker import KeyCall, key_call
from dnssecd.signer.warnings import WarningBook

T = TypeVar("T")

PIECE = 64
#: Algorithms that sign in microseconds: for a few signatures the way to a thread and back takes longer.
QUICK_ALGORITHMS = frozenset({13, 15})
WATCH_S = 0.5
MEDIUM_IDLE_S = 300.0
MEDIUM_STILL_S = 3600.0
TRIES = 64


class _Opened(NamedTuple):
    """A key in memory: what signs with it here, and what tells it to a process."""

    key_id: str
    sign: Sign
    call: Callable[[], KeyCall]


class SoftwareStore:
    """See the module. `threads` pieces are signed at the same time."""

    def __init__(
        self,
        settings: KeystoreSettings,
        registry: Registry,
        warnings: WarningBook,
        now: Now,
        *,
        threads: int = 0,
        deterministic: bool = False,
    ) -> None:
        self.name = settings.name
        self.registry = registry
        self._directory = KeyDirectory(settings, warnings)
        self._warnings = warnings
        self._now = now
        self._deterministic = deterministic
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"sign-{settings.name}")
        self.processes = SigningProcesses(self._threads)
        self._signers: dict[str, _Opened] = {}
        self._faults: dict[str, str] = {}
        self._signatures = 0
        self._last_used = 0
        self._was_present = False
        self._present_since = 0.0
        self._changing = asyncio.Lock()
        self._runners: list[asyncio.Task[None]] = []
        self._queue = FairQueue(asyncio.get_running_loop().time)

    # Life

    async def start(self) -> None:
        """Read what keys there are and open one, so that a wrong passphrase shows now."""
        self.registry.load()
        self._directory.prepare()
        if self._present():
            await self._off_loop(self._try_one)
        loop = asyncio.get_running_loop()
        # One piece more than there are threads waits in the executor: no thread idles between pieces.
        self._runners = [loop.create_task(self._run()) for _ in range(self._threads + 1)]
        if self._directory.removable:
            self._runners.append(loop.create_task(self._watch()))

    async def stop(self) -> None:
        """End the threads and forget the keys."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._queue.fail_all(lambda key_id: Unavailable("the key service is stopping"))
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._forget()

    def _forget(self) -> None:
        self.processes.end()
        self._signers.clear()
        self._faults.clear()
        self._directory.forget()

    def _present(self) -> bool:
        """Whether the directory is there; its keys are read when it comes, a medium's forgotten when it goes."""
        present = self._directory.present()
        if present != self._was_present:
            self._was_present = present
            self._warnings.clear("media needed" if present else "media present", self.name)
            if present:
                self._present_since = self._now()
                for key in self._directory.scan():
                    self.registry.put(key)
            elif self._directory.removable:
                self._forget()
        return present

    async def _watch(self) -> None:
        """Notice when the medium comes and goes, and say when it may go."""
        while True:
            if self._present():
                self._say_when_idle()
            await asyncio.sleep(WATCH_S)

    def _say_when_idle(self) -> None:
        idle_s = self._now() - max(self._last_used, self._present_since)
        if idle_s < MEDIUM_IDLE_S or self._queue:
            return
        still = "is still there" if idle_s > MEDIUM_STILL_S else "can be removed now"
        since = datetime.fromtimestamp(self._now() - idle_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        detail = f"key medium {self._directory.path}, not needed since {since}, {still}"
        self._warnings.add("media present", self.name, detail)

    def _need(self) -> None:
        """The keys are needed now: Unavailable, and reported, while the directory is not there."""
        if self._present():
            self._last_used = int(self._now())
            self._warnings.clear("media present", self.name)
            return
        if self._directory.removable:
            self._warnings.add("media needed", self.name, self._directory.absent_text())
        raise Unavailable(self._directory.absent_text())

    # Keys

    def state(self, key: Description) -> tuple[KeyState, str]:
        """Whether the key can be used now, and why not."""
        if not self._present():
            return "unavailable", self._directory.absent_text()
        if not self._directory.holds(key.id) and key.id not in self._signers:
            path = self._directory.key_path(key.id)
            return "missing", f"{path} is gone; restore it from the back-up"
        if key.id in self._faults:
            return "unavailable", self._faults[key.id]
        return "available", ""

    async def generate(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        bits: int,
        idempotency: str,
        taken: frozenset[int],
        account: Account,
    ) -> Description:
        """Make a key whose tags are not in `taken`."""
        kind = algorithms.algorithm_of(algorithm)
        self._need()
        for _ in range(TRIES):
            private = await self._off_loop(partial(algorithms.generate, kind, bits))
            key = self._describe(zone, role, algorithm, private, idempotency)
            if taken.isdisjoint(algorithms.tags(key.dnskey)):
                account(key)
                await self._off_loop(partial(self._keep_new, key, private))
                return key
        raise Collision(f"{TRIES} keys made, each with a key tag the zone uses already; remove retired keys")

    async def take_in(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        private: PrivateKey,
        created: int,
        taken: frozenset[int],
        account: Account,
    ) -> Description:
        """Store a private key made elsewhere."""
        key = self._describe(zone, role, algorithm, private, "")
        if created:
            key = msgspec.structs.replace(key, created=created)
        if not taken.isdisjoint(algorithms.tags(key.dnskey)):
            raise Collision("another key of the zone has the same key tag, with or without the REVOKE bit")
        self._need()
        account(key)
        await self._off_loop(partial(self._keep_new, key, private))
        return key

    async def export(self, key: Description, passphrase: bytes) -> bytes:
        """Return the private key sealed under another passphrase."""
        self._need()
        return await self._off_loop(partial(self._directory.export, key, passphrase))

    async def restore(self, content: SealedKey, passphrase: bytes, account: Account) -> None:
        """Take back what `export` gave."""
        self._need()
        private = await self._off_loop(partial(self._directory.open_exported, content, passphrase))
        account(content.key)
        await self._off_loop(partial(self._keep_new, content.key, private))

    async def adopt(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        cka_id: str,
        label: str,
        taken: frozenset[int],
        public_key: bytes,
        account: Account,
    ) -> Description:
        """There is no token here."""
        raise Unsupported(f"key store {self.name} has no token to adopt keys from; import the private key")

    async def look(self, key: Description) -> None:
        """Nothing to ask: `state` looks at the directory."""

    def accuse(self, key: Description, preimage: bytes, signature: bytes) -> str:
        """Memory or disk may be damaged: read the key anew when it is used next."""
        self._drop(key)
        self._warnings.add(
            "wrong signature", key.id, "a signature did not verify; check this machine's memory"
        )
        return "the key is read from its file anew"

    async def try_evicted(self, deadline: float) -> list[str]:
        """Nothing is ever evicted here."""
        return []

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to; the file is sealed anew, since it vouches for them."""
        changed = msgspec.structs.replace(key, zones=zones)
        self._need()
        await self._off_loop(lambda: self._keep(changed, self._directory.read(key)))
        return changed

    async def destroy(self, key: Description) -> None:
        """Remove the key file."""
        self._need()
        await self._off_loop(lambda: self._directory.remove(key))
        self._drop(key)
        self.registry.drop(key.id)

    def _drop(self, key: Description) -> None:
        self.processes.end()
        self._signers.pop(key.id, None)

    def _keep_new(self, key: Description, private: PrivateKey) -> None:
        """Keep a key whose id no key has yet; Exists when a file has it."""
        self._directory.must_be_new(key.id)
        self._keep(key, private)

    def _keep(self, key: Description, private: PrivateKey) -> None:
        self._directory.write(key, private)
        self.registry.put(key)
        self._signers[key.id] = self._signer(key, private)

    def _describe(
        self, zone: bytes, role: Role, algorithm: int, private: PrivateKey, idempotency: str
    ) -> Description:
        public = private.public_key()
        flags = algorithms.flags_of(role)
        return Description(
            id=secrets.token_hex(16),
            zones=(zone,),
            role=role,
            algorithm=algorithm,
            bits=algorithms.bits_of(public),
            flags=flags,
            dnskey=algorithms.dnskey_rdata(flags, algorithm, public),
            created=int(self._now()),
            idempotency=idempotency,
        )

    def _signer(self, key: Description, private: PrivateKey) -> _Opened:
        kind = algorithms.ALGORITHMS[key.algorithm]
        sign = algorithms.signer(kind, private, deterministic=self._deterministic)
        return _Opened(key.id, sign, partial(key_call, key.algorithm, self._deterministic, private))

    def _load(self, key: Description) -> None:
        """Open a key; why it cannot be is remembered for listings and reported."""
        try:
            self._signers[key.id] = self._signer(key, self._directory.read(key))
        except MissingKey as error:
            self._warnings.add("key missing", key.id, str(error))
            raise
        except ServiceError as error:
            self._faults[key.id] = str(error)
            self._warnings.add("key not usable", key.id, str(error))
            raise
        self._faults.pop(key.id, None)
        self._warnings.clear("key not usable", key.id)
        self._warnings.clear("key missing", key.id)

    def _try_one(self) -> None:
        for key in self.registry.all()[:1]:
            with contextlib.suppress(ServiceError):
                self._load(key)

    # Signing

    def submit(
        self, lane: int, key: Description, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue preimages; MissingKey, Unavailable or OperatorNeeded when the key cannot be used."""
        if self._directory.removable or key.id not in self._signers:
            self._need()
        if key.id not in self._signers:
            self._load(key)
        self._directory.check_modes(key.id)
        self._last_used = int(self._now())
        return self._queue.put(lane, key.id, preimages, deadline)

    def sign_at_once(self, key: Description, preimages: list[bytes]) -> list[bytes] | None:
        """Sign with a key in memory, unless somebody else is waiting."""
        opened = self._signers.get(key.id)
        if opened is None or self._directory.removable or self._queue:
            return None
        if key.algorithm not in QUICK_ALGORITHMS:
            return None
        self._directory.check_modes(key.id)
        self._last_used = int(self._now())
        try:
            signatures = [opened.sign(preimage) for preimage in preimages]
        except Exception:  # whatever it is, it comes again where it is reported
            return None
        self._signatures += len(signatures)
        return signatures

    async def _run(self) -> None:
        while True:
            many = self.processes.wanted(len(self._queue))
            piece = self._queue.take(PROCESS_PIECE if many else PIECE)
            if piece is not None:
                await self._do(piece)
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._queue.wait()
            except TimeoutError:
                self.processes.end_idle()
                self._directory.forget_backup()

    async def _do(self, piece: Piece) -> None:
        opened = self._signers.get(piece.job.key_id)
        if opened is None:
            piece.fail(Unavailable(self._directory.absent_text()))
            return
        loop = asyncio.get_running_loop()
        try:
            signatures = await loop.run_in_executor(self._pool, self._sign_all, opened, piece.preimages)
        except Exception as error:  # whatever it is, the client must hear of it and the runner live on
            piece.fail(ServiceError(f"signing failed: {type(error).__name__}"))
            return
        self._signatures += len(signatures)
        piece.finish(signatures)

    def _sign_all(self, opened: _Opened, preimages: list[bytes]) -> list[bytes]:
        """Sign, in a thread: by a process when there are some, else here."""
        signatures = None
        if len(preimages) > PIECE:
            signatures = self.processes.sign(opened.key_id, opened.call, preimages)
        return [opened.sign(preimage) for preimage in preimages] if signatures is None else signatures

    async def prove(self, key: Description, preimage: bytes, deadline: float) -> list[Proof]:
        """Sign `preimage` and verify it with the public key on record."""
        (signature,) = await self.submit(-1, key, [preimage], deadline)
        try:
            algorithms.verifier(key.dnskey)(signature, preimage)
        except InvalidSignature:
            return [Proof(self.name, preimage, b"", "the key does not verify with its own public key")]
        return [Proof(self.name, preimage, signature)]

    async def trial(self, algorithm: int, deadline: float) -> str:
        """Generate, sign, verify and destroy; returns what was done or raises what went wrong."""
        key = await self._throw_away(algorithm)
        try:
            await selftest.sign_and_verify(key, lambda preimages: self.submit(-1, key, preimages, deadline))
        finally:
            await self.destroy(key)
        return f"{selftest.done_text(algorithm)} in key store {self.name}"

    async def bench(self, request: BenchRequest, deadline: float) -> BenchLine:
        """Measure; a session is a thread, and all are used."""
        key = await self._throw_away(request.algorithm)
        try:
            return await selftest.measure(
                key,
                request,
                lambda preimages: self.submit(-1, key, preimages, deadline),
                self._threads,
                asyncio.get_running_loop().time,
            )
        finally:
            await self.destroy(key)

    async def _throw_away(self, algorithm: int) -> Description:
        bits = selftest.bits_for(algorithm)
        return await self.generate(
            selftest.TEST_ZONE, "csk", algorithm, bits, "", frozenset(), lambda key: None
        )

    def status(self) -> StoreStatus:
        """For monitoring."""
        present = self._present()
        return StoreStatus(
            name=self.name,
            type="software",
            state="available" if present else "unavailable",
            detail="" if present else self._directory.absent_text(),
            keys=len(self.registry),
            queue=len(self._queue),
            signatures=self._signatures,
            removable=self._directory.removable,
            last_used=self._last_used,
        )

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; one at a time, since the first key of a store makes its passphrase."""
        async with self._changing:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
