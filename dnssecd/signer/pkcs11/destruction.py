"""Destroying keys so that they are gone.

A session that does not see a key must not report it destroyed: its list of objects may be old. So a fresh session
looks, both before a key is called absent and after it was destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dnssecd.signer.errors import ServiceError
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.session import Session, StaleSession

TRIES = 3


async def destroy_in(
    pool: TokenPool, key: Description, deadline: float, monotonic: Callable[[], float]
) -> str:
    """Destroy the key pair in one token; return "", or why its private key was not destroyed there."""
    if pool.health.evicted:
        return f"it is still in token {pool.name}, which is evicted: destroy it there with the vendor's tool"
    destroyed = False
    for _ in range(TRIES):
        answer = await pool.command(partial(_destroy, pool, key), deadline, fresh=destroyed)
        if not answer.there:
            if answer.absent or not destroyed:
                return "" if destroyed else f"nothing was destroyed in token {pool.name}: {answer.detail}"
            raise ServiceError(f"the destruction could not be confirmed: {answer.detail}")
        destroyed = True
    raise ServiceError(f"token {pool.name} still shows key {key.id} after it was destroyed {TRIES} times")


async def _destroy(pool: TokenPool, key: Description, session: Session) -> m.Destroyed:
    answer = await session.destroy(key)
    if answer.absent and not pool.sightings.can_tell(key.id, session.started_at):
        raise StaleSession
    return answer


async def destroy_new(pool: TokenPool, key: Description, session: Session) -> None:
    """Destroy a key that was made a moment ago and never used; ServiceError when it is not seen."""
    answer = await _destroy(pool, key, session)
    if not answer.there:
        raise ServiceError(f"a key made for a trial could not be destroyed: {answer.detail}")
