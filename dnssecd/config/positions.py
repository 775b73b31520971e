"""Line numbers of TOML keys. tomllib returns values without positions, so this module scans the text again.

tomllib must have accepted the text: the scanner does not check it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"{3,5}' + r"|'''[\s\S]*?'{3,5}" + r'|"(?:\\.|[^"\\\n])*"' + r"|'[^'\n]*'"
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of each key, table and array element of the correct TOML *text*.

    Paths contain key names and, for elements of arrays (also arrays of tables), the index from 0.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._pos = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._last: dict[KeyPath, int] = {}  # array of tables → index of its latest element

    def document(self) -> None:
        table: KeyPath = ()
        self._blank()
        while self._pos < len(self._text):
            if self._text.startswith("[", self._pos):
                table = self._header()
            else:
                self._pair(table)
            self._blank()

    def _header(self) -> KeyPath:
        start = self._pos
        width = 2 if self._text.startswith("[[", start) else 1
        self._pos += width
        key = self._key()
        self._pos += width
        path = self._resolve(key[:-1]) + key[-1:]
        if width == 2:
            self._last[path] = self._last.get(path, -1) + 1
            self._record(path, start)
        path = self._resolve(key)
        self._record(path, start)
        return path

    def _resolve(self, key: KeyPath) -> KeyPath:
        """Return the path of a table header: in an array of tables it refers to the latest element."""
        path: KeyPath = ()
        for part in key:
            path += (part,)
            if path in self._last:
                path += (self._last[path],)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self._pos
        key = self._key()
        for length in range(1, len(key) + 1):
            self._record(table + key[:length], start)
        self._pos += 1  # =
        self._skip(_SPACE)
        self._value(table + key)

    def _key(self) -> KeyPath:
        """Read a key with its surrounding space; a dotted key has several parts."""
        parts: KeyPath = ()
        while True:
            self._skip(_SPACE)
            if quoted := _QUOTED_KEY.match(self._text, self._pos):
                parts += (tomllib.loads(f"key = {quoted[0]}")["key"],)
                self._pos = quoted.end()
            else:
                parts += (self._skip(_BARE_KEY),)
            self._skip(_SPACE)
            if not self._text.startswith(".", self._pos):
                return parts
            self._pos += 1

    def _value(self, path: KeyPath) -> None:
        if self._text.startswith("[", self._pos):
            self._elements(path, "]")
        elif self._text.startswith("{", self._pos):
            self._elements(path, "}")
        elif string := _STRING.match(self._text, self._pos):
            self._pos = string.end()
        else:
            self._skip(_SCALAR)

    def _elements(self, path: KeyPath, closing: str) -> None:
        """Read the elements of an array or an inline table."""
        self._pos += 1
        index = 0
        self._blank()
        while not self._text.startswith(closing, self._pos):
            if closing == "]":
                self._record((*path, index), self._pos)
                self._value((*path, index))
            else:
                self._pair(path)
            index += 1
            self._blank()
            if self._text.startswith(",", self._pos):
                self._pos += 1
                self._blank()
        self._pos += 1

    def _record(self, path: KeyPath, start: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, start))

    def _blank(self) -> None:
        self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._pos)
        assert match is not None, "text was not accepted by tomllib"
        self._pos = match.end()
        return match[0]
