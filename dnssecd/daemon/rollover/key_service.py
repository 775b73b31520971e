"""Requests of plans to the key service: make, prove and destroy keys."""

import structlog

from dnssecd.core.keys.keyset import Keyset, KeysetError
from dnssecd.core.keys.keystate import Goal
from dnssecd.core.keys.requests import generated
from dnssecd.core.keys.types import GenerateKey
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import KeyUnknown, SignerError

TRIES = 8

log = structlog.get_logger("dnssecd.rollover")

#: Ends the name of a group that shares standby keys. Key services store it, so its spelling stays.
SHARED_STANDBY = " as stand\N{HYPHEN-MINUS}by"


class KeyNotProven(SignerError):
    """A token signs with a key other than the published, or planned, one."""

    fault = "keystore"
    code = "unproven"


async def make_key(
    signer: AsyncSignerClient,
    zone: bytes,
    keyset: Keyset,
    request: GenerateKey,
    now: int,
    share: str,
    tags: tuple[int, int],
) -> Keyset:
    """Return the key set with the requested key, made and proven; raise SignerError.

    If an earlier attempt was interrupted, the same request finds its key, so no second key is made.
    ``share``: the group of zones that use the same keys; their newest key is taken if it follows the zone's
    keys. Standby keys are shared only as standby keys, so that no zone starts to sign with one.
    """
    if share and request.goal is Goal.STANDBY:
        share += SHARED_STANDBY
    known = tuple(key.key_id for key in keyset.keys if not key.foreign)
    for attempt in range(TRIES):
        text = request.request_id if attempt == 0 else f"{request.request_id} try {attempt + 1}"
        info = await signer.generate(
            zone,
            request.role.value,
            request.algorithm,
            store=request.keystore,
            bits=request.bits,
            idempotency=text,
            share=share,
            known=known if share else (),
            tags=tags,
        )
        await prove_key(signer, zone, info.id, info.dnskey)
        try:
            after = generated(keyset, request, info.id, info.public_key, now)
        except KeysetError as error:
            log.warning("a key that was made is not used", key=info.id, cause=str(error))
            known += (info.id,)
            continue
        log.info("key made", role=request.role.value, tag=after.keys[-1].tag, keystore=request.keystore)
        return after
    raise SignerError(f"{TRIES} keys made in a row do not fit the zone's keys; see the log")


async def prove_key(signer: AsyncSignerClient, zone: bytes, key_id: str, dnskey: bytes) -> None:
    """Sign with the key in every token that should hold it, and check the signature; raise SignerError."""
    for proof in await signer.prove(zone, key_id, dnskey):
        if proof.error:
            raise KeyNotProven(
                f"key {key_id} is not the key with which token {proof.token} signs: {proof.error}; it is "
                f"not used. Take the token out of service and run `dnssecd keystore test`"
            )


async def destroy_key(signer: AsyncSignerClient, zone: bytes, key_id: str) -> None:
    """Unbind a key from the zone; after its last zone it is destroyed. A missing key is not an error."""
    try:
        detail = await signer.remove(zone, key_id)
    except KeyUnknown:
        detail = "it did not exist any more"
    log.info("key removed", key=key_id, detail=detail)
