"""Trying a token out with throw-away keys, and measuring it; they are named `dnssecd trial` in the token."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from dnssecd.signer import algorithms, selftest
from dnssecd.signer.errors import ServiceError, Unsupported
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11 import quirks
from dnssecd.signer.pkcs11.destruction import destroy_in
from dnssecd.signer.pkcs11.key_changes import make_in
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.session import Session

TRIAL_SIGNATURES = 8
LABEL = "dnssecd trial"


class Guest(Struct, frozen=True):
    """A throw-away key: which token has it, and how many of its sessions may use it at a time."""

    key: Description
    pool: TokenPool
    sessions: int


async def make_key(pool: TokenPool, algorithm: int, session: Session) -> Description:
    """Make a throw-away key in the token; Unsupported when it cannot sign with the algorithm, or makes no keys."""
    if algorithm not in session.algorithms:
        name = algorithms.algorithm_of(algorithm).name
        raise Unsupported(f"token {pool.name} cannot sign with {name}")
    key_id = secrets.token_hex(16)
    planned = Description(
        id=key_id,
        zones=(selftest.TEST_ZONE,),
        role="csk",
        algorithm=algorithm,
        bits=selftest.bits_for(algorithm),
        flags=algorithms.flags_of("csk"),
        dnskey=b"",
        created=0,
        cka_id=quirks.cka_id(key_id, pool.quirks),
        label=LABEL,
    )
    return await make_in(pool, planned, session)


async def trial(
    pool: TokenPool,
    keys: list[Description],
    algorithm: int,
    deadline: float,
    monotonic: Callable[[], float],
) -> str:
    """Generate, sign, verify and destroy, and look for all of `keys`; return what was done, or raise."""
    try:
        key = await pool.command(partial(_make_and_sign, pool, algorithm), deadline)
    except Unsupported as error:
        return await _try_keys_there(pool, keys, algorithm, deadline, error)
    if why := await destroy_in(pool, key, deadline, monotonic):
        raise ServiceError(f"a trial key could not be destroyed: {why}")
    pool.forget(key.id)
    await pool.command(partial(_find_all, pool, keys), deadline)
    more = f"; its keys can also do more: {', '.join(pool.key_extras)}" if pool.key_extras else ""
    return f"{selftest.done_text(algorithm)}; all of {len(keys)} keys there{more}"


async def _try_keys_there(
    pool: TokenPool, keys: list[Description], algorithm: int, deadline: float, error: Unsupported
) -> str:
    """Have the keys sign that are in a token which makes none, as a smart card."""
    able = [key for key in keys if key.algorithm == algorithm]
    if not able:
        raise error
    await pool.command(partial(_find_all, pool, keys), deadline)
    await pool.command(partial(sign_all, able), deadline)
    return f"makes no keys for dnssecd; all of {len(keys)} keys there, {len(able)} tried sign right"


async def _make_and_sign(pool: TokenPool, algorithm: int, session: Session) -> Description:
    key = await make_key(pool, algorithm, session)
    try:
        await sign_right(key, session)
    except ServiceError:
        await session.destroy(key)
        raise
    return key


async def _find_all(pool: TokenPool, keys: list[Description], session: Session) -> None:
    lacking = [detail for one in keys if (detail := await pool.find(one, session))]
    if lacking:
        raise ServiceError(f"{len(lacking)} of {len(keys)} keys lack: {'; '.join(lacking[:10])}")


async def sign_all(keys: list[Description], session: Session) -> None:
    """Have all keys that are there sign several times."""
    for key in keys:
        await sign_right(key, session)


async def sign_right(key: Description, session: Session) -> None:
    """Sign several times, each verified, where the key is there."""
    found = await session.find(key)
    for _ in range(TRIAL_SIGNATURES if found.there else 0):
        await session.canary(key)
