"""Typed access to one TOML table.

A fault is recorded and a default returned, so that reading continues to the next fault. The caller raises once,
with all faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dnssecd.config.errors import Problems, did_you_mean
from dnssecd.config.positions import KeyPath
from dnssecd.durations import format_duration, parse_duration

Choice = TypeVar("Choice", bound=str)

_KINDS: dict[type, str] = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    list: "a list in [brackets]",
    dict: "a table",
}


class Section:
    """A table at *path*. Every key that is read is known; :meth:`finish` reports the others."""

    def __init__(self, table: dict[str, Any], path: KeyPath, problems: Problems, base: Path) -> None:
        self._table = table
        self._asked: set[str] = set()
        self._origins: dict[str, Section] = {}
        self.path = path
        self.problems = problems
        self.base = base

    def with_defaults(self, defaults: Mapping[str, Any]) -> Section:
        """Return this table with *defaults* for keys that it lacks; also for keys of inline tables."""
        table = {**defaults, **self._table}
        for key, default in defaults.items():
            own = self._table.get(key)
            if isinstance(default, dict) and isinstance(own, dict):
                table[key] = {**default, **own}
        merged = Section(table, self.path, self.problems, self.base)
        merged._asked = set(self._asked)
        return merged

    def with_template(self, template: Section) -> Section:
        """Return this table with the keys of *template* that it lacks.

        What is wrong with such a key is reported at the template, and its relative paths start at the template's file.
        """
        merged = Section({**template._table, **self._table}, self.path, self.problems, self.base)
        merged._asked = set(self._asked)
        merged._origins = dict.fromkeys(template._table.keys() - self._table.keys(), template)
        return merged

    def origin_of(self, key: str) -> Section:
        """Return the table that *key* is written in: this one, or its template."""
        return self._origins.get(key, self)

    def at(self, *keys: str | int) -> KeyPath:
        """Return the path of a key below this table."""
        origin = self._origins.get(str(keys[0])) if keys else None
        return (*(self.path if origin is None else origin.path), *keys)

    def error(self, key: str, what: str, remedy: str) -> None:
        """Record an error at *key*."""
        self.origin_of(key).problems.error(self.at(key) if key else self.path, what, remedy)

    def warn(self, key: str, what: str, remedy: str) -> None:
        """Record a warning at *key*."""
        self.origin_of(key).problems.warn(self.at(key) if key else self.path, what, remedy)

    def names(self) -> tuple[str, ...]:
        """Return all keys of the table, known or not."""
        return tuple(self._table)

    def as_mapping(self) -> Mapping[str, Any]:
        """Return the table as it was read; it must not be changed."""
        return self._table

    def has(self, key: str) -> bool:
        """Return whether *key* is present."""
        self._asked.add(key)
        return key in self._table

    def raw(self, key: str) -> Any:
        """Return the TOML value, None if absent; the caller checks its type."""
        self._asked.add(key)
        return self._table.get(key)

    def require(self, key: str, remedy: str) -> bool:
        """Return whether *key* is present; record an error if not."""
        if self.has(key):
            return True
        self.error(key, "is missing", remedy)
        return False

    def _typed(self, key: str, kind: type, example: str = "") -> Any:
        value = self.raw(key)
        if value is None or type(value) is kind:
            return value
        self.error(
            key, f"must be {_KINDS[kind]}, not {_shown(value)}", f"write {example or _example(key, kind)}"
        )
        return None

    def text(self, key: str, default: str = "") -> str:
        """Return the text at *key*."""
        value = self._typed(key, str)
        return default if value is None else value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return the truth value at *key*."""
        value = self._typed(key, bool)
        return default if value is None else value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Return the integer at *key*, from *low* to *high*."""
        value = self._typed(key, int)
        if value is None:
            return default
        if not low <= value <= high:
            self.error(key, f"{value} is out of range", f"choose a number from {low} to {high}")
            return default
        return int(value)

    def choice(self, key: str, options: Sequence[Choice], default: Choice) -> Choice:
        """Return the text at *key*, which must be one of *options*."""
        value = self.text(key, default)
        for option in options:
            if value == option:
                return option
        self.error(key, f'"{value}" is not allowed', did_you_mean(value, options))
        return default

    def duration(self, key: str, default: int, low: int = 0, high: int = 2**31 - 1) -> int:
        """Return the seconds of a duration such as "90d", from *low* to *high*."""
        number = self.raw(key)
        if type(number) is int and number >= 0:
            written = format_duration(number)
            self.error(key, f"{number} has no unit", f'write {key} = "{written}" if you mean seconds')
            return default
        text = self._typed(key, str, f'{key} = "{format_duration(default)}"')
        if text is None:
            return default
        try:
            value = parse_duration(text)
        except ValueError as error:
            self.error(
                key, str(error), f'write a number and a unit, as in {key} = "{format_duration(default)}"'
            )
            return default
        if not low <= value <= high:
            self.error(key, f'"{text}" is out of range', f"choose from {low}s to {high}s")
            return default
        return value

    def path_of(self, key: str, default: Path) -> Path:
        """Return a file path; a relative path starts at the directory of the configuration file."""
        text = self._typed(key, str)
        if text is None:
            return default
        if not text or "\0" in text:
            self.error(key, "is empty or not a path", "write the path of a file or directory")
            return default
        return Path(self.origin_of(key).base, text)

    def optional_path(self, key: str) -> Path | None:
        """Return the file path at *key* as :meth:`path_of` does, None if absent."""
        return self.path_of(key, self.base) if self.has(key) else None

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of texts; an element that is given twice is an error."""
        value = self._typed(key, list)
        if value is None:
            return default
        found: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.origin_of(key).problems.error(
                    self.at(key, index), f"must be {_KINDS[str]}, not {_shown(item)}", 'write it as "text"'
                )
            elif item in found:
                twice = f'"{item}" is given twice'
                self.origin_of(key).problems.error(self.at(key, index), twice, "remove one of the two")
            else:
                found.append(item)
        return tuple(found)

    def table(self, key: str) -> Section | None:
        """Return the table at *key*, None if absent."""
        value = self._typed(key, dict)
        origin = self.origin_of(key)
        return None if value is None else Section(value, self.at(key), origin.problems, origin.base)

    def table_or_empty(self, key: str) -> Section:
        """Return the table at *key*, an empty one if absent."""
        return self.table(key) or Section({}, self.at(key), self.problems, self.base)

    def children(self, key: str) -> Iterator[tuple[str, Section]]:
        """Yield the named tables below *key*, as in ``[secondary.ns1]``: pairs of name and table."""
        parent = self.table(key)
        if parent is not None:
            yield from parent.children_here()

    def children_here(self) -> Iterator[tuple[str, Section]]:
        """Yield the named tables of this one."""
        for name in list(self._table):
            child = self.table(name)
            if child is not None:
                yield name, child

    def tables(self, key: str) -> Iterator[Section]:
        """Yield the tables in the list at *key*."""
        origin = self.origin_of(key)
        for index, item in enumerate(self._typed(key, list) or []):
            if isinstance(item, dict):
                yield Section(item, self.at(key, index), origin.problems, origin.base)
            else:
                origin.problems.error(
                    self.at(key, index),
                    f"must be {_KINDS[dict]}, not {_shown(item)}",
                    "write { key = value }",
                )

    def finish(self) -> None:
        """Record an error for each key that was not read: it is unknown."""
        for key in self._table:
            if key not in self._asked:
                self.error(key, "is not a known key", did_you_mean(key, self._asked))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:40]}"'
    if isinstance(value, list | dict):
        return _KINDS[type(value)]
    return str(value)


def _example(key: str, kind: type) -> str:
    return {
        str: f'{key} = "…"',
        bool: f"{key} = true",
        int: f"{key} = 4",
        list: f'{key} = ["…"]',
        dict: f"[{key}] with keys below",
    }[kind]
