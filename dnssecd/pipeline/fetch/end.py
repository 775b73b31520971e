"""Where the answer to AXFR or IXFR ends, found with the least looking: by the octets that end its first SOA.

The last RR of a transfer is the SOA it began with, and an SOA ends in twenty octets that no compression changes:
a message that does not hold them holds no end, and is not walked. Whether the stream is sound is not judged here
(ingest.xfrin), so a message beyond the end is never waited for, and one that lies only deceives itself.
"""

from collections.abc import Iterator

from dnssecd.core.dns import message as m
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import is_after

_TAIL_OCTETS = 20
_FIXED_OCTETS = 10


class NotATransfer(ValueError):
    """The stream is no transfer; the text says why."""


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
        """Whether the answer is the zone, as opposed to differences."""
        return self._wanted != 3

    @property
    def is_current(self) -> bool:
        """Whether the answer is one SOA that is not newer than what was asked from."""
        return self._records == 1 and self._base is not None

    @property
    def may_be_all(self) -> bool:
        """Whether the answer to IXFR is one SOA so far."""
        return self._records == 1 and self._base is not None

    def feed(self, wire: bytes) -> None:
        """Take a message without TSIG record; raises NotATransfer or FormError."""
        if not int.from_bytes(wire[6:8], "big"):
            raise NotATransfer("a message without answer")
        if self._wanted and self._tail not in wire:
            return
        for rtype, rdata in _answers(wire):
            self._take(rtype, rdata)
        if self._records == 1 and self._base is not None and not is_after(self._serial, self._base):
            self.reached = True

    def finish(self) -> None:
        """Raise NotATransfer where one newer SOA is all that came."""
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
    """Yield type and RDATA, as they stand, of the answer section; raises FormError."""
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
