"""Find the end of the answer to AXFR or IXFR cheaply, by the octets that end its first SOA.

The last RR of a transfer is the SOA with which it began, and an SOA ends in twenty octets that compression
cannot change. A message without these octets does not hold the end and is not parsed. This module does not
check the stream (ingest.xfrin does that later), so it never waits for a message after the end; a primary that
sends wrong data harms only its own transfer.
"""

from collections.abc import Iterator

from dnssecd.core.dns import message as m
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import is_after

_TAIL_OCTETS = 20
_FIXED_OCTETS = 10


class NotATransfer(ValueError):
    """The stream is not a transfer; the text says why."""


class EndFinder:
    """Takes messages in order until ``reached``. base: the serial of an IXFR, None for AXFR."""

    def __init__(self, base: int | None) -> None:
        self._base = base
        self._tail = b""
        self._serial = 0
        self._wanted = 0
        self._seen = 0
        self._records = 0
        self.reached = False

    @property
    def whole(self) -> bool:
        """Tell whether the answer is the whole zone, not differences."""
        return self._wanted != 3

    @property
    def is_current(self) -> bool:
        """Tell whether the answer is one SOA that is not newer than the serial in the request."""
        return self._records == 1 and self._base is not None

    @property
    def may_be_all(self) -> bool:
        """Tell whether the answer to IXFR is one SOA so far."""
        return self._records == 1 and self._base is not None

    def feed(self, wire: bytes) -> None:
        """Take a message without TSIG record; raise NotATransfer or FormError."""
        if not int.from_bytes(wire[6:8], "big"):
            raise NotATransfer("a message has no answer records")
        if self._wanted and self._tail not in wire:
            return
        for rtype, rdata in _answers(wire):
            self._take(rtype, rdata)
        if self._records == 1 and self._base is not None and not is_after(self._serial, self._base):
            self.reached = True

    def finish(self) -> None:
        """Raise NotATransfer if only one newer SOA was received."""
        if self.may_be_all and is_after(self._serial, self._base or 0):
            raise NotATransfer("only one SOA, which is newer: the primary offers no IXFR differences")

    def _take(self, rtype: int, rdata: bytes) -> None:
        is_end = rtype == SOA and rdata[-_TAIL_OCTETS:] == self._tail
        if not self._records:
            if rtype != SOA or len(rdata) < _TAIL_OCTETS:
                raise NotATransfer("the answer does not begin with an SOA")
            self._tail = rdata[-_TAIL_OCTETS:]
            self._serial = int.from_bytes(self._tail[:4], "big")
            is_end = True
        elif self._records == 1:
            differences = self._base is not None and rtype == SOA and not is_end
            self._wanted = 3 if differences else 2
        self._records += 1
        self._seen += is_end
        if self._wanted and self._seen >= self._wanted:
            self.reached = True


def _answers(wire: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and unchanged RDATA of the answer section; raise FormError."""
    _, _, questions, answers, _, _ = (int.from_bytes(wire[i : i + 2], "big") for i in range(0, 12, 2))
    position = m.HEADER_SIZE
    for _ in range(questions):
        position = _skip_name(wire, position) + 4
    for _ in range(answers):
        start = _skip_name(wire, position)
        end = start + _FIXED_OCTETS + int.from_bytes(wire[start + 8 : start + 10], "big")
        if end > len(wire) or start + _FIXED_OCTETS > len(wire):
            raise m.FormError("a message is cut short")
        yield int.from_bytes(wire[start : start + 2], "big"), wire[start + _FIXED_OCTETS : end]
        position = end


def _skip_name(wire: bytes, position: int) -> int:
    try:
        while length := wire[position]:
            if length >= 64:
                return position + 2
            position += length + 1
    except IndexError:
        raise m.FormError("a message is cut short") from None
    return position + 1
