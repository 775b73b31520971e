"""What a zone signed here has that the zone as served has not, and the other way round: plain data for commands."""

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One RRset that is not the same. ``kind``: content, keys, denial, signatures or ttl; served and ours: lines."""

    kind: str
    owner: str
    type: str
    detail: str
    served: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome. ``kept`` RRsets have the very RRSIGs that are served, ``fresh`` new ones; ``differences`` are
    listed up to a limit, ``differing`` counts all."""

    serial_served: int
    serial_ours: int
    kept: int
    fresh: int
    differing: int = 0
    remarks: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
