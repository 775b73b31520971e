"""Differences between the served zone and the zone signed here, in both directions: plain data for commands."""

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One RRset that differs. ``kind``: content, keys, denial, signatures or ttl; ``served`` and ``ours``: lines."""

    kind: str
    owner: str
    type: str
    detail: str
    served: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a comparison.

    ``kept``: RRsets that keep their served RRSIGs; ``fresh``: RRsets with new ones. ``differences`` are
    listed up to a limit, ``differing`` counts all.
    """

    serial_served: int
    serial_ours: int
    kept: int
    fresh: int
    differing: int = 0
    remarks: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
