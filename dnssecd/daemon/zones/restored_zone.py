"""May a zone that came out of a back-up be published again? What is public is looked at before anything is made.

The serial will be above everybody's; the keys have to be those that validators can have now; and nobody who might
serve something unknown is passed over in silence.
"""

from collections.abc import Callable

from dnssecd.config.model import Config
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.restore_limits import LiveServer, highest, live_keys, some
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
    """Ask the zone's servers and its parent's, and decide. unheard: a person accepts that some do not answer."""
    live = await LiveLook(now).ask(zone.name, zone.asked_servers)
    refusal = judge(zone.name, keyset, restored, live, unheard=unheard)
    if refusal is not None:
        return refusal
    refusal = _judge_ds(zone.name, keyset, await _ds(zone, config, now))
    return refusal or Permission(True, highest(live, restored.floor))


def judge(
    name: str, keyset: Keyset, restored: Restored, live: list[LiveServer], *, unheard: bool = False
) -> Permission | None:
    """Return why a restored zone may not be published now, None if it may."""
    silent = [f"{server.name}: {server.failure}" for server in live if server.silent]
    if silent and not unheard:
        return _waiting(
            f"it is not known what these serve of {name}: {some(silent)}",
            "it is tried again by itself; if they are gone for good take them out of the configuration, or publish "
            f"all the same: dnssecd zone reload {name} --first-publication",
        )
    against = live_keys(keyset, live, standby=restored.standby, other_keys=restored.other_keys)
    if against.unseen and not unheard:
        return _waiting(
            f"no server has a DNSKEY RRset of {name} to compare our keys with",
            "name the public servers (secondaries, check_servers); it is tried again by itself",
        )
    if against.apart:
        return _waiting(
            f"{name} would be signed with keys that validators do not have: {some(against.apart)}",
            "restore a newer back-up, or bring in the keys that are in use and restore with them",
        )
    if against.unknown:
        return Permission(
            False,
            event="foreign-dnskey",
            cause=f"{name} is signed by keys that the restored state does not know: {some(against.unknown)}",
            remedy="nothing was published. Is the primary really fenced? Restore a newer back-up; or accept that "
            "validators have other keys: dnssecd restore --accept-other-keys",
        )
    return None


async def _ds(zone: FrontZone, config: Config, now: Callable[[], float]) -> list[tuple[str, DsRecord]]:
    """The DS RRs that the parent's servers have; none where they cannot be asked: the DNSKEY RRset was compared."""
    if zone.config.parent.none or zone.name == ".":
        return []
    try:
        servers = await parent_servers(zone, config)
    except ParentUnknown:
        return []
    answers = await ask_all_ds(zone.name, servers, now, None)
    return [(answer.server, ds) for answer in answers for ds in answer.ds or ()]


def _judge_ds(name: str, keyset: Keyset, found: list[tuple[str, DsRecord]]) -> Permission | None:
    """Return the refusal for a zone whose DNSKEY RRset no DS at the parent would vouch for."""
    ours = [key.rdata for key in keyset.keys if key.krrsig.visible]
    if not found or any(ds_matches(ds, rdata, name) for _, ds in found for rdata in ours):
        return None
    seen = [f"DS {ds.key_tag} (algorithm {ds.algorithm}) at {server}" for server, ds in found]
    return Permission(
        False,
        event="ds-mismatch",
        cause=f"no key that signs the DNSKEY RRset of {name} has its DS at the parent, which has {some(seen)}",
        remedy="nothing was published. Restore a back-up with the key that the parent knows, or have the parent "
        f"change the DS: dnssecd ds show {name}",
    )


def _waiting(cause: str, remedy: str) -> Permission:
    return Permission(False, event=EVENT, cause=cause, remedy=f"{remedy}; nothing was published")
