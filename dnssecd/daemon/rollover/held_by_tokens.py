"""A key that several tokens hold is not lost with one of them: that stands for a backup."""

from collections.abc import Iterable

from dnssecd.core.keys.backup_gate import LOOK_S, RULE
from dnssecd.core.keys.evidence import KeyBackup
from dnssecd.core.keys.keyset import Key
from dnssecd.daemon.rollover.zone_keys import ZoneKeys
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import Proof


async def note_held(
    signer: AsyncSignerClient, zone: FrontZone, keys: ZoneKeys, now: float, monotonic: float
) -> bool:
    """Prove keys that wait for a backup to several tokens; return whether there is new evidence."""
    if keys.plan is None or keys.evidence is None or monotonic < keys.held_look:
        return False
    waiting = {blocker.ref for blocker in keys.plan.blockers if blocker.rule == RULE}
    if not waiting:
        return False
    keys.held_look = monotonic + LOOK_S
    found = False
    for key in keys.plan.keyset.keys:
        if key.ref in waiting:
            tokens = await _tokens(signer, zone, key)
            if len(tokens) >= zone.spec.held_by_min:
                keys.evidence.saved(KeyBackup(key.key_id, int(now), held_text(tokens)))
                found = True
    return found


async def _tokens(signer: AsyncSignerClient, zone: FrontZone, key: Key) -> list[str]:
    try:
        return holders(await signer.prove(zone.origin, key.key_id, key.rdata))
    except SignerError:
        return []


def holders(proofs: Iterable[Proof]) -> list[str]:
    """Return the names of the tokens that proved a key; a software key store has none."""
    return sorted({proof.token for proof in proofs if proof.token and not proof.error})


def held_text(tokens: list[str]) -> str:
    """Return the evidence in words."""
    return f"proven by tokens {', '.join(tokens)}"
