"""Knot DNS: ``knot.conf``, the YAML-like text of section, item and value (documentation, "Simple Configuration")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dnssecd.migration.fleet.model import (
    DEPTH_MAX,
    FILES_MAX,
    BadConfig,
    Fleet,
    Key,
    Read,
    Rules,
    Server,
    Zone,
    address,
    label,
    network,
    zone_name,
)
from dnssecd.migration.fleet.times import duration

_SECTION = re.compile(r"([a-z][a-z-]*):\s*(.*)$")
_ENTRY = re.compile(r"(\s+)(- )?\s*([a-z][a-z0-9-]*):\s*(.*)$")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s,\[\]"]+)')
_IDENTITY = ("id", "domain", "target", "file")
#: Knot's name of a setting that is a time → ours.
_TIMES = {
    "dnskey-ttl": "dnskey_ttl",
    "rrsig-lifetime": "signature_validity",
    "rrsig-refresh": "signature_refresh",
    "propagation-delay": "propagation_delay",
}
_READ = ("key", "remote", "acl", "policy", "template", "zone", "include")
_KNOWN_SECTIONS = frozenset({*_READ, "log", "control", "database"})
_KNOWN_POLICY = frozenset(_TIMES) | frozenset(
    [
        "id",
        "algorithm",
        "ksk-size",
        "zsk-size",
        "ksk-lifetime",
        "zsk-lifetime",
        "single-type-signing",
        "ksk-shared",
        "nsec3",
        "nsec3-opt-out",
        "nsec3-iterations",
        "nsec3-salt-length",
        "manual",
        "reproducible-signing",
        "cds-cdnskey-publish",
        "signing-threads",
        "zone-max-ttl",
        "delete-delay",
    ]
)
_KNOWN_ZONE = frozenset(
    [
        "domain",
        "id",
        "template",
        "file",
        "storage",
        "master",
        "notify",
        "acl",
        "dnssec-signing",
        "dnssec-policy",
        "zonemd-generate",
        "semantic-checks",
        "journal-content",
        "journal-max-usage",
        "journal-max-depth",
        "zonefile-sync",
        "zonefile-load",
        "serial-policy",
        "refresh-min-interval",
        "retry-max-interval",
    ]
)
_SERIALS = {"increment": "increment", "unixtime": "unixtime", "dateserial": "date"}


@dataclass(slots=True)
class Item:
    """An item of a section. values: name → (words, where)."""

    where: str
    values: dict[str, tuple[list[str], str]] = field(default_factory=dict)

    def words(self, name: str) -> list[str]:
        """Return the words of a setting, none if it is not there."""
        return self.values.get(name, ([], ""))[0]

    def one(self, name: str, default: str = "") -> str:
        """Return the only word of a setting."""
        words = self.words(name)
        return words[0] if words else default

    def on(self, name: str) -> bool:
        """Return whether a switch is on."""
        return self.one(name) in ("on", "true")


def read_config(path: Path, read: Read) -> Fleet:
    """Return the fleet of a configuration. Raise BadConfig."""
    sections: dict[str, list[Item]] = {}
    files = [0]
    _parse(path, read, sections, files, 0)
    fleet = Fleet(keystores={"local": {"type": "software"}})
    for item in sections.get("key", []):
        name = zone_name(item.one("id"), item.where)
        fleet.keys[name] = Key(item.one("algorithm", "hmac-sha256"), item.one("secret"))
    remotes = {item.one("id"): item for item in sections.get("remote", [])}
    acls = {item.one("id"): item for item in sections.get("acl", [])}
    for item in sections.get("policy", []):
        fleet.policies[label(item.one("id"))] = _policy(fleet, item)
    templates = {item.one("id"): item for item in sections.get("template", [])}
    for item in sections.get("zone", []):
        _add_zone(fleet, _with_template(item, templates), remotes, acls, path.parent)
    for name, items in sections.items():
        if name not in _KNOWN_SECTIONS:
            fleet.note(items[0].where, f"section {name}: check if dnssecd needs its counterpart")
    return fleet


def _parse(path: Path, read: Read, sections: dict[str, list[Item]], files: list[int], depth: int) -> None:
    files[0] += 1
    if depth > DEPTH_MAX or files[0] > FILES_MAX:
        raise BadConfig(f"{path}: too many included files")
    section = ""
    for number, line in enumerate(read(path).splitlines(), start=1):
        where = f"{path}:{number}"
        line = _without_comment(line).rstrip()
        if not line.strip():
            continue
        head = _SECTION.fullmatch(line)
        if head is not None:
            section = head[1]
            if section == "include":
                for word in _words(head[2], where):
                    _parse(path.parent / word, read, sections, files, depth + 1)
            continue
        _entry(line, where, section, sections)


def _entry(line: str, where: str, section: str, sections: dict[str, list[Item]]) -> None:
    found = _ENTRY.fullmatch(line)
    if found is None or not section:
        raise BadConfig(f"{where}: not a line of knot.conf: {line.strip()[:60]!r}")
    items = sections.setdefault(section, [])
    if found[2] or not items:
        items.append(Item(where))
    words = _words(found[4], where)
    known = items[-1].values.get(found[3], ([], where))[0]
    items[-1].values[found[3]] = ([*known, *words], where)


def _without_comment(line: str) -> str:
    quoted = False
    for place, char in enumerate(line):
        if char == '"':
            quoted = not quoted
        elif char == "#" and not quoted:
            return line[:place]
    return line


def _words(text: str, where: str) -> list[str]:
    if text.count('"') % 2:
        raise BadConfig(f"{where}: a quote is not closed")
    return [(quoted or bare).replace('\\"', '"') for quoted, bare in _WORD.findall(text)]


def _with_template(item: Item, templates: Mapping[str, Item]) -> Item:
    name = item.one("template", "default")
    base = templates.get(name)
    if base is None:
        if "template" in item.values:
            raise BadConfig(f"{item.where}: there is no template {name!r}")
        return item
    return Item(item.where, {**base.values, **item.values})


def _policy(fleet: Fleet, item: Item) -> Rules:
    rules = Rules()
    algorithm = item.one("algorithm", "ecdsap256sha256")
    single = item.on("single-type-signing")
    for role, knot in (("csk", "ksk"),) if single else (("ksk", "ksk"), ("zsk", "zsk")):
        table: dict[str, object] = {"algorithm": algorithm}
        lifetime = item.one(f"{knot}-lifetime", "0" if knot == "ksk" else "30d")
        table["lifetime"] = "unlimited" if lifetime == "0" else duration(lifetime, item.where)
        if algorithm.startswith("rsa") and item.one(f"{knot}-size"):
            table["bits"] = int(item.one(f"{knot}-size"))
        rules.roles[role] = table
    for knot, ours in _TIMES.items():
        if item.words(knot):
            rules.settings[ours] = duration(item.one(knot), item.where)
    rules.settings["denial"] = "nsec3" if item.on("nsec3") else "nsec"
    if item.on("nsec3") and item.on("nsec3-opt-out"):
        rules.settings["nsec3_opt_out"] = True
    if item.on("ksk-shared"):
        rules.settings["share_keys"] = True
    if item.one("cds-cdnskey-publish") == "none":
        rules.settings["cds"] = "never"
    for name in ("nsec3-iterations", "nsec3-salt-length"):
        if item.on("nsec3") and item.one(name, "8" if name.endswith("length") else "0") != "0":
            fleet.note(item.where, f"{name} is not 0: set it to 0 at Knot before the migration (RFC 9276)")
    _note_unknown(fleet, item, _KNOWN_POLICY, "policy")
    return rules


def _note_unknown(fleet: Fleet, item: Item, known: frozenset[str], kind: str) -> None:
    for name, (words, where) in item.values.items():
        if name not in known:
            fleet.note(where, f"{kind}: {name} {' '.join(words)[:60]} has no counterpart")


def _add_zone(
    fleet: Fleet, item: Item, remotes: Mapping[str, Item], acls: Mapping[str, Item], base: Path
) -> None:
    name = item.one("domain")
    if not item.on("dnssec-signing"):
        fleet.note(item.where, f"{name} is not signed there; it is left out")
        return
    policy = label(item.one("dnssec-policy", "default"))
    if policy not in fleet.policies:
        fleet.policies[policy] = _policy(fleet, Item(item.where))
    zone = Zone(policy)
    storage = Path(item.one("storage", "/var/lib/knot"))
    file = item.one("file", "%s.zone").replace("%s", name.rstrip("."))
    zone.file = str(base / storage / file)
    if "%" in file:
        fleet.note(item.where, f"{name}: the file name {file} has another formatter: write the path")
    for role, kind, servers in (
        ("master", "primaries", fleet.primaries),
        ("notify", "secondaries", fleet.secondaries),
    ):
        for remote in item.words(role):
            getattr(zone, kind).extend(_servers(fleet, remote, remotes, servers, item.where))
    for acl in item.words("acl"):
        _apply_acl(fleet, zone, acl, acls, item.where)
    _set(
        fleet, policy, "serial", _SERIALS.get(item.one("serial-policy", "increment"), "increment"), item.where
    )
    _set(fleet, policy, "zonemd", item.one("zonemd-generate", "none") not in ("none", "remove"), item.where)
    _note_unknown(fleet, item, _KNOWN_ZONE, f"zone {name}")
    fleet.add_zone(name, zone, item.where)


def _set(fleet: Fleet, policy: str, name: str, value: object, where: str) -> None:
    """Set what Knot has at the zone and dnssecd in the policy; the first zone of a policy decides."""
    known = fleet.policies[policy].settings.setdefault(name, value)
    if known != value:
        fleet.note(
            where, f"{name} differs between zones of policy {policy}: make a policy of their own for some"
        )


def _servers(
    fleet: Fleet, wanted: str, remotes: Mapping[str, Item], known: dict[str, Server], where: str
) -> Iterator[str]:
    remote = remotes.get(wanted)
    if remote is None:
        raise BadConfig(f"{where}: there is no remote {wanted!r}")
    tsig = _tsig(fleet, remote)
    for number, text in enumerate(remote.words("address")):
        host, _, port = text.partition("@")
        server = Server(address(host, port or "53", remote.where), tsig)
        yield fleet.server_name(known, wanted if number == 0 else f"{wanted}-{number + 1}", server)


def _tsig(fleet: Fleet, item: Item) -> str:
    if not item.words("key"):
        return ""
    name = zone_name(item.one("key"), item.where)
    if name not in fleet.keys:
        raise BadConfig(f"{item.where}: there is no key {name}")
    return name


def _apply_acl(fleet: Fleet, zone: Zone, wanted: str, acls: Mapping[str, Item], where: str) -> None:
    item = acls.get(wanted)
    if item is None:
        raise BadConfig(f"{where}: there is no acl {wanted!r}")
    keys = [zone_name(word, item.where) for word in item.words("key")]
    networks = [network(word, item.where) for word in item.words("address") if "-" not in word]
    if item.on("deny"):
        fleet.note(item.where, f"acl {wanted} denies: dnssecd has no denying rules")
        return
    actions = item.words("action")
    if "transfer" in actions:
        zone.clients += [one for one in keys or networks if one not in zone.clients]
    if "update" in actions:
        zone.updaters += [key for key in keys if key not in zone.updaters]
        if not keys:
            fleet.note(item.where, f"acl {wanted} permits updates without a key: dnssecd needs a TSIG key")
    if keys and networks and {"transfer", "update"} & set(actions):
        fleet.note(item.where, f"acl {wanted} wants a key and an address: here the key is enough")
    for name in (name for name in item.values if name not in ("id", "key", "address", "action")):
        fleet.note(item.where, f"acl {wanted}: {name} has no counterpart")
