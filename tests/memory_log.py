"""A log of versions in memory, for several nodes in one process; it can fail as a database does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dnssecd.replacing import replace
from dnssecd.store.version_log import (
    Appended,
    Effect,
    Fenced,
    InDoubt,
    Kind,
    LogRecord,
    LogUnavailable,
    Position,
    Record,
    Result,
)


@dataclass(frozen=True)
class Stored:
    """A record of the log."""

    sequence: int
    epoch: int
    kind: Kind
    node: str
    digest: str
    octets: bytes
    effects: Sequence[Effect] = ()


@dataclass
class MemoryLog:
    """The database that all nodes share. ``faults``: of the next appends, "" for none.

    "away": nothing is written. "lost before", "lost after": the connection breaks before or after the commit.
    """

    zones: dict[str, list[Stored]] = field(default_factory=dict)
    faults: deque[str] = field(default_factory=deque)
    owners: dict[str, tuple[str, int]] = field(default_factory=dict)

    def last(self, zone: str) -> Position:
        records = self.zones.get(zone)
        return (
            Position(records[-1].sequence, records[-1].epoch, records[-1].digest) if records else Position()
        )

    def owner(self, zone: str) -> tuple[str, int]:
        return self.owners.get(zone, ("", 0))

    def take(self, zone: str, node: str) -> int:
        """Make a node the owner; return the epoch."""
        at = self.last(zone)
        epoch = self.owner(zone)[1] + 1
        self.owners[zone] = node, epoch
        self.put(zone, Stored(at.sequence + 1, epoch, Kind.OWNERSHIP, node, "", b""))
        return epoch

    def put(self, zone: str, stored: Stored) -> None:
        self.zones.setdefault(zone, []).append(stored)

    def change(self, zone: str, sequence: int, **values: object) -> None:
        """Change a stored record, as only who owns the database can."""
        records = self.zones[zone]
        at = next(i for i, record in enumerate(records) if record.sequence == sequence)
        records[at] = replace(records[at], **values)  # type: ignore[arg-type]


@dataclass
class NodeLog:
    """The log as one node sees it (store.version_log.VersionLog and LogReader)."""

    shared: MemoryLog
    node: str
    chunk: int = 1 << 20

    def append(self, zone: str, sequence: int, epoch: int, record: Record) -> Result:
        fault = self.shared.faults.popleft() if self.shared.faults else ""
        if fault == "away":
            raise LogUnavailable("the database does not answer")
        if fault == "lost before":
            return InDoubt("the connection broke")
        if self._have(zone, sequence, record.digest):
            return InDoubt("the connection broke") if fault else Appended()
        if sequence != self.shared.last(zone).sequence + 1 or (self.node, epoch) != self.shared.owner(zone):
            return Fenced(*self.shared.owner(zone))
        octets = b"".join(record.chunks())
        assert len(octets) == record.octets
        stored = Stored(sequence, epoch, record.kind, self.node, record.digest, octets, record.effects)
        self.shared.put(zone, stored)
        return InDoubt("the connection broke") if fault == "lost after" else Appended()

    def _have(self, zone: str, sequence: int, digest: str) -> bool:
        held = (
            r.digest for r in self.shared.zones.get(zone, ()) if (r.sequence, r.node) == (sequence, self.node)
        )
        return digest in held

    def settle(self, zone: str, sequence: int, epoch: int) -> Result:
        if sequence != self.shared.last(zone).sequence + 1 or (self.node, epoch) != self.shared.owner(zone):
            return Fenced(*self.shared.owner(zone))
        self.shared.put(zone, Stored(sequence, epoch, Kind.BLANK, self.node, "", b""))
        return Appended()

    def put_snapshot(self, zone: str, at: Position, record: Record) -> Result:
        records = self.shared.zones[zone]
        held = next((r for r in records if r.sequence == at.sequence), None)
        if held is None or held.digest != at.digest:
            return Fenced(*self.shared.owner(zone))
        snapshot = Stored(
            at.sequence, at.epoch, Kind.SNAPSHOT, self.node, record.digest, b"".join(record.chunks())
        )
        self.shared.zones[zone] = [snapshot, *(r for r in records if r.sequence > at.sequence)]
        return Appended()

    def read(self, zone: str, after: int, digest: str = "") -> Iterator[LogRecord]:
        records = self.shared.zones.get(zone, [])
        kept = bool(records) and records[0].kind is Kind.SNAPSHOT and records[0].sequence > after
        for r in list(records):
            if r.sequence > after and (r.kind is not Kind.SNAPSHOT or kept):
                chunks = (r.octets[i : i + self.chunk] for i in range(0, len(r.octets), self.chunk))
                yield LogRecord(r.sequence, r.epoch, r.kind, r.node, r.digest, chunks, len(r.octets))
