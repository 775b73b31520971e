"""The gate of policies that require backups: no key is used before there is evidence that a copy of it exists."""

from dnssecd.core.keys.facts import World
from dnssecd.core.keys.holders_gate import waits_for
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Rec
from dnssecd.core.keys.types import Blocker, Gate, Missing

RULE = "require-backup"
#: How often it is looked whether several tokens hold the key (s).
LOOK_S = 60


def backed_up(key: Key, world: World) -> bool:
    """Return whether there is evidence of a backup of a key."""
    return any(backup.key_id == key.key_id for backup in world.evidence.backups)


def backup_refusal(
    keyset: Keyset, move: tuple[tuple[str, Rec, Event], ...], world: World
) -> tuple[Key, str] | None:
    """Return the key of a step that waits for its backup, and why; None: the step does not wait."""
    if not world.policy.require_backup:
        return None
    offline = frozenset() if world.evidence.ahead is None else world.evidence.ahead.stores
    for key in waits_for(keyset, move):
        if backed_up(key, world) or key.keystore in offline:  # of an off-line key: the ceremony keeps it
            continue
        return (
            key,
            f"{key.role.value} {key.tag} has no confirmed backup, and the policy requires one (require_backup)",
        )
    return None


def backup_blocker(key: Key, detail: str, rec: Rec, event: Event, now: int) -> Blocker:
    """Return the blocker of a step that waits for a backup."""
    missing = Missing(
        "an operator",
        "no confirmed backup",
        "a backup that contains the key (dnssecd key backup, then key backup --confirm FILE), or the key in a "
        "second token",
        now + LOOK_S,
    )
    return Blocker(Gate.BACKUP, RULE, detail, key.ref, key.tag, rec, event, (missing,))
