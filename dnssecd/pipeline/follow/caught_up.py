"""How far a database is in its zone's log: plain data from the worker to the daemon."""

from typing import Literal

import msgspec

from dnssecd.store.version_log import Position

Stopped = Literal["", "unverified", "too new", "log shorter"]


class CaughtUp(msgspec.Struct, frozen=True, kw_only=True):
    """How far the database is, and why not further.

    position: of the database in the log. applied: records applied now. serial: of the version now, None without one.
    node, epoch: the owner according to the newest applied record ("": none was applied). stopped: why the record after
    ``position`` was not applied: "unverified" or "too new", with ``cause`` and ``faults``; "log shorter": the log lacks
    records that the database has, or has others; "": all records were applied.
    larger: the next record has more octets than were allowed; it is still to be applied.
    """

    position: Position
    applied: int = 0
    serial: int | None = None
    node: str = ""
    epoch: int = 0
    stopped: Stopped = ""
    cause: str = ""
    faults: tuple[str, ...] = ()
    larger: bool = False
