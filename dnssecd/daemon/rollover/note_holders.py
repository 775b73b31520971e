"""The evidence on which nodes of the cluster hold the keys that wait for it."""

from dnssecd.core.keys.evidence import KeyHolders
from dnssecd.core.keys.holders_gate import LOOK_S, RULE
from dnssecd.daemon.rollover.zone_keys import ZoneKeys
from dnssecd.daemon.zones.key_holders import Holders, of_key
from dnssecd.daemon.zones.zone import FrontZone


async def note_holders(holders: Holders | None, zone: FrontZone, keys: ZoneKeys, monotonic: float) -> bool:
    """Ask which nodes hold the keys that wait for it; return whether there is new evidence."""
    if holders is None or keys.plan is None or keys.evidence is None or monotonic < keys.holders_look:
        return False
    waiting = {blocker.ref for blocker in keys.plan.blockers if blocker.rule == RULE}
    if not waiting:
        return False
    keys.holders_look = monotonic + LOOK_S
    wanted = [of_key(key) for key in keys.plan.keyset.keys if key.ref in waiting]
    found = {key_id: KeyHolders(key_id, nodes) for key_id, nodes in (await holders(zone, wanted)).items()}
    before, keys.evidence.holders = keys.evidence.holders, {**keys.evidence.holders, **found}
    return before != keys.evidence.holders
