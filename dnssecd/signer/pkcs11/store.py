"""The PKCS#11 key store: keys in one or several tokens, which share the work or stand by.

Keys are made in the first token; how they get into the others is the tokens' own business (cloning,
back-up). A token signs with a key only after it was found there by CKA_ID *and* public key and a signature
of it was verified.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from functools import partial
from pathlib import Path

import msgspec

from dnssecd.keyservice_protocol import (
    BenchLine,
    BenchRequest,
    KeyState,
    KeystoreSettings,
    Proof,
    Role,
    StoreStatus,
    TokenSettings,
)
from dnssecd.signer import algorithms, files, selftest
from dnssecd.signer.algorithms import PrivateKey
from dnssecd.signer.errors import (
    BadRequest,
    Collision,
    Exists,
    MissingKey,
    ServiceError,
    Unavailable,
    Unsupported,
)
from dnssecd.signer.key_file import Description, SealedKey
from dnssecd.signer.keystore import Account
from dnssecd.signer.now import Now
from dnssecd.signer.pkcs11 import trial
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.messages import Candidate
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.session import Session, nonce_preimage
from dnssecd.signer.pkcs11.trial import Guest
from dnssecd.signer.preimage import name_text
from dnssecd.signer.queue import FairQueue
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

TRIES = 16
WARM_UP_S = 0.3
LABEL_OCTETS_MAX = 200
CHANGE_DEADLINE_S = 120.0
LOOK_DEADLINE_S = 10.0


class Pkcs11Store:
    """See the module."""

    def __init__(
        self,
        settings: KeystoreSettings,
        registry: Registry,
        warnings: WarningBook,
        now: Now,
        state_directory: Path,
    ) -> None:
        self.name = settings.name
        self.registry = registry
        files.make_private_directory(state_directory)
        self._standby = settings.standby
        self._now = now
        self._monotonic = asyncio.get_running_loop().time
        self._queue = FairQueue(self._monotonic)
        self._guests: dict[str, Guest] = {}
        self._last_used = 0
        self._pools = [self._pool(token, state_directory, warnings) for token in settings.tokens]

    def _pool(self, token: TokenSettings, state_directory: Path, warnings: WarningBook) -> TokenPool:
        evicted = state_directory / f"{token.name}.evicted"
        return TokenPool(
            token,
            self._queue,
            self.registry,
            Pin(Path(token.pin_file), state_directory / f"{token.name}.pin-refused", warnings),
            TokenHealth(token.name, token.retry_longest_s, evicted, warnings, self._worse),
            warnings,
            may_take=self._may_take,
            key_of=self._key_of,
            worse=self._worse,
        )

    # Life

    async def start(self) -> None:
        """Start opening sessions; the tokens need not be there."""
        self.registry.load()
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
        """Whether it is this token's turn: with stand-by tokens, no earlier one is there to do it."""
        guest = self._guests.get(key_id)
        if guest is not None:
            return pool is guest.pool and pool.at_work[key_id] < guest.sessions
        if not self._standby:
            return True
        earlier = self._pools[: self._pools.index(pool)]
        return not any(one.health.working and one.may_hold(key_id) for one in earlier)

    def _worse(self) -> None:
        """Something got worse: nobody waits for what no token can do; others may take over."""
        for pool in self._pools:
            pool.release()
        self._queue.fail_all(self._why_not)
        self._queue.poke()

    def _why_not(self, key_id: str) -> ServiceError | None:
        """Why nothing can be signed with the key now, or None when there is hope."""
        hopeful = [pool for pool in self._pools if pool.health.hopeful]
        if any(pool.may_hold(key_id) for pool in hopeful):
            return None
        if not hopeful or len(hopeful) < len(self._pools):
            return self._unavailable()
        detail = "; ".join(pool.why_not(key_id) for pool in hopeful)
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
        lacking = "; ".join(filter(None, (pool.why_not(key.id) for pool in hopeful)))
        if not any(pool.may_hold(key.id) for pool in hopeful):
            return "missing", lacking
        return ("available" if any(key.id in pool.found for pool in hopeful) else "unproven"), lacking

    async def look(self, key: Description) -> None:
        """Ask the tokens that are there whether they hold the key."""
        deadline = self._monotonic() + LOOK_DEADLINE_S
        looks = [
            pool.command(partial(pool.find, key), deadline)
            for pool in self._pools
            if pool.health.hopeful and key.id not in pool.found
        ]
        await asyncio.gather(*looks, return_exceptions=True)  # `state` tells what came of it

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
        """Make a key in the first token, prove it there, and remember it."""
        deadline = self._monotonic() + CHANGE_DEADLINE_S
        created = int(self._now())
        label = f"dnssecd {name_text(zone)} {role} {algorithm} {created}"[:LABEL_OCTETS_MAX]
        flags = algorithms.flags_of(role)
        first = self._pools[0]
        for _ in range(TRIES):
            key_id = secrets.token_hex(16)
            planned = Description(
                id=key_id,
                zones=(zone,),
                role=role,
                algorithm=algorithm,
                bits=bits,
                flags=flags,
                dnskey=b"",
                created=created,
                cka_id=key_id,
                label=label,
                idempotency=idempotency,
            )
            account(planned)
            public = await first.command(partial(_generate, key_id, label, algorithm, bits), deadline)
            dnskey = flags.to_bytes(2) + b"\x03" + bytes([algorithm]) + public
            key = msgspec.structs.replace(planned, dnskey=dnskey)
            if taken.isdisjoint(algorithms.tags(key.dnskey)):
                account(key)
                self.registry.put(key)
                await first.command(partial(first.find, key), deadline)
                return key
            await first.command(partial(_destroy, key), deadline)
        raise Collision(f"{TRIES} keys made, each with a key tag the zone uses already; remove retired keys")

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
        """Bind a key that is in a token already; it stays as it is there."""
        candidate = await self._candidate(cka_id, label, algorithm, public_key)
        flags = algorithms.flags_of(role)
        dnskey = flags.to_bytes(2) + b"\x03" + bytes([algorithm]) + candidate.public_key
        key = Description(
            id=hashlib.sha256(candidate.public_key).hexdigest()[:32],
            zones=(zone,),
            role=role,
            algorithm=algorithm,
            bits=candidate.bits,
            flags=flags,
            dnskey=dnskey,
            created=int(self._now()),
            cka_id=candidate.cka_id,
            label=candidate.label,
        )
        if any(known.dnskey[4:] == candidate.public_key for known in self.registry.all()):
            raise Exists("that key is known already; bind it to the zone instead")
        if not taken.isdisjoint(algorithms.tags(dnskey)):
            raise Collision("another key of the zone has the same key tag, with or without the REVOKE bit")
        proofs = await self.prove(key, nonce_preimage(key), self._monotonic() + CHANGE_DEADLINE_S)
        if all(proof.error for proof in proofs):
            raise ServiceError("; ".join(proof.error for proof in proofs))
        account(key)
        self.registry.put(key)
        return key

    async def _candidate(self, cka_id: str, label: str, algorithm: int, public_key: bytes) -> Candidate:
        try:
            bytes.fromhex(cka_id)
        except ValueError:
            raise BadRequest("CKA_ID must be given in hex") from None
        if not cka_id and not label and not public_key:
            raise BadRequest("name the key by CKA_ID, label or public key")
        deadline = self._monotonic() + CHANGE_DEADLINE_S
        found: dict[bytes, Candidate] = {}
        for pool in self._pools:
            if pool.health.hopeful:
                for one in await pool.command(
                    lambda session: session.search(cka_id, label, algorithm, public_key), deadline
                ):
                    found[one.public_key] = one
        wanted = f"CKA_ID {cka_id}" if cka_id else f"label {label!r}"
        if public_key:
            wanted = "the public key asked for"
        if not found:
            raise MissingKey(
                f"no key pair of algorithm {algorithm} with {wanted} is in a token of {self.name}"
            )
        if len(found) > 1:
            raise BadRequest(f"{len(found)} different keys with {wanted}; name one by its CKA_ID")
        return next(iter(found.values()))

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
        """A token's keys never leave it."""
        raise Unsupported(f"keys of {self.name} never leave their tokens; use the tokens' own back-up")

    async def restore(self, content: SealedKey, passphrase: bytes, account: Account) -> None:
        """Private keys from outside are refused."""
        raise Unsupported(f"key store {self.name} takes no private keys; restore its tokens instead")

    async def rebind(self, key: Description, zones: tuple[bytes, ...]) -> Description:
        """Change the zones a key is bound to."""
        changed = msgspec.structs.replace(key, zones=zones)
        self.registry.put(changed)
        return changed

    async def destroy(self, key: Description) -> None:
        """Destroy the key pair in every token; Unavailable, and nothing forgotten, unless all are there."""
        deadline = self._monotonic() + CHANGE_DEADLINE_S
        for pool in self._pools:
            if not pool.health.evicted:
                await pool.command(partial(_destroy, key), deadline)
        self.registry.drop(key.id)
        for pool in self._pools:
            pool.forget(key.id)

    # Signing

    def sign_at_once(self, key: Description, preimages: list[bytes]) -> list[bytes] | None:
        """A token is always waited for."""
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
        return list(
            await asyncio.gather(*(self._prove(pool, key, preimage, deadline) for pool in self._pools))
        )

    async def _prove(self, pool: TokenPool, key: Description, preimage: bytes, deadline: float) -> Proof:
        try:
            return await pool.command(partial(_prove, pool, key, preimage), deadline)
        except ServiceError as error:
            return Proof(pool.name, preimage, b"", str(error))

    def accuse(self, key: Description, preimage: bytes, signature: bytes) -> str:
        """A signature of `key` does not verify: evict the token that made it; return which."""
        for pool in self._pools:
            if any(signature in signatures for signatures in pool.recent):
                pool.health.evict("a signature that does not verify with the public key on record")
                return f"token {pool.name} evicted"
        return "made by none of the tokens lately; it was damaged on the way, or is old"

    async def try_evicted(self, deadline: float) -> list[str]:
        """Put evicted tokens to the test with all keys; return the names of those that are used again."""
        again = []
        for pool in [pool for pool in self._pools if pool.health.evicted]:
            await pool.try_again(partial(_try, self.registry.all()), deadline)
            again.append(pool.name)
        return again

    async def trial(self, algorithm: int, deadline: float) -> str:
        """Try each token out; ServiceError with what each has shown when one is not well."""
        selftest.bits_for(algorithm)
        trials = [trial.trial(pool, self.registry.all(), algorithm, deadline) for pool in self._pools]
        results = await asyncio.gather(*trials, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ServiceError):
                raise result
        pairs = zip(self._pools, results, strict=True)
        text = "; ".join(
            f"token {pool.name}: {_without_name(pool.name, str(result))}" for pool, result in pairs
        )
        if any(isinstance(result, ServiceError) for result in results):
            raise ServiceError(text)
        return text

    async def bench(self, request: BenchRequest, deadline: float) -> BenchLine:
        """Measure one token with so many of its sessions as are asked for."""
        pool = self._pool_named(request.token)
        key = await pool.command(partial(trial.make_key, pool, request.algorithm), deadline)
        sessions = min(request.sessions or pool.health.sessions, pool.health.sessions)
        guest = self._guests[key.id] = Guest(key, pool, max(1, sessions))

        async def submit(preimages: list[bytes]) -> list[bytes]:
            return await self._queue.put(-1, key.id, preimages, deadline)

        try:
            # Sessions have to find the key first, and pieces to get their size.
            warm_up = msgspec.structs.replace(request, seconds=min(WARM_UP_S, request.seconds or WARM_UP_S))
            await selftest.measure(key, warm_up, submit, guest.sessions, self._monotonic)
            return await selftest.measure(
                key, request, submit, guest.sessions, self._monotonic, token=pool.name
            )
        finally:
            await pool.command(partial(_destroy, key), self._monotonic() + CHANGE_DEADLINE_S)
            del self._guests[key.id]
            pool.forget(key.id)

    def _pool_named(self, name: str) -> TokenPool:
        """The token of that name, or the first that works."""
        if not name:
            return next((pool for pool in self._pools if pool.health.working), self._pools[0])
        for pool in self._pools:
            if pool.name == name:
                return pool
        have = ", ".join(pool.name for pool in self._pools)
        raise BadRequest(f"key store {self.name} has no token {name!r}; it has: {have}")

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


async def _generate(key_id: str, label: str, algorithm: int, bits: int, session: Session) -> bytes:
    return await session.generate(key_id, label, algorithm, bits)


async def _destroy(key: Description, session: Session) -> None:
    await session.destroy(key)


async def _prove(pool: TokenPool, key: Description, preimage: bytes, session: Session) -> Proof:
    detail = await pool.find(key, session)
    signature = b"" if detail else await session.prove(key, preimage)
    return Proof(pool.name, preimage, signature, detail)


async def _try(keys: list[Description], session: Session) -> None:
    """All keys that are there must sign right, several times."""
    for key in keys:
        await trial.sign_right(key, session)


def _without_name(token: str, text: str) -> str:
    return text.removeprefix(f"token {token}: ")
