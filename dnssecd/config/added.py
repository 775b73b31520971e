"""Zones that were added while the daemon ran, by an operator or by a catalog, and the catalogs.

They get their keys from a template and become zones of the :class:`Config`, as if the file had them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from dnssecd.config.catalogs import CATALOG_POLICY, catalog_policy
from dnssecd.config.errors import ConfigErrors, did_you_mean
from dnssecd.config.model import Acl, CatalogConfig, Config, ParentConfig, ZoneConfig
from dnssecd.config.reader import Section
from dnssecd.config.zones import Known, read_zone
from dnssecd.core.zone.catalog import zone_file_name
from dnssecd.replacing import replace

#: A member takes at most about a KiB of a transfer: its PTR record, and its properties.
_MEMBERS_PER_MIB = 1_024


class AddedZone(msgspec.Struct, frozen=True, kw_only=True):
    """How a zone was added. given: keys that it has beside those of its template.

    catalog: the catalog that it is a member of, "" if an operator added it; member: its label there; coo: the catalog
    that it changes to. at: epoch seconds.
    """

    zone: str
    template: str
    given: dict[str, Any] = {}
    catalog: str = ""
    member: str = ""
    coo: str = ""
    at: int = 0

    def document(self) -> str:
        """Return the form in which it is stored."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def of_document(document: str) -> AddedZone:
        """Return what was stored. Raise msgspec.DecodeError."""
        return msgspec.json.decode(document, type=AddedZone)


@dataclass(frozen=True, slots=True)
class Unusable:
    """An added zone that the configuration cannot have, with the reason and the remedy."""

    zone: str
    what: str
    remedy: str


def make_zone(config: Config, added: AddedZone) -> ZoneConfig:
    """Return the zone as configured by its template. Raise ConfigErrors."""
    known = Known(config.policies, config.tsig, config.secondaries, config.primaries, config.templates)
    template = config.templates.get(added.template)
    if template is None:
        what = f'there is no zone-template "{added.template}"'
        raise ConfigErrors.single(
            config.path, f'zone."{added.zone}".template', what, did_you_mean(added.template, config.templates)
        )
    problems = template.problems.renewed()
    given = {key: value for key, value in added.given.items() if key != "template"}
    own = Section({**given, "template": added.template}, ("zone", added.zone), problems, config.path.parent)
    zone = read_zone(added.zone, own, known, problems)
    if problems.errors:
        raise ConfigErrors(problems.errors)
    return zone


def with_added(config: Config, added: Iterable[AddedZone]) -> tuple[Config, list[Unusable]]:
    """Return the configuration of the daemon: with the added zones, and the catalogs as zones.

    A zone that the file has is the file's. What cannot be used is left out and returned.
    """
    zones = dict(config.zones)
    unusable = []
    for one in added:
        if one.zone in config.zones:
            continue
        if one.zone in config.catalogs:
            unusable.append(Unusable(one.zone, f"{one.zone} is a catalog", "remove one of the two"))
            continue
        try:
            zones[one.zone] = make_zone(config, one)
        except ConfigErrors as error:
            first = error.errors[0]
            unusable.append(Unusable(one.zone, f"{first.where}: {first.what}", first.remedy))
    return with_catalogs(replace(config, zones=zones)), unusable


def with_catalogs(config: Config) -> Config:
    """Return a configuration in which the catalogs are zones, without signatures."""
    if not config.catalogs:
        return config
    catalogs = {catalog.name: _catalog_zone(config, catalog) for catalog in config.catalogs.values()}
    zones = {**config.zones, **catalogs}
    policies = {**config.policies, CATALOG_POLICY: catalog_policy(config.policies)}
    return replace(config, zones=zones, policies=policies)


def _catalog_zone(config: Config, catalog: CatalogConfig) -> ZoneConfig:
    made = bool(catalog.produce)
    return ZoneConfig(
        name=catalog.name,
        policy=CATALOG_POLICY,
        source="file" if made else "primaries",
        file=str(config.server.state_dir / "catalogs" / zone_file_name(catalog.name)) if made else None,
        primaries=catalog.primaries,
        allow_update=(),
        secondaries=catalog.produce,
        check_servers=tuple(
            config.secondaries[name] for name in catalog.produce if config.secondaries[name].query
        ),
        allow_transfer=Acl(),
        allow_query=Acl(),
        parent=ParentConfig(none=True),
        max_change=1.0 if made else catalog.max_change,
        max_transfer_mib=None if made else 1 + catalog.max_members // _MEMBERS_PER_MIB,
    )
