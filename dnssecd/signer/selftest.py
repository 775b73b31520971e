"""Trying a key store out with throw-away keys: `dnssecd keystore test` and `bench`."""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature

from dnssecd.signer import algorithms
from dnssecd.signer.errors import BadRequest, ServiceError
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.preimage import proof_preimage
from dnssecd.signer.sealed import Description
from dnssecd.wire_protocol import BenchLine, BenchRequest

TEST_ZONE = b"\x07invalid\x00"  # RFC 6761 §6.4
SIGNATURES_MAX = 100_000


async def _throw_away(store: Keystore, algorithm: int) -> Description:
    bits = algorithms.check_bits(algorithms.algorithm_of(algorithm), 0)
    return await store.generate(TEST_ZONE, "csk", algorithm, bits, "", frozenset())


async def test(store: Keystore, algorithm: int, deadline: float) -> str:
    """Generate, sign, verify and destroy; returns what was done or raises what went wrong."""
    key = await _throw_away(store, algorithm)
    try:
        preimage = _preimage(key)
        (signature,) = await store.submit(-1, key, [preimage], deadline)
        try:
            algorithms.verifier(key.dnskey)(signature, preimage)
        except InvalidSignature:
            raise ServiceError(f"key store {store.name}: a signature does not verify") from None
        proofs = await store.prove(key, _preimage(key), deadline)
        faults = [f"{proof.token}: {proof.error}" for proof in proofs if proof.error]
        if faults:
            raise ServiceError("; ".join(faults))
    finally:
        await store.destroy(key)
    name = algorithms.ALGORITHMS[algorithm].name
    return f"{name} key generated, signed, verified and destroyed in key store {store.name}"


async def bench(
    store: Keystore, request: BenchRequest, deadline: float, monotonic: Callable[[], float]
) -> list[BenchLine]:
    """Sign `signatures` preimages in requests of `batch`, several under way."""
    if not 1 <= request.signatures <= SIGNATURES_MAX or not 1 <= request.batch <= 512:
        raise BadRequest(f"signatures: 1 to {SIGNATURES_MAX}; batch: 1 to 512")
    key = await _throw_away(store, request.algorithm)
    try:
        preimages = [_preimage(key) for _ in range(request.batch)]
        started_at = monotonic()
        jobs = [
            store.submit(-1, key, preimages, deadline)
            for _ in range((request.signatures + request.batch - 1) // request.batch)
        ]
        for job in jobs:
            await job
        seconds = monotonic() - started_at
    finally:
        await store.destroy(key)
    made = len(jobs) * request.batch
    sessions = sum(token.sessions_open for token in store.status().tokens)
    return [BenchLine(sessions, request.batch, made, seconds, made / seconds)]


def _preimage(key: Description) -> bytes:
    return proof_preimage(TEST_ZONE, key.algorithm, algorithms.key_tag(key.dnskey), os.urandom(32))
