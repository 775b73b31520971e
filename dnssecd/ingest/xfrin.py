"""Transfers in, sans I/O: the messages of an answer to AXFR (RFC 5936) or IXFR (RFC 1995) become a zone or differences.

A table lists the legal events; any other event is a TransferError, and then nothing received is used. SOAs
are *new* when they equal the first of the answer, and *other* otherwise. The answer to IXFR may also be the
whole zone, or a single SOA. ``docs/transfers-in.md`` is generated from the table.
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from dnssecd.core.dns.serial import is_after
from dnssecd.ingest.collect import Row
from dnssecd.ingest.xfrin_wire import AXFR, IXFR, Overlooked, RdataSources, TransferError, TransferMessage

SERIAL_FIELD = slice(-20, -16)


class State(Enum):
    """A place in the answer."""

    START = "start"
    FIRST = "first SOA"
    WHOLE = "whole zone"
    DELETIONS = "deletions"
    ADDITIONS = "additions"
    END = "end"


class Event(Enum):
    """The next part of the answer."""

    SOA_NEW = "new SOA"
    SOA_OTHER = "other SOA"
    RR = "RR"


Transitions = Mapping[State, Mapping[Event, State]]

_AXFR: Transitions = {
    State.START: {Event.SOA_NEW: State.FIRST},
    State.FIRST: {Event.RR: State.WHOLE},
    State.WHOLE: {Event.RR: State.WHOLE, Event.SOA_NEW: State.END},
    State.END: {},
}
#: By the request: AXFR or IXFR.
TRANSITIONS: Mapping[str, Transitions] = {
    "axfr": _AXFR,
    "ixfr": {
        **_AXFR,
        State.FIRST: {**_AXFR[State.FIRST], Event.SOA_OTHER: State.DELETIONS},
        State.DELETIONS: {
            Event.RR: State.DELETIONS,
            Event.SOA_OTHER: State.ADDITIONS,
            Event.SOA_NEW: State.ADDITIONS,
        },
        State.ADDITIONS: {
            Event.RR: State.ADDITIONS,
            Event.SOA_OTHER: State.DELETIONS,
            Event.SOA_NEW: State.END,
        },
    },
}


class TransferLimits(Struct, frozen=True):
    """Bounds on the memory that a primary can make dnssecd use: RRs of one transfer."""

    records: int = 20_000_000


class Current(Struct, frozen=True):
    """The answer to IXFR is one SOA: the primary offers no differences."""

    soa: Row


class Whole(Struct, frozen=True):
    """The zone: its SOA and all other rows, in the order received."""

    soa: Row
    rows: list[Row]


class Difference(Struct, frozen=True):
    """One difference sequence: SOAs before and after, other rows deleted and added."""

    before: Row
    after: Row
    deleted: list[Row]
    added: list[Row]


class Differences(Struct, frozen=True):
    """All sequences, each beginning at the end of the previous one; ``soa`` is the final one."""

    soa: Row
    sequences: list[Difference]


Received = Current | Whole | Differences


def serial_of(soa: Row) -> int:
    """Return the serial of an SOA row."""
    return int.from_bytes(soa[3][SERIAL_FIELD], "big")


class Inbound:
    """Takes the messages of one answer in order; raises TransferError at the first fault.

    origin: lower-cased wire name; base: the serial asked for by IXFR, None for AXFR; sources: how RDATA is
    read. ``stripped``: DNSSEC records that were left out, by type; none with keep. ``overlooked``: other
    records that were ignored or changed.
    """

    def __init__(
        self,
        origin: bytes,
        base: int | None,
        sources: RdataSources,
        limits: TransferLimits | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self._origin, self._base, self._sources = origin, base, sources
        self._keep = keep
        self._limits = limits or TransferLimits()
        self._table = TRANSITIONS["axfr" if base is None else "ixfr"]
        self._state = State.START
        self._soa: Row | None = None
        self._rows: list[Row] = []
        self._sequences: list[Difference] = []
        self._records = 0
        self.stripped: dict[int, int] = {}
        self.overlooked = Overlooked()

    @property
    def state(self) -> State:
        """Return the place in the answer."""
        return self._state

    def feed(self, wire: bytes) -> None:
        """Take one message (without TSIG record)."""
        qtype = AXFR if self._base is None else IXFR
        message = TransferMessage(
            wire, self._origin, qtype, self._sources, self.stripped, self.overlooked, keep=self._keep
        )
        if not message.left:
            raise TransferError("a message has no answer records")
        while message.left:
            left = message.left
            soa = message.take(self._rows)
            self._records += left - message.left
            if left - message.left > (soa is not None):
                self._advance(Event.RR)
            if soa is not None:
                self._take_soa(soa)
        if self._records > self._limits.records:
            raise TransferError(f"more than {self._limits.records} RRs: it is too large, or has no end")

    def finish(self) -> Received:
        """Return what was received; the stream has ended."""
        if self._state is State.FIRST and self._base is not None:
            assert self._soa is not None
            return Current(self._soa)
        if self._state is not State.END or self._soa is None:
            raise TransferError(f"the transfer ends within: {self._state.value}")
        if self._sequences:
            return Differences(self._soa, self._sequences)
        return Whole(self._soa, self._rows)

    def _advance(self, event: Event) -> None:
        after = self._table[self._state].get(event)
        if after is None:
            raise TransferError(f"{event.value} after: {self._state.value}")
        self._state = after

    def _take_soa(self, soa: Row) -> None:
        if self._soa is None:
            self._soa = soa
        before = self._state
        self._advance(Event.SOA_NEW if soa[3] == self._soa[3] else Event.SOA_OTHER)
        if self._state is State.DELETIONS:
            self._begin(soa)
        elif self._state is State.ADDITIONS:
            self._turn(soa)
        elif self._state is State.END and before is State.ADDITIONS:
            self._close(soa)

    def _begin(self, soa: Row) -> None:
        """Begin a sequence: its first SOA is that of the old zone."""
        expected = serial_of(self._sequences[-1].after) if self._sequences else self._base
        if serial_of(soa) != expected:
            raise TransferError(f"the differences do not chain: from {serial_of(soa)}, expected {expected}")
        self._rows = []
        self._sequences.append(Difference(soa, soa, self._rows, []))

    def _turn(self, soa: Row) -> None:
        """End the deletions: this SOA is that of the new zone."""
        last = self._sequences[-1]
        if not is_after(serial_of(soa), serial_of(last.before)):
            raise TransferError(f"a difference goes back from {serial_of(last.before)} to {serial_of(soa)}")
        self._rows = last.added
        self._sequences[-1] = Difference(last.before, soa, last.deleted, last.added)

    def _close(self, soa: Row) -> None:
        if self._sequences[-1].after[3] != soa[3]:
            raise TransferError("the last difference does not lead to the announced SOA")
