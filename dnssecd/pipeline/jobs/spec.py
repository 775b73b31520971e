"""The settings of a zone for a zone worker: plain data, sent with every job."""

import msgspec

from dnssecd.core.signing.denial import DenialParameters


class KeyWish(msgspec.Struct, frozen=True, gc=False):
    """A key that the policy requires: role ``ksk``, ``zsk`` or ``csk``, DNSSEC algorithm number, RSA bits or 0."""

    role: str
    algorithm: int
    keystore: str
    bits: int = 0


class GrantSpec(msgspec.Struct, frozen=True):
    """Who may update what (configuration: ``allow_update``)."""

    tsig: str
    names: tuple[str, ...]
    types: tuple[str, ...]


class UpdateLimits(msgspec.Struct, frozen=True, gc=False):
    """Bounds on dynamic updates (configuration: ``update_records_max`` and so on)."""

    records: int = 100
    types: int = 49
    names: int = 1000
    strict: bool = True


class ReviewSpec(msgspec.Struct, frozen=True):
    """The review of each version, before the publication (configuration: ``review``).

    ``program``: the command, empty: by hand. ``difference``: it reads what changed, not the zone.
    """

    program: tuple[str, ...] = ()
    difference: bool = False
    timeout_s: int = 60


class Decisions(msgspec.Struct, frozen=True):
    """What an operator decided on content that waits for review, by its digest; "" for nothing."""

    approved: str = ""
    refused: str = ""


NO_DECISIONS = Decisions()


class ZoneSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One zone: its files and its policy. Durations are in seconds.

    ``refresh_s`` None: automatic. ``keystore``: for keys of roles that ``keys`` does not have. ``signed``: a new zone
    is signed from its first version on. ``hold_denial``: a zone with a chain keeps its kind for now. ``given``:
    dnssecd must not make keys for the zone. ``require_backup``: no key is used before a backup of it was confirmed, or
    ``held_by_min`` tokens hold it. ``offline``: names of the off-line key stores.
    ``holders_min``: how many nodes of the cluster must hold a key in the key stores ``shared`` before it is used.
    ``tag_range``: of the key tags of keys that are made. ``foreign_input``: DNSKEY RRs of other signers at the apex of
    the input become keys of the zone.
    ``share``: names the group of zones that use the same keys ("": none).
    ``input_zonemd``: ``check``, ``require`` or ``ignore`` the ZONEMD of the input; ``input_anchor``: DS RDATAs, of
    which one must lead to the input's signatures.
    ``verify_only``: the input is signed, and is served as it is.
    ``signer_owners``: user ids that the key service may have beside root's (None: any).
    ``dynamic``: updates own the whole content, and a file is read once. ``updates``: the limits of updates.
    """

    name: str
    origin: bytes
    database: str
    signer_socket: str
    keystore: str
    keys: tuple[KeyWish, ...]
    given: bool = False
    require_backup: bool = False
    held_by_min: int = 2
    holders_min: int = 1
    shared: tuple[str, ...] = ()
    share: str = ""
    offline: tuple[str, ...] = ()
    tag_range: tuple[int, int] = (0, 65_535)
    foreign_input: bool = False
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
    csync: bool = False
    max_change: float = 0.3
    allow_missing_glue: bool = False
    grants: tuple[GrantSpec, ...] = ()
    dynamic: bool = False
    updates: UpdateLimits = UpdateLimits()
    signer_owners: frozenset[int] | None = frozenset()
    review: ReviewSpec | None = None
    input_zonemd: str = "check"
    input_anchor: tuple[bytes, ...] = ()
    verify_only: bool = False
    journal_octets_max: int = 64 << 20
    journal_age_s_max: int = 30 * 86_400

    @property
    def data_keystore(self) -> str:
        """The key store whose keys sign the zone's data: that of the ZSK or CSK."""
        return next((wish.keystore for wish in self.keys if wish.role != "ksk"), self.keystore)

    @property
    def keystores(self) -> frozenset[str]:
        """The key stores of all the keys the policy wants."""
        return frozenset(wish.keystore for wish in self.keys)

    @property
    def denial_parameters(self) -> DenialParameters:
        """Return the denial parameters; NSEC3 as in RFC 9276: no iterations, no salt."""
        return DenialParameters(self.denial, self.opt_out and self.denial == "nsec3")
