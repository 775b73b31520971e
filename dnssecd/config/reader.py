"""Typed access to one TOML table. A fault is noted and a stand-in returned, so that reading goes on to the
next fault; the caller raises once, with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """A table at *path*. Every key asked for is known; :meth:`finish` reports the others."""

    def __init__(self, table: dict[str, Any], path: KeyPath, problems: Problems, base: Path) -> None:
        self._table = table
        self._asked: set[str] = set()
        self.path = path
        self.problems = problems
        self.base = base

    def at(self, *keys: str | int) -> KeyPath:
        return (*self.path, *keys)

    def error(self, key: str, what: str, remedy: str) -> None:
        self.problems.error(self.at(key) if key else self.path, what, remedy)

    def warn(self, key: str, what: str, remedy: str) -> None:
        self.problems.warn(self.at(key) if key else self.path, what, remedy)

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._table

    def raw(self, key: str) -> Any:
        """The value as TOML has it, None when absent; the caller checks its type."""
        self._asked.add(key)
        return self._table.get(key)

    def require(self, key: str, remedy: str) -> bool:
        """Whether *key* is there; its absence is an error."""
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
        value = self._typed(key, str)
        return default if value is None else value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._typed(key, bool)
        return default if value is None else value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self._typed(key, int)
        if value is None:
            return default
        if not low <= value <= high:
            self.error(key, f"{value} is out of range", f"choose a number from {low} to {high}")
            return default
        return int(value)

    def choice(self, key: str, options: Sequence[Choice], default: Choice) -> Choice:
        value = self.text(key, default)
        for option in options:
            if value == option:
                return option
        self.error(key, f'"{value}" is not a choice', did_you_mean(value, options))
        return default

    def duration(self, key: str, default: int, low: int = 0, high: int = 2**31 - 1) -> int:
        """Seconds of a duration such as "90d", from *low* to *high*."""
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
        """A file path; a relative one is relative to the configuration file."""
        text = self._typed(key, str)
        if text is None:
            return default
        if not text or "\0" in text:
            self.error(key, "is an empty or impossible path", "name a file or directory")
            return default
        return Path(self.base, text)

    def optional_path(self, key: str) -> Path | None:
        return self.path_of(key, self.base) if self.has(key) else None

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; elements that repeat are an error."""
        value = self._typed(key, list)
        if value is None:
            return default
        found: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str):
                self.problems.error(
                    self.at(key, index), f"must be {_KINDS[str]}, not {_shown(item)}", 'write it as "text"'
                )
            elif item in found:
                self.problems.error(self.at(key, index), f'"{item}" is there twice', "remove one of the two")
            else:
                found.append(item)
        return tuple(found)

    def table(self, key: str) -> Section | None:
        value = self._typed(key, dict)
        return None if value is None else Section(value, self.at(key), self.problems, self.base)

    def table_or_empty(self, key: str) -> Section:
        return self.table(key) or Section({}, self.at(key), self.problems, self.base)

    def children(self, key: str) -> Iterator[tuple[str, Section]]:
        """The named tables below *key*, as in ``[secondary.ns1]``: pairs of name and table."""
        parent = self.table(key)
        if parent is not None:
            for name in list(parent._table):
                child = parent.table(name)
                if child is not None:
                    yield name, child

    def tables(self, key: str) -> Iterator[Section]:
        """The tables in the list at *key*."""
        for index, item in enumerate(self._typed(key, list) or []):
            if isinstance(item, dict):
                yield Section(item, self.at(key, index), self.problems, self.base)
            else:
                self.problems.error(
                    self.at(key, index),
                    f"must be {_KINDS[dict]}, not {_shown(item)}",
                    "write { key = value }",
                )

    def finish(self) -> None:
        """Report the keys nobody asked for."""
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
