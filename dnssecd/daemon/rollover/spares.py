"""Spare keys: keys that the key service holds for a zone and that the zone does not use.

The key service is queried only when a plan needs a key, and for forecasts. ``key import --cka-id`` and ``key
generate`` make spare keys.
"""

from collections.abc import Awaitable, Callable, Iterable

from dnssecd.core.keys.evidence import Evidence, SpareKey
from dnssecd.core.keys.goals import KEYS_GIVEN
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.types import GenerateKey, Plan, RolloverPolicy
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.version.committed import Committed
from dnssecd.replacing import replace


async def with_spares(
    plan: Plan,
    evidence: Evidence,
    policy: RolloverPolicy,
    known: Committed,
    held: Callable[[], Awaitable[Iterable[KeyInfo]]],
    *,
    shared: bool,
) -> Evidence | None:
    """Return the evidence with the zone's spare keys, for a new plan; None if the plan needs none.

    ``held`` queries the key service. ``shared``: the zone's keys are those of several zones; the key service
    chooses them, unless every key is given.
    """
    wants = any(isinstance(effect, GenerateKey) for effect in plan.effects) or any(
        blocker.rule == KEYS_GIVEN for blocker in plan.blockers
    )
    if not wants or (shared and not policy.given):
        return None
    spares = spare_keys(await held(), known)
    return replace(evidence, spares=spares) if spares else None


async def for_forecast(
    signer: AsyncSignerClient, zone: FrontZone, known: Committed, policy: RolloverPolicy, evidence: Evidence
) -> tuple[Evidence, list[str]]:
    """Return the evidence with the zone's spare keys, and a note where the key service did not list them."""
    if zone.spec.share and not policy.given:
        return evidence, []  # the key service chooses
    try:
        return replace(evidence, spares=spare_keys(await signer.keys(zone.origin), known)), []
    except SignerError as error:
        return evidence, [
            f"spare keys are not known here, because the key service did not list them: {error}"
        ]


def spare_keys(held: Iterable[KeyInfo], known: Committed) -> tuple[SpareKey, ...]:
    """Return the keys that the zone could begin to use: not keys that leave it, and not missing ones."""
    used = {key.key_id for key in known.keyset.keys} | set(known.removals)
    return tuple(
        SpareKey(
            info.id, Role(info.role), info.algorithm, info.bits, info.store, info.public_key, info.created
        )
        for info in held
        if info.id not in used and info.state != "missing"
    )
