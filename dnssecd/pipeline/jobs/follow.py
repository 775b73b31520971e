"""The jobs on a zone's log: apply what the log has, and keep a snapshot in it."""

from pathlib import Path

import msgspec

from dnssecd.pipeline.follow.apply import catch_up
from dnssecd.pipeline.follow.caught_up import CaughtUp
from dnssecd.pipeline.jobs.job import Report, Tools, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import ZoneStore
from dnssecd.store.version_log import Fenced, InDoubt, LogReader, VersionLog

#: The event of a record that does not verify, or cannot be read.
REFUSED = "log-record-refused"


def follow(
    db: ZoneStore, spec: ZoneSpec, reader: LogReader, tools: Tools, octets_max: int | None = None
) -> Outcome:
    """Apply the records that the database lacks, each verified; the outcome's ``log`` says how far it is.

    It is the same for a follower and for an owner that is behind its own log. "published": the serial changed.
    octets_max: stop before a record with more octets.
    """
    found: list[CaughtUp] = []

    def work() -> Published:
        with db.snapshot() as snapshot:
            before = None if snapshot.version is None else snapshot.serial
        reached = catch_up(db, reader, spec, tools.checker, tools.now, octets_max)
        found.append(reached)
        if reached.stopped:
            raise Rejected(REFUSED, reached.cause, _remedy(spec, reached), reached.faults)
        return Published(reached.serial if reached.serial != before else None)

    outcome = run_job(db, spec, Report(), work, tools)
    return msgspec.structs.replace(outcome, log=found[0] if found else None)


def _remedy(spec: ZoneSpec, reached: CaughtUp) -> str:
    served = "the previous version is still served by this node, which cannot take the zone over"
    if reached.stopped == "log shorter":
        return (
            "restore the newest copy of the database of the cluster; else stop this node and run dnssecd node rejoin, "
            f"first where the zone has the newest serial. Until then {served}"
        )
    if reached.stopped == "too new":
        return f"update dnssecd on this node; until then {served}"
    return (
        f"{served}. Compare the nodes (dnssecd zone owner {spec.name}); check the disk of the node that made the "
        "record, and who can write to the database of the cluster"
    )


def share(db: ZoneStore, spec: ZoneSpec, who: str, tools: Tools) -> Outcome:
    """Put a zone that has versions, but no record yet, into its log: the first record is the whole database."""

    def work() -> Published:
        with db.write() as transaction:
            version = state.from_document(transaction.old.version, state.VersionState)
            if version is not None:
                transaction.add_history(tools.now, who, "put into the log of the cluster", version.serial, "")
                transaction.commit_state()
        return Published(None)

    return run_job(db, spec, Report(), work, tools)


def keep_snapshot(db: ZoneStore, spec: ZoneSpec, log: VersionLog, node: str, tools: Tools) -> Outcome:
    """Put a snapshot of the zone's database into its log, so that older records can be dropped."""

    def work() -> Published:
        with db.snapshot() as snapshot:
            at = snapshot.position
            record = snapshot.record(node, Path(spec.database).parent)
        try:
            result = log.put_snapshot(spec.name, at, record)
        finally:
            record.close()
        if isinstance(result, Fenced | InDoubt):
            raise Rejected(REFUSED, f"the log does not take a snapshot at record {at.sequence}: {result}")
        return Published(None)

    return run_job(db, spec, Report(), work, tools)
