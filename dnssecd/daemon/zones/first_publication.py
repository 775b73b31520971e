"""The check before a zone's first publication: whether another signer signs it, and whether dnssecd may begin."""

from collections.abc import Callable

from msgspec import Struct

from dnssecd.config.model import Config
from dnssecd.core.dns.serial import latest
from dnssecd.daemon.rollover.text import moment
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish import exchange
from dnssecd.publish.firstcheck import FirstCheck, ds_matches, first_check
from dnssecd.publish.parent import ParentUnknown, find_parent_servers, resolver
from dnssecd.replacing import replace
from dnssecd.store.aside import Kept

CAME_BACK = "removed-zone-back"


class Permission(Struct, frozen=True):
    """Whether a zone may be published for the first time; ``event`` and ``cause`` say why not.

    ``at_parent``: of a restored zone, see ``pipeline/jobs/restore.py``.
    """

    allowed: bool
    serial_floor: int | None = None
    event: str = ""
    cause: str = ""
    remedy: str = ""
    at_parent: tuple[bytes, ...] | None = None


class Earlier(Struct, frozen=True):
    """Data of a zone from an earlier time: all its keys in the key stores (DNSKEY RDATA), and its last database."""

    keys: tuple[bytes, ...] = ()
    kept: Kept | None = None


NOTHING_EARLIER = Earlier()


async def ask_permission(
    zone: FrontZone,
    config: Config,
    our_keys: list[bytes],
    now: Callable[[], float],
    earlier: Earlier = NOTHING_EARLIER,
) -> Permission:
    """Query the zone's secondaries and its parent's servers, and decide. our_keys: the keys of its first version."""
    permission, found = await _ask(zone, config, our_keys, now)
    if permission.allowed and earlier.kept is not None:
        floor = permission.serial_floor
        serial = earlier.kept.serial if floor is None else latest(floor, earlier.kept.serial)
        return replace(permission, serial_floor=serial)
    return _came_back(zone, found, earlier) or permission


async def ask_adoption(
    zone: FrontZone, config: Config, keys: list[bytes], now: Callable[[], float]
) -> tuple[Permission, tuple[bytes, ...] | None]:
    """Decide the same for an adoption with these keys (DNSKEY RDATA); also return those with a DS at the parent.

    None instead: no server of the parent answered, or there is none to query.
    """
    permission, found = await _ask(zone, config, keys, now)
    answers = [answer.ds for answer in found.ds_seen if answer.ds is not None]
    if not answers:
        return permission, None
    seen = {ds for answer in answers for ds in answer}
    return permission, tuple(key for key in keys if any(ds_matches(ds, key, zone.name) for ds in seen))


async def _ask(
    zone: FrontZone, config: Config, our_keys: list[bytes], now: Callable[[], float]
) -> tuple[Permission, FirstCheck]:
    parents: list[exchange.Peer] = []
    trouble = ""
    alone = zone.config.parent.none or zone.name == "."
    if not alone:
        try:
            parents = await parent_servers(zone, config)
        except ParentUnknown as error:
            trouble = str(error)
    found = await first_check(zone.name, zone.watched, parents, our_keys, now)
    if found.foreign:
        return _foreign(zone, found), found
    if not alone and not found.parent_answers:
        failures = "; ".join(f"{server}: {why}" for server, why in found.parent_failures) or trouble
        waiting = Permission(
            False,
            event="first-publication-waiting",
            cause=f"the parent's servers could not be queried for a DS of {zone.name}: {failures}",
            remedy=f'name them: zone."{zone.name}".parent = {{ servers = ["…"] }}; for an island of trust parent = '
            f'"none"; to publish anyway: dnssecd zone reload {zone.name} --first-publication',
        )
        return waiting, found
    return Permission(True, found.highest_serial), found


async def parent_servers(zone: FrontZone, config: Config) -> list[exchange.Peer]:
    """Return the parent's servers, configured or found; raise ParentUnknown."""
    if zone.config.parent.servers:
        return [exchange.Peer(str(a), a.host, a.port) for a in zone.config.parent.servers]
    servers = [(a.host, a.port) for a in config.server.resolver]
    return list(await find_parent_servers(zone.name, resolver(servers)))


def _came_back(zone: FrontZone, found: FirstCheck, earlier: Earlier) -> Permission | None:
    """Return the refusal for a zone whose DNSKEY or DS from an earlier time here are still served; None for others."""
    known = [rdata[2:] for rdata in earlier.keys]
    if not found.foreign or not all(key.rdata[2:] in known for key in found.foreign_keys):
        return None
    if not all(any(ds_matches(one.ds, key, zone.name) for key in earlier.keys) for one in found.foreign_ds):
        return None
    what = f"{zone.name} is still published with keys from an earlier time here: {_seen(found)}"
    if earlier.kept is None:
        return Permission(
            False,
            event="foreign-dnskey",
            cause=f"{what}. The keys are in dnssecd's key store; their states are not known",
            remedy="nothing was published. Restore a backup of the zone (dnssecd restore); or, to start "
            "with new keys, first remove the DS at the parent and wait for its TTL",
        )
    return Permission(
        False,
        event=CAME_BACK,
        cause=f"{what}. It was removed at {moment(earlier.kept.at)}, at serial {earlier.kept.serial}, and "
        f"would start again with other keys",
        remedy=f"restore it with keys, their states and serial: dnssecd zone restore {zone.name}. To start "
        f"with new keys instead, first remove the DS at the parent and wait for its TTL, and remove the "
        f"zone from the secondaries; dnssecd tries again automatically",
    )


def _seen(found: FirstCheck) -> str:
    seen = [f"DNSKEY {k.key_tag} (algorithm {k.algorithm}) at {k.server}" for k in found.foreign_keys]
    seen += [f"DS {d.ds.key_tag} (algorithm {d.ds.algorithm}) at {d.server}" for d in found.foreign_ds]
    return ", ".join(seen[:10])


def _foreign(zone: FrontZone, found: FirstCheck) -> Permission:
    return Permission(
        False,
        event="foreign-dnskey" if found.foreign_keys else "ds-mismatch",
        cause=f"{zone.name} is already signed with keys that are not in dnssecd's key store: {_seen(found)}",
        remedy="nothing was published. To take over the signed zone, import its keys with their states "
        f"(dnssecd key import {zone.name} …), then dnssecd migrate check: docs/migration.md; to start with "
        f"new keys, first remove the DS at the parent and wait for its TTL",
    )
