"""What a zone worker has to know of a zone: plain data, sent to it with every job."""

import msgspec

from dnssecd.core.signing.denial import DenialParameters


class KeyWish(msgspec.Struct, frozen=True):
    """A key the policy wants: role ``ksk``, ``zsk`` or ``csk``, DNSSEC algorithm number, RSA bits or 0."""

    role: str
    algorithm: int
    bits: int = 0


class GrantSpec(msgspec.Struct, frozen=True):
    """Who may update what (configuration: ``allow_update``)."""

    tsig: str
    names: tuple[str, ...]
    types: tuple[str, ...]


class UpdateLimits(msgspec.Struct, frozen=True):
    """Bounds on dynamic updates (configuration: ``update_records_max`` and so on)."""

    records: int = 100
    types: int = 49
    names: int = 1000
    strict: bool = True


class ZoneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One zone: its place, its policy. Durations in seconds; ``refresh_s`` None means automatic;
    ``signed`` whether a new zone is signed from its first version on;
    ``hold_denial`` that a zone that has a chain keeps to its kind for now;
    ``share`` names those zones that use the same keys ("": none);
    ``dynamic`` that the whole content belongs to updates, and a file is read once; ``updates`` what an update may do
    to the zone."""

    name: str
    origin: bytes
    database: str
    signer_socket: str
    keystore: str
    keys: tuple[KeyWish, ...]
    share: str = ""
    signed: bool = True
    denial: str = "nsec3"
    opt_out: bool = False
    hold_denial: bool = False
    dnskey_ttl: int = 3600
    validity_s: int = 30 * 86_400
    inception_offset_s: int = -3600
    refresh_s: int | None = None
    jitter_s: int = 12 * 3600
    serial: str = "increment"
    zonemd: bool = False
    cds: bool = True
    max_change: float = 0.3
    allow_missing_glue: bool = False
    grants: tuple[GrantSpec, ...] = ()
    dynamic: bool = False
    updates: UpdateLimits = UpdateLimits()
    journal_octets_max: int = 64 << 20
    journal_age_s_max: int = 30 * 86_400

    @property
    def denial_parameters(self) -> DenialParameters:
        """How the zone denies existence; NSEC3 as RFC 9276 has it: no iterations, no salt."""
        return DenialParameters(self.denial, self.opt_out and self.denial == "nsec3")
