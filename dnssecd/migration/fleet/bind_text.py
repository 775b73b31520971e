"""The grammar of named.conf: statements that end with a semicolon, blocks in braces, three kinds of comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dnssecd.migration.fleet.model import DEPTH_MAX, FILES_MAX, BadConfig, Read

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<comment>//[^\n]*|\#[^\n]*|/\*.*?\*/)|(?P<quoted>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<mark>[{};])|(?P<bare>(?:[^\s{};"/#]|/(?![/*]))+)""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement: its words before a block or the end, the block if there is one, and the words after it."""

    where: str
    words: tuple[str, ...]
    block: tuple[Statement, ...] | None = None
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The first word, in lower case."""
        return self.words[0].lower() if self.words else ""

    def inner(self, name: str) -> Iterator[Statement]:
        """Yield the statements of its block with a name."""
        for one in self.block or ():
            if one.name == name:
                yield one

    def value(self, name: str, default: str = "") -> str:
        """Return the first word after a name in its block."""
        found = default
        for one in self.inner(name):
            found = one.words[1] if len(one.words) > 1 else default
        return found


@dataclass
class _Source:
    """Reads a configuration with the files that it includes; bounded."""

    read: Read
    files: int = 0

    def statements(self, path: Path, depth: int = 0) -> list[Statement]:
        self.files += 1
        if depth > DEPTH_MAX or self.files > FILES_MAX:
            raise BadConfig(f"{path}: too many included files")
        found: list[Statement] = []
        for one in _Parser(path, self.read(path)).statements():
            if one.name == "include" and len(one.words) == 2:
                found += self.statements(path.parent / one.words[1], depth + 1)
            else:
                found.append(one)
        return found


def read_statements(path: Path, read: Read) -> list[Statement]:
    """Return all statements of a file and of those that it includes. Raise BadConfig."""
    return _Source(read).statements(path)


class _Parser:
    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._tokens = self._tokenize()
        self._next = next(self._tokens, None)

    def _tokenize(self) -> Iterator[tuple[str, bool, int]]:
        """Yield text, whether it is a mark, and line."""
        at, line = 0, 1
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise BadConfig(f"{self._path}:{line}: a quote or comment is not closed")
            kind, text = str(found.lastgroup), found[0]
            if kind == "quoted":
                yield text[1:-1].replace('\\"', '"'), False, line
            elif kind in ("mark", "bare"):
                yield text, kind == "mark", line
            line += text.count("\n")
            at = found.end()

    def _take(self) -> tuple[str, bool, int]:
        token = self._next
        if token is None:
            line = self._text.count("\n") + 1
            raise BadConfig(f"{self._path}:{line}: the file ends within a statement")
        self._next = next(self._tokens, None)
        return token

    def statements(self, depth: int = 0) -> Iterator[Statement]:
        """Yield statements up to the end of the block, or of the file."""
        while self._next is not None and (depth == 0 or self._next[0] != "}" or not self._next[1]):
            one = self._statement(depth)
            if one.words or one.block is not None:
                yield one

    def _statement(self, depth: int) -> Statement:
        words: list[str] = []
        after: list[str] = []
        block: tuple[Statement, ...] | None = None
        where = f"{self._path}:{self._next[2] if self._next else 0}"
        while True:
            text, is_mark, line = self._take()
            if not is_mark:
                (words if block is None else after).append(text)
            elif text == ";":
                return Statement(where, tuple(words), block, tuple(after))
            elif text == "{" and block is None and depth < DEPTH_MAX:
                block = tuple(self.statements(depth + 1))
                self._take()
            else:
                raise BadConfig(f"{self._path}:{line}: {text!r} is not expected here")
