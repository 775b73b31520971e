"""The software key store: keys in the files of a `KeyDirectory`, which sign in this process and its children.

Private keys stay in memory once opened, except those of a removable medium: they are forgotten as soon as it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from functools import partial

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dnssecd.keyservice_protocol import (
    AdoptRequest,
    BenchLine,
    BenchRequest,
    KeyState,
    Proof,
    Role,
    StoreStatus,
)
from dnssecd.keyservice_settings import KeystoreSettings
from dnssecd.signer import algorithms, throw_away
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.errors import ServiceError, Unsupported, no_tag_left, tag_taken
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.key_file import Description, SealedKey
from dnssecd.signer.keystore import Account, AccountAll, Consequence, Order
from dnssecd.signer.new_key import describe_new
from dnssecd.signer.now import Now
from dnssecd.signer.queue import FairQueue
from dnssecd.signer.registry import Registry
from dnssecd.signer.software_medium import Medium
from dnssecd.signer.software_open import OpenKeys
from dnssecd.signer.software_pool import SigningProcesses
from dnssecd.signer.software_signing import SoftwareSigning
from dnssecd.signer.warnings import WarningBook

#: Algorithms that sign in microseconds: for a few signatures the way to a thread and back takes longer.
QUICK_ALGORITHMS = frozenset({13, 15})
TRIES = 64


class SoftwareStore:
    """See the module. `threads` pieces are signed at the same time."""

    gives_out = True

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
        #: Its keys go sealed to the other nodes of the cluster.
        self.sealed = settings.sealed
        #: Only the public halves of its keys go to the other nodes.
        self.own = settings.own
        self.registry = registry
        self._warnings = warnings
        self._now = now
        self._queue = FairQueue(asyncio.get_running_loop().time)
        self._directory = KeyDirectory(settings, warnings)
        threads = threads or len(os.sched_getaffinity(0))
        self.processes = SigningProcesses(threads)
        self._keys = OpenKeys(self._directory, self.processes, warnings, deterministic=deterministic)
        self._signing = SoftwareSigning(
            settings.name, threads, self._queue, self._keys, self._directory, self.processes
        )
        self.medium = Medium(
            settings.name,
            self._directory,
            registry,
            self._keys,
            warnings,
            now,
            is_busy=lambda: bool(self._queue),
        )
        self._watcher: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Read which keys there are, and open one, so that a wrong passphrase shows now."""
        self.registry.load()
        self._directory.prepare()
        if self.medium.is_present():
            await self._signing.off_loop(self._try_one)
            await self._signing.off_loop(self._report_missing)
        self._signing.start()
        if self.medium.removable:
            self._watcher = asyncio.get_running_loop().create_task(self.medium.watch())

    async def stop(self) -> None:
        """End the threads and forget the keys."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._signing.stop()
        self._keys.forget()
        self.registry.close()

    def _try_one(self) -> None:
        for key in self.registry.all()[:1]:
            with contextlib.suppress(ServiceError):
                self._keys.load(key)

    def _report_missing(self) -> None:
        """Report each key whose file is gone now, not when it is used next: that may be in weeks."""
        for key in self.registry.all():
            self.state(key)

    # Keys

    def state(self, key: Description) -> tuple[KeyState, str]:
        """Return whether the key can be used now, and why not; a file that is gone, or back, is reported."""
        if not self.medium.is_present():
            return "unavailable", self._directory.absent_text()
        if not self._directory.holds(key.id) and not self._keys.has(key.id):
            detail = f"{self._directory.key_path(key.id)} is gone; restore it from the backup"
            self._warnings.add("key missing", key.id, detail)
            return "missing", detail
        self._warnings.clear("key missing", key.id)
        fault = self._keys.fault_of(key.id)
        return ("unavailable", fault) if fault else ("available", "")

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
        self.medium.must_be_present()
        key, private = await self._new_pair(Order(zone, role, algorithm, bits, idempotency), taken)
        account(key)
        await self._signing.off_loop(partial(self._keep_new, key, private))
        return key

    async def generate_all(
        self, orders: Sequence[Order], taken: frozenset[int], account: AccountAll
    ) -> list[Description]:
        """Make several keys; their entries in the audit log, and their directory, are synced once."""
        self.medium.must_be_present()
        pairs: list[tuple[Description, PrivateKey]] = []
        for order in orders:
            key, private = await self._new_pair(order, taken)
            taken |= set(algorithms.tags(key.dnskey))
            pairs.append((key, private))
        keys = [key for key, _ in pairs]
        account(keys)
        await self._signing.off_loop(partial(self._keep_all, pairs))
        return keys

    async def _new_pair(self, order: Order, taken: frozenset[int]) -> tuple[Description, PrivateKey]:
        """Return a key whose tags are not in `taken`; it is only in memory yet."""
        kind = algorithms.algorithm_of(order.algorithm)
        tries = algorithms.tries(TRIES, taken)
        for _ in range(tries):
            private = await self._made(kind, order.bits)
            key = describe_new(
                order.zone, order.role, order.algorithm, private, order.idempotency, self._now()
            )
            if taken.isdisjoint(algorithms.tags(key.dnskey)):
                return key, private
        raise no_tag_left(tries)

    async def _made(self, kind: algorithms.Algorithm, bits: int) -> PrivateKey:
        if kind.number in QUICK_ALGORITHMS:
            return algorithms.generate(kind, bits)  # it takes less time than the way to a thread and back
        return await self._signing.off_loop(partial(algorithms.generate, kind, bits))

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
        key = describe_new(zone, role, algorithm, private, "", self._now())
        if created:
            key = msgspec.structs.replace(key, created=created)
        if not taken.isdisjoint(algorithms.tags(key.dnskey)):
            raise tag_taken()
        self.medium.must_be_present()
        account(key)
        await self._signing.off_loop(partial(self._keep_new, key, private))
        return key

    async def export(self, key: Description, passphrase: bytes) -> bytes:
        """Return the private key sealed under another passphrase."""
        self.medium.must_be_present()
        return await self._signing.off_loop(partial(self._directory.export, key, passphrase))

    async def restore(
        self, content: SealedKey, passphrase: bytes, account: Account, known: Description | None = None
    ) -> None:
        """Take back what `export` gave."""
        self.medium.must_be_present()
        private = await self._signing.off_loop(partial(self._directory.open_exported, content, passphrase))
        if known is not None:
            await self.put_back(known, private, account)
            return
        account(content.key)
        await self._signing.off_loop(partial(self._keep_new, content.key, private))

    def has_lost(self, key: Description) -> bool:
        """Return whether the key's file is gone from a directory that is there; memory may still have the key."""
        return self.medium.is_present() and self._directory.lacks(key.id)

    async def put_back(self, key: Description, private: PrivateKey, account: Account) -> None:
        """Write the key's file again from a copy of the private key."""
        self.medium.must_be_present()
        account(key)
        await self._signing.off_loop(lambda: self._put_back(key, private))

    def _put_back(self, key: Description, private: PrivateKey) -> None:
        self._keep_new(key, private)
        self._keys.load(key)  # from the file, as a start does it; clears what was reported
        self._directory.check_modes(key.id)

    def has_sealing_key(self) -> bool:
        """Return whether the sealing key of this node is in this store."""
        return self._directory.has_sealing_key()

    async def sealing_key(self) -> X25519PrivateKey:
        """Return the sealing key of this node, made if there is none."""
        return await self._signing.off_loop(self._directory.sealing_key)

    async def for_letter(self, key: Description) -> bytes:
        """Return a private key (PKCS#8 DER), to be sealed for another node."""
        return await self._signing.off_loop(partial(self._directory.private_der, key))

    async def from_letter(self, key: Description, der: bytes, account: Account) -> None:
        """Keep a key that another node has sealed for this one."""
        self.medium.must_be_present()
        private = await self._signing.off_loop(partial(self._directory.open_letter, key, der))
        account(key)
        await self._signing.off_loop(lambda: self._put_back(key, private))

    async def adopt(self, wanted: AdoptRequest, taken: frozenset[int], account: Account) -> Description:
        """Refuse: there is no token here."""
        raise Unsupported(f"key store {self.name} has no token to adopt keys from; import the private key")

    async def look(self, key: Description) -> None:
        """Do nothing: `state` looks at the directory."""

    def accuse(self, key: Description, preimage: bytes, signature: bytes) -> Consequence:
        """Read the key from its file when it is used next: memory may be damaged."""
        self._keys.drop(key.id)
        self._warnings.add(
            "wrong signature", key.id, "a signature did not verify; check this machine's memory"
        )
        return Consequence("the key is read from its file again")

    async def try_evicted(self, deadline: float) -> list[str]:
        """Return none: nothing is ever evicted here."""
        return []

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to; the file is sealed again, since it confirms them."""
        changed = msgspec.structs.replace(key, zones=zones)
        self.medium.must_be_present()
        await self._signing.off_loop(lambda: self._keep(changed, self._directory.read(key)))
        return changed

    async def put_away(self, key: Description) -> None:
        """Move the key file into the trash, and forget the key."""
        self.medium.must_be_present()
        await self._signing.off_loop(lambda: self._directory.put_away(key.id))
        self._keys.drop(key.id)
        self.registry.drop(key.id)

    async def bring_back(self, key: Description) -> None:
        """Move the key file back; it must still open."""
        self.medium.must_be_present()
        await self._signing.off_loop(lambda: self._bring_back(key))
        self.registry.put(key)

    def _bring_back(self, key: Description) -> None:
        self._directory.bring_back(key.id)
        try:
            self._keys.load(key)
        except ServiceError:
            self._directory.put_away(key.id)
            raise

    async def destroy(self, key: Description) -> str:
        """Remove the key file."""
        self.medium.must_be_present()
        await self._signing.off_loop(lambda: self._directory.remove(key))
        self._keys.drop(key.id)
        self.registry.drop(key.id)
        return "destroyed"

    def _keep_new(self, key: Description, private: PrivateKey) -> None:
        """Keep a key whose id no key has yet; Exists when a file has it."""
        self._directory.must_be_new(key.id)
        self._keep(key, private)

    def _keep_all(self, pairs: Sequence[tuple[Description, PrivateKey]]) -> None:
        self._directory.write_new(pairs)
        for key, private in pairs:
            self.registry.put(key)
            self._keys.put(key, private)

    def _keep(self, key: Description, private: PrivateKey) -> None:
        self._directory.write(key, private)
        self.registry.put(key)
        self._keys.put(key, private)

    # Signing

    def submit(
        self, lane: int, key: Description, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue preimages; MissingKey, Unavailable or OperatorNeeded when the key cannot be used."""
        if self.medium.removable or not self._keys.has(key.id):
            self.medium.must_be_present()
        if not self._keys.has(key.id):
            self._keys.load(key)
        self._directory.check_modes(key.id)
        self.medium.note_use()
        return self._queue.put(lane, key.id, preimages, deadline)

    def sign_at_once(self, key: Description, preimages: list[bytes]) -> list[bytes] | None:
        """Sign with a key in memory, unless other signatures wait."""
        if key.algorithm not in QUICK_ALGORITHMS or self.medium.removable or self._queue:
            return None
        opened = self._keys.get(key.id)
        if opened is None:
            return None
        self._directory.check_modes(key.id)
        self.medium.note_use()
        return self._signing.sign_here(opened, preimages)

    async def prove(self, key: Description, preimage: bytes, deadline: float) -> list[Proof]:
        """Sign `preimage` and verify it with the public key on record."""
        made = self.sign_at_once(key, [preimage])
        (signature,) = await self.submit(-1, key, [preimage], deadline) if made is None else made
        try:
            algorithms.verifier(key.dnskey)(signature, preimage)
        except InvalidSignature:
            return [Proof(self.name, preimage, b"", "the key does not verify with its own public key")]
        return [Proof(self.name, preimage, signature)]

    async def trial(self, algorithm: int, deadline: float) -> str:
        """Generate, sign, verify and destroy; return what was done or raise what went wrong."""
        return await throw_away.try_store(self, algorithm, deadline)

    async def bench(self, request: BenchRequest, deadline: float) -> BenchLine:
        """Measure; a session is a thread, and all are used."""
        return await throw_away.measure_store(self, request, deadline, self._signing.threads)

    def status(self) -> StoreStatus:
        """Return the state for monitoring."""
        present = self.medium.is_present()
        return StoreStatus(
            name=self.name,
            type="software",
            state="available" if present else "unavailable",
            detail="" if present else self._directory.absent_text(),
            keys=len(self.registry),
            queue=len(self._queue),
            signatures=self._signing.signatures,
            removable=self.medium.removable,
            last_used=self.medium.last_used,
        )
