"""Configuration errors as data, reported together, each with file, line, fault and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dnssecd.config.positions import KeyPath, key_lines

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One fault in the configuration.

    file, line: its position (line 0: the file as a whole). where: the key, as in ``policy.default.zsk``.
    what: the fault. remedy: how to correct it.
    """

    file: str
    line: int
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f" {self.where}:" if self.where else ""
        return f"{place}:{where} {self.what}; {self.remedy}"


class ConfigErrors(Exception):
    """The configuration cannot be used; ``errors`` holds every fault found, by file and line."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: (e.file, e.line)))
        super().__init__("\n".join(map(str, self.errors)))

    @classmethod
    def single(cls, file: Path, where: str, what: str, remedy: str) -> ConfigErrors:
        """Return one fault without a line."""
        return cls([ConfigError(str(file), 0, where, what, remedy)])


def where_text(path: KeyPath) -> str:
    """Return *path* as written in the file: ``zone."example.com.".allow_update[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else f'"{part}"')
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean "x"?`` with the most similar of *known*, otherwise the whole list."""
    choices = sorted(known)
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    if not choices:
        return "none is configured"
    shown = ", ".join(f'"{choice}"' for choice in choices[:30])
    return f"choose one of: {shown}" + (" …" if len(choices) > 30 else "")


class Problems:
    """Errors and warnings found while the configuration is read. Line numbers are computed only if needed.

    main: those of the file that includes this one, which get everything that is recorded here. A fault is recorded
    once: that of a template is met in every zone that is made from it.
    """

    def __init__(self, file: Path, text: str, main: Problems | None = None) -> None:
        self.file = file
        self._file = str(file)
        self._text = text
        self._lines: dict[KeyPath, int] | None = None
        self.errors: list[ConfigError] = [] if main is None else main.errors
        self.warnings: list[ConfigError] = [] if main is None else main.warnings
        self._met: set[tuple[KeyPath, str]] = set()

    def renewed(self) -> Problems:
        """Return the problems of the same file, without what was recorded."""
        return Problems(self.file, self._text)

    def error(self, path: KeyPath, what: str, remedy: str) -> None:
        """Record an error at *path*."""
        self._add(self.errors, path, what, remedy)

    def warn(self, path: KeyPath, what: str, remedy: str) -> None:
        """Record a warning at *path*."""
        self._add(self.warnings, path, what, remedy)

    def _add(self, to: list[ConfigError], path: KeyPath, what: str, remedy: str) -> None:
        if (path, what) not in self._met:
            self._met.add((path, what))
            to.append(ConfigError(self._file, self._line(path), where_text(path), what, remedy))

    def _line(self, path: KeyPath) -> int:
        """Return the line of *path*, or of the closest table that contains it."""
        if self._lines is None:
            self._lines = key_lines(self._text)
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 0
