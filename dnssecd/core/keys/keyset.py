"""A zone's keys and what is published of them: the unit the store persists per zone.

Frozen Structs of ints, strings and bytes, so that msgspec or JSON can write them down.  Times are
epoch seconds.  `signing_view` is all that signing needs to know.
"""

import hashlib
import sys

from msgspec import Struct, structs

from dnssecd.core.keys.keystate import HIDDEN, RECORDS, Goal, Rec, RecordState, Role, State
from dnssecd.replacing import replace
from dnssecd.sharing import share

SEP = 0x0001
REVOKE = 0x0080
ZONE = 0x0100
DIGEST_SHA256 = 2
DIGEST_SHA384 = 4
DS_DIGESTS = {DIGEST_SHA256: "sha256", 4: "sha384"}  # RFC 4509, RFC 6605
PAST_MAX = 1_000
#: The signer of a key whose private key another node of the cluster has is this and the name of the node.
NODE = "node:"
DELETE_CDS = bytes((0, 0, 0, 0, 0))  # RFC 8078 section 4: "CDS 0 0 0 0"
DELETE_CDNSKEY = bytes((0, 0, 3, 0, 0))


class KeysetError(ValueError):
    """A key that cannot join the zone's keys; the message says why and what to do."""


class Key(Struct, frozen=True, gc=False):
    """One key.  `key_id` is the key store's handle; `public_key` the DNSKEY RDATA's public key field.

    A revoked key (RFC 5011) is a second entry with the same `key_id`, other flags and another tag.
    `active` is when it first signed, `announced` since when it counts among the zone's keys to come (or in
    use), of another signer's key since when it was last asked to join or leave.  `compromised`, `lost`, `roll` and
    `revoke` are what a person reported: replace it by the fastest safe way, likewise as nothing more can be signed
    with it, replace it, revoke it on the way out.
    """

    key_id: str
    role: Role
    algorithm: int
    flags: int
    public_key: bytes
    tag: int
    keystore: str
    created: int
    bits: int = 0
    goal: Goal = Goal.PRESENT
    dnskey: RecordState = HIDDEN
    zrrsig: RecordState = HIDDEN
    krrsig: RecordState = HIDDEN
    ds: RecordState = HIDDEN
    active: int | None = None
    announced: int = 0
    compromised: bool = False
    lost: bool = False
    roll: bool = False
    revoke: bool = False
    hold_until: int | None = None  # a revoked key stays at least until then
    signer: str = (
        ""  # who has the private key: "" here, else the name of another signer of the zone (RFC 8901)
    )
    left: int | None = None  # since when evidence shows that its signer uses a leaving foreign key no longer

    @property
    def foreign(self) -> bool:
        """Whether another signer has the private key: it makes none of our signatures."""
        return bool(self.signer)

    @property
    def of_node(self) -> bool:
        """Whether another node of the cluster has the private key (``sharing = "own"``).

        Unlike other signers, a node signs nothing while it does not own the zone, and then it signs alone.
        """
        return self.signer.startswith(NODE)

    @property
    def ref(self) -> str:
        """The entry's name in a keyset: unlike `key_id` unique, as a revoked key has two entries."""
        return f"{self.key_id}/revoked" if self.flags & REVOKE else self.key_id

    @property
    def revoked(self) -> bool:
        """Whether this is the entry with the REVOKE bit (RFC 5011 section 2.1)."""
        return bool(self.flags & REVOKE)

    @property
    def rdata(self) -> bytes:
        """DNSKEY RDATA (RFC 4034 section 2.1)."""
        return dnskey_rdata(self.flags, self.algorithm, self.public_key)

    @property
    def records(self) -> tuple[Rec, ...]:
        """The records this key has."""
        if self.foreign and not self.of_node:
            return (Rec.DNSKEY,) if self.role is Role.ZSK else (Rec.DNSKEY, Rec.DS)
        if self.revoked:
            return (Rec.DNSKEY, Rec.KRRSIG)
        return RECORDS[self.role]

    def record(self, rec: Rec) -> RecordState:
        """Return the state of one record (hidden for one that this role does not have)."""
        match rec:
            case Rec.DNSKEY:
                return self.dnskey
            case Rec.ZRRSIG:
                return self.zrrsig
            case Rec.KRRSIG:
                return self.krrsig
            case Rec.DS:
                return self.ds

    def with_record(self, rec: Rec, state: RecordState) -> "Key":
        """Return a copy with one record changed."""
        match rec:
            case Rec.DNSKEY:
                return replace(self, dnskey=state)
            case Rec.ZRRSIG:
                return replace(self, zrrsig=state)
            case Rec.KRRSIG:
                return replace(self, krrsig=state)
            case Rec.DS:
                return replace(self, ds=state)


class TtlMemory(Struct, frozen=True, gc=False):
    """The largest TTL (s) that a cached copy may have.

    ``lowered`` is the serial that lowered it, ``gone`` the time at which the last secondary served that serial.
    """

    largest: int = 0
    lowered: int | None = None
    gone: int | None = None


NO_MEMORY = TtlMemory()


class Keyset(Struct, frozen=True, gc=False):
    """All keys of a zone.  `apex` is the zone's name in lower-case wire form.

    `step` counts the plans that changed what is published; `trust_after` is the time before which no
    evidence counts (set after a clock step); `signed` is what the policy last asked for; `approved` holds
    approvals not used yet; `born` counts the keys there ever were of each role.  `held`: steps that wait for
    approval in any case, because they were due on the day the zone moved here from another signer.
    `past`: marks of the keys that were in the set and left it; none of them comes back as a spare key.  `no_cds`: no
    CDS is published, because a KSK is lost and no key that the parent knows could sign it.  `ttl_others`: the largest
    TTL (s) seen of other signers' DNSKEY sets and of the delegation, while the set has foreign keys.  `node`: whose
    keys those without a signer are, where the nodes of a cluster have keys of their own.
    """

    apex: bytes
    keys: tuple[Key, ...] = ()
    step: int = 0
    signed: bool = True
    trust_after: int = 0
    approved: tuple[str, ...] = ()
    born: tuple[tuple[str, int], ...] = ()
    ttl_dnskey: TtlMemory = NO_MEMORY
    ttl_zone: TtlMemory = NO_MEMORY
    ttl_ds: TtlMemory = NO_MEMORY
    held: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    no_cds: bool = False
    ttl_others: int = 0
    node: str = ""

    def find(self, ref: str) -> Key | None:
        """Return the entry with that name."""
        return next((key for key in self.keys if key.ref == ref), None)

    def compact(self) -> "Keyset":
        """Return an equal set whose equal parts are one object, for a process that keeps many sets."""
        times: dict[int | None, int | None] = {}
        states = {HIDDEN: HIDDEN}

        def state_of(state: RecordState) -> RecordState:
            found = states.get(state)
            if found is None:
                found = states[state] = share(
                    structs.replace(
                        state,
                        changed=times.setdefault(state.changed, state.changed),
                        published=times.setdefault(state.published, state.published),
                        seen=times.setdefault(state.seen, state.seen),
                        witnesses=share(state.witnesses),
                    )
                )
            return found

        keys = tuple(
            structs.replace(
                key,
                keystore=sys.intern(key.keystore),
                created=times.setdefault(key.created, key.created),
                active=times.setdefault(key.active, key.active),
                announced=times.setdefault(key.announced, key.announced),
                dnskey=state_of(key.dnskey),
                zrrsig=state_of(key.zrrsig),
                krrsig=state_of(key.krrsig),
                ds=state_of(key.ds),
            )
            for key in self.keys
        )
        return structs.replace(
            self,
            keys=keys,
            born=share(self.born),
            ttl_dnskey=share(self.ttl_dnskey),
            ttl_zone=share(self.ttl_zone),
            ttl_ds=share(self.ttl_ds),
        )

    def with_key(self, key: Key) -> "Keyset":
        """Return a copy with the entry of the same name replaced."""
        return replace(self, keys=tuple(key if old.ref == key.ref else old for old in self.keys))


class SigningKey(Struct, frozen=True):
    """A key and the DNSKEY it signs as (a revoked key signs under its revoked tag)."""

    key_id: str
    algorithm: int
    flags: int
    tag: int
    public_key: bytes
    keystore: str


class SigningView(Struct, frozen=True):
    """What the signed zone must have.

    `dnskey_rdatas`, `cds`, `cdnskey`: RDATA of the apex RRsets (an empty tuple: no such RRset).
    `dnskey_keys` sign the DNSKEY RRset, `cds_keys` CDS and CDNSKEY: these RRsets have exactly the signatures of
    those keys, in the first version of this view.  `zone_keys` sign all else: every RRset needs one signature
    of every algorithm among them.  A signature by one of `retiring_keys`, which are in the DNSKEY RRset, may stay
    in place of the `zone_keys` one of its algorithm until it is replaced (at once if `urgent`); signatures
    by any other key go.  `lost_keys`: those of the signers whose private key is lost: what they signed stays as it
    is, and nothing more is signed by them.  `soa_keys`: who signs the SOA (and the ZONEMD RRset) in place of
    `zone_keys` because of that; an empty tuple: the `zone_keys` themselves.
    """

    dnskey_rdatas: tuple[bytes, ...] = ()
    cds: tuple[bytes, ...] = ()
    cdnskey: tuple[bytes, ...] = ()
    dnskey_keys: tuple[SigningKey, ...] = ()
    cds_keys: tuple[SigningKey, ...] = ()
    zone_keys: tuple[SigningKey, ...] = ()
    retiring_keys: tuple[SigningKey, ...] = ()
    urgent: bool = False
    lost_keys: tuple[SigningKey, ...] = ()
    soa_keys: tuple[SigningKey, ...] = ()

    @property
    def shown(self) -> tuple[object, ...]:
        """What validators see of it: a key set in which this differs needs a new version."""
        rrsets = self.dnskey_rdatas, self.cds, self.cdnskey
        return *rrsets, self.dnskey_keys, self.cds_keys if self.cds else (), self.zone_keys


def dnskey_rdata(flags: int, algorithm: int, public_key: bytes) -> bytes:
    """DNSKEY RDATA (RFC 4034 section 2.1)."""
    return flags.to_bytes(2) + bytes((3, algorithm)) + public_key


def key_tag(rdata: bytes) -> int:
    """Return the key tag of a DNSKEY RDATA (RFC 4034 appendix B; algorithm 1 is not supported)."""
    total = sum(rdata[0::2]) * 256 + sum(rdata[1::2])
    return (total + (total >> 16)) & 0xFFFF


def ds_rdata(apex: bytes, dnskey: bytes, digest_type: int = DIGEST_SHA256) -> bytes:
    """DS RDATA for a DNSKEY RDATA (RFC 4034 section 5.1); KeyError for an unknown digest type."""
    digest = hashlib.new(DS_DIGESTS[digest_type], apex + dnskey).digest()
    return key_tag(dnskey).to_bytes(2) + bytes((dnskey[3], digest_type)) + digest


def new_key(
    key_id: str, role: Role, algorithm: int, public_key: bytes, keystore: str, created: int, bits: int = 0
) -> Key:
    """Return a key that was never published; flags and tag follow from role and public key."""
    flags = ZONE if role is Role.ZSK else ZONE | SEP
    tag = key_tag(dnskey_rdata(flags, algorithm, public_key))
    return Key(key_id, role, algorithm, flags, public_key, tag, keystore, created, bits, announced=created)


def all_tags(key: Key) -> frozenset[int]:
    """Its tags with and without the REVOKE bit."""
    plain = key.flags & ~REVOKE
    return frozenset(
        key_tag(dnskey_rdata(flags, key.algorithm, key.public_key)) for flags in (plain, plain | REVOKE)
    )


def mark_of(algorithm: int, public_key: bytes) -> str:
    """Return the name under which a key that left a key set is remembered: unlike its tag unique."""
    return hashlib.sha256(bytes((algorithm,)) + public_key).hexdigest()[:32]


def without_key(keyset: Keyset, ref: str) -> Keyset:
    """Return the key set without one entry; the key itself is remembered once its last entry is gone."""
    left = keyset.find(ref)
    keys = tuple(key for key in keyset.keys if key.ref != ref)
    others = left is not None and left.foreign and not left.of_node
    if left is None or others or any(key.key_id == left.key_id for key in keys):
        return replace(keyset, keys=keys)
    past = (*keyset.past, mark_of(left.algorithm, left.public_key))[-PAST_MAX:]
    return replace(keyset, keys=keys, past=past)


def used_tags(keyset: Keyset) -> frozenset[int]:
    """Tags that a new key must not have."""
    return frozenset().union(*(all_tags(key) for key in keyset.keys))


def add_key(keyset: Keyset, key: Key) -> Keyset:
    """Return the key set with a new key; KeysetError if its name, its public key or one of its tags is taken."""
    if keyset.find(key.ref) is not None:
        raise KeysetError(f"key {key.ref} is one of the zone's keys already; nothing to do")
    if any(key.public_key == old.public_key and key.algorithm == old.algorithm for old in keyset.keys):
        raise KeysetError(f"key {key.ref} has the public key of another of the zone's keys; generate another")
    clash = all_tags(key) & used_tags(keyset)
    if clash:
        raise KeysetError(f"key {key.ref} has key tag {min(clash)}, which another key has; generate another")
    born = dict(keyset.born)
    born[key.role.value] = born.get(key.role.value, 0) + 1
    return replace(keyset, keys=(*keyset.keys, key), born=tuple(sorted(born.items())))


def initial_keyset(apex: bytes, keys: tuple[Key, ...], now: int) -> Keyset:
    """Return the key set of a zone that was never signed: all keys are published and sign at once, as no DS exists.

    KeysetError where two keys do not go together.
    """
    keyset = Keyset(apex, step=1)
    start = RecordState(State.RUMOURED, now, first_in=1, step_in=1)
    for key in keys:
        for rec in key.records:
            if rec is not Rec.DS:
                key = key.with_record(rec, start)
        keyset = add_key(keyset, replace(key, active=now))
    return keyset


def published(keyset: Keyset, serial: int, now: int) -> Keyset:
    """To be stored with the zone version `serial`, which holds everything planned up to `keyset.step`.

    Gives every record whose last step had no serial yet that serial and time.  Not so zone signatures, which
    are replaced bit by bit: theirs is the serial at which the store reports them complete, or gone.
    """
    return replace(keyset, keys=tuple(_key_published(key, serial, now) for key in keyset.keys))


def _key_published(key: Key, serial: int, now: int) -> Key:
    for rec in key.records:
        record = key.record(rec)
        if rec is not Rec.ZRRSIG and record.serial is None and (record.step_in or record.step_out):
            key = key.with_record(rec, replace(record, serial=serial, published=now))
    return key


def signing_view(keyset: Keyset, *, cds: bool = True) -> SigningView:
    """Return what must be published and who signs it.  ``cds``: whether CDS and CDNSKEY are wanted.  Pure."""
    shown = [key for key in keyset.keys if key.dnskey.visible]
    zone = [key for key in keyset.keys if key.zrrsig.visible]
    algorithms = {key.algorithm for key in zone}
    fading = [
        key
        for key in keyset.keys
        if key.zrrsig.state is State.UNRETENTIVE and key.algorithm in algorithms and key.dnskey.visible
    ]
    deletes, wanted = _cds_content(keyset) if cds and not keyset.no_cds else (False, [])
    return SigningView(
        dnskey_rdatas=tuple(sorted(key.rdata for key in shown)),
        cds=(DELETE_CDS,) if deletes else tuple(sorted(ds_rdata(keyset.apex, key.rdata) for key in wanted)),
        cdnskey=(DELETE_CDNSKEY,) if deletes else tuple(sorted(key.rdata for key in wanted)),
        dnskey_keys=tuple(_signer(key) for key in keyset.keys if key.krrsig.visible),
        cds_keys=tuple(_signer(key) for key in _cds_signers(keyset)),
        zone_keys=tuple(_signer(key) for key in zone),
        retiring_keys=tuple(_signer(key) for key in fading),
        urgent=any(key.compromised for key in fading),
        lost_keys=tuple(
            _signer(key) for key in keyset.keys if key.lost and (key.krrsig.visible or key.zrrsig.visible)
        ),
        soa_keys=tuple(_signer(key) for key in _soa_signers(keyset, zone)),
    )


def _soa_signers(keyset: Keyset, zone: list[Key]) -> list[Key]:
    """Return who signs the SOA where a key that signs zone data is lost: of its algorithm, the newest published key.

    A new version needs a new SOA.  All other RRsets keep the signatures they have.
    """
    if not any(key.lost for key in zone):
        return []
    signers = []
    for algorithm in dict.fromkeys(key.algorithm for key in zone):
        able = [key for key in zone if key.algorithm == algorithm and not key.lost]
        heirs = [
            key
            for key in keyset.keys
            if key.algorithm == algorithm
            and Rec.ZRRSIG in key.records
            and key.dnskey.visible
            and not key.lost
            and not key.foreign
        ]
        heirs.sort(
            key=lambda key: key.dnskey.state is State.OMNIPRESENT
        )  # a key that all validators have is better
        signers += able or heirs[-1:]
    return signers


def _cds_content(keyset: Keyset) -> tuple[bool, list[Key]]:
    """Whether the parent is asked to delete the DS RRset (RFC 8078 section 4), and the keys it is to have."""
    wanted = [key for key in keyset.keys if key.ds.visible]
    if wanted and all(key.foreign for key in wanted):
        return False, []  # the parent has them already; CDS begin with a DS of our own keys
    leaving = any(key.ds.state is State.UNRETENTIVE for key in keyset.keys)
    return leaving and not wanted and not keyset.signed, wanted


def _cds_signers(keyset: Keyset) -> list[Key]:
    """Who signs CDS and CDNSKEY: the keys that sign the DNSKEY RRset (RFC 7344 section 4.1), and no others.

    But for an algorithm none of whose keys does, at the beginning and the end of an algorithm rollover: there those
    that sign the zone do, so that the two RRsets have every algorithm whenever all other data has. And but for zones
    with other signers: the DNSKEY RRset of those has our ZSKs, but not always our present KSK (RFC 8901 section 2.1.2),
    so a validator that got it could not validate a CDS RRset that only a KSK signed.
    """
    signers = [key for key in keyset.keys if key.krrsig.visible and not key.revoked and not key.lost]
    algorithms = {key.algorithm for key in signers}
    several = any(
        key.foreign and not key.of_node and key.dnskey.state is not State.HIDDEN for key in keyset.keys
    )
    return signers + [
        key
        for key in keyset.keys
        if key.zrrsig.visible and (several or key.algorithm not in algorithms) and key not in signers
    ]


def _signer(key: Key) -> SigningKey:
    return SigningKey(key.key_id, key.algorithm, key.flags, key.tag, key.public_key, key.keystore)
