"""The evidence from a zone's secondaries and parent, kept over restarts: the last *answer* of every server.

If a server stops answering, its last answer remains valid; the failure is shown with it. Rows are written to
the zone's evidence table when their content changes, and once an hour for their times. A secondary's serial,
which every dynamic update changes, is written at most twice a minute: after a crash an older serial is known,
which only causes a delay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from dnssecd.core.keys.evidence import (
    Confirmation,
    KeyBackup,
    KeyHolders,
    ParentSight,
    SecondarySight,
    SignerSight,
)
from dnssecd.publish.parent import DsRecord, ParentAnswer
from dnssecd.publish.signers import SignerAnswer
from dnssecd.publish.watch import Sighting
from dnssecd.replacing import replace
from dnssecd.store.interface import EvidenceRow, ZoneStore

REWRITE_S = 3600
SERIAL_REWRITE_S = 30
SECONDARY, PARENT, CONFIRMATION, BACKUP = "secondary", "parent", "confirmation", "backup"
SIGNER = "signer"


#: A row that is in the store: source, subject, value as JSON, time. A zone has few.
_Written = tuple[str, str, bytes, int]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """Return what all zones share that have no evidence of a kind; each dictionary takes 64 octets."""
    return _NOTHING


@dataclass(slots=True)
class ZoneEvidence:
    """The evidence of one zone, by server name; confirmations by key. New evidence makes a new mapping."""

    secondaries: Mapping[str, SecondarySight] = field(default_factory=_nothing)
    parents: Mapping[str, ParentSight] = field(default_factory=_nothing)
    confirmations: Mapping[str, Confirmation] = field(default_factory=_nothing)
    backups: Mapping[str, KeyBackup] = field(default_factory=_nothing)
    signers: Mapping[str, SignerSight] = field(default_factory=_nothing)
    #: Not stored: the cluster's database has it.
    holders: Mapping[str, KeyHolders] = field(default_factory=_nothing)
    _written: tuple[_Written, ...] = ()

    def sighted(self, sighting: Sighting, next_look: int) -> bool:
        """Take a look at a secondary; return whether it is new evidence."""
        before = self.secondaries.get(sighting.server, SecondarySight(sighting.server))
        if sighting.serial is None:
            sight = replace(before, answer=sighting.detail, next_look=next_look)
        else:
            sight = SecondarySight(sighting.server, sighting.serial, int(sighting.at), next_look=next_look)
        self.secondaries = {**self.secondaries, sighting.server: sight}
        return (sight.serial, sight.answer) != (before.serial, before.answer)

    def answered(self, answer: ParentAnswer, next_look: int) -> bool:
        """Take the answer of a parent server; return whether it is new evidence."""
        before = self.parents.get(answer.server, ParentSight(answer.server))
        if answer.ds is None:
            sight = replace(before, answer=answer.failure, next_look=next_look)
        else:
            rdatas = tuple(sorted(map(ds_rdata, answer.ds)))
            sight = ParentSight(
                answer.server,
                rdatas,
                answer.ttl,
                int(answer.at),
                next_look=next_look,
                ns=answer.ns,
                ns_ttl=answer.ns_ttl,
            )
        self.parents = {**self.parents, answer.server: sight}
        return _shown(sight) != _shown(before)

    def heard(self, answer: SignerAnswer, next_look: int) -> SignerSight:
        """Take the answer of a server of another signer: each key counts from when it is seen without a gap."""
        before = self.signers.get(answer.server, SignerSight(answer.server, answer.signer))
        if answer.dnskeys is None:
            sight = replace(before, answer=answer.failure, next_look=next_look)
        else:
            since, at = dict(before.dnskeys or ()), int(answer.at)
            keys = tuple((rdata, since.get(rdata, at)) for rdata in answer.dnskeys)
            ttl = max(answer.ttl, before.ttl)
            sight = SignerSight(answer.server, answer.signer, keys, ttl, at, next_look=next_look)
        self.signers = {**self.signers, answer.server: sight}
        return sight

    def confirm(self, word: Confirmation) -> None:
        """Take what an operator says of a key's DS."""
        self.confirmations = {**self.confirmations, word.ref: word}

    def saved(self, backup: KeyBackup) -> None:
        """Take that there is a backup of a key."""
        self.backups = {**self.backups, backup.key_id: backup}

    def of_signers(self, servers: Iterable[tuple[str, str]]) -> tuple[SignerSight, ...]:
        """Return a sight for each of these servers (signer, server), even if it never answered."""
        return tuple(
            self.signers.get(name, SignerSight(name, signer, answer="not queried yet"))
            for signer, name in servers
        )

    def of_secondaries(self, names: Iterable[str]) -> tuple[SecondarySight, ...]:
        """Return a sight for each of these servers, even if it never answered."""
        return tuple(
            self.secondaries.get(name, SecondarySight(name, answer="not queried yet")) for name in names
        )

    def of_parents(self, names: Iterable[str]) -> tuple[ParentSight, ...]:
        """Return a sight for each of these servers, even if it never answered."""
        return tuple(self.parents.get(name, ParentSight(name, answer="not queried yet")) for name in names)

    def doubt_all(self) -> None:
        """Forget all answers and confirmations, because their times are unreliable."""
        self.secondaries = self.parents = self.signers = self.confirmations = _NOTHING
        self._written = ()

    def to_write(self) -> list[EvidenceRow]:
        """Return the rows that differ from the last written ones, or are newer by an hour."""
        written = {(source, subject): (value, at) for source, subject, value, at in self._written}
        return [row for row in self._rows() if _is_news(row, written.get(row[:2]))]

    def written(self, rows: Iterable[EvidenceRow]) -> None:
        """Note that these rows are in the store."""
        new = {row[:2]: (row[0], row[1], _encoded(row[2]), row[3]) for row in rows}
        if new:
            kept = (row for row in self._written if row[:2] not in new)
            self._written = (*kept, *new.values())

    def _rows(self) -> Iterable[EvidenceRow]:
        for sight in self.secondaries.values():
            if sight.serial is not None:
                yield SECONDARY, sight.name, {"serial": sight.serial}, sight.at
        for parent in self.parents.values():
            if parent.ds is not None:
                value = {"ds": [ds.hex() for ds in parent.ds], "ttl": parent.ttl}
                if parent.ns is not None:
                    value |= {"ns": list(parent.ns), "ns_ttl": parent.ns_ttl}
                yield PARENT, parent.name, value, parent.at
        for signer in self.signers.values():
            if signer.dnskeys is not None:
                seen = {rdata.hex(): since for rdata, since in signer.dnskeys}
                value = {"signer": signer.signer, "dnskeys": seen, "ttl": signer.ttl}
                yield SIGNER, signer.name, value, signer.at
        for word in self.confirmations.values():
            yield CONFIRMATION, word.ref, {"present": word.present, "who": word.who}, word.at
        for backup in self.backups.values():
            yield backup_row(backup)


def _is_news(row: EvidenceRow, before: tuple[bytes, int] | None) -> bool:
    """Tell whether to write a row; ``before``: value and time of the one that is in the store."""
    if before is None or row[3] >= before[1] + REWRITE_S:
        return True
    rests = row[0] == SECONDARY and before[1] <= row[3] < before[1] + SERIAL_REWRITE_S
    return not rests and before[0] != _encoded(row[2])


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _shown(sight: ParentSight) -> tuple[object, ...]:
    return sight.ds, sight.ttl, sight.answer, sight.ns, sight.ns_ttl


def ds_rdata(ds: DsRecord) -> bytes:
    """Return DS RDATA (RFC 4034 §5.1)."""
    return ds.key_tag.to_bytes(2) + bytes((ds.algorithm, ds.digest_type)) + ds.digest


def read_evidence(db: ZoneStore, now: float) -> ZoneEvidence:
    """Return the stored evidence, without entries later than ``now``, which were written with a wrong clock."""
    rows = [row for row in db.evidence() if row[3] <= now]
    secondaries: dict[str, SecondarySight] = {}
    parents: dict[str, ParentSight] = {}
    confirmations: dict[str, Confirmation] = {}
    backups: dict[str, KeyBackup] = {}
    signers: dict[str, SignerSight] = {}
    for source, subject, value, at in rows:
        if source == SECONDARY:
            secondaries[subject] = SecondarySight(subject, int(value["serial"]), at)
        elif source == PARENT:
            ds = tuple(bytes.fromhex(text) for text in value["ds"])
            ns = None if value.get("ns") is None else tuple(map(str, value["ns"]))
            ns_ttl = int(value.get("ns_ttl", 0))
            parents[subject] = ParentSight(subject, ds, int(value["ttl"]), at, ns=ns, ns_ttl=ns_ttl)
        elif source == SIGNER:
            keys = tuple((bytes.fromhex(text), int(since)) for text, since in value["dnskeys"].items())
            signers[subject] = SignerSight(subject, str(value["signer"]), keys, int(value["ttl"]), at)
        elif source == CONFIRMATION:
            confirmations[subject] = Confirmation(subject, bool(value["present"]), at, str(value["who"]))
        elif source == BACKUP:
            backups[subject] = KeyBackup(subject, at, str(value["detail"]))
    found = ZoneEvidence(
        secondaries or _NOTHING,
        parents or _NOTHING,
        confirmations or _NOTHING,
        backups or _NOTHING,
        signers or _NOTHING,
    )
    found.written(rows)
    return found


def backup_row(backup: KeyBackup) -> EvidenceRow:
    """Return the row that records a backup of a key."""
    return BACKUP, backup.key_id, {"detail": backup.detail}, backup.at


def write_evidence(db: ZoneStore, rows: Iterable[EvidenceRow]) -> None:
    """Store rows; no other writer may use the zone's database."""
    db.set_evidence(rows)
