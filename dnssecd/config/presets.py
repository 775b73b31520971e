"""Presets of policies: ``preset = "rfc9276"`` and others are defaults for the keys of a ``[policy.*]`` table.

A key that the table has overrides the preset's, also single keys of ``ksk``, ``zsk`` and ``csk``. The profile of
``dnssecd audit`` with the same name checks what the preset is for; ``docs/configuration.md`` lists the presets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from dnssecd.config.reader import Section

#: Preset → defaults. Each is a source's advice that dnssecd's own defaults do not already follow.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "rfc9276": MappingProxyType(
            {
                "denial": "nsec",  # §3.1: NSEC, unless NSEC3 is needed
                "nsec3_opt_out": False,  # §3.1
            }
        ),
        "sp800-81r3": MappingProxyType(
            {
                "ksk": {"lifetime": "3y"},
                "zsk": {"lifetime": "1y"},
                "csk": {"lifetime": "1y"},
                "denial": "nsec",
                "nsec3_opt_out": False,
                "signature_validity": "7d",
                "zonemd": True,
            }
        ),
        "tld": MappingProxyType(
            {
                "denial": "nsec3",
                "nsec3_opt_out": True,
                "signature_validity": "21d",
                "zonemd": True,
                "require_backup": True,
                "standby_zsk": True,
                "manual": ["ksk", "algorithm", "denial"],
            }
        ),
    }
)

_ROLES = ("ksk", "zsk", "csk")


def apply_preset(section: Section) -> tuple[Section, str, tuple[str, ...]]:
    """Return a ``[policy.*]`` table with its preset's defaults, the preset's name, and the keys that it set.

    The keys are text as in the file: ``signature_validity = "7d"``. Without a preset: the table, "" and no keys.
    """
    if not section.has("preset"):
        return section, "", ()
    name = section.choice("preset", tuple(PRESETS), next(iter(PRESETS)))
    preset = PRESETS[name]
    fitting = {key: value for key, value in preset.items() if _fits(key, section)}
    return section.with_defaults(fitting), name, tuple(_list_set(fitting, section))


def _fits(key: str, section: Section) -> bool:
    """Return whether a key of a preset has a meaning beside the keys of the table."""
    single = section.has("csk")
    match key:
        case "ksk" | "zsk" | "standby_zsk":
            return not single
        case "csk":
            return single
        case "nsec3_opt_out":
            return bool(section.raw("denial") != "nsec")
        case _:
            return True


def _list_set(preset: Mapping[str, Any], section: Section) -> Iterator[str]:
    """Yield each setting of a preset that the table does not have itself."""
    for key, value in preset.items():
        if key in _ROLES:
            own = section.raw(key)
            have = own if isinstance(own, dict) else {}
            left = [f"{part} = {_written(one)}" for part, one in value.items() if part not in have]
            if left:
                yield f"{key} = {{ {', '.join(left)} }}"
        elif not section.has(key):
            yield f"{key} = {_written(value)}"


def _written(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return f'"{value}"'
