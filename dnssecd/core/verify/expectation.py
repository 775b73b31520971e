"""The expectation that a zone version is verified against."""

from collections.abc import Iterable

from msgspec import Struct


class DenialExpectation(Struct, frozen=True):
    """The denial of existence expected of a zone; ``opt_out`` None: each NSEC3 RR may have the flag or not."""

    kind: str
    iterations: int = 0
    salt: bytes = b""
    opt_out: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("nsec", "nsec3"):
            raise ValueError(f"denial kind {self.kind!r} is neither nsec nor nsec3")


class Expectation(Struct, frozen=True):
    """The expectation that a version is verified against; with the defaults, a foreign zone's own records.

    origin: zone name, wire form, lower-cased. now: epoch seconds. dnskeys: packed RDATA of the DNSKEY RRset
    as planned; None takes the zone's own; b"" means that the zone must be unsigned. unpublished_keys: DNSKEY
    RDATAs outside the DNSKEY RRset whose RRSIGs may stand in the zone (algorithm rollover, RFC 6781 §4.1.4).
    standby_keys: DNSKEY RDATAs outside the DNSKEY RRset for which CDS and CDNSKEY may exist nevertheless (RFC
    7344 §4). algorithms: every RRset must be signed with these in addition to the algorithms of the DNSKEY
    RRset; the DNSKEY RRset needs only its own (a new algorithm signs all data before its DNSKEY is added).
    denial: None takes it from the zone. min_validity: seconds that every RRSIG must still be valid.
    previous_serial: the serial must be after it. ds: DS RDATAs at the parent, of which one must match.
    zonemd: True: must exist; False: ignored; None: checked if it exists. zonemd_ttls: original TTLs of RRs in
    sets with unequal TTLs (see MemoryZoneView). checkable: a zone that is insecure for validators, because no
    algorithm of its keys, or of the DS given, can be checked here, is refused: it may be anyone's.
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
    checkable: bool = False


def ds_set(rdatas: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return DS RDATAs without duplicates, ordered."""
    return tuple(sorted(set(rdatas)))
