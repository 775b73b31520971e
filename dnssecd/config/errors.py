"""Configuration errors as data: every one at once, each with file, line, what and remedy."""

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

    file, line: where it stands (line 0: the file as a whole). where: the key, as in ``policy.default.zsk``.
    what: what is wrong. remedy: what to do about it.
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
    """The configuration cannot be used; ``errors`` holds every fault found, in file order."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda e: e.line))
        super().__init__("\n".join(map(str, self.errors)))


def where_text(path: KeyPath) -> str:
    """*path* as it would be written in the file: ``zone."example.com.".allow_update[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else f'"{part}"')
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean "x"?`` for the nearest of *known*, else the whole list."""
    choices = sorted(known)
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    if not choices:
        return "none is configured"
    shown = ", ".join(f'"{choice}"' for choice in choices[:30])
    return f"known here: {shown}" + (" …" if len(choices) > 30 else "")


class Problems:
    """Collects errors and warnings while the configuration is read; looks for lines only if there are any."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self._file = str(file)
        self._text = text
        self._lines: dict[KeyPath, int] | None = None
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def error(self, path: KeyPath, what: str, remedy: str) -> None:
        self.errors.append(self._at(path, what, remedy))

    def warn(self, path: KeyPath, what: str, remedy: str) -> None:
        self.warnings.append(self._at(path, what, remedy))

    def _at(self, path: KeyPath, what: str, remedy: str) -> ConfigError:
        return ConfigError(self._file, self._line(path), where_text(path), what, remedy)

    def _line(self, path: KeyPath) -> int:
        """The line of *path*, or of the nearest table around it."""
        if self._lines is None:
            self._lines = key_lines(self._text)
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 0
