"""The software key store: encrypted key files in one private directory.

Layout: `DIRECTORY/<key id>.key` (see `sealed`) and, unless configured elsewhere, `DIRECTORY/passphrase`.
Directory 0700, files 0600, looked at whenever a key is used; wrong modes are corrected and reported.
Private keys stay in memory once opened, except on a removable medium: there they are forgotten as soon as
it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dnssecd.signer import algorithms, files, sealed
from dnssecd.signer.algorithms import PrivateKey, Sign
from dnssecd.signer.errors import (
    Collision,
    MissingKey,
    OperatorNeeded,
    ServiceError,
    Unavailable,
)
from dnssecd.signer.now import Now
from dnssecd.signer.passphrase import ALLOWED_MODE, make_passphrase, path_of, read_passphrase
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.registry import Registry
from dnssecd.signer.sealed import Description, KeyEncryption
from dnssecd.signer.warnings import WarningBook
from dnssecd.wire_protocol import KeyState, KeystoreSettings, Proof, Role, StoreStatus

T = TypeVar("T")

SUFFIX = ".key"
PIECE = 64
WATCH_S = 0.5
TRIES = 64


class SoftwareStore:
    """See the module. `threads` sign at the same time; `cryptography` lets go of the GIL meanwhile."""

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
        self._settings = settings
        self._directory = Path(settings.directory)
        self._passphrase_path = path_of(settings.passphrase_file, self._directory)
        self.registry = registry
        self._warnings = warnings
        self._now = now
        self._deterministic = deterministic
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"sign-{settings.name}")
        self._signers: dict[str, Sign] = {}
        self._encryption: KeyEncryption | None = None
        self._kdf: sealed.Kdf | None = None
        self._signatures = 0
        self._faults: dict[str, str] = {}
        self._was_present = False
        self._changing = asyncio.Lock()
        self._runners: list[asyncio.Task[None]] = []
        self._queue: FairQueue | None = None

    # Life

    async def start(self) -> None:
        """Read what keys there are; the directory is made unless it is on a removable medium."""
        self.registry.load()
        if not self._settings.removable:
            files.make_private_directory(self._directory)
        loop = asyncio.get_running_loop()
        if self._present():
            files.remove_temporary(self._directory)
            await self._off_loop(self._try_one)
        self._queue = FairQueue(loop.time)
        # One piece more than there are threads waits in the executor, so that no thread idles between pieces.
        self._runners = [loop.create_task(self._run()) for _ in range(self._threads + 1)]
        if self._settings.removable:
            self._runners.append(loop.create_task(self._watch()))

    async def stop(self) -> None:
        """End the threads and forget the keys."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        if self._queue is not None:
            self._queue.fail_all(Unavailable("the key service is stopping"))
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._forget()

    def _forget(self) -> None:
        self._signers.clear()
        self._encryption = None
        self._faults.clear()

    async def _watch(self) -> None:
        """Notice that a medium has gone, so that its keys are forgotten, or has come."""
        while True:
            self._present()
            await asyncio.sleep(WATCH_S)

    # Keys

    def state(self, key: Description) -> tuple[KeyState, str]:
        """Whether the key can be used now, and why not."""
        if not self._present():
            return "unavailable", self._absent_text()
        if not self._path(key.id).exists() and key.id not in self._signers:
            return "missing", f"{self._path(key.id)} is gone; restore it from the back-up"
        if key.id in self._faults:
            return "unavailable", self._faults[key.id]
        return "available", ""

    async def generate(
        self, zone: bytes, role: Role, algorithm: int, bits: int, idempotency: str, taken: frozenset[int]
    ) -> Description:
        """Make a key whose tags are not in `taken`."""
        return await self._off_loop(lambda: self._generate(zone, role, algorithm, bits, idempotency, taken))

    def _generate(
        self, zone: bytes, role: Role, algorithm: int, bits: int, idempotency: str, taken: frozenset[int]
    ) -> Description:
        kind = algorithms.algorithm_of(algorithm)
        for _ in range(TRIES):
            private = algorithms.generate(kind, bits)
            key = self._describe(zone, role, algorithm, private, idempotency)
            if taken.isdisjoint(algorithms.tags(key.dnskey)):
                self._store(key, private)
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
    ) -> Description:
        """Store a private key made elsewhere."""
        key = self._describe(zone, role, algorithm, private, "")
        if created:
            key = msgspec.structs.replace(key, created=created)
        if not taken.isdisjoint(algorithms.tags(key.dnskey)):
            raise Collision("another key of the zone has the same key tag, with or without the REVOKE bit")
        await self._off_loop(lambda: self._store(key, private))
        return key

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to; the file is sealed anew, since it vouches for them."""
        changed = msgspec.structs.replace(key, zones=zones)
        await self._off_loop(lambda: self._store(changed, self._open(key)))
        return changed

    async def destroy(self, key: Description) -> None:
        """Remove the key file."""
        self._must_be_present()
        await self._off_loop(lambda: files.remove(self._path(key.id)))
        self._signers.pop(key.id, None)
        self.registry.drop(key.id)

    def _describe(
        self, zone: bytes, role: Role, algorithm: int, private: PrivateKey, idempotency: str
    ) -> Description:
        public = private.public_key()
        flags = algorithms.flags_of(role)
        dnskey = algorithms.dnskey_rdata(flags, algorithm, public)
        return Description(
            id=secrets.token_hex(16),
            zones=(zone,),
            role=role,
            algorithm=algorithm,
            bits=algorithms.bits_of(public),
            flags=flags,
            dnskey=dnskey,
            created=int(self._now()),
            idempotency=idempotency,
        )

    # Files

    def _store(self, key: Description, private: PrivateKey) -> None:
        self._must_be_present()
        encryption = self._unlocked(may_make=True)
        if self._kdf is None:
            self._kdf = sealed.new_kdf()
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        content = sealed.seal(key, der, encryption, self._kdf)
        files.write_atomically(self._path(key.id), content)
        if self._open(sealed.read(self._path(key.id).read_bytes()).key).public_key() != private.public_key():
            raise ServiceError(f"{self._path(key.id)} does not read back as it was written; check the disk")
        self.registry.put(key)
        self._signers[key.id] = self._signer(key, private)

    def _open(self, key: Description) -> PrivateKey:
        path = self._path(key.id)
        try:
            content = sealed.read(path.read_bytes())
            der = sealed.open_sealed(content, self._unlocked())
        except FileNotFoundError:
            raise MissingKey(f"{path} is gone; restore it from the back-up") from None
        except OSError as error:
            raise OperatorNeeded(f"{path} cannot be read: {error.strerror}") from None
        except sealed.CannotOpen as error:
            raise OperatorNeeded(f"{path} cannot be opened with {self._passphrase_path}: {error}") from None
        private = load_der_private_key(der, None)
        public = algorithms.dnskey_rdata(key.flags, key.algorithm, private.public_key())  # type: ignore[arg-type]
        if content.key.id != key.id or public != key.dnskey:
            raise OperatorNeeded(f"{path} holds another key than it should; restore it from the back-up")
        return private  # type: ignore[return-value]

    def _signer(self, key: Description, private: PrivateKey) -> Sign:
        kind = algorithms.ALGORITHMS[key.algorithm]
        return algorithms.signer(kind, private, deterministic=self._deterministic)

    def _unlocked(self, *, may_make: bool = False) -> KeyEncryption:
        if self._encryption is None:
            fresh = may_make and not self._settings.passphrase_file and not len(self.registry)
            if fresh and not self._passphrase_path.exists() and not self._key_paths():
                make_passphrase(self._passphrase_path)
            self._encryption = KeyEncryption(read_passphrase(self._passphrase_path))
        return self._encryption

    def _scan(self) -> None:
        """Learn of key files put there by others, such as a restored back-up."""
        for path in self._key_paths():
            try:
                content = sealed.read(path.read_bytes())
            except (OSError, sealed.CannotOpen) as error:
                self._warnings.add("key file unreadable", str(path), str(error))
                continue
            self._warnings.clear("key file unreadable", str(path))
            self._kdf = self._kdf or content.kdf
            if content.key.id == path.stem:
                self.registry.put(content.key)

    def _key_paths(self) -> list[Path]:
        return sorted(self._directory.glob("*" + SUFFIX))

    def _path(self, key_id: str) -> Path:
        return self._directory / (key_id + SUFFIX)

    def _present(self) -> bool:
        present = self._directory.is_dir()
        if present != self._was_present:
            self._was_present = present
            if present:
                self._scan()
            elif self._settings.removable:
                self._forget()
        return present

    def _must_be_present(self) -> None:
        if not self._present():
            raise Unavailable(self._absent_text())

    def _absent_text(self) -> str:
        what = "mount the medium" if self._settings.removable else "restore it from the back-up"
        return f"key directory {self._directory} is not there; {what}"

    def _check_modes(self, key: Description) -> None:
        """Correct and report what others might read; report a lost file while memory still has the key."""
        key_path = self._path(key.id)
        checks = [(self._directory, 0o700), (key_path, 0o600), (self._passphrase_path, ALLOWED_MODE)]
        for path, allowed in checks:
            try:
                wrong = files.correct_mode(path, allowed)
            except OSError as error:
                detail = f"{path}: {error.strerror}; the key is in memory only: back it up before a restart"
                self._warnings.add("key file gone", str(path), detail)
                continue
            self._warnings.clear("key file gone", str(path))
            if wrong:
                self._warnings.add("key file mode", str(path), wrong, firing=False)

    # Signing

    def submit(
        self, lane: int, key: Description, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue preimages; MissingKey, Unavailable or OperatorNeeded when the key cannot be used."""
        assert self._queue is not None
        if self._settings.removable:
            self._must_be_present()
        if key.id not in self._signers:
            self._must_be_present()
            self._load(key)
        self._check_modes(key)
        return self._queue.put(lane, key.id, preimages, deadline)

    def _load(self, key: Description) -> None:
        """Open a key; why it cannot be is remembered for listings and reported."""
        try:
            self._signers[key.id] = self._signer(key, self._open(key))
        except ServiceError as error:
            self._faults[key.id] = str(error)
            self._warnings.add("key not usable", key.id, str(error))
            raise
        self._faults.pop(key.id, None)
        self._warnings.clear("key not usable", key.id)

    def _try_one(self) -> None:
        """Open one key, so that a wrong passphrase is reported at the start and not at the first signature."""
        for path in self._key_paths()[:1]:
            key = self.registry.get(path.stem)
            if key is not None:
                with contextlib.suppress(ServiceError):
                    self._load(key)

    async def _run(self) -> None:
        assert self._queue is not None
        loop = asyncio.get_running_loop()
        while True:
            piece = self._queue.take(PIECE)
            if piece is None:
                await self._queue.wait()
                continue
            await self._do(loop, piece)

    async def _do(self, loop: asyncio.AbstractEventLoop, piece: Piece) -> None:
        sign = self._signers.get(piece.job.key_id)
        if sign is None:
            piece.fail(Unavailable(self._absent_text()))
            return
        try:
            signatures = await loop.run_in_executor(self._pool, _sign_all, sign, piece.preimages)
        except (ValueError, RuntimeError) as error:
            piece.fail(ServiceError(f"signing failed: {type(error).__name__}"))
            return
        self._signatures += len(signatures)
        piece.finish(signatures)

    async def prove(self, key: Description, preimage: bytes, deadline: float) -> list[Proof]:
        """Sign `preimage` and verify it with the public key on record."""
        (signature,) = await self.submit(-1, key, [preimage], deadline)
        try:
            algorithms.verifier(key.dnskey)(signature, preimage)
        except InvalidSignature:
            return [Proof(self.name, preimage, b"", "the key does not verify with its own public key")]
        return [Proof(self.name, preimage, signature)]

    def status(self) -> StoreStatus:
        """For monitoring."""
        present = self._present()
        return StoreStatus(
            name=self.name,
            type="software",
            state="available" if present else "unavailable",
            detail="" if present else self._absent_text(),
            keys=len(self.registry),
            queue=len(self._queue) if self._queue is not None else 0,
            signatures=self._signatures,
        )

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; one at a time, since the first key of a store makes its passphrase."""
        async with self._changing:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _sign_all(sign: Sign, preimages: list[bytes]) -> list[bytes]:
    return [sign(preimage) for preimage in preimages]
