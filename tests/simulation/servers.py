"""Who serves what: the zone's versions, its secondaries, the parent's servers."""

from dataclasses import dataclass, field

from .oracle import Version

RRSETS = 4


@dataclass
class Secondary:
    name: str
    version: int = -1  # index of the zone version it serves
    out_until: float = 0.0


@dataclass
class ParentServer:
    name: str
    ds: frozenset[bytes] = frozenset()
    out_until: float = 0.0


@dataclass
class Zone:
    """The committed versions: serial, view and who signed which RRset."""

    versions: list[tuple[int, Version, frozenset[bytes], frozenset[bytes]]] = field(default_factory=list)
    signed_by: list[frozenset[bytes]] = field(default_factory=lambda: [frozenset()] * RRSETS)
