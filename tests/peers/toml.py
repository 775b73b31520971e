"""Writes the daemon's configuration: just as much TOML as the configuration uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str() | Path():
            return json.dumps(str(value))
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    raise TypeError(f"no TOML for {value!r}")


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def dumps(config: Mapping[str, Mapping[str, Any]], groups: frozenset[str]) -> str:
    """TOML of ``config``; the tables named in ``groups`` hold named tables, the others hold values."""
    lines: list[str] = []
    for section, content in config.items():
        if section in groups:
            for name, table in content.items():
                lines += [f"[{section}.{_key(name)}]", *_entries(table), ""]
        else:
            lines += [f"[{section}]", *_entries(content), ""]
    return "\n".join(lines)


def _entries(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
