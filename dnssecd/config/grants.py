"""``allow_update`` and the bounds on dynamic updates in ``[zone.*]``."""

from __future__ import annotations

from collections.abc import Mapping

import dns.exception
import dns.rdatatype

from dnssecd.config.model import Grant, TsigKey, UpdateLimits
from dnssecd.config.peers import tsig_reference
from dnssecd.config.reader import Section
from dnssecd.config.values import Bad, is_below, parse_name

#: Types that the signer makes, or that are not data: no grant may have them.
_NEVER_GRANTED = frozenset(
    {"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "TSIG", "OPT", "AXFR", "IXFR", "NONE", "TKEY"}
)


def update_limits(section: Section) -> UpdateLimits:
    """Return the limits of dynamic updates of the zone."""
    usual = UpdateLimits()
    return UpdateLimits(
        records=section.integer("update_records_max", usual.records, 1, 10_000),
        types=section.integer("update_types_max", usual.types, 1, 10_000),
        names=section.integer("update_names_max", usual.names, 1, 100_000),
        strict=section.flag("update_strict", usual.strict),
    )


def grants(section: Section, zone: str, source: str, keys: Mapping[str, TsigKey]) -> tuple[Grant, ...]:
    """Return the grants of a zone; ``source`` is the zone's, ``keys`` are those of the configuration."""
    if source == "primaries" and section.has("allow_update"):
        section.error(
            "allow_update",
            "a zone from primaries cannot be updated here",
            "remove it, and update the zone at its primary",
        )
    found = []
    for table in section.tables("allow_update"):
        table.require("tsig", "name the TSIG key that may update")
        table.require("names", 'write names = ["name.example.com."]')
        table.require("types", 'write types = ["TXT"]')
        tsig = tsig_reference(table, "tsig", keys)
        names = _grant_names(table, zone, source)
        types = _grant_types(table, source)
        table.finish()
        if tsig:
            found.append(Grant(tsig, names, types))
    return tuple(found)


_WHOLE_ZONE_REMEDY = (
    'grant single names and types, or write source = "dynamic": granted names and types come from updates only, '
    "so nothing would come from the file"
)


def _grant_names(table: Section, zone: str, source: str) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(table.texts("names")):
        place = table.at("names", index)
        if text == "self":
            found.append(text)
            continue
        if text == "*":
            found.append(text)
            if source == "file":
                table.problems.error(place, "a grant on the whole of a file zone", _WHOLE_ZONE_REMEDY)
            continue
        prefix = "*." if text.startswith("*.") else ""
        rest = text[len(prefix) :]
        try:
            name = parse_name(rest)
            _check_form(text, rest, name, zone)
        except Bad as bad:
            table.problems.error(place, bad.what, bad.remedy)
            continue
        if not is_below(name, zone):
            table.problems.error(place, f"{name} is not in the zone {zone}", "grant names of this zone")
        found.append(prefix + name)
    return tuple(found)


def _check_form(text: str, rest: str, name: str, zone: str) -> None:
    """Refuse patterns and relative names. rest: *text* without a leading ``*.``; name: *rest*, parsed. Raise Bad."""
    if "*" in rest.replace("\\*", ""):
        tail = name.rpartition("*.")[2]
        below = f"*.{tail}" if tail and is_below(tail, zone) else f"*.{zone}"
        raise Bad(
            f'"{text}" has a * that is not the first label; names are not patterns',
            f'write "{below}", which grants all names below it, with few types (types = ["TXT"]); or list the names',
        )
    if name.startswith("*."):
        raise Bad(
            f'"{text}" means a wildcard only, which cannot be granted alone',
            f'write "{name}", which grants the wildcard and every other name below',
        )
    if not rest.endswith("."):
        prefix = text[: len(text) - len(rest)]
        whole = name if is_below(name, zone) else name + zone
        raise Bad(
            f'"{text}" has no final dot',
            f'write "{prefix}{whole}": dnssecd does not append the zone name',
        )


def _grant_types(table: Section, source: str) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(table.texts("types")):
        place = table.at("types", index)
        mnemonic = text.upper()
        try:
            dns.rdatatype.from_text(mnemonic)
        except (dns.exception.DNSException, ValueError):
            table.problems.error(
                place, f'"{text}" is not an RR type', "write a mnemonic, as in TXT, or TYPE65280"
            )
            continue
        if mnemonic in _NEVER_GRANTED:
            table.problems.error(place, f"the signer makes {mnemonic} records", "remove it")
        if mnemonic == "ANY" and source == "file":
            table.problems.error(place, "a grant on every type of a file zone", _WHOLE_ZONE_REMEDY)
        found.append(mnemonic)
    if "ANY" in found and len(found) > 1:
        table.error("types", "ANY means all types", 'write types = ["ANY"] alone')
    return tuple(found)
