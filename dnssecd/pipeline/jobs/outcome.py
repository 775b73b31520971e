"""The outcome of a job on a zone: plain data from the worker to the daemon."""

from typing import Literal

import msgspec

from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.ingest.source import FileIdentity
from dnssecd.pipeline.adoption.differences import Comparison
from dnssecd.pipeline.follow.caught_up import CaughtUp
from dnssecd.pipeline.version.committed import FirstVersion
from dnssecd.store.filemark import FileMark


class Problem(msgspec.Struct, frozen=True):
    """One problem: the name of the event that it raises, the cause, and the remedy."""

    event: str
    cause: str
    remedy: str = ""


class LogTrouble(msgspec.Struct, frozen=True):
    """A commit that failed because of the zone's log.

    kind: "fenced", "in doubt" or "behind" as the errors of the store; "not owner": it was not tried. sequence, epoch:
    of the record; 0: there was none.
    """

    kind: Literal["fenced", "in doubt", "behind", "not owner"]
    sequence: int = 0
    epoch: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a job.

    ``result``: ``published``, ``unchanged``, ``rejected`` (the input's fault), ``retry`` (the input is
    changing) or ``failed`` (a fault of dnssecd or the HSM). Counts are of this job; ``files`` are the files
    read, with their identity at that time. ``earliest_expiration`` and ``next_due`` are epoch seconds of the
    zone as it is now; ``next_due`` is ``refresh_s`` before the earliest expiration (it may have passed).
    ``comparison``: with the zone as another signer serves it; ``held``: the steps that an operator must
    approve after an adoption; ``whole``: all of the zone was verified, not only the changes. ``seen``: the
    inputs that this node saw since it owns the zone; ``log``: how far the database is in the zone's log,
    if the job read it; ``log_trouble``: what the zone now needs of the log; ``log_away``: the log could not be
    reached, and nothing was written. ``review``: the digest of content that
    waits for an operator. ``mark``: of a database that was written with its first version, and not opened since;
    ``first``: that version.
    """

    zone: str
    result: str
    serial: int | None = None
    input_serial: int | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    changed_rrsets: int = 0
    chain_changes: int = 0
    signatures: int = 0
    stripped: int = 0
    violations: tuple[str, ...] = ()
    earliest_expiration: int | None = None
    next_due: int | None = None
    refresh_s: int = 0
    records: int | None = None
    seconds: dict[str, float] = {}
    files: tuple[FileIdentity, ...] = ()
    comparison: Comparison | None = None
    held: tuple[str, ...] = ()
    whole: bool = False
    seen: SeenInput | None = None
    review: str = ""
    log: CaughtUp | None = None
    log_trouble: LogTrouble | None = None
    log_away: bool = False
    first: FirstVersion | None = None
    mark: FileMark | None = None

    @property
    def failed_by_log(self) -> bool:
        """Whether the zone's log made the job fail: then what it was to commit is not to blame."""
        return self.log_away or self.log_trouble is not None
