"""A change of denial (NSEC, NSEC3, opt-out) waits for the same gates as rollovers, then takes one version."""

import msgspec

from dnssecd.core.keys.goals import DENIAL, denial_blocker
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.types import Blocker, RolloverPolicy
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.held_denial import words


def wanted_change(zone: FrontZone, known: Committed) -> str:
    """Return the change in the configuration, as "nsec to nsec3" ("": none)."""
    if known.denial is None or known.denial == zone.spec.denial_parameters:
        return ""
    return f"{words(known.denial)} to {words(zone.spec.denial_parameters)}"


def held_change(zone: FrontZone, known: Committed, policy: RolloverPolicy, now: int) -> Blocker | None:
    """Return why a change waits; None if there is none, or it may be made now."""
    change = wanted_change(zone, known)
    if not change or not (zone.spec.hold_denial or f"{DENIAL}{change}" in known.keyset.held):
        return None
    blocker = denial_blocker(known.keyset, policy, now, change)
    if blocker is None:
        zone.spec = msgspec.structs.replace(zone.spec, hold_denial=False)
    return blocker


def used_approvals(zone: FrontZone, keyset: Keyset, known: Committed) -> tuple[str, ...]:
    """Return approvals of changes that have been made, or are no longer requested."""
    change = wanted_change(zone, known)
    return tuple(
        token
        for token in dict.fromkeys((*keyset.approved, *keyset.held))
        if token.startswith(DENIAL) and token != f"{DENIAL}{change}"
    )
