"""PowerDNS: what pdnsutil prints, in one file or several, or what is in the database of its gsqlite3 backend.

for z in $(pdnsutil list-all-zones); do pdnsutil show-zone $z; done > zones.txt; pdnsutil list-tsig-keys > keys.txt
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from dnssecd.migration.fleet.model import (
    BadConfig,
    Fleet,
    Key,
    Read,
    Rules,
    Server,
    Zone,
    address,
    network,
    zone_name,
)

_ALGORITHMS = {
    8: "rsasha256",
    10: "rsasha512",
    13: "ecdsap256sha256",
    14: "ecdsap384sha384",
    15: "ed25519",
} | {16: "ed448"}
#: The flag that marks a key that the parent's DS is of (RFC 4034 §2.1.1).
SEP = 1
_BEGIN = re.compile(r"This is a (\w+) zone|Zone is (not actively|presigned|not present)")
_KEY = re.compile(
    r"ID = \d+ \((KSK|ZSK|CSK)\), flags = \d+, tag = \d+, algo = (\d+), bits = (\d+)\s+(Active|Inactive)"
)
_RECORD = re.compile(r"[A-Z]+ DNSKEY = (\S+) IN DNSKEY ")
_NSEC3 = re.compile(r"Zone has (NARROW )?hashed NSEC3 semantics, configuration: 1 (\d+) (\d+) (\S+)")
_META = re.compile(r"\t([A-Z0-9-]+)\t(.*)$")
_TSIG = re.compile(r"(\S+)\s+(hmac-[a-z0-9-]+)\.?\s+([A-Za-z0-9+/=]+)\s*$")


@dataclass(slots=True)
class _Shown:
    where: str
    name: str = ""
    keys: list[tuple[str, int, int]] = field(default_factory=list)
    nsec3: re.Match[str] | None = None
    meta: list[tuple[str, str, str]] = field(default_factory=list)


class Database(Protocol):
    """What is in a database of the gsqlite3 backend: see ``store/powerdns.py``."""

    @property
    def zones(self) -> list[tuple[int, str, str]]:
        """Number, name, type."""

    @property
    def meta(self) -> list[tuple[int, str, str]]:
        """Number of the zone, kind, content."""

    @property
    def keys(self) -> list[tuple[int, int, bool, int, str]]:
        """Number of the zone, flags, whether active, algorithm, modulus in base64."""

    @property
    def tsig(self) -> list[tuple[str, str, str]]:
        """Name, algorithm, secret."""


NONE: Mapping[Path, Database] = MappingProxyType({})


def read_config(paths: list[Path], read: Read, databases: Mapping[Path, Database] = NONE) -> Fleet:
    """Return the fleet of the files; databases: of those that are databases. Raise BadConfig."""
    fleet = Fleet(keystores={"local": {"type": "software"}})
    shown: list[_Shown] = []
    for path in paths:
        if path in databases:
            _read_database(fleet, shown, path, databases[path])
        else:
            _read_file(fleet, shown, path, read(path))
    if not shown:
        raise BadConfig(
            f"{paths[0]}: no zone is in it: it is neither the output of pdnsutil show-zone nor a database"
        )
    for one in shown:
        _add_zone(fleet, one)
    return fleet


def _read_file(fleet: Fleet, shown: list[_Shown], path: Path, text: str) -> None:
    begun = False
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}:{number}"
        if _BEGIN.match(line) and not (begun and line.startswith("Zone is")):
            shown.append(_Shown(where))
            begun = True
        elif (tsig := _TSIG.fullmatch(line)) and not line.startswith("\t"):
            fleet.keys[zone_name(tsig[1], where)] = Key(tsig[2], tsig[3])
        elif shown:
            _read_line(shown[-1], line, where)


def _read_database(fleet: Fleet, shown: list[_Shown], path: Path, database: Database) -> None:
    """Take in a database as if pdnsutil had shown it."""
    for name, hmac, secret in database.tsig:
        fleet.keys[zone_name(name, str(path))] = Key(hmac.lower(), secret)
    zones = {ident: _Shown(f"{path}: {name}", name) for ident, name, _ in database.zones}
    for zone, kind, content in database.meta:
        if zone in zones:
            zones[zone].meta.append((kind, content, zones[zone].where))
    flags: dict[int, set[int]] = {}
    for zone, flag, active, _, _ in database.keys:
        if active:
            flags.setdefault(zone, set()).add(flag)
    for zone, flag, active, algorithm, modulus in database.keys:
        if active and zone in zones:
            role = ("ksk" if flag & SEP else "zsk") if len(flags[zone]) > 1 else "csk"
            zones[zone].keys.append((role, algorithm, _bits(modulus, zones[zone].where)))
    for one in zones.values():
        words = {kind: content for kind, content, _ in one.meta}
        if "NSEC3PARAM" in words:
            narrow = "NARROW " if words.get("NSEC3NARROW") == "1" else ""
            one.nsec3 = _NSEC3.match(
                f"Zone has {narrow}hashed NSEC3 semantics, configuration: {words['NSEC3PARAM']}"
            )
    shown += zones.values()


def _bits(modulus: str, where: str) -> int:
    try:
        return len(base64.b64decode(modulus, validate=True).lstrip(b"\0")) * 8
    except ValueError:
        raise BadConfig(f"{where}: a key has no modulus that can be read") from None


def _read_line(one: _Shown, line: str, where: str) -> None:
    if found := _KEY.match(line):
        if found[4] == "Active":
            one.keys.append((found[1].lower(), int(found[2]), int(found[3])))
    elif record := _RECORD.match(line):
        one.name = record[1]
    elif nsec3 := _NSEC3.match(line):
        one.nsec3 = nsec3
    elif meta := _META.match(line):
        one.meta.append((meta[1], meta[2].strip(), where))


def _add_zone(fleet: Fleet, one: _Shown) -> None:
    if not one.keys or not one.name:
        named = f"{one.name}: " if one.name else ""
        fleet.note(one.where, f"{named}a zone without active keys is left out: it is not signed")
        return
    zone = Zone(_policy(fleet, one))
    for name, value, where in one.meta:
        words = [word for word in re.split(r"[,\s]+", value) if word]
        if name == "TSIG-ALLOW-AXFR":
            zone.clients += [zone_name(word, where) for word in words]
        elif name == "ALLOW-AXFR-FROM":
            zone.clients += [network(word, where) for word in words if word != "AUTO-NS"]
        elif name == "ALSO-NOTIFY":
            zone.secondaries += [_secondary(fleet, word, where) for word in words]
        elif name not in (
            "SOA-EDIT",
            "SOA-EDIT-API",
            "NSEC3PARAM",
            "NSEC3NARROW",
            "PUBLISH-CDS",
            "PUBLISH-CDNSKEY",
        ):
            fleet.note(where, f"{one.name}: metadata {name} has no counterpart")
    unknown = [key for key in zone.clients if key.endswith(".") and key not in fleet.keys]
    if unknown:
        raise BadConfig(f"{one.where}: the TSIG key {unknown[0]} is not listed: add pdnsutil list-tsig-keys")
    fleet.add_zone(one.name, zone, one.where)


def _secondary(fleet: Fleet, text: str, where: str) -> str:
    host, port = text, "53"
    if text.count(":") == 1:
        host, _, port = text.partition(":")
    elif text.startswith("["):
        host, _, port = text[1:].partition("]:")
    return fleet.server_name(fleet.secondaries, host, Server(address(host.rstrip("]"), port or "53", where)))


def _policy(fleet: Fleet, one: _Shown) -> str:
    """Return the name of the policy that has these keys and this denial; zones with the same share it."""
    rules = Rules()
    for role, number, bits in one.keys:
        if number not in _ALGORITHMS:
            raise BadConfig(
                f"{one.where}: {one.name} has algorithm {number}: roll to another one at PowerDNS first"
            )
        if role in rules.roles:
            fleet.note(
                one.where, f"{one.name} has several active keys of role {role}: finish the rollover first"
            )
        table: dict[str, object] = {"algorithm": _ALGORITHMS[number], "lifetime": "unlimited"}
        rules.roles[role] = table | ({"bits": bits} if number in (8, 10) else {})
    rules.settings["denial"] = "nsec3" if one.nsec3 else "nsec"
    if one.nsec3 is not None:
        if one.nsec3[2] == "1":
            rules.settings["nsec3_opt_out"] = True
        if one.nsec3[1] or one.nsec3[3] != "0" or one.nsec3[4] != "-":
            fleet.note(
                one.where,
                f"{one.name}: NSEC3 is narrow or has iterations or a salt: pdnsutil set-nsec3 first",
            )
    for name, known in fleet.policies.items():
        if known == rules:
            return name
    name = "default" if not fleet.policies else f"policy-{len(fleet.policies) + 1}"
    fleet.policies[name] = rules
    return name
