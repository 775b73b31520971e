"""Trying a token out with throw-away keys, and measuring it; they are named `dnssecd trial` in the token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial

from dnssecd.signer import algorithms, selftest
from dnssecd.signer.errors import ServiceError, Unsupported
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.session import Session

TRIAL_SIGNATURES = 8
LABEL = "dnssecd trial"


@dataclass(frozen=True)
class Guest:
    """A throw-away key: which token has it, and how many of its sessions may use it at a time."""

    key: Description
    pool: TokenPool
    sessions: int


async def make_key(pool: TokenPool, algorithm: int, session: Session) -> Description:
    """Make a throw-away key in the token; Unsupported when it cannot sign with the algorithm."""
    if algorithm not in session.algorithms:
        name = algorithms.algorithm_of(algorithm).name
        raise Unsupported(f"token {pool.name} cannot sign with {name}")
    bits, flags, key_id = selftest.bits_for(algorithm), algorithms.flags_of("csk"), secrets.token_hex(16)
    public = await session.generate(key_id, LABEL, algorithm, bits)
    return Description(
        id=key_id,
        zones=(selftest.TEST_ZONE,),
        role="csk",
        algorithm=algorithm,
        bits=bits,
        flags=flags,
        dnskey=flags.to_bytes(2) + b"\x03" + bytes([algorithm]) + public,
        created=0,
        cka_id=key_id,
        label=LABEL,
    )


async def trial(pool: TokenPool, keys: list[Description], algorithm: int, deadline: float) -> str:
    """Generate, sign, verify and destroy, and look for all of `keys`; return what was done, or raise."""
    return await pool.command(partial(_trial, pool, keys, algorithm), deadline)


async def _trial(pool: TokenPool, keys: list[Description], algorithm: int, session: Session) -> str:
    key = await make_key(pool, algorithm, session)
    try:
        await sign_right(key, session)
    finally:
        await session.destroy(key)
    lacking = [detail for one in keys if (detail := await pool.find(one, session))]
    if lacking:
        raise ServiceError(f"{len(lacking)} of {len(keys)} keys lack: {'; '.join(lacking[:10])}")
    return f"{selftest.done_text(algorithm)}; all of {len(keys)} keys there"


async def sign_right(key: Description, session: Session) -> str:
    """Sign several times, each verified; return "" or why the key is not to be had."""
    detail = await session.find(key)
    for _ in range(0 if detail else TRIAL_SIGNATURES):
        await session.canary(key)
    return detail
