"""What trials and measurements of all key stores have in common: `dnssecd keystore test` and `bench`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from cryptography.exceptions import InvalidSignature

from dnssecd.keyservice_protocol import BenchLine, BenchRequest
from dnssecd.signer import algorithms
from dnssecd.signer.errors import ServiceError
from dnssecd.signer.key_file import Description
from dnssecd.signer.preimage import proof_preimage

TEST_ZONE = b"\x07invalid\x00"  # RFC 6761 §6.4

Submit = Callable[[list[bytes]], Awaitable[list[bytes]]]


def bits_for(algorithm: int) -> int:
    """Return the size of a throw-away key; BadRequest when the algorithm is not known."""
    return algorithms.check_bits(algorithms.algorithm_of(algorithm), 0)


def nonce_preimages(key: Description, count: int) -> list[bytes]:
    """Preimages whose signatures can never validate as data."""
    tag = algorithms.key_tag(key.dnskey)
    return [proof_preimage(key.zones[0], key.algorithm, tag, os.urandom(32)) for _ in range(count)]


def done_text(algorithm: int) -> str:
    """Return what a successful trial says."""
    return f"{algorithms.ALGORITHMS[algorithm].name} key generated, signed, verified and destroyed"


async def sign_and_verify(key: Description, submit: Submit) -> None:
    """Have one signature made and verify it; ServiceError when it is wrong."""
    (preimage,) = nonce_preimages(key, 1)
    (signature,) = await submit([preimage])
    try:
        algorithms.verifier(key.dnskey)(signature, preimage)
    except InvalidSignature:
        raise ServiceError("a signature does not verify") from None


async def measure(
    key: Description,
    request: BenchRequest,
    submit: Submit,
    sessions: int,
    monotonic: Callable[[], float],
    token: str = "",
) -> BenchLine:
    """Sign in requests of `batch` preimages, as many under way as keep all sessions busy."""
    preimages = nonce_preimages(key, request.batch)
    started_at = monotonic()
    ends_at = started_at + (request.seconds or float("inf"))
    asked = made = 0

    async def keep_asking() -> None:
        nonlocal asked, made
        while asked < request.signatures and monotonic() < ends_at:
            asked += request.batch
            signatures = await submit(preimages)
            made += len(signatures)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * sessions + 2):
                group.create_task(keep_asking())
    except* ServiceError as failures:
        raise failures.exceptions[0] from None
    seconds = max(monotonic() - started_at, 1e-6)
    return BenchLine(sessions, request.batch, made, seconds, made / seconds, token)
