"""Much to sign with the software store: processes do it; what becomes of them changes no signature."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dnssecd.keyservice_settings import KeystoreSettings
from dnssecd.signer import algorithms, software_pool
from dnssecd.signer.key_file import Description
from dnssecd.signer.preimage import proof_preimage
from dnssecd.signer.registry import Registry
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.warnings import WarningBook
from tests.unit.signer.preimages import wire

ZONE = wire("example.com.")
BATCH = 256
BATCHES = 8


@asynccontextmanager
async def opened(home: Path, *, deterministic: bool = False) -> AsyncIterator[SoftwareStore]:
    settings = KeystoreSettings(name="local", type="software", directory=str(home / "keys"))
    warnings = WarningBook(lambda: 1_900_000_000.0, lambda code, subject, detail: None)
    store = SoftwareStore(
        settings,
        Registry(home / "known", derived=True),
        warnings,
        lambda: 1_900_000_000.0,
        threads=2,
        deterministic=deterministic,
    )
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def key_of(store: SoftwareStore, algorithm: int = 13) -> Description:
    return await store.generate(ZONE, "zsk", algorithm, 0, "", frozenset(), lambda key: None)


def preimages(key: Description, batch: int) -> list[bytes]:
    tag = algorithms.key_tag(key.dnskey)
    return [
        proof_preimage(ZONE, key.algorithm, tag, f"{batch} {number}".rjust(32).encode())
        for number in range(BATCH)
    ]


def submit(store: SoftwareStore, keys: list[Description]) -> list[asyncio.Future[list[bytes]]]:
    deadline = asyncio.get_running_loop().time() + 60
    return [
        store.submit(1, keys[batch % len(keys)], preimages(keys[batch % len(keys)], batch), deadline)
        for batch in range(BATCHES)
    ]


async def check(keys: list[Description], under_way: list[asyncio.Future[list[bytes]]]) -> None:
    for batch, signatures in enumerate(await asyncio.gather(*under_way)):
        key = keys[batch % len(keys)]
        verify = algorithms.verifier(key.dnskey)
        for signature, preimage in zip(signatures, preimages(key, batch), strict=True):
            verify(signature, preimage)


async def started(store: SoftwareStore) -> list[int]:
    async with asyncio.timeout(30):
        while not store.processes.pids:
            await asyncio.sleep(0)
    return store.processes.pids


async def test_processes_sign_with_the_keys_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        keys = [await key_of(store), await key_of(store, 15)]
        under_way = submit(store, keys)
        pids = await started(store)
        await check(keys, under_way)
        assert len(set(pids)) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_deterministic_signatures_are_the_same_from_a_process(tmp_path: Path) -> None:
    async with opened(tmp_path, deterministic=True) as store:
        key = await key_of(store)
        loop = asyncio.get_running_loop()
        alone = await store.submit(1, key, preimages(key, 0)[:3], loop.time() + 60)
        assert not store.processes.pids, "a few signatures start no process"
        signatures = await asyncio.gather(*submit(store, [key]))
        assert store.processes.pids
        assert signatures[0][:3] == alone


async def test_a_lost_process_costs_no_signature(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        key = await key_of(store)
        under_way = submit(store, [key])
        for pid in await started(store):
            os.kill(pid, signal.SIGKILL)
        await check([key], under_way)


async def test_a_hung_process_costs_no_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software_pool, "ANSWER_DEADLINE_S", 0.05)
    async with opened(tmp_path) as store:
        key = await key_of(store)
        under_way = submit(store, [key])
        for pid in await started(store):
            os.kill(pid, signal.SIGSTOP)
        await check([key], under_way)


async def test_processes_end_with_a_key_and_when_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as store:
        key, other = await key_of(store), await key_of(store)
        await asyncio.gather(*submit(store, [key]))
        assert store.processes.pids
        await store.destroy(other)
        assert not store.processes.pids, "no process knows a key that is to be forgotten"
        await asyncio.gather(*submit(store, [key]))
        assert store.processes.pids
        store.processes.end_idle()
        assert store.processes.pids, "not idle for long enough"
        monkeypatch.setattr(software_pool, "IDLE_S", -1.0)
        store.processes.end_idle()
        assert not store.processes.pids
