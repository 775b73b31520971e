"""The next version of a zone while it is built: what is written, journalled, and committed as a whole or not at all."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Protocol

from dnssecd.core.dns.rrset import RRset, Rrsigs, count
from dnssecd.core.dns.rrtypes import RRSIG, SOA
from dnssecd.core.zone.changeset import Change
from dnssecd.store import history, schema
from dnssecd.store.errors import StaleVersion
from dnssecd.store.evidence import write_evidence
from dnssecd.store.interface import EvidenceRow, OldVersion, State
from dnssecd.store.journal import PRUNE_EVERY, JournalWriter, prune
from dnssecd.store.old_version import OldVersionView
from dnssecd.store.remembered import RememberedView
from dnssecd.store.snapshot import read_state
from dnssecd.store.writes import ALL_SEQUENCES, Operation, Writes

#: In a first version of more RRsets the index of expirations is created once, after all RRSIGs are written: updating it
#: for each RRSIG takes as long as writing the RRSIGs, because expirations are scattered.
INDEX_LATER_RRSETS = 10_000


class Ending(Protocol):
    """The commit of a transaction that is more than a commit of its connection."""

    @property
    def epoch(self) -> int | None:
        """The number of the ownership under which this node writes the zone; None without a log."""
        ...

    def commit(self) -> None:
        """Commit; raise if that is not possible, or not certain."""
        ...


def _records(rrset: RRset | Rrsigs | None) -> int:
    return 0 if rrset is None else count(rrset.rdata)


class WriteTransaction(RememberedView):
    """The next version, being built: its reads see its writes. Other readers see nothing before the commit.

    ``old`` is the version from which it starts. ``generation`` increases with every write, so that a verification
    refers to exactly one state. ``records_delta``: how many more records it has than ``old``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        origin: bytes,
        old: OldVersionView,
        journal: JournalWriter | None,
        writes: Writes,
        ending: Ending | None = None,
    ) -> None:
        """Start from ``old``. ``ending``: what a commit is; None: that of the connection."""
        super().__init__(connection, origin)
        self._writes = writes
        self._ending = ending
        self._documents = dict(old.documents)
        self._start = old
        self.old: OldVersion = old
        self.generation = 0
        self.records_delta = 0
        self._content_written = False
        self._index_later = False
        self._journal = journal
        self.touched: set[tuple[bytes, int]] | None = set() if journal else None

    def start_from(self, old: OldVersion) -> None:
        """Start from another signer's version, which was written in this transaction before."""
        self.old = old

    def _begin_content(self) -> None:
        self.generation += 1
        self._content_written = True
        self._start.overtaken()

    def _note(
        self, owner: bytes, rtype: int, old: RRset | Rrsigs | None, new: RRset | Rrsigs | None, wire_type: int
    ) -> None:
        if self._journal is not None:
            self._journal.record(owner, wire_type, old and (old.ttl, old.rdata), new and (new.ttl, new.rdata))
        if self.touched is not None:
            self.touched.add((owner, rtype))

    def apply_content(self, changes: Iterable[Change], *, journalled: bool = True) -> None:
        """Write content RRsets and journal them, except the SOA (see :meth:`close_journal`).

        journalled=False: for an RRset that is written again, with its final RDATA, before the commit.
        """
        self._begin_content()
        removed, put = [], []
        for change in changes:
            if change.new is None:
                removed.append((change.owner, change.rtype))
            else:
                put.append(change.new)
            if journalled:
                self.records_delta += _records(change.new) - _records(change.old)
            if change.rtype != SOA and journalled:
                self._note(change.owner, change.rtype, change.old, change.new, change.rtype)
        if len(put) > INDEX_LATER_RRSETS and self.old.version is None and not self._index_later:
            self._index_later = True
            self._connection.execute(schema.DROP_EXPIRATION)
        self._content.clear()  # only now: the generator of the changes may read rows that are replaced
        self._writes.many(Operation.DELETE_RRSETS, removed)
        self._writes.many(Operation.PUT_RRSETS, put)

    def apply_denial(self, changes: Iterable[Change]) -> None:
        """Write NSEC or NSEC3 RRsets."""
        self._begin_content()
        removed, put = [], []
        for change in changes:
            if change.new is None:
                removed.append((change.owner,))
                self.records_delta -= 1
            else:
                put.append(change.new)
                self.records_delta += change.old is None
            if change.old is not None and change.new is not None and change.old.rtype != change.new.rtype:
                self._note(change.owner, change.old.rtype, change.old, None, change.old.rtype)
                self._note(change.owner, change.new.rtype, None, change.new, change.new.rtype)
            else:
                self._note(change.owner, change.rtype, change.old, change.new, change.rtype)
        self._forget_links()
        self._writes.many(Operation.DELETE_DENIAL, removed)
        self._writes.many(Operation.PUT_DENIAL, put)

    def put_rrsigs(self, rows: Iterable[tuple[Rrsigs | None, Rrsigs, int]]) -> None:
        """Write RRSIGs given as (old, new, expiration in epoch seconds)."""
        self._begin_content()
        put = []
        for old, new, expiration in rows:
            put.append((*new, expiration))
            self.records_delta += _records(new) - _records(old)
            self._note(new.owner, new.covered, old, new, RRSIG)
        self._signatures.clear()
        self._writes.many(Operation.PUT_RRSIGS, put)

    def delete_rrsigs(self, rows: Iterable[Rrsigs]) -> None:
        """Remove RRSIGs."""
        self._begin_content()
        gone = []
        for old in rows:
            gone.append((old.owner, old.covered))
            self.records_delta -= _records(old)
            self._note(old.owner, old.covered, old, None, RRSIG)
        self._signatures.clear()
        self._writes.many(Operation.DELETE_RRSIGS, gone)

    def set_state(self, name: str, value: State) -> None:
        """Write a named state document, in the transaction of the version; an equal one is not written again."""
        self.generation += 1
        if self.state(name) == value:
            return
        self._documents[name] = value
        self._writes.one(Operation.PUT_STATE, name, json.dumps(value, sort_keys=True))

    def state(self, name: str) -> State | None:
        """Return a named state document as this transaction sees it."""
        if name not in self._documents:
            self._documents[name] = read_state(self._connection, name)
        return self._documents[name]

    def put_evidence(self, rows: Iterable[EvidenceRow]) -> None:
        """Write what was seen at servers, committed with the rest. It is of this host: no log gets it."""
        write_evidence(self._connection, rows)

    def add_history(self, at: int, who: str, what: str, serial: int | None, detail: str) -> None:
        """Append to the zone's history."""
        history.append(self._writes, at, who, what, serial, detail)

    def close_journal(
        self, at: int, old_soa: RRset | None, new_soa: RRset, serials: tuple[int, int] | None
    ) -> None:
        """Add the two SOAs to the difference sequence; a first version has no sequence."""
        if self._journal is not None and old_soa is not None and serials is not None:
            self._journal.close(
                at, *serials, (old_soa.ttl, old_soa.rdata[2:]), (new_soa.ttl, new_soa.rdata[2:])
            )

    def forget_journal(self) -> None:
        """Drop all difference sequences: transfers are AXFR until the next version."""
        self.generation += 1
        self._writes.one(Operation.DROP_JOURNAL, ALL_SEQUENCES)

    def prune_journal(self, octets_max: int, older_than: int) -> int:
        """Remove the oldest sequences until the journal is within its limits; return how many were removed."""
        journal = self._journal
        if journal is None or (journal.sequence % PRUNE_EVERY and journal.octets < octets_max // PRUNE_EVERY):
            return 0
        return prune(self._connection, self._writes, octets_max, older_than)

    @property
    def epoch(self) -> int | None:
        """The number of the ownership under which this node writes the zone; None without a log."""
        return None if self._ending is None else self._ending.epoch

    def commit_state(self) -> None:
        """Commit state documents and history only. Raise StaleVersion if content was written: it must be verified.

        With a log also as :meth:`commit_if`.
        """
        if self._content_written:
            raise StaleVersion("zone content was written; only a verified version can be committed with it")
        self._commit()

    def commit_if(self, generation: int) -> None:
        """Make this the published version. Raise StaleVersion if anything was written after ``generation``.

        With a log the version is appended first; a LogError says how that failed, and nothing was committed then.
        """
        if generation != self.generation:
            raise StaleVersion("the version was changed after it was verified; nothing was published")
        if self._index_later:
            self._connection.execute(schema.INDEX_EXPIRATION)
        self._commit()

    def _commit(self) -> None:
        self._start.end()
        if self._ending is None:
            self._connection.execute("COMMIT")
        else:
            self._ending.commit()
