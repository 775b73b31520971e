"""The check before a restored zone is published again: it looks at all public servers first.

The new serial must be after all public ones; the keys must be those that validators can have now; and a
server whose version is unknown is reported, never ignored.
"""

from collections.abc import Callable

from dnssecd.config.model import Config
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.keys.requests import ds_found, is_ready_for_ds
from dnssecd.core.keys.restore_limits import LiveServer, highest, live_keys, some
from dnssecd.core.keys.rules import RULES, broken
from dnssecd.daemon.zones.first_publication import Permission, parent_servers
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.state import Restored
from dnssecd.publish.firstcheck import ds_matches
from dnssecd.publish.live import LiveLook
from dnssecd.publish.parent import DsRecord, ParentUnknown, ask_all_ds

EVENT = "restored-waiting"


async def may_return(
    zone: FrontZone,
    config: Config,
    keyset: Keyset,
    restored: Restored,
    now: Callable[[], float],
    *,
    unheard: bool,
) -> Permission:
    """Query the zone's servers and its parent's, and decide. unheard: an operator accepts that some do not answer."""
    live = await LiveLook(now).ask(zone.name, zone.asked_servers)
    refusal = judge(zone.name, keyset, restored, live, unheard=unheard)
    if refusal is not None:
        return refusal
    if zone.config.parent.none or zone.name == ".":
        return Permission(True, highest(live, restored.floor))
    found = await _ds(zone, config, now)
    at_parent = _keys_with_ds(zone.name, keyset, found)
    now_known = ds_found(keyset, at_parent, int(now()))
    refusal = (
        judge_ds(zone.name, keyset, found)
        or judge_found_ds(zone.name, keyset, now_known)
        or judge(zone.name, now_known, restored, live, unheard=unheard)
    )
    return refusal or Permission(True, highest(live, restored.floor), at_parent=at_parent)


def _keys_with_ds(name: str, keyset: Keyset, found: list[tuple[str, DsRecord]]) -> tuple[bytes, ...]:
    """Return those of the zone's keys (DNSKEY RDATA) of which a server of the parent has a DS."""
    keys = [key.rdata for key in keyset.keys if Rec.DS in key.records]
    return tuple(rdata for rdata in keys if any(ds_matches(ds, rdata, name) for _, ds in found))


def judge(
    name: str, keyset: Keyset, restored: Restored, live: list[LiveServer], *, unheard: bool = False
) -> Permission | None:
    """Return why a restored zone must not be published now, None if it may."""
    silent = [f"{server.name}: {server.failure}" for server in live if server.silent]
    if silent and not unheard:
        return _waiting(
            f"it is unknown which version of {name} these servers have: {some(silent)}",
            f"dnssecd tries again automatically; if the servers no longer exist, remove them from the "
            f"configuration, or publish anyway: dnssecd zone reload {name} --first-publication",
        )
    against = live_keys(keyset, live, standby=restored.standby, other_keys=restored.other_keys)
    if against.unseen and not unheard:
        return _waiting(
            f"no server has a DNSKEY RRset of {name} to compare the restored keys with",
            "configure the public servers (secondaries, check_servers); dnssecd tries again automatically",
        )
    if against.apart:
        return _waiting(
            f"{name} would be signed with keys that validators do not have: {some(against.apart)}",
            "restore a newer backup, or import the keys in use and restore with them",
        )
    if against.ahead:
        return _waiting(
            f"{name} would be published without keys whose signatures validators have: {some(against.ahead)}",
            "restore a newer backup, or wait until these keys are no longer published",
        )
    if against.lost:
        return _waiting(
            f"no key that validators have can sign a new version of {name}: {some(against.lost)}",
            "restore a backup from before the loss; or accept that validators fail for the TTL of the DNSKEY RRset: "
            "dnssecd restore --accept-other-keys",
        )
    if against.unknown:
        return Permission(
            False,
            event="foreign-dnskey",
            cause=f"{name} is signed by keys that the restored state does not know: {some(against.unknown)}",
            remedy="nothing was published. Check that the primary is really fenced. Restore a newer "
            "backup; or accept that validators have other keys: dnssecd restore --accept-other-keys",
        )
    return None


async def _ds(zone: FrontZone, config: Config, now: Callable[[], float]) -> list[tuple[str, DsRecord]]:
    """Return the DS RRs at the parent's servers; none if they cannot be queried: the DNSKEY RRset was compared."""
    try:
        servers = await parent_servers(zone, config)
    except ParentUnknown:
        return []
    answers = await ask_all_ds(zone.name, servers, now, None)
    return [(answer.server, ds) for answer in answers for ds in answer.ds or ()]


def judge_ds(name: str, keyset: Keyset, found: list[tuple[str, DsRecord]]) -> Permission | None:
    """Return the refusal for a zone whose DNSKEY RRset or signatures would not match the DS at the parent."""
    if not found:
        return None
    with_ds = [key for key in keyset.keys if any(ds_matches(ds, key.rdata, name) for _, ds in found)]
    seen = [f"DS {ds.key_tag} (algorithm {ds.algorithm}) at {server}" for server, ds in found]
    if not any(key.krrsig.visible for key in with_ds):
        return Permission(
            False,
            event="ds-mismatch",
            cause=f"no key that signs the DNSKEY RRset of {name} has its DS at the parent, which has {some(seen)}",
            remedy=f"nothing was published. Restore a backup with the key of the parent's DS, or let the "
            f"parent change the DS: dnssecd ds show {name}",
        )
    lost = any(key.lost for key in keyset.keys)
    if not any(key.zrrsig.visible for key in keyset.keys) or not (lost or any(map(is_ready_for_ds, with_ds))):
        return _waiting(
            f"the backup of {name} was made before the zone was ready for a DS, and the parent has {some(seen)}",
            "restore a newer backup; or remove the DS at the parent until the keys are ready",
        )
    return None


def judge_found_ds(name: str, keyset: Keyset, now_known: Keyset) -> Permission | None:
    """Return the refusal for a zone whose parent got a DS after the backup, of a key that not all validators can have.

    now_known: the key set with the DS that were found (`ds_found`). With such a DS no step would be known to be safe.
    """
    if now_known == keyset or broken(keyset, RULES) is not None or (rule := broken(now_known, RULES)) is None:
        return None
    tags = ", ".join(
        str(key.tag)
        for key, before in zip(now_known.keys, keyset.keys, strict=True)
        if Rec.DS in key.records and key.ds != before.ds
    )
    return _waiting(
        f"the parent of {name} got the DS of key {tags} after the backup was made: it is no longer certain that "
        f"{rule.text}",
        "restore a newer backup",
    )


def _waiting(cause: str, remedy: str) -> Permission:
    return Permission(False, event=EVENT, cause=cause, remedy=f"{remedy}; nothing was published")
