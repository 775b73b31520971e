"""$GENERATE as BIND does it: ``range lhs [ttl] [class] type rhs`` with $ and ${offset,width,base}."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from dnssecd.ingest.errors import RecordError
from dnssecd.ingest.lexer import unquote
from dnssecd.ingest.words import shown

_INT_MAX = 2**31 - 1
_RANGE = re.compile(rb"(\d{1,10})-(\d{1,10})(?:/(\d{1,10}))?")
_PIECE = re.compile(rb"\\.|\$\$|\$\{([^}]*)\}|\$\{|\$|[^\\$]+", re.DOTALL)
#: BIND reads offset and width with sscanf, which accepts blanks and a sign before a number.
_MODIFIER = re.compile(rb"\s*([+-]?\d{1,10})(?:,\s*\+?(\d{1,3})(?:,([doxXnN]))?)?")


class Generate(NamedTuple):
    """One directive; ``owner`` and ``rest`` are templates."""

    start: int
    stop: int
    step: int
    owner: bytes
    rest: bytes

    @classmethod
    def parse(cls, arguments: list[bytes], most: int) -> "Generate":
        """Return the directive with these words; ``most``: how many records it may make. Raise RecordError."""
        if len(arguments) < 4:
            raise RecordError("$GENERATE is incomplete", "write $GENERATE START-STOP[/STEP] OWNER TYPE RDATA")
        match = _RANGE.fullmatch(arguments[0])
        if not match:
            raise RecordError(
                f"bad range {shown(arguments[0])} in $GENERATE", "write START-STOP or START-STOP/STEP"
            )
        start, stop, step = (int(number) if number else 1 for number in match.groups())
        if start > stop or stop > _INT_MAX or not step:
            raise RecordError(
                f"bad range {shown(arguments[0])} in $GENERATE", "START <= STOP < 2**31, STEP >= 1"
            )
        if (stop - start) // step >= most:
            raise RecordError(f"$GENERATE would make more than {most} records", "narrow its range")
        rest = b" ".join([*arguments[2:-1], unquote(arguments[-1])])
        return cls(start, stop, step, arguments[1], rest)

    @property
    def number(self) -> int:
        """Return how many records it makes."""
        return (self.stop - self.start) // self.step + 1

    def lines(self, longest: int) -> Iterator[bytes]:
        """Yield each record as a line of at most ``longest`` octets on either side of the first blank; RecordError."""
        for number in range(self.start, self.stop + 1, self.step):
            yield expand(self.owner, number, longest) + b" " + expand(self.rest, number, longest)


def expand(template: bytes, number: int, longest: int) -> bytes:
    """Return the template with its $ replaced; escapes are kept, $$ becomes one $.

    It raises RecordError for an invalid modifier, and if the result is longer than ``longest`` octets.
    """
    out = bytearray()
    for match in _PIECE.finditer(template):
        piece = match.group()
        if len(out) > longest:
            raise RecordError(f"$GENERATE makes a record longer than {longest} octets", "shorten it")
        if piece == b"$$":
            out += b"$"
        elif piece == b"${":
            cause = f"${{ without }} in $GENERATE: {shown(template[match.start() :])}"
            raise RecordError(cause, "write ${OFFSET,WIDTH,BASE}, or $$ for a dollar sign")
        elif piece.startswith(b"$"):
            out += _number(match[1], number)
        else:
            out += piece
    return bytes(out)


def _number(modifier: bytes | None, number: int) -> bytes:
    if modifier is None:
        return b"%d" % number
    match = _MODIFIER.fullmatch(modifier)
    if not match:
        raise RecordError(f"bad modifier ${{{shown(modifier)}}} in $GENERATE", "write ${OFFSET,WIDTH,BASE}")
    value = number + int(match[1])
    width = int(match[2] or 0)
    base = (match[3] or b"d").decode()
    if not 0 <= value <= _INT_MAX:
        raise RecordError(f"$GENERATE reaches {value}, outside 0 to 2**31-1")
    if base in "nN":
        return _nibbles(value, width, upper=base == "N")
    return format(value, f"0{width}{base}" if width else base).encode()


def _nibbles(value: int, width: int, *, upper: bool) -> bytes:
    """Return hexadecimal digits, lowest first, with dots between; ``width`` counts both: an even one ends in a dot."""
    out = ""
    while True:
        out += format(value & 15, "X" if upper else "x")
        value >>= 4
        if value or len(out) < width:
            out += "."
        if not value and len(out) >= width:
            return out.encode()
