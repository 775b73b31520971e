"""``[catalog.*]``: catalog zones (RFC 9432) that dnssecd makes for secondaries, or takes zones from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dnssecd.config.errors import did_you_mean
from dnssecd.config.model import CatalogConfig, Policy, ZoneConfig
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, parse_name
from dnssecd.config.zones import Known, read_max_change, references
from dnssecd.replacing import replace

#: Octets of a catalog's name: member labels, "zones" and a property's label stand before it (RFC 9432 §4).
_NAME_MAX = 160
#: The most members that a catalog may be allowed.
_MEMBERS_CEILING = 200_000
#: The policy of the catalogs that dnssecd makes: they are not signed. No table can have this name.
CATALOG_POLICY = "(catalog)"


def read_catalogs(root: Section, known: Known, zones: Mapping[str, ZoneConfig]) -> dict[str, CatalogConfig]:
    """Return all catalogs by name."""
    found: dict[str, CatalogConfig] = {}
    for written, section in root.children("catalog"):
        try:
            name = parse_name(written)
        except Bad as bad:
            section.error("", bad.what, bad.remedy)
            continue
        if name in found:
            section.error("", f"the catalog {name} is configured twice", "remove one of the two")
        if name in zones:
            section.error("", f'there is a [zone."{name}"], too', "give the catalog a name of its own")
        if len(name) > _NAME_MAX:
            section.error("", "the name is too long for a catalog", f"choose at most {_NAME_MAX} characters")
        found[name] = _catalog(name, section, known)
        section.finish()
    _check_members(root, found, zones)
    return found


def _catalog(name: str, section: Section, known: Known) -> CatalogConfig:
    produce = references(section, "produce", known.secondaries, "secondary")
    consume = section.table("consume")
    if bool(produce) == (consume is not None):
        section.error(
            "",
            "a catalog has produce, or it has consume",
            'write produce = ["ns1"], or consume = { primaries = ["NAME"], template = "NAME" }',
        )
    catalog = CatalogConfig(name, produce, max_change=read_max_change(section))
    if consume is None:
        return catalog
    primaries = references(consume, "primaries", known.primaries, "primary")
    if not primaries:
        consume.error("", "primaries is missing or empty", 'write primaries = ["NAME"] and [primary.NAME]')
    groups = consume.table("groups")
    named = dict(_groups(groups, known)) if groups is not None else {}
    template = _template(consume, "template", known) if consume.has("template") or not named else ""
    within = tuple(_names(consume, "within"))
    members_max = consume.integer("max_members", catalog.max_members, 1, _MEMBERS_CEILING)
    consume.finish()
    return replace(
        catalog,
        primaries=primaries,
        template=template,
        groups=named,
        within=within,
        max_members=members_max,
    )


def _names(section: Section, key: str) -> Iterator[str]:
    for text in section.texts(key):
        try:
            yield parse_name(text)
        except Bad as bad:
            section.error(key, bad.what, bad.remedy)


def _groups(table: Section, known: Known) -> Iterator[tuple[str, str]]:
    for group in table.names():
        yield group, _template(table, group, known)


def _template(section: Section, key: str, known: Known) -> str:
    name = section.text(key)
    if name not in known.templates:
        what = f'there is no zone-template "{name}"' if name else "is missing"
        section.error(key, what, f"add [zone-template.NAME]; {did_you_mean(name, known.templates)}")
    return name


def _check_members(
    root: Section, catalogs: Mapping[str, CatalogConfig], zones: Mapping[str, ZoneConfig]
) -> None:
    """Warn of zones that only some of a catalog's secondaries have: they are in no catalog."""
    for catalog in catalogs.values():
        partly = [
            zone.name
            for zone in zones.values()
            if len(set(catalog.produce) & set(zone.secondaries)) > 0
            and not set(catalog.produce) <= set(zone.secondaries)
        ]
        if partly:
            root.problems.warn(
                ("catalog", catalog.name),
                f"not all of {', '.join(catalog.produce)} are secondaries of {_few(partly)}, so it is not in "
                "the catalog",
                "make a catalog for each secondary, or give the zone all of them",
            )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def catalog_policy(policies: Mapping[str, Policy]) -> Policy:
    """Return the policy of the catalogs that dnssecd makes."""
    return replace(
        next(iter(policies.values())),
        name=CATALOG_POLICY,
        signed=False,
        zonemd=False,
        share_keys=False,
        require_backup=False,
        two_person=False,
        foreign_keys="strip",
        serial="increment",
        manual=frozenset(),
        freeze=(),
    )
