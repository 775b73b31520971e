"""What a zone version is judged by."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DenialExpectation:
    """The denial of existence a zone is to have; ``opt_out`` None means: each NSEC3 RR may decide."""

    kind: str
    iterations: int = 0
    salt: bytes = b""
    opt_out: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("nsec", "nsec3"):
            raise ValueError(f"denial kind {self.kind!r} is neither nsec nor nsec3")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a version is judged by; the defaults judge a foreign zone by its own records.

    origin: zone name, wire form, lower-cased. now: epoch seconds. dnskeys: packed RDATA of the DNSKEY RRset as
    planned; None takes the zone's own; b"" means the zone is to be unsigned altogether. unpublished_keys: DNSKEY
    RDATAs outside the DNSKEY RRset whose RRSIGs may stand in the zone (algorithm rollover, RFC 6781 §4.1.4).
    standby_keys: DNSKEY RDATAs outside the DNSKEY RRset of which CDS and CDNSKEY may be all the same (RFC 7344 §4).
    algorithms: those every RRset must be signed with besides the ones of the DNSKEY RRset, which itself needs only
    the latter (a new algorithm signs all data before its DNSKEY comes). denial: None takes it from the zone.
    min_validity: seconds every RRSIG must still be valid. previous_serial: the serial must be after it. ds: DS
    RDATAs at the parent, of which one must match. zonemd: True: must be there; False: ignored; None: checked when
    there. zonemd_ttls: original TTLs of RRs in sets with unequal TTLs (see MemoryZoneView).
    """

    origin: bytes
    now: int
    dnskeys: bytes | None = None
    unpublished_keys: tuple[bytes, ...] = ()
    standby_keys: tuple[bytes, ...] = ()
    algorithms: frozenset[int] | None = None
    denial: DenialExpectation | None = None
    min_validity: int = 0
    previous_serial: int | None = None
    serial: int | None = None
    max_ttl: int | None = None
    ds: tuple[bytes, ...] = ()
    zonemd: bool | None = None
    mixed_ttls: tuple[tuple[bytes, int, bytes, int], ...] = ()


def ds_set(rdatas: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return DS RDATAs without duplicates, ordered."""
    return tuple(sorted(set(rdatas)))
