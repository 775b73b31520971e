"""A key store tried out and measured with a throw-away key, which is destroyed at the end in any case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dnssecd.keyservice_protocol import BenchLine, BenchRequest
from dnssecd.signer import selftest
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Keystore


async def try_store(store: Keystore, algorithm: int, deadline: float) -> str:
    """Generate, sign, verify and destroy; return what was done or raise what went wrong."""
    async with _throw_away_key(store, algorithm) as key:
        await selftest.sign_and_verify(key, lambda preimages: store.submit(-1, key, preimages, deadline))
    return f"{selftest.done_text(algorithm)} in key store {store.name}"


async def measure_store(store: Keystore, request: BenchRequest, deadline: float, threads: int) -> BenchLine:
    """Measure signatures a second with `threads` at work."""
    async with _throw_away_key(store, request.algorithm) as key:
        return await selftest.measure(
            key,
            request,
            lambda preimages: store.submit(-1, key, preimages, deadline),
            threads,
            asyncio.get_running_loop().time,
        )


@asynccontextmanager
async def _throw_away_key(store: Keystore, algorithm: int) -> AsyncIterator[Description]:
    bits = selftest.bits_for(algorithm)
    key = await store.generate(selftest.TEST_ZONE, "csk", algorithm, bits, "", frozenset(), lambda key: None)
    try:
        yield key
    finally:
        await store.destroy(key)
