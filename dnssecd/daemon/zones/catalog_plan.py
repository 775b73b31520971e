"""What a catalog changes: which members become zones, which get another template, which leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from msgspec import Struct, field

from dnssecd.config.added import AddedZone, make_zone
from dnssecd.config.errors import ConfigErrors
from dnssecd.config.model import CatalogConfig, Config, ZoneConfig
from dnssecd.config.values import Bad, parse_name
from dnssecd.core.dns.names import text_to_wire, wire_to_text
from dnssecd.core.zone.catalog import Member


class CatalogPlan(Struct, frozen=True):
    """The changes. put: added and changed zones; gone: zones that left; refused: members, each with the reason."""

    put: dict[str, tuple[AddedZone, ZoneConfig]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def plan_members(
    catalog: CatalogConfig,
    members: Mapping[str, Member],
    records: Mapping[str, AddedZone],
    config: Config,
    served: Set[str],
    now: int,
) -> CatalogPlan:
    """Return what a catalog changes.

    records: all added zones, by name. config: in force, with the added zones. served: the names of all zones that the
    daemon has, those without configuration included. now: epoch seconds.
    """
    plan = CatalogPlan()
    wanted = set()
    entry = _Entry(catalog, records, config, served)
    for member in members.values():
        try:
            name = parse_name(member.zone)
        except Bad as bad:
            plan.refused[member.zone] = bad.what
            continue
        wanted.add(name)
        record, why = _record(catalog, member, name, records.get(name), config, entry, now)
        if record is None:
            if why:
                plan.refused[name] = why
            continue
        try:
            plan.put[name] = (record, make_zone(config, record))
        except ConfigErrors as error:
            plan.refused[name] = f"{error.errors[0].where}: {error.errors[0].what}"
        except (
            OSError,
            ValueError,
        ) as error:  # a member's name is a stranger's: no fault of it stops the others
            plan.refused[name] = f"it cannot be configured: {error}"
    plan.gone.extend(
        name for name, record in records.items() if record.catalog == catalog.name and name not in wanted
    )
    return plan


def _record(
    catalog: CatalogConfig,
    member: Member,
    name: str,
    before: AddedZone | None,
    config: Config,
    entry: _Entry,
    now: int,
) -> tuple[AddedZone | None, str]:
    """Return the record to store, None if nothing changes or the member is refused; and why it is refused."""
    why = entry.why_not(name, before)
    if why:
        return None, why
    template = next((catalog.groups[one] for one in member.groups if one in catalog.groups), catalog.template)
    if not template:
        groups = ", ".join(f'"{one}"' for one in member.groups) or "none"
        return None, f"there is no template for its group ({groups})"
    record = AddedZone(
        zone=name,
        template=template,
        catalog=catalog.name,
        member=member.label,
        coo=member.coo,
        at=before.at if before is not None else now,
    )
    if before is not None and _like(before, record) and name in config.zones:
        return None, ""
    return record, ""


def _like(one: AddedZone, other: AddedZone) -> bool:
    return (one.template, one.catalog, one.coo, one.member) == (
        other.template,
        other.catalog,
        other.coo,
        other.member,
    )


class _Entry:
    """Which members may become zones here. What others have, a catalog does not get by naming it."""

    def __init__(
        self, catalog: CatalogConfig, records: Mapping[str, AddedZone], config: Config, served: Set[str]
    ) -> None:
        self._catalog, self._config, self._served = catalog, config, served
        self._within = frozenset(map(text_to_wire, catalog.within))
        self._foreign: frozenset[bytes] = frozenset()
        self._above: frozenset[bytes] = frozenset()
        if not self._within:
            own = {name for name, record in records.items() if record.catalog == catalog.name}
            # Catalogs are zones that no resolver asks for.
            foreign = ((served | config.zones.keys()) - own) - config.catalogs.keys()
            self._foreign = frozenset(map(text_to_wire, foreign))
            self._above = frozenset(_suffixes(self._foreign))

    def why_not(self, name: str, before: AddedZone | None) -> str:
        """Return why a member must not become or stay a zone as the catalog says, "" if it may."""
        if name in self._config.catalogs:
            return "it is a catalog: catalogs in catalogs are not followed"
        mine = before is not None and before.catalog == self._catalog.name
        return ("" if mine else self._owned(name, before)) or self._placed(text_to_wire(name), mine)

    def _owned(self, name: str, before: AddedZone | None) -> str:
        if before is None:
            if name in self._config.zones:
                return "it is in the configuration file"
            return "it is served without configuration" if name in self._served else ""
        if not before.catalog:
            return "it was added with zone add"
        if before.coo == self._catalog.name:
            return ""  # a change of ownership (RFC 9432 §4.3.1)
        if before.catalog in self._config.catalogs:
            return f"it is a member of the catalog {before.catalog}"
        return f"it is of the catalog {before.catalog}, which is no longer configured"

    def _placed(self, wire: bytes, mine: bool) -> str:
        """Judge the place of a name in the tree: a zone in or above another takes names from it."""
        if self._within:
            inside = not self._within.isdisjoint(_suffixes([wire]))
            return "" if inside else f"it is not in {', '.join(self._catalog.within[:3])} (consume.within)"
        if mine:
            return ""
        around = next((one for one in _suffixes([wire]) if one in self._foreign), None)
        if around is not None and around != wire:
            return f"it lies in the zone {wire_to_text(around)}, which is not of this catalog"
        above = wire in self._above and wire not in self._foreign
        return "it lies above a zone that is not of this catalog" if above else ""


def _suffixes(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield names and all names above them, wire form."""
    for wire in names:
        position = 0
        while True:
            yield wire[position:]
            if not wire[position]:
                break
            position += wire[position] + 1
