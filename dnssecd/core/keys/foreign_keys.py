"""Keys of other signers come into a zone's key set, and are asked to leave it (RFC 8901, model 2)."""

from collections.abc import Iterable

from dnssecd.core.keys.keyset import (
    REVOKE,
    SEP,
    ZONE,
    Key,
    Keyset,
    KeysetError,
    all_tags,
    key_tag,
    mark_of,
    used_tags,
)
from dnssecd.core.keys.keystate import Goal, RecordState, Role, State
from dnssecd.replacing import replace

#: More keys of other signers are refused: every DNSKEY answer grows by them.
FOREIGN_MAX = 16
#: The signer that keys of the zone's input are of (``foreign_keys = "input"``).
INPUT = "input"


def foreign_key(rdata: bytes, signer: str, now: int) -> Key:
    """Return a foreign key that we have not published yet; KeysetError for a DNSKEY that no zone may use."""
    if len(rdata) < 5 or rdata[2] != 3:
        raise KeysetError("the DNSKEY is malformed: RFC 4034 section 2.1 wants protocol 3 and a public key")
    flags, algorithm, tag = int.from_bytes(rdata[:2]), rdata[3], key_tag(rdata)
    if not flags & ZONE:
        raise KeysetError(f"DNSKEY {tag} is not a zone key (flags {flags})")
    if flags & REVOKE:
        raise KeysetError(f"DNSKEY {tag} is revoked (flags {flags}); import the key that takes its place")
    role = Role.KSK if flags & SEP else Role.ZSK
    name = f"foreign-{mark_of(algorithm, rdata[4:])}"
    return Key(name, role, algorithm, flags, rdata[4:], tag, "", now, announced=now, signer=signer)


def add_foreign(keyset: Keyset, rdata: bytes, signer: str, now: int, role: Role | None = None) -> Keyset:
    """Return the key set with another signer's key; KeysetError where it cannot be published beside ours.

    role: of a key that is known to sign zone data as well as the DNSKEY RRset; None: as its flags say.
    """
    key = foreign_key(rdata, signer, now)
    key = replace(key, role=role or key.role)
    old = keyset.find(key.ref)
    if old is not None and old.signer == signer and old.flags == key.flags:
        return keyset.with_key(replace(old, goal=Goal.PRESENT, left=None))
    if old is not None or is_ours(keyset, rdata):
        whose = f"a key of signer {old.signer}" if old is not None else "a key of this zone here"
        raise KeysetError(f"DNSKEY {key.tag} is {whose} already; nothing to do")
    if sum(other.foreign for other in keyset.keys) >= FOREIGN_MAX:
        raise KeysetError(f"the zone has {FOREIGN_MAX} keys of other signers; remove one first")
    clash = all_tags(key) & used_tags(keyset)
    if clash:
        raise KeysetError(
            f"DNSKEY {key.tag} of signer {signer} has key tag {min(clash)} (or would have it with the REVOKE bit), "
            "which another key of the zone has: one of the signers makes another key; tag_range in the policy "
            "keeps the tags of signers apart"
        )
    common = {ours.algorithm for ours in keyset.keys if not ours.foreign and ours.goal is Goal.PRESENT}
    if key.algorithm not in common:
        have = ", ".join(map(str, sorted(common))) or "none"
        raise KeysetError(
            f"DNSKEY {key.tag} of signer {signer} is of algorithm {key.algorithm}, the zone's keys here of {have}: all "
            "signers of a zone use the same algorithms (RFC 8901 section 4)"
        )
    return replace(keyset, keys=(*keyset.keys, key))


def is_ours(keyset: Keyset, rdata: bytes) -> bool:
    """Tell whether a DNSKEY is of a key whose private key is here."""
    return any(not key.foreign and key.rdata[3:] == rdata[3:] for key in keyset.keys)


def remove_foreign(
    keyset: Keyset, now: int, *, signer: str = "", tag: int | None = None, ns_gone: bool = False
) -> Keyset:
    """Have a signer's keys, or one of them, leave when that is safe; KeysetError where there are none.

    ns_gone: an operator says that no NS of the signer is left in the zone and at the parent.
    """
    foreign = [key for key in keyset.keys if key.foreign and not key.of_node]
    chosen = [key for key in foreign if (signer in ("", key.signer)) and tag in (None, key.tag)]
    if not chosen:
        of = f" of signer {signer}" if signer else ""
        raise KeysetError(f"the zone has no such foreign key{of}; see `dnssecd key list`")
    for key in chosen:
        left = now if ns_gone and key.left is None else key.left
        keyset = keyset.with_key(_asked_to_leave(replace(key, left=left), now))
    return keyset


def follow_input(keyset: Keyset, rdatas: Iterable[bytes], now: int) -> tuple[Keyset, list[str]]:
    """Return the key set with the foreign keys of the input, and why some of them cannot join.

    A key that left the input is asked to leave the key set; it goes when that is safe.
    """
    wanted = [rdata for rdata in rdatas if not is_ours(keyset, rdata)]
    refused: list[str] = []
    for rdata in sorted(wanted):
        if any(key.foreign and key.rdata == rdata and key.goal is Goal.PRESENT for key in keyset.keys):
            continue
        try:
            keyset = add_foreign(keyset, rdata, INPUT, now)
        except KeysetError as error:
            refused.append(str(error))
    for key in keyset.keys:
        if key.signer == INPUT and key.rdata not in wanted and key.goal is Goal.PRESENT:
            keyset = keyset.with_key(_asked_to_leave(key, now))
    return keyset, refused


def _asked_to_leave(key: Key, now: int) -> Key:
    """Return a key that leaves when its signer was seen without it, later than now: what was seen before is too old."""
    return key if key.goal is Goal.ABSENT else replace(key, goal=Goal.ABSENT, announced=now)


def published_at_once(keyset: Keyset, now: int) -> Keyset:
    """Return a first key set with its foreign keys in the first DNSKEY RRset (step 1)."""
    start = RecordState(State.RUMOURED, now, first_in=1, step_in=1)
    keys = tuple(replace(key, dnskey=start) if key.foreign else key for key in keyset.keys)
    return replace(keyset, keys=keys)
