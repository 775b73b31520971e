"""``[zone-template.*]``: keys that many zones share.

Every ``{zone}`` in a text of a template stands for the name of the zone, without its final dot.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dnssecd.config.errors import Problems, did_you_mean
from dnssecd.config.positions import KeyPath
from dnssecd.config.reader import Section

PLACEHOLDER = "{zone}"
#: Keys whose text is a path: a zone name with a slash (RFC 2317) must not name a directory.
_PATHS = frozenset({"file", "output_file"})
#: Keys whose text is a command or a URL, here or in a table of the template.
_COMMANDS = frozenset({"review", "published", "hook"})


@dataclass(frozen=True, slots=True)
class Template:
    """A table ``[zone-template.NAME]`` as it is written. base: where its relative paths start."""

    name: str
    table: Mapping[str, Any]
    path: KeyPath = field(compare=False)
    problems: Problems = field(compare=False)
    base: Path = field(compare=False)

    def section_for(self, zone: str, problems: Problems | None = None) -> Section:
        """Return the table for a zone. problems: where faults are recorded; default: those of the file."""
        name = zone.rstrip(".") or "root"
        found = problems or self.problems
        if name.startswith("-"):
            for path in _words_that_begin_with_it(self.table):
                found.error(
                    (*self.path, *path),
                    f"the command would read the name of the zone {zone} as an option: it begins with a hyphen",
                    f"put text before {PLACEHOLDER}, as in --zone={PLACEHOLDER}, or remove it: the command gets the "
                    "name by another way, too",
                )
        return Section(_filled(self.table, name), self.path, found, self.base)


def with_template(
    zone: str, section: Section, templates: Mapping[str, Template], problems: Problems | None = None
) -> Section:
    """Return the table of a zone with the keys of its template; the same table if it has none."""
    name = section.text("template")
    if not name:
        return section
    if name not in templates:
        remedy = f"add [zone-template.{name}]; {did_you_mean(name, templates)}"
        section.error("template", f'there is no zone-template "{name}"', remedy)
        return section
    return section.with_template(templates[name].section_for(zone, problems))


def is_webhook(text: str) -> bool:
    """Tell whether a value of ``published`` is the URL of a webhook, and not a command."""
    return text.startswith(("http://", "https://"))


def _filled(table: Mapping[str, Any], zone: str) -> dict[str, Any]:
    safe = zone.replace("/", "%2F")
    return {key: _fill(key, value, safe if key in _PATHS else zone) for key, value in table.items()}


def _fill(key: str, value: Any, zone: str) -> Any:
    if isinstance(value, str):
        return _fill_command(value, zone) if key in _COMMANDS else value.replace(PLACEHOLDER, zone)
    if isinstance(value, list):
        return [_fill("", item, zone) for item in value]
    if isinstance(value, dict):
        return {each: _fill(each, item, zone) for each, item in value.items()}
    return value


def _words_that_begin_with_it(table: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Yield the places of commands that have a word which begins with the zone's name."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((key, *path) for path in _words_that_begin_with_it(value))
        elif key in _COMMANDS and any(word.startswith(PLACEHOLDER) for word in _words(value)):
            yield (key,)


def _words(command: Any) -> list[str]:
    if isinstance(command, list):
        return [word for word in command if isinstance(word, str)]
    try:
        return shlex.split(command)
    except (ValueError, AttributeError, TypeError):
        return []  # the reader of commands says why


def _fill_command(value: str, zone: str) -> str | list[str]:
    """Fill a command word by word, and a URL with the name escaped: a zone's name must not become other words."""
    if PLACEHOLDER not in value:
        return value
    if is_webhook(value):
        return value.replace(PLACEHOLDER, quote(zone, safe=""))
    try:
        return [word.replace(PLACEHOLDER, zone) for word in shlex.split(value)]
    except ValueError:
        return value  # the reader of commands says why
