"""``include``: tables of zones and peers from further files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dnssecd.config.errors import Problems
from dnssecd.config.reader import Section

#: The tables that an included file may have. The others are one of a kind, or the key service reads them too.
INCLUDED = ("zone", "zone-template", "secondary", "primary", "tsig", "catalog")
FILES_MAX = 100_000
_PATTERN = frozenset("*?[")


class Root(Section):
    """The table of the whole configuration: the main file, and the files that it includes."""

    def __init__(self, table: dict[str, Any], problems: Problems, base: Path) -> None:
        super().__init__(table, (), problems, base)
        self._parts: list[Section] = []

    def read_included(self, read: Callable[[Path], tuple[str, dict[str, Any]]]) -> None:
        """Read the files that ``include`` names; *read* returns the text of a file and its table, or raises."""
        for path in self._included():
            text, table = read(path)
            problems = Problems(path, text, self.problems)
            self._parts.append(Section(table, (), problems, path.absolute().parent))

    def has(self, key: str) -> bool:
        """Return whether one of the files has *key*."""
        return super().has(key) or any(part.has(key) for part in self._parts if key in INCLUDED)

    def raw(self, key: str) -> Any:
        """Return the TOML value in the first file that has it."""
        mine = super().raw(key)
        found = [part.raw(key) for part in self._parts if key in INCLUDED]
        return next((value for value in (mine, *found) if value is not None), None)

    def children(self, key: str) -> Iterator[tuple[str, Section]]:
        """Yield the named tables below *key* of all files; a table that two files have is an error."""
        seen: dict[str, Path] = {}
        own: Sequence[Section] = [Section(self._table, (), self.problems, self.base)]
        self._asked.add(key)
        for part in [*own, *(self._parts if key in INCLUDED else ())]:
            for name, section in part.children(key):
                if name in seen:
                    section.error("", f"is in {seen[name]}, too", "remove one of the two")
                    continue
                seen[name] = part.problems.file
                yield name, section

    def finish(self) -> None:
        """Record an error for each key that was not read, in every file."""
        super().finish()
        known = ", ".join(f"[{name}.…]" for name in INCLUDED)
        for part in self._parts:
            for key in part.names():
                if key not in INCLUDED:
                    what = "cannot be in an included file"
                    part.error(key, what, f"move it to {self.problems.file}; an included file has {known}")

    def _included(self) -> Iterator[Path]:
        """Yield the paths of the files, each once, in the order of their names."""
        given = self.raw("include")
        patterns = [given] if isinstance(given, str) else list(self.texts("include"))
        seen = {self.problems.file.absolute()}
        for pattern in patterns:
            for path in self._matching(pattern):
                if path.absolute() in seen:
                    continue
                seen.add(path.absolute())
                if len(seen) > FILES_MAX:
                    self.error(
                        "include", f"names more than {FILES_MAX} files", "is this the right directory?"
                    )
                    return
                yield path

    def _matching(self, pattern: str) -> list[Path]:
        path = Path(self.base, pattern)
        if not pattern or "\0" in pattern or ".." in path.parts:
            self.error("include", "is empty, has .. or is not a path", 'write include = "zones.d/*.toml"')
            return []
        if not _PATTERN & set(pattern):
            return [path]
        fixed = Path(path.anchor)
        for part in path.parts[1:]:
            if _PATTERN & set(part):
                break
            fixed /= part
        return sorted(found for found in fixed.glob(str(path.relative_to(fixed))) if found.is_file())
