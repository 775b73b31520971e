"""What was seen of a zone's secondaries and parent, kept over restarts: the last *answer* of every server.

A server that falls silent does not take back what it showed; its failure is told beside the answer. Rows go to the
zone's evidence table when what they say changed, and once an hour for their times. A secondary's serial, which every
dynamic update changes, is written twice a minute at most: after a crash an older one is known, which only delays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dnssecd.core.keys.evidence import Confirmation, ParentSight, SecondarySight
from dnssecd.publish.parent import DsRecord, ParentAnswer
from dnssecd.publish.watch import Sighting
from dnssecd.store.interface import ZoneStore

REWRITE_S = 3600
SERIAL_REWRITE_S = 30
SECONDARY, PARENT, CONFIRMATION = "secondary", "parent", "confirmation"

Row = tuple[str, str, dict[str, Any], int]  # source, subject, value, at


@dataclass
class ZoneEvidence:
    """The evidence of one zone, by server name; confirmations by key."""

    secondaries: dict[str, SecondarySight] = field(default_factory=dict)
    parents: dict[str, ParentSight] = field(default_factory=dict)
    confirmations: dict[str, Confirmation] = field(default_factory=dict)
    _written: dict[tuple[str, str], Row] = field(default_factory=dict)

    def sighted(self, sighting: Sighting, next_look: int) -> bool:
        """Take in a look at a secondary; tell whether it says something new."""
        before = self.secondaries.get(sighting.server, SecondarySight(sighting.server))
        if sighting.serial is None:
            sight = replace(before, answer=sighting.detail, next_look=next_look)
        else:
            sight = SecondarySight(sighting.server, sighting.serial, int(sighting.at), next_look=next_look)
        self.secondaries[sighting.server] = sight
        return (sight.serial, sight.answer) != (before.serial, before.answer)

    def answered(self, answer: ParentAnswer, next_look: int) -> bool:
        """Take in what a server of the parent says; tell whether it is something new."""
        before = self.parents.get(answer.server, ParentSight(answer.server))
        if answer.ds is None:
            sight = replace(before, answer=answer.failure, next_look=next_look)
        else:
            rdatas = tuple(sorted(map(ds_rdata, answer.ds)))
            sight = ParentSight(answer.server, rdatas, answer.ttl, int(answer.at), next_look=next_look)
        self.parents[answer.server] = sight
        return (sight.ds, sight.ttl, sight.answer) != (before.ds, before.ttl, before.answer)

    def of_secondaries(self, names: Iterable[str]) -> tuple[SecondarySight, ...]:
        """Return a sight for each of these servers, whether it ever answered or not."""
        return tuple(
            self.secondaries.get(name, SecondarySight(name, answer="not asked yet")) for name in names
        )

    def of_parents(self, names: Iterable[str]) -> tuple[ParentSight, ...]:
        """Return a sight for each of these servers, whether it ever answered or not."""
        return tuple(self.parents.get(name, ParentSight(name, answer="not asked yet")) for name in names)

    def doubt_all(self) -> None:
        """Forget all answers: their times cannot be relied on. What people confirmed goes with them."""
        self.secondaries.clear()
        self.parents.clear()
        self.confirmations.clear()
        self._written.clear()

    def to_write(self) -> list[Row]:
        """Return the rows that differ from what was written last, or are older by an hour."""
        return [row for row in self._rows() if self._is_news(row)]

    def written(self, rows: Iterable[Row]) -> None:
        """Note that these rows are in the store."""
        self._written.update({row[:2]: row for row in rows})

    def _rows(self) -> Iterable[Row]:
        for sight in self.secondaries.values():
            if sight.serial is not None:
                yield SECONDARY, sight.name, {"serial": sight.serial}, sight.at
        for parent in self.parents.values():
            if parent.ds is not None:
                value = {"ds": [ds.hex() for ds in parent.ds], "ttl": parent.ttl}
                yield PARENT, parent.name, value, parent.at
        for word in self.confirmations.values():
            yield CONFIRMATION, word.ref, {"present": word.present, "who": word.who}, word.at

    def _is_news(self, row: Row) -> bool:
        before = self._written.get(row[:2])
        if before is None or row[3] >= before[3] + REWRITE_S:
            return True
        rests = row[0] == SECONDARY and before[3] <= row[3] < before[3] + SERIAL_REWRITE_S
        return before[2] != row[2] and not rests


def ds_rdata(ds: DsRecord) -> bytes:
    """Return DS RDATA (RFC 4034 section 5.1)."""
    return ds.key_tag.to_bytes(2) + bytes((ds.algorithm, ds.digest_type)) + ds.digest


def read_evidence(db: ZoneStore, now: float) -> ZoneEvidence:
    """Return the evidence as stored, but for what is dated later than ``now``: a clock that was wrong wrote it."""
    rows = [row for row in db.evidence() if row[3] <= now]
    found = ZoneEvidence()
    for source, subject, value, at in rows:
        if source == SECONDARY:
            found.secondaries[subject] = SecondarySight(subject, int(value["serial"]), at)
        elif source == PARENT:
            ds = tuple(bytes.fromhex(text) for text in value["ds"])
            found.parents[subject] = ParentSight(subject, ds, int(value["ttl"]), at)
        elif source == CONFIRMATION:
            found.confirmations[subject] = Confirmation(
                subject, bool(value["present"]), at, str(value["who"])
            )
    found.written(rows)
    return found


def write_evidence(db: ZoneStore, rows: Iterable[Row]) -> None:
    """Store rows; nobody else may be writing to the zone."""
    for source, subject, value, at in rows:
        db.set_evidence(source, subject, value, at)
