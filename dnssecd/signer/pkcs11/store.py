"""The PKCS#11 key store: keys in one or several tokens, which share the work or stand by.

A token signs with a key only after it was found there by CKA_ID *and* public key and a signature of it was verified.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dnssecd.keyservice_protocol import KeyState, Proof, Role, StoreStatus
from dnssecd.keyservice_settings import KeystoreSettings, TokenSettings
from dnssecd.signer import files
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.errors import MissingKey, ServiceError, Unavailable, Unsupported
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.key_file import Description, SealedKey
from dnssecd.signer.keystore import Account, Consequence
from dnssecd.signer.now import Now
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.key_changes import KeyChanges
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.proofs import prove_all
from dnssecd.signer.pkcs11.trial import Guest
from dnssecd.signer.pkcs11.trials import TokenTrials
from dnssecd.signer.queue import FairQueue
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

LOOK_DEADLINE_S = 10.0
SEALING = ".sealing"


def sealing_place(settings: KeystoreSettings, state_directory: Path) -> KeystoreSettings:
    """Return the settings of the directory with the sealing key of a node whose keys are in tokens of its own."""
    return KeystoreSettings(
        name=settings.name,
        type="software",
        directory=str(state_directory / f"{settings.name}{SEALING}"),
        passphrase_file=settings.passphrase_file,
    )


class Pkcs11Store:
    """See the module."""

    gives_out = False

    def __init__(
        self,
        settings: KeystoreSettings,
        registry: Registry,
        warnings: WarningBook,
        now: Now,
        state_directory: Path,
    ) -> None:
        self.name = settings.name
        self.own = settings.own
        self.registry = registry
        files.make_private_directory(state_directory)
        self._standby = settings.standby
        self._now = now
        self._monotonic = asyncio.get_running_loop().time
        self._queue = FairQueue(self._monotonic)
        self._guests: dict[str, Guest] = {}
        self._last_used = 0
        self._sealing = KeyDirectory(sealing_place(settings, state_directory), warnings)
        self._sealing_turn = asyncio.Lock()
        self._pools = [self._pool(token, state_directory, warnings) for token in settings.tokens]
        changes = KeyChanges(self.name, self._pools, registry, warnings, now, self._monotonic)
        self.generate, self.adopt, self.destroy = changes.generate, changes.adopt, changes.destroy
        trials = TokenTrials(self.name, self._pools, self._queue, self._guests, registry, self._monotonic)
        self.trial, self.bench, self.try_evicted = trials.trial, trials.bench, trials.try_evicted

    def _pool(self, token: TokenSettings, state_directory: Path, warnings: WarningBook) -> TokenPool:
        health = TokenHealth(
            token.name,
            token.retry_longest_s,
            state_directory / f"{token.name}.evicted",
            warnings,
            self._worse,
            self._monotonic,
            asyncio.get_running_loop().call_later,
        )
        refused = state_directory / f"{token.name}.pin-refused"
        return TokenPool(
            token,
            self._queue,
            self.registry,
            Pin(token.login, Path(token.pin_file), refused, warnings),
            health,
            warnings,
            may_take=self._may_take,
            key_of=self._key_of,
            worse=self._worse,
        )

    # Life

    async def start(self) -> None:
        """Start opening sessions; the tokens need not be there."""
        self.registry.load()
        if self.own:
            self._sealing.prepare()
        for pool in self._pools:
            pool.start()

    async def stop(self) -> None:
        """End the workers."""
        await asyncio.gather(*(pool.stop() for pool in self._pools))
        self._queue.fail_all(lambda key_id: Unavailable("the key service is stopping"))

    def _key_of(self, key_id: str) -> Description | None:
        guest = self._guests.get(key_id)
        return guest.key if guest is not None else self.registry.get(key_id)

    def _may_take(self, pool: TokenPool, key_id: str) -> bool:
        """Whether it is this token's turn: with standby tokens, no earlier one is there to do it."""
        guest = self._guests.get(key_id)
        if guest is not None:
            return pool is guest.pool and pool.at_work[key_id] < guest.sessions
        if not self._standby:
            return True
        earlier = self._pools[: self._pools.index(pool)]
        return not any(one.health.working and one.sightings.may_hold(key_id) for one in earlier)

    def _worse(self) -> None:
        """Something got worse: no request waits for what no token can do; others may take over."""
        for pool in self._pools:
            pool.release()
        self._queue.fail_all(self._why_not)
        self._queue.poke()

    def _why_not(self, key_id: str) -> ServiceError | None:
        """Why nothing can be signed with the key now, or None when there is hope."""
        hopeful = [pool for pool in self._pools if pool.health.hopeful]
        if any(pool.sightings.may_hold(key_id) for pool in hopeful):
            return None
        if not hopeful or len(hopeful) < len(self._pools):
            return self._unavailable()
        detail = "; ".join(pool.sightings.why_not(key_id) for pool in hopeful)
        return MissingKey(f"{detail}; restore it, no other key is made in its place")

    def _unavailable(self) -> Unavailable:
        why = "; ".join(pool.health.why for pool in self._pools if pool.health.why) or "no token is open yet"
        waits = [pool.health.breaker.wait_s() for pool in self._pools if not pool.health.evicted]
        return Unavailable(f"key store {self.name}: {why}", retry_in_s=min(waits, default=0.0))

    # Keys

    def state(self, key: Description) -> tuple[KeyState, str]:
        """Whether the key can be used now, as far as is known without asking."""
        hopeful = [pool for pool in self._pools if pool.health.hopeful]
        if not hopeful:
            return "unavailable", str(self._unavailable())
        lacking = "; ".join(filter(None, (pool.sightings.why_not(key.id) for pool in hopeful)))
        if not any(pool.sightings.may_hold(key.id) for pool in hopeful):
            return "missing", lacking
        return (
            "available" if any(key.id in pool.sightings.found for pool in hopeful) else "unproven"
        ), lacking

    async def look(self, key: Description) -> None:
        """Ask the tokens that are there whether they hold the key."""
        deadline = self._monotonic() + LOOK_DEADLINE_S
        looks = [
            pool.command(partial(pool.find, key), deadline)
            for pool in self._pools
            if pool.health.hopeful and key.id not in pool.sightings.found
        ]
        await asyncio.gather(*looks, return_exceptions=True)  # `state` has the result

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
        """Private keys from outside are refused: those of a token have never been elsewhere."""
        raise Unsupported(f"key store {self.name} takes no private keys; adopt those in its tokens")

    async def export(self, key: Description, passphrase: bytes) -> bytes:
        """Refuse: a token's keys never leave it."""
        raise Unsupported(f"keys of {self.name} never leave their tokens; use the tokens' own backup")

    async def restore(
        self, content: SealedKey, passphrase: bytes, account: Account, known: Description | None = None
    ) -> None:
        """Private keys from outside are refused."""
        raise Unsupported(f"key store {self.name} takes no private keys; restore its tokens instead")

    def has_lost(self, key: Description) -> bool:
        """Return False: nothing can take the place of a key of a token."""
        return False

    async def put_back(self, key: Description, private: PrivateKey, account: Account) -> None:
        """Private keys from outside are refused."""
        raise Unsupported(f"key store {self.name} takes no private keys; restore its tokens instead")

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to."""
        changed = msgspec.structs.replace(key, zones=zones)
        self.registry.put(changed)
        return changed

    async def put_away(self, key: Description) -> None:
        """Forget the key; it stays in the tokens."""
        self.registry.drop(key.id)
        for pool in self._pools:
            pool.forget(key.id)

    async def bring_back(self, key: Description) -> None:
        """Know the key again; it is looked for in the tokens, and proven, before it signs."""
        self.registry.put(key)
        await self.look(key)

    def has_sealing_key(self) -> bool:
        """Whether the sealing key of this node is beside this store."""
        return self._sealing.has_sealing_key()

    async def sealing_key(self) -> X25519PrivateKey:
        """Return the sealing key of this node, made if there is none; it is in a file, and not in a token."""
        async with self._sealing_turn:
            return await asyncio.to_thread(self._sealing.sealing_key)

    # Signing

    def sign_at_once(self, key: Description, preimages: list[bytes]) -> list[bytes] | None:
        """Return None: a token is always waited for."""
        return None

    def submit(
        self, lane: int, key: Description, preimages: list[bytes], deadline: float
    ) -> asyncio.Future[list[bytes]]:
        """Queue preimages; MissingKey or Unavailable at once when no token can sign them."""
        if (error := self._why_not(key.id)) is not None:
            raise error
        self._last_used = int(self._now())
        return self._queue.put(lane, key.id, preimages, deadline)

    async def prove(self, key: Description, preimage: bytes, deadline: float) -> list[Proof]:
        """Have every token sign `preimage`; a token that does not hold the key, or lies, has an error."""
        return await prove_all(self._pools, key, preimage, deadline)

    def accuse(self, key: Description, preimage: bytes, signature: bytes) -> Consequence:
        """Evict the token that made a signature of `key` that does not verify."""
        for pool in self._pools:
            if any(signature in signatures for signatures in pool.recent):
                pool.health.evict("a signature that does not verify with the public key on record")
                return Consequence(f"token {pool.name} evicted", evicted=True)
        return Consequence("made by none of the tokens lately; it was damaged in transit, or is old")

    def status(self) -> StoreStatus:
        """For monitoring."""
        tokens = tuple(pool.status() for pool in self._pools)
        usable = any(token.state == "ok" for token in tokens)
        return StoreStatus(
            name=self.name,
            type="pkcs11",
            state="available" if usable else "unavailable",
            detail="" if usable else str(self._unavailable()),
            keys=len(self.registry),
            queue=len(self._queue),
            signatures=sum(token.signatures for token in tokens),
            tokens=tokens,
            last_used=self._last_used,
        )
