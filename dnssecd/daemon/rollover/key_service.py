"""What plans ask of the key service: keys made, proven and destroyed."""

import structlog

from dnssecd.core.keys.keyset import Keyset, KeysetError
from dnssecd.core.keys.keystate import Goal
from dnssecd.core.keys.requests import generated
from dnssecd.core.keys.types import GenerateKey
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import KeyUnknown, SignerError

TRIES = 8

log = structlog.get_logger("dnssecd.rollover")


class KeyNotProven(SignerError):
    """A token signs with another key than the one that is, or will be, published."""

    fault = "keystore"
    code = "unproven"


async def make_key(
    signer: AsyncSignerClient, zone: bytes, keyset: Keyset, request: GenerateKey, now: int, share: str
) -> Keyset:
    """Return the keyset with the key asked for, made and proven; SignerError.

    The same request finds the key again that an attempt cut short had made, so no second pair is made. ``share``:
    the zones that use the same keys; their newest is taken where it follows those the zone has. Stand-by keys are
    shared as such, lest a zone begins with one.
    """
    if share and request.goal is Goal.STANDBY:
        share += " as stand-by"
    known = tuple(key.key_id for key in keyset.keys)
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
        )
        await prove_key(signer, zone, info.id, info.dnskey)
        try:
            after = generated(keyset, request, info.id, info.public_key, now)
        except KeysetError as error:
            log.warning("a key made is not used", key=info.id, cause=str(error))
            known += (info.id,)
            continue
        log.info("key made", role=request.role.value, tag=after.keys[-1].tag, keystore=request.keystore)
        return after
    raise SignerError(f"{TRIES} keys made in a row do not go with the zone's keys; see the log")


async def prove_key(signer: AsyncSignerClient, zone: bytes, key_id: str, dnskey: bytes) -> None:
    """Have every token that should hold a key sign with it, checked against its DNSKEY; SignerError."""
    for proof in await signer.prove(zone, key_id, dnskey):
        if proof.error:
            raise KeyNotProven(
                f"key {key_id} is not what token {proof.token} signs with: {proof.error}; it is not used. Take the "
                "token out of service and see `dnssecd keystore test`"
            )


async def destroy_key(signer: AsyncSignerClient, zone: bytes, key_id: str) -> None:
    """Unbind a key from the zone; with its last zone it is destroyed. One that is gone already is no error."""
    try:
        detail = await signer.remove(zone, key_id)
    except KeyUnknown:
        detail = "it was gone already"
    log.info("key removed", key=key_id, detail=detail)
