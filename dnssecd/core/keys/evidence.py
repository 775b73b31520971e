"""What was seen of the world: the input of the planner.

Times are epoch seconds by the daemon's clock.  A sight is the last *answer* of a server; a later failure leaves
it in place and is noted in ``answer``.
"""

from msgspec import Struct

from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.signed_ahead import SignedAhead


class SecondarySight(Struct, frozen=True, gc=False):
    """A secondary (or other server that is to be checked): the serial it served and when."""

    name: str
    serial: int | None = None  # None: it never answered
    at: int = 0
    answer: str = ""  # for people, where the last look failed: "timeout", "SERVFAIL"
    next_look: int | None = None


class ParentSight(Struct, frozen=True, gc=False):
    """One address of one of the parent's servers: the DS RRset (RDATA) it served, its TTL (s) and when."""

    name: str
    ds: tuple[bytes, ...] | None = None  # None: it never answered
    ttl: int = 0
    at: int = 0
    answer: str = ""
    next_look: int | None = None
    ns: tuple[str, ...] | None = None  # the names of the delegation's NS RRset; None: not known
    ns_ttl: int = 0


class SignerSight(Struct, frozen=True):
    """A server of another signer of the zone: its DNSKEY RRset, each RDATA with since when it was always there."""

    name: str
    signer: str
    dnskeys: tuple[tuple[bytes, int], ...] | None = None  # None: it never answered
    ttl: int = 0
    at: int = 0
    answer: str = ""
    next_look: int | None = None


class Confirmation(Struct, frozen=True):
    """An operator confirms that the parent has, or no longer has, the DS of a key."""

    ref: str
    present: bool
    at: int
    who: str


class SignatureCount(Struct, frozen=True, gc=False):
    """Of the zone data's RRsets in the committed version: how many this key signed, how many it did not."""

    ref: str
    made: int
    missing: int


class KeyBackup(Struct, frozen=True):
    """Proof that a key is not lost with one device: a backup that was opened, or several tokens that hold it."""

    key_id: str
    at: int
    detail: str  # for people: the file and who opened it, or the names of the tokens


class KeyHolders(Struct, frozen=True):
    """The nodes of a cluster that proved that they hold a key."""

    key_id: str
    nodes: tuple[str, ...]


class SpareKey(Struct, frozen=True):
    """A key that the key service holds for the zone and that the zone may not have used yet."""

    key_id: str
    role: Role
    algorithm: int
    bits: int
    keystore: str
    public_key: bytes
    created: int


class Evidence(Struct, frozen=True):
    """All the planner may go by.

    `serial`, `committed`: the newest zone version and when it was committed.  `secondaries`, `parents`: every
    server that has to be asked, also those that never answered; an empty `parents` says that none is known.
    `signatures`: counts for every key in the zone.  TTLs (s) are the largest in the committed version: of the
    DNSKEY RRset, of any signed RRset, and of a negative answer.  `clock_sure` is false after a jump of the
    clock until its time is confirmed.  `ahead`: what an off-line KSK signed; None: no KSK is off-line.  `spares`:
    keys held for the zone outside of its key set; only needed by a plan that wants a key.  `signers`: every server of
    the zone's other signers; `signer_ns`: by signer the names of its servers; `ns`: names of the zone's own NS RRset.
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
    ahead: SignedAhead | None = None
    spares: tuple[SpareKey, ...] = ()
    backups: tuple[KeyBackup, ...] = ()
    holders: tuple[KeyHolders, ...] = ()
    signers: tuple[SignerSight, ...] = ()
    signer_ns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ns: tuple[str, ...] = ()
