"""Differences between two configurations, for operators and for the daemon that applies the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from msgspec import Struct

from dnssecd.config.algorithms import ALGORITHMS
from dnssecd.config.errors import where_text
from dnssecd.config.model import Config, Secret, ZoneConfig
from dnssecd.config.positions import KeyPath
from dnssecd.config.templates import Template
from dnssecd.durations import format_duration

#: Settings that take effect only after a restart of the daemon.
NEEDS_RESTART = (
    ("server", "listen"),
    ("server", "tls"),
    ("server", "state_dir"),
    ("server", "control_socket"),
    ("metrics", "listen"),
    ("status_page", "listen"),
    ("status_page", "certificate"),
    ("status_page", "key"),
    ("signer", "socket"),
    ("cluster", "node"),
    ("cluster", "database"),
    ("cluster", "password_file"),
    ("cluster", "sslmode"),
    ("cluster", "sslrootcert"),
    ("cluster", "require_synchronous"),
    ("cluster", "take_over_after"),
    ("roles", "viewer"),
    ("roles", "operator"),
    ("roles", "key_officer"),
)

_TABLES = {
    "keystores": "keystore",
    "secondaries": "secondary",
    "primaries": "primary",
    "policies": "policy",
    "zones": "zone",
    "templates": "zone-template",
    "catalogs": "catalog",
}

#: In the pattern of the schema for durations.
_UNITS = "[smhdwy]"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. path: as in the file. old, new: as text, None if absent; secrets are not shown."""

    path: KeyPath
    old: str | None
    new: str | None

    @property
    def needs_restart(self) -> bool:
        """Whether the change takes effect only after a restart of the daemon."""
        return self.path[:2] in NEEDS_RESTART

    def __str__(self) -> str:
        where = where_text(self.path)
        if self.old is None:
            return f"+ {where}"
        if self.new is None:
            return f"- {where}"
        return f"~ {where}: {self.old} -> {self.new}" + (" (needs a restart)" if self.needs_restart else "")


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """All differences. added, removed: zones. changed: zones that differ, or whose policy or peers differ."""

    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def diff(old: Config, new: Config) -> ConfigDiff:
    """Return all differences between *old* and *new*, in the order of the file's tables."""
    both = [name for name in new.zones if name in old.zones]
    return ConfigDiff(
        changes=tuple(_changes(old, new)),
        added=tuple(name for name in new.zones if name not in old.zones),
        removed=tuple(name for name in old.zones if name not in new.zones),
        changed=tuple(name for name in both if _means(old, name) != _means(new, name)),
    )


def _means(config: Config, name: str) -> tuple[object, ...]:
    """Return all settings of a zone, including the tables that it refers to."""
    zone = config.zones[name]
    policy = config.policies[zone.policy]
    peers = (config.secondaries_of(name), tuple(config.primaries[peer] for peer in zone.primaries))
    stores = tuple(config.keystores[name] for name in policy.keystores)
    return zone, policy, stores, peers, config.tsig, config.server.tls_files


def _changes(old: Config, new: Config) -> Iterator[Change]:
    for field in fields(Config):
        if field.name not in ("path", "warnings"):
            path = (_TABLES.get(field.name, field.name),)
            yield from _compare(path, getattr(old, field.name), getattr(new, field.name))


def _compare(path: KeyPath, old: object, new: object) -> Iterator[Change]:
    if old == new:
        return
    if None in (old, new) and field_names(old if new is None else new):  # a table
        yield Change(path, None if old is None else "", None if new is None else "")
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if key not in new:
                yield Change((*path, key), "", None)
            elif key not in old:
                yield Change((*path, key), None, "")
            else:
                yield from _compare((*path, key), old[key], new[key])
    elif (names := _compared(old)) and type(old) is type(new) and not _is_leaf(old):
        for name in names:
            if name == "check_servers" and isinstance(old, ZoneConfig) and isinstance(new, ZoneConfig):
                yield from _compare_check_servers(path, old, new)
                continue
            below = path if isinstance(old, Template) else (*path, name)
            yield from _compare(below, getattr(old, name), getattr(new, name))
    else:
        yield Change(path, _as_written(path[-1], old), _as_written(path[-1], new))


def _compare_check_servers(path: KeyPath, old: ZoneConfig, new: ZoneConfig) -> Iterator[Change]:
    """Compare names: the settings of each server are compared in its own table. Secondaries are the default."""
    before, after = (tuple(peer.name for peer in zone.check_servers) for zone in (old, new))
    if before != after and (before, after) != (old.secondaries, new.secondaries):
        yield Change((*path, "check_servers"), _shown(before), _shown(after))


def field_names(value: object) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass or a Struct, none for any other value."""
    if isinstance(value, Struct):
        return value.__struct_fields__
    return tuple(field.name for field in fields(value)) if is_dataclass(value) else ()


def _compared(value: object) -> tuple[str, ...]:
    if is_dataclass(value):
        return tuple(field.name for field in fields(value) if field.compare)
    return field_names(value)


def _is_leaf(value: object) -> bool:
    return type(value).__str__ is not object.__str__ or isinstance(value, Secret)


def _as_written(key: str | int, value: object) -> str:
    """Return a setting as it is written in the file."""
    if type(value) is int and key == "algorithm":
        return next((name for name, number in ALGORITHMS.items() if number == value), str(value))
    if type(value) is int and key in _durations():
        return format_duration(value)
    return _shown(value)


@cache
def _durations() -> frozenset[str]:
    """Return the keys that are durations, by the schema of the configuration."""
    return frozenset(_duration_keys(json.loads(files("dnssecd.config").joinpath("schema.json").read_text())))


def _duration_keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        for key, rule in properties.items() if isinstance(properties, dict) else ():
            if any(_UNITS in one.get("pattern", "") for one in (rule, *rule.get("anyOf", ()))):
                yield key
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _duration_keys(below)


def _shown(value: object) -> str:
    if isinstance(value, str | Path | int | float) or value is None:
        return str(value)
    if isinstance(value, tuple | frozenset | list):
        items = [_shown(item) for item in value]
        return "[" + ", ".join(sorted(items) if isinstance(value, frozenset) else items) + "]"
    if (names := field_names(value)) and not _is_leaf(value):
        inner = [f"{name} = {_shown(getattr(value, name))}" for name in names]
        return "{ " + ", ".join(inner) + " }"
    return str(value)
