"""The lexer: from lines to the words of one record (RFC 1035 §5.1), with quotes, escapes, comments, parentheses."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from dnssecd.ingest.errors import RecordError

BLANKS = b" \t\x0b\x0c"

_WORD = re.compile(
    rb"[ \t\x0b\x0c]+"
    rb"|;.*"
    rb"|[()]"
    rb'|"[^"\\]*(?:\\.[^"\\]*)*"'
    rb'|[^ \t\x0b\x0c;()"\\]+(?:\\.[^ \t\x0b\x0c;()"\\]*)*'
    rb'|(?:\\.[^ \t\x0b\x0c;()"\\]*)+',
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:(\d{3})|(\d)|.)", re.DOTALL)
_OPEN_QUOTE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*\\\Z', re.DOTALL)


class Record(NamedTuple):
    """The words of one record or directive as written; a quoted string keeps its quotes.

    Only blanks separate words: ``alpn="h2,h3"`` is one word, and so is ``a"b"``, which as TXT is two strings.

    ``line`` is where it begins; ``blank_owner``: it begins with a blank, so the last owner applies.
    """

    line: int
    blank_owner: bool
    words: list[bytes]


def read_record(line: int, text: bytes, following: Iterator[tuple[int, bytes]], limit: int) -> Record:
    """Return the record that begins with ``text`` at ``line``; further lines are read from ``following``.

    ``limit``: the most octets it may have. Raises RecordError.
    """
    words: list[bytes] = []
    depth = _read_line(text, words, 0, following)
    size = len(text)
    while depth:
        _, more = next(following, (0, None))
        if more is None:
            raise RecordError("an opening parenthesis has no closing one", "close it with )", fatal=True)
        size += len(more)
        if size > limit:
            cause = f"a record in parentheses is longer than {limit} octets"
            raise RecordError(cause, "check for a missing closing parenthesis", fatal=True)
        depth = _read_line(more, words, depth, following)
    return Record(line, text[:1] in (b" ", b"\t", b"\x0b", b"\x0c") and bool(text), words)


def _read_line(text: bytes, words: list[bytes], depth: int, following: Iterator[tuple[int, bytes]]) -> int:
    position = 0
    glued = False
    while position < len(text):
        match = _WORD.match(text, position)
        if match is None:
            text = _continue_quote(text, position, following)
            continue
        position = match.end()
        word = match.group()
        mark = word[0]
        if mark == 0x28:  # (
            depth += 1
        elif mark == 0x29:  # )
            depth -= 1
            if depth < 0:
                raise RecordError("a closing parenthesis has no opening one", "remove the )")
        elif mark != 0x3B and mark not in BLANKS:  # neither comment nor blank
            _check(word)
            if glued:
                words[-1] += word
            else:
                words.append(word)
            glued = True
            continue
        glued = False
    return depth


def _continue_quote(text: bytes, position: int, following: Iterator[tuple[int, bytes]]) -> bytes:
    """Join the next line to a quoted string whose line end is escaped; report any other open quote."""
    if text[position] != 0x22:
        raise RecordError("a backslash ends the line", "write \\\\ for a backslash")
    if _OPEN_QUOTE.match(text, position):
        _, more = next(following, (0, None))
        if more is not None:
            return text[:-1] + rb"\010" + more
    raise RecordError("a quoted string is not closed on its line", 'close it with "')


def _check(word: bytes) -> None:
    if b"\x00" in word:
        raise RecordError("the line holds a NUL octet: this is not a text file", fatal=True)
    if b"\\" in word:
        for match in _ESCAPE.finditer(word):
            digits, bad = match.groups()
            if bad is not None or (digits is not None and int(digits) > 255):
                shown = word[match.start() : match.start() + 4].decode("latin-1")
                raise RecordError(f"bad escape {shown}", "write \\DDD with DDD from 000 to 255")


def unescape(word: bytes) -> bytes:
    """Return the octets of a checked word (or the inside of a quoted string) with its escapes resolved."""
    if b"\\" not in word:
        return word
    return _ESCAPE.sub(lambda match: bytes((int(match[1]),)) if match[1] else match[0][1:], word)


def unquote(word: bytes) -> bytes:
    """Return a word without its quotes; escapes are kept."""
    return word[1:-1] if word.startswith(b'"') else word
