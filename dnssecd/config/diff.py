"""What differs between two configurations, for people and for the daemon that applies the new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from dnssecd.config.errors import where_text
from dnssecd.config.model import Config, Secret
from dnssecd.config.positions import KeyPath

#: Settings that take effect only when the daemon is started again.
NEEDS_RESTART = (
    ("server", "listen"),
    ("server", "state_dir"),
    ("server", "control_socket"),
    ("metrics", "listen"),
    ("signer", "socket"),
)

_TABLES = {
    "keystores": "keystore",
    "secondaries": "secondary",
    "primaries": "primary",
    "policies": "policy",
    "zones": "zone",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. path: as in the file. old, new: as text, None where there is none; secrets never."""

    path: KeyPath
    old: str | None
    new: str | None

    @property
    def needs_restart(self) -> bool:
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
    """added, removed: zones. changed: zones that differ themselves, or in their policy or peers."""

    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def diff(old: Config, new: Config) -> ConfigDiff:
    """All differences between *old* and *new*, in the order of the file's tables."""
    both = [name for name in new.zones if name in old.zones]
    return ConfigDiff(
        changes=tuple(_changes(old, new)),
        added=tuple(name for name in new.zones if name not in old.zones),
        removed=tuple(name for name in old.zones if name not in new.zones),
        changed=tuple(name for name in both if _means(old, name) != _means(new, name)),
    )


def _means(config: Config, name: str) -> tuple[object, ...]:
    """All that the configuration says about a zone, references followed."""
    zone = config.zones[name]
    policy = config.policies[zone.policy]
    peers = (config.secondaries_of(name), tuple(config.primaries[peer] for peer in zone.primaries))
    return zone, policy, config.keystores[policy.keystore], peers, config.tsig


def _changes(old: Config, new: Config) -> Iterator[Change]:
    for field in fields(Config):
        if field.name not in ("path", "warnings"):
            path = (_TABLES.get(field.name, field.name),)
            yield from _compare(path, getattr(old, field.name), getattr(new, field.name))


def _compare(path: KeyPath, old: object, new: object) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if key not in new:
                yield Change((*path, key), "", None)
            elif key not in old:
                yield Change((*path, key), None, "")
            else:
                yield from _compare((*path, key), old[key], new[key])
    elif is_dataclass(old) and type(old) is type(new) and not _is_leaf(old):
        for field in fields(old):
            yield from _compare((*path, field.name), getattr(old, field.name), getattr(new, field.name))
    else:
        yield Change(path, _shown(old), _shown(new))


def _is_leaf(value: object) -> bool:
    return type(value).__str__ is not object.__str__ or isinstance(value, Secret)


def _shown(value: object) -> str:
    if isinstance(value, str | Path | int | float) or value is None:
        return str(value)
    if isinstance(value, tuple | frozenset):
        items = [_shown(item) for item in value]
        return "[" + ", ".join(sorted(items) if isinstance(value, frozenset) else items) + "]"
    if is_dataclass(value) and not _is_leaf(value):
        inner = [f"{field.name} = {_shown(getattr(value, field.name))}" for field in fields(value)]
        return "{ " + ", ".join(inner) + " }"
    return str(value)
