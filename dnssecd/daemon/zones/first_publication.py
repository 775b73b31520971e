"""Before a zone's first publication: does anybody sign it already, and may we begin?"""

from collections.abc import Callable
from dataclasses import dataclass

from dnssecd.config.model import Config
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.publish import exchange
from dnssecd.publish.firstcheck import FirstCheck, ds_matches, first_check
from dnssecd.publish.parent import ParentUnknown, find_parent_servers, resolver


@dataclass(frozen=True)
class Permission:
    """Whether a zone may be published for the first time. ``event`` and ``cause`` say why not."""

    allowed: bool
    serial_floor: int | None = None
    event: str = ""
    cause: str = ""
    remedy: str = ""


async def ask_permission(
    zone: FrontZone, config: Config, our_keys: list[bytes], now: Callable[[], float]
) -> Permission:
    """Ask the zone's secondaries and its parent's servers, and decide."""
    return (await _ask(zone, config, our_keys, now))[0]


async def ask_adoption(
    zone: FrontZone, config: Config, keys: list[bytes], now: Callable[[], float]
) -> tuple[Permission, tuple[bytes, ...] | None]:
    """The same for a zone that comes over with these keys (DNSKEY RDATA); also those that the parent has a DS of.

    None in their place: no server of the parent answered, or there is none to be asked.
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
            cause=f"the parent's servers could not be asked for a DS of {zone.name}: {failures}",
            remedy=f'name them: zone."{zone.name}".parent = {{ servers = ["…"] }}; for an island of trust parent = '
            f'"none"; to publish all the same: dnssecd zone reload {zone.name} --first-publication',
        )
        return waiting, found
    return Permission(True, found.highest_serial), found


async def parent_servers(zone: FrontZone, config: Config) -> list[exchange.Peer]:
    """Return the parent's servers, configured or found; ParentUnknown."""
    if zone.config.parent.servers:
        return [exchange.Peer(str(a), a.host, a.port) for a in zone.config.parent.servers]
    servers = [(a.host, a.port) for a in config.server.resolver]
    return list(await find_parent_servers(zone.name, resolver(servers)))


def _foreign(zone: FrontZone, found: FirstCheck) -> Permission:
    seen = [f"DNSKEY {k.key_tag} (algorithm {k.algorithm}) at {k.server}" for k in found.foreign_keys]
    seen += [f"DS {d.ds.key_tag} (algorithm {d.ds.algorithm}) at {d.server}" for d in found.foreign_ds]
    return Permission(
        False,
        event="foreign-dnskey" if found.foreign_keys else "ds-mismatch",
        cause=f"{zone.name} is signed already with keys that are not in our key store: {', '.join(seen[:10])}",
        remedy="nothing was published. To take the zone over as it is signed import its keys with their states "
        f"(dnssecd key import {zone.name} …), then dnssecd migrate check: docs/migration.md; if it is to begin anew, "
        "first remove the DS at the parent and wait its TTL",
    )
