"""Commands on key stores: list them, test them, measure their signing rate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dnssecd.config.algorithms import algorithm_name
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.keystores import (
    BenchKeyStore,
    BenchResult,
    BenchResults,
    KeyStores,
    ListKeyStores,
    StoreTest,
    StoreTests,
    Sustained,
    TestKeyStore,
)
from dnssecd.daemon.commands.key import COMMAND_S, DEADLINE_S, ask_service
from dnssecd.daemon.rollover.signing_capacity import sustained
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import BenchLine, BenchRequest, StatusReply, StoreStatus

#: The wait for the state of the key stores.
STATUS_S = 10.0
BENCH_BATCHES = (1, 8, 64, 256)
BENCH_BATCH = 64
BENCH_SECONDS_MIN, BENCH_SECONDS_MAX = 0.1, 60.0
DEFAULT_ALGORITHM = 13


class KeyStoreCommands:
    """The handlers, with a connection to the key service."""

    def __init__(self, zones: Mapping[str, FrontZone], client: AsyncSignerClient) -> None:
        self._zones, self._client = zones, client

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ListKeyStores, self.list_stores, timeout=DEADLINE_S),
            Command(TestKeyStore, self.test, timeout=COMMAND_S),
            Command(BenchKeyStore, self.bench, timeout=COMMAND_S),
        ]

    async def list_stores(self, call: Call[ListKeyStores]) -> KeyStores:
        """Answer ``keystore.list``."""
        status = await self._status()
        warnings = [warning for warning in status.warnings if warning.firing]
        return KeyStores(stores=list(status.stores), warnings=warnings)

    async def _status(self) -> StatusReply:
        """Return what the key service says of its stores; raise Refused soon if it hangs: it asks no token for that."""
        try:
            async with asyncio.timeout(STATUS_S):
                return await ask_service(self._client.status())
        except TimeoutError:
            raise Refused(
                f"the key service did not answer within {STATUS_S:g} s: its process hangs",
                "restart it: systemctl restart dnssecd-signer (without that unit, the daemon); zones are served "
                "meanwhile",
            ) from None

    async def test(self, call: Call[TestKeyStore]) -> StoreTests:
        """Answer ``keystore.test``: test each store with each algorithm that zones need from it."""
        results: list[StoreTest] = []
        for store in await self._choose_stores(call.request.keystore):
            for algorithm in self._choose_algorithms(call.request.algorithm, store.name):
                name = algorithm_name(algorithm)
                await call.progress(len(results), None, f"testing key store {store.name} with {name}")
                results.append(await self._test(store, algorithm))
        return StoreTests(ok=all(result.ok for result in results), results=results)

    async def _test(self, store: StoreStatus, algorithm: int) -> StoreTest:
        try:
            detail = await self._client.test_store(store.name, algorithm, timeout_ms=int(DEADLINE_S * 1000))
            ok = True
        except SignerError as error:
            ok, detail = False, str(error)
        return StoreTest(keystore=store.name, algorithm=algorithm_name(algorithm), ok=ok, detail=detail)

    async def bench(self, call: Call[BenchKeyStore]) -> BenchResults:
        """Answer ``keystore.bench``: signatures a second by sessions and batch size, for each token."""
        seconds = min(max(call.request.seconds, BENCH_SECONDS_MIN), BENCH_SECONDS_MAX)
        measured: list[BenchResult] = []
        for store in await self._choose_stores(call.request.keystore):
            algorithm = self._choose_algorithms(call.request.algorithm, store.name)[0]
            for token, sessions, batch in _steps(store):
                what = f"{store.name} {token}".strip()
                await call.progress(len(measured), None, f"{what}: {sessions} sessions, batches of {batch}")
                request = BenchRequest(
                    0,
                    store=store.name,
                    algorithm=algorithm,
                    signatures=1_000_000,
                    batch=batch,
                    timeout_ms=int(DEADLINE_S * 1000),
                    sessions=sessions,
                    token=token,
                    seconds=seconds,
                )
                lines = await ask_service(self._client.bench_store(request))
                measured += [_describe(store.name, algorithm, line) for line in lines]
        best = max((line.per_second for line in measured), default=0.0)
        return BenchResults(lines=measured, sustains=msgspec.convert(sustained(best), list[Sustained]))

    async def _choose_stores(self, wanted: str | None) -> list[StoreStatus]:
        """Return the store with a name, or all."""
        stores = (await self._status()).stores
        chosen = [store for store in stores if wanted in (None, store.name)]
        if not chosen:
            have = ", ".join(store.name for store in stores)
            raise Refused(f"there is no key store {wanted}", f"the key stores are: {have}")
        return chosen

    def _choose_algorithms(self, wanted: int | None, store: str) -> list[int]:
        """Return the requested algorithm, or those that zones need from the store."""
        if wanted is not None:
            return [wanted]
        algorithms = (
            wish.algorithm
            for zone in self._zones.values()
            for wish in zone.spec.keys
            if wish.keystore == store
        )
        return sorted(set(algorithms)) or [DEFAULT_ALGORITHM]


def _steps(store: StoreStatus) -> Iterable[tuple[str, int, int]]:
    """Return the measurements for a store: (token, sessions, batch)."""
    if not store.tokens:
        yield from (("", 0, batch) for batch in BENCH_BATCHES)
        return
    for token in store.tokens:
        most = token.sessions_open
        fewer = [2**power for power in range(9) if 2**power < most]
        yield from ((token.name, sessions, BENCH_BATCH) for sessions in fewer)
        yield from ((token.name, most, batch) for batch in BENCH_BATCHES if most)


def _describe(store: str, algorithm: int, line: BenchLine) -> BenchResult:
    return BenchResult(keystore=store, algorithm=algorithm_name(algorithm), **msgspec.structs.asdict(line))
