"""`dnssecd keystore test` and `bench` for the tokens of one key store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from dnssecd.keyservice_protocol import BenchLine, BenchRequest
from dnssecd.signer import selftest
from dnssecd.signer.errors import BadRequest, ServiceError
from dnssecd.signer.pkcs11 import trial
from dnssecd.signer.pkcs11.destruction import destroy_new
from dnssecd.signer.pkcs11.key_changes import CHANGE_DEADLINE_S
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.trial import Guest
from dnssecd.signer.queue import FairQueue
from dnssecd.signer.registry import Registry

WARM_UP_S = 0.3


class TokenTrials:
    """See the module. `guests` has the keys that are measured, by id, while they are."""

    def __init__(
        self,
        store: str,
        pools: Sequence[TokenPool],
        queue: FairQueue,
        guests: dict[str, Guest],
        registry: Registry,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._pools = pools
        self._queue = queue
        self._guests = guests
        self._registry = registry
        self._monotonic = monotonic

    async def try_evicted(self, deadline: float) -> list[str]:
        """Put evicted tokens to the test with all keys; return the names of those that are used again."""
        again = []
        for pool in [pool for pool in self._pools if pool.health.evicted]:
            await pool.try_again(partial(trial.sign_all, self._registry.all()), deadline)
            again.append(pool.name)
        return again

    async def trial(self, algorithm: int, deadline: float) -> str:
        """Try each token out; ServiceError with what each has shown when one is not well."""
        selftest.bits_for(algorithm)
        for pool in self._pools:
            pool.try_login_again()
        trials = [
            trial.trial(pool, self._registry.all(), algorithm, deadline, self._monotonic)
            for pool in self._pools
        ]
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
        """Measure one token with the number of sessions asked for."""
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
            await pool.command(partial(destroy_new, pool, key), self._monotonic() + CHANGE_DEADLINE_S)
            del self._guests[key.id]
            pool.forget(key.id)

    def _pool_named(self, name: str) -> TokenPool:
        """Return the token of that name, or the first that works."""
        if not name:
            return next((pool for pool in self._pools if pool.health.working), self._pools[0])
        for pool in self._pools:
            if pool.name == name:
                return pool
        have = ", ".join(pool.name for pool in self._pools)
        raise BadRequest(f"key store {self._store} has no token {name!r}; it has: {have}")


def _without_name(token: str, text: str) -> str:
    return text.removeprefix(f"token {token}: ")
