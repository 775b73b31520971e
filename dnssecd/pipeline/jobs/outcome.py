"""How a job on a zone ended: plain data that goes back from the worker to the front."""

import msgspec

from dnssecd.ingest.source import FileIdentity
from dnssecd.pipeline.adoption.differences import Comparison


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: the name of the event it raises, what was seen, what to do next."""

    event: str
    cause: str
    remedy: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``result``: ``published``, ``unchanged``, ``rejected`` (the input's fault), ``retry`` (the input is changing)
    or ``failed`` (ours, or the HSM's).

    Counts are of this job; ``files`` are those that were read, as they were then. ``earliest_expiration`` and
    ``next_due`` are epoch seconds of the zone as it stands, ``next_due`` being ``refresh_s`` before the earliest
    expiration (it may have passed). ``comparison``: with the zone as another signer serves it; ``held``: what its
    coming over leaves for a person to approve, in words; ``whole``: all of the zone was verified, not what changed.
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
