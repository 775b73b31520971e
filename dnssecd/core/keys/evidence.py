"""What was seen of the world, as the planner is told it.

Times are epoch seconds by the daemon's clock.  A sight is the last *answer* of a server; a later failure leaves
it in place and is told in `answer`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecondarySight:
    """A secondary (or other server that is to be checked): the serial it served and when."""

    name: str
    serial: int | None = None  # None: it never answered
    at: int = 0
    answer: str = ""  # for people, where the last look failed: "timeout", "SERVFAIL"
    next_look: int | None = None


@dataclass(frozen=True, slots=True)
class ParentSight:
    """One address of one of the parent's servers: the DS RRset (RDATA) it served, its TTL (s) and when."""

    name: str
    ds: tuple[bytes, ...] | None = None  # None: it never answered
    ttl: int = 0
    at: int = 0
    answer: str = ""
    next_look: int | None = None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A person's word that the parent has, or no longer has, the DS of a key."""

    ref: str
    present: bool
    at: int
    who: str


@dataclass(frozen=True, slots=True)
class SignatureCount:
    """Of the zone data's RRsets in the committed version: how many this key signed, how many it did not."""

    ref: str
    made: int
    missing: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All the planner may go by.

    `serial`, `committed`: the newest zone version and when it was committed.  `secondaries`, `parents`: every
    server that has to be asked, also those that never answered; an empty `parents` says that none is known.
    `signatures`: counts for every key in the zone.  TTLs (s) are the largest in the committed version: of the
    DNSKEY RRset, of any signed RRset, and of a negative answer.  `clock_sure` is false after a jump of the
    clock until its time is confirmed.
    """

    serial: int | None = None
    committed: int | None = None
    secondaries: tuple[SecondarySight, ...] = ()
    parents: tuple[ParentSight, ...] = ()
    confirmations: tuple[Confirmation, ...] = ()
    signatures: tuple[SignatureCount, ...] = ()
    ttl_dnskey: int = 0
    ttl_zone: int = 0
    ttl_negative: int = 0
    clock_sure: bool = True
