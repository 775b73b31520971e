"""A fleet as the text of a configuration file of dnssecd."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dnssecd.migration.fleet.model import Fleet, Rules, Zone

OLD = "old"


def render(fleet: Fleet, origin: str, old: str = "", old_tsig: str = "") -> str:
    """Return the file. origin: what it was made of, for the comment. old: address of the server that signs now."""
    return "\n".join(_lines(fleet, origin, old, old_tsig)) + "\n"


def toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(fleet: Fleet, origin: str, old: str, old_tsig: str) -> Iterator[str]:
    yield f"# Made by `dnssecd migrate config` from {' '.join(origin.split())}. Read it, then: dnssecd check-config"
    yield "# Keys, check, adoption: docs/migration.md."
    yield from ("[server]", "")
    for name, table in fleet.keystores.items():
        yield from _table(f"keystore.{toml(name)}", table)
    for name, key in fleet.keys.items():
        yield from _table(f"tsig.{toml(name)}", {"algorithm": key.algorithm, "secret": key.secret})
    for kind, servers in (("secondary", fleet.secondaries), ("primary", fleet.primaries)):
        for name, server in servers.items():
            tsig = {"tsig": server.tsig} if server.tsig else {}
            yield from _table(f"{kind}.{toml(name)}", {"address": server.address} | tsig)
    if old:
        name = OLD if OLD not in fleet.primaries else f"{OLD}-signer"
        yield f"# The signer that the zones come from: dnssecd migrate check ZONE --against {name}"
        yield from _table(f"primary.{name}", {"address": old} | ({"tsig": old_tsig} if old_tsig else {}))
    for name, rules in fleet.policies.items():
        yield from _table(f"policy.{toml(name)}", _policy(fleet, rules))
    for name, zone in fleet.zones.items():
        yield from _table(f"zone.{toml(name)}", _zone(zone))


def _table(head: str, table: Mapping[str, object]) -> Iterator[str]:
    yield f"[{head}]"
    for key, value in table.items():
        yield f"{key} = {toml(value)}"
    yield ""


def _policy(fleet: Fleet, rules: Rules) -> dict[str, object]:
    store = next(iter(fleet.keystores))
    return {"keystore": store} | dict(rules.roles) | rules.settings


def _zone(zone: Zone) -> dict[str, object]:
    table: dict[str, object] = {"policy": zone.policy, "source": zone.source}
    if zone.source == "file":
        table["file"] = zone.file
    if zone.primaries:
        table["primaries"] = zone.primaries
    if zone.secondaries:
        table["secondaries"] = zone.secondaries
    if zone.clients:
        table["allow_transfer"] = zone.clients
    if zone.updaters and not zone.primaries:
        table["allow_update"] = [{"tsig": key, "names": ["*"], "types": ["ANY"]} for key in zone.updaters]
    return table
