"""Apply the records of a zone's log to this node's database, each verified before it is committed.

The same function makes a follower's versions, and those of a node that is behind its own log: after a commit in
doubt, or when the record was appended and the local disk was full. A record that does not verify stays unapplied; the
previous version is still served, and this node may not own the zone.
"""

from msgspec import Struct

from dnssecd.core.verify import SignatureChecker
from dnssecd.pipeline.follow.caught_up import CaughtUp
from dnssecd.pipeline.follow.judge import Unfit, judge_record
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.publish.commit import commit
from dnssecd.store.errors import DAMAGE, DatabaseFailed
from dnssecd.store.interface import ZoneStore
from dnssecd.store.record_codec import BadRecord, RecordTooNew
from dnssecd.store.version_log import LogReader, LogRecord, LogShorter, Position


class Applied(Struct, frozen=True):
    """A record that was applied: the position after it and the serial of the version now."""

    position: Position
    serial: int | None


class RecordRefused(Exception):
    """A record does not verify; nothing was committed. ``faults``: all that is wrong."""

    def __init__(self, sequence: int, faults: tuple[str, ...]) -> None:
        super().__init__(f"record {sequence}: {faults[0]}")
        self.faults = faults


def apply_record(
    db: ZoneStore, record: LogRecord, spec: ZoneSpec, checker: SignatureChecker, now: int
) -> Applied:
    """Replay, verify and commit one record. Raise RecordRefused, RecordTooNew, StoreError, OSError."""
    try:
        with db.replaying() as replayed:
            replayed.apply(record)
            verified = judge_record(replayed, spec, checker, now)
            if verified is None:
                replayed.commit_state()
            else:
                commit(verified, replayed)
            version = state.from_document(replayed.state(state.VERSION), state.VersionState)
            return Applied(replayed.position, None if version is None else version.serial)
    except Unfit as error:
        raise RecordRefused(record.sequence, error.faults) from error
    except BadRecord as error:
        raise RecordRefused(record.sequence, (str(error),)) from error
    except DatabaseFailed:
        raise
    except DAMAGE as error:
        fault = f"it cannot be read as a version: {type(error).__name__}: {error}"
        raise RecordRefused(record.sequence, (fault,)) from error


def catch_up(
    db: ZoneStore,
    reader: LogReader,
    spec: ZoneSpec,
    checker: SignatureChecker,
    now: int,
    octets_max: int | None = None,
) -> CaughtUp:
    """Apply all records after the database's position, as far as they verify; now: epoch seconds.

    octets_max: stop before a record with more octets. Raise LogUnavailable, StoreError, OSError; what was applied
    until then stays.
    """
    position, serial = read_standing(db)
    try:
        return _apply_all(db, reader, spec, checker, now, octets_max, position, serial)
    except LogShorter as error:
        return CaughtUp(
            position=position, serial=serial, epoch=position.epoch, stopped="log shorter", cause=str(error)
        )


def _apply_all(
    db: ZoneStore,
    reader: LogReader,
    spec: ZoneSpec,
    checker: SignatureChecker,
    now: int,
    octets_max: int | None,
    position: Position,
    serial: int | None,
) -> CaughtUp:
    applied, node = 0, ""
    for record in reader.read(spec.name, position.sequence, position.digest):
        if octets_max is not None and record.octets > octets_max:
            return CaughtUp(
                position=position,
                applied=applied,
                serial=serial,
                node=node,
                epoch=position.epoch,
                larger=True,
            )
        try:
            done = apply_record(db, record, spec, checker, now)
        except (RecordRefused, RecordTooNew) as error:
            faults = error.faults if isinstance(error, RecordRefused) else ()
            return CaughtUp(
                position=position,
                applied=applied,
                serial=serial,
                node=node,
                epoch=position.epoch,
                stopped="unverified" if isinstance(error, RecordRefused) else "too new",
                cause=str(error),
                faults=faults[:100],
            )
        position, serial, node = done.position, done.serial, record.node
        applied += 1
    return CaughtUp(position=position, applied=applied, serial=serial, node=node, epoch=position.epoch)


def read_standing(db: ZoneStore) -> tuple[Position, int | None]:
    """Return the position of a database in its log, and its serial. Raise StoreError, OSError."""
    with db.snapshot() as snapshot:
        return snapshot.position, None if snapshot.version is None else snapshot.serial
