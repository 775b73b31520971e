"""Proofs that tokens hold a key: a signature of a preimage that can never validate as data."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from dnssecd.keyservice_protocol import Proof
from dnssecd.signer.errors import ServiceError
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.session import Session


async def prove_all(
    pools: Sequence[TokenPool], key: Description, preimage: bytes, deadline: float
) -> list[Proof]:
    """Have every token sign `preimage`; a token that does not hold the key, or lies, has an error."""
    return list(await asyncio.gather(*(_prove_in(pool, key, preimage, deadline) for pool in pools)))


async def _prove_in(pool: TokenPool, key: Description, preimage: bytes, deadline: float) -> Proof:
    try:
        return await pool.command(partial(_prove, pool, key, preimage), deadline)
    except ServiceError as error:
        return Proof(pool.name, preimage, b"", str(error))


async def _prove(pool: TokenPool, key: Description, preimage: bytes, session: Session) -> Proof:
    detail = await pool.find(key, session)
    signature = b"" if detail else await session.prove(key, preimage)
    return Proof(pool.name, preimage, signature, detail)
