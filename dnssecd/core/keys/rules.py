"""The safety rules: one immutable table.  A step is taken only if every rule holds after it.

A validator holds one DS set, one DNSKEY set (with its signatures) and one copy of each signed RRset, each
from any time within its TTL.  The rules say, in terms of record states, that no mix of these fails: not in
one algorithm, and not in any of several (RFC 4035 section 2.2, RFC 6840 section 5.11).  Rules 2 and 3 bind once
a DS may be held: before that no validator asks.  After Mekking and Schaeffer, "Flexible and Robust Key Rollover",
with the order of steps taken into account, which states alone do not show.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Rec, RecordState, State

NEVER = 1 << 62


class Way(Struct, frozen=True):
    """One of the ways a rule can be kept.

    ``inductive``: it concludes from the step before, so it proves nothing if the rule did not bind before.
    """

    name: str
    text: str
    holds: Callable[[Keyset, int], bool]
    inductive: bool = False


class Rule(Struct, frozen=True):
    """`scope` gives the algorithms for which one of the ways has to hold (0 stands for the zone).

    `binds`: the only step it has to hold after (None: at all times).
    """

    name: str
    text: str
    scope: Callable[[Keyset], frozenset[int]]
    ways: tuple[Way, ...]
    binds: tuple[Rec, Event] | None = None


def broken(
    keyset: Keyset,
    rules: tuple[Rule, ...],
    step: tuple[Rec, Event] | None = None,
    *,
    bound_before: bool = True,
) -> Rule | None:
    """Return the first rule that the key set, as it is after ``step``, does not keep.  Pure.

    bound_before: a DS could be held before the step, too. The first DS must not rest on what was signed by turns before
    it: until then nothing kept a set or an RRset from being unsigned, and caches may hold it.
    """
    for rule in rules:
        if rule.binds is not None and rule.binds != step:
            continue
        for algorithm in rule.scope(keyset):
            ways = (way for way in rule.ways if bound_before or not way.inductive)
            if not any(way.holds(keyset, algorithm) for way in ways):
                return rule
    return None


# What the rows are made of


def may_be_held(record: RecordState) -> bool:
    """Whether some validator may hold it, or get it."""
    return record.state is not State.HIDDEN


def everywhere(record: RecordState) -> bool:
    """Whether all sets that can be held have it."""
    return record.state is State.OMNIPRESENT


def backed(key: Key) -> bool:
    """Whether every DNSKEY set has the key and its signature."""
    return not key.revoked and everywhere(key.dnskey) and everywhere(key.krrsig)


def secured(keyset: Keyset) -> bool:
    """Whether some validator may hold a DS: only then does any look at keys and signatures."""
    return any(may_be_held(key.ds) for key in keyset.keys)


def in_emergency(keyset: Keyset) -> bool:
    """Whether a compromised or lost key may be held: what replaces it waits for no backup, other node or person."""
    return any(
        (key.compromised or key.lost) and any(may_be_held(key.record(rec)) for rec in key.records)
        for key in keyset.keys
    )


def _end(record: RecordState) -> int:
    return record.step_out if record.state is State.UNRETENTIVE else NEVER


def goes_with(inner: RecordState, outer: RecordState) -> bool:
    """Whether every set that has `inner` has `outer` (two records of one RRset)."""
    if everywhere(outer):
        return True
    from_then = outer.full or outer.step_in <= inner.first_in
    return may_be_held(outer) and from_then and _end(inner) <= _end(outer)


def covered(records: Iterable[RecordState]) -> bool:
    """Whether every set has at least one of the records: their times of publication leave no gap."""
    held = [record for record in records if may_be_held(record)]
    if any(everywhere(record) for record in held):
        return True
    reach = max((_end(record) for record in held if record.full and not record.visible), default=0)
    for record in sorted(held, key=lambda record: record.step_in):
        if record.step_in <= reach:
            reach = max(reach, _end(record))
    return reach == NEVER


def _of(keyset: Keyset, algorithm: int) -> list[Key]:
    return [key for key in keyset.keys if key.algorithm == algorithm]


def _published(keyset: Keyset, algorithm: int) -> list[Key]:
    return [key for key in _of(keyset, algorithm) if may_be_held(key.dnskey)]


# Scopes


def _ds_algorithms(keyset: Keyset) -> frozenset[int]:
    return frozenset(key.algorithm for key in keyset.keys if may_be_held(key.ds))


def _dnskey_algorithms(keyset: Keyset) -> frozenset[int]:
    if not secured(keyset):
        return frozenset()
    return frozenset(key.algorithm for key in keyset.keys if may_be_held(key.dnskey))


def _zone_if_signed(keyset: Keyset) -> frozenset[int]:
    return frozenset({0}) if keyset.signed else frozenset()


# Rows


def _signed_in_turn(keys: Iterable[Key]) -> bool:
    """Return whether every DNSKEY set has one of these keys and its signature, a lost key's until it ends."""
    held = [key for key in keys if not key.revoked and goes_with(key.krrsig, key.dnskey)]
    return any(key.lost and may_be_held(key.krrsig) for key in held) and covered(key.krrsig for key in held)


def _ds_signed_in_turn(keyset: Keyset, algorithm: int) -> bool:
    return _signed_in_turn(key for key in _of(keyset, algorithm) if everywhere(key.ds))


def _dnskey_signed_in_turn(keyset: Keyset, algorithm: int) -> bool:
    return _signed_in_turn(_published(keyset, algorithm))


def _set_signers(keyset: Keyset, algorithm: int) -> list[Key]:
    """Return the keys whose signatures over DNSKEY sets may be held and count."""
    return [key for key in _of(keyset, algorithm) if may_be_held(key.krrsig) and not key.krrsig.beside]


def _set_signed_by_nodes(keyset: Keyset, algorithm: int) -> bool:
    """Return whether each key whose signature over a DNSKEY set may be held is in all of the algorithm's sets.

    A key that stays, and is in all sets that it signed, need not be in those before them.  Only where nodes have keys
    of their own: they sign in any order, and each step before began from a state that kept the rule, so every DNSKEY
    set has a signature of one of these keys.
    """
    signers = _set_signers(keyset, algorithm)
    published = _published(keyset, algorithm)
    return (
        any(key.of_node for key in signers)
        and any(key.krrsig.visible for key in signers)
        and all(not key.revoked for key in signers)
        and all(
            goes_with(key.dnskey, other.dnskey) or is_in_its_sets(other)
            for key in published
            for other in signers
        )
    )


def is_in_its_sets(key: Key) -> bool:
    """Whether a key is in every DNSKEY set that it signed."""
    return key.dnskey.visible and goes_with(key.krrsig, key.dnskey)


def _ds_signed_by_nodes(keyset: Keyset, algorithm: int) -> bool:
    signers = _set_signers(keyset, algorithm)
    anchored = all(everywhere(key.ds) and is_in_its_sets(key) for key in signers)
    return anchored and _set_signed_by_nodes(keyset, algorithm)


def _data_signed_by_nodes(keyset: Keyset, algorithm: int) -> bool:
    signers = [key for key in _of(keyset, algorithm) if may_be_held(key.zrrsig)]
    published = _published(keyset, algorithm)
    return (
        any(key.of_node for key in signers)
        and any(key.zrrsig.visible for key in signers)
        and all(goes_with(key.dnskey, other.dnskey) for key in published for other in signers)
    )


def _every_ds_backed(keyset: Keyset, algorithm: int) -> bool:
    return all(backed(key) for key in _of(keyset, algorithm) if may_be_held(key.ds))


def _one_ds_anchors(keyset: Keyset, algorithm: int) -> bool:
    return any(everywhere(key.ds) and backed(key) for key in _of(keyset, algorithm))


def _goes_with_signer(key: Key, signers: list[Key]) -> bool:
    return any(
        goes_with(key.dnskey, other.dnskey) and goes_with(key.dnskey, other.krrsig) for other in signers
    )


def _dnskey_signed(keyset: Keyset, algorithm: int) -> bool:
    keys = _published(keyset, algorithm)
    signers = [key for key in keys if not key.revoked and may_be_held(key.krrsig)]
    return all(_goes_with_signer(key, signers) for key in keys)


def _zone_signed(keyset: Keyset, algorithm: int) -> bool:
    keys = _published(keyset, algorithm)
    signers = [key for key in keys if not key.revoked and everywhere(key.zrrsig)]
    return all(any(goes_with(key.dnskey, other.dnskey) for other in signers) for key in keys)


def _zone_signature_swap(keyset: Keyset, algorithm: int) -> bool:
    signers = [key for key in _of(keyset, algorithm) if may_be_held(key.zrrsig)]
    return all(everywhere(key.dnskey) for key in signers) and covered(key.zrrsig for key in signers)


def _ds_never_there(keyset: Keyset, _zone: int) -> bool:
    leaving = [key.ds for key in keyset.keys if key.ds.state is State.UNRETENTIVE]
    return any(key.ds.visible for key in keyset.keys if not key.foreign) and not any(
        ds.full for ds in leaving
    )


def _ds_follows(keyset: Keyset, _zone: int) -> bool:
    return covered(key.ds for key in keyset.keys if not key.foreign)


RULES: tuple[Rule, ...] = (
    Rule(
        "ds-leads-to-key",
        "every DS set that may be held has, in each of its algorithms, the DS of a key that is in every DNSKEY "
        "set and signs it",
        _ds_algorithms,
        (
            Way(
                "every-ds-backed",
                "each key of the algorithm whose DS may be held has dnskey and krrsig omnipresent",
                _every_ds_backed,
            ),
            Way(
                "one-ds-anchors",
                "some key of the algorithm has ds, dnskey and krrsig omnipresent (so others may have a DS "
                "before their DNSKEY: standby)",
                _one_ds_anchors,
            ),
            Way(
                "signed-in-turn",
                "a lost key of the algorithm and its successor have ds omnipresent, and the successor begins to "
                "sign the DNSKEY set when the lost key's signature goes",
                _ds_signed_in_turn,
            ),
            Way(
                "signed-by-nodes",
                "nodes of a cluster with keys of their own sign one after the other: each key of the algorithm whose "
                "signature over a DNSKEY set may be held has ds omnipresent, stays, and is in all sets that it signed",
                _ds_signed_by_nodes,
                inductive=True,
            ),
        ),
    ),
    Rule(
        "dnskey-set-signed",
        "every DNSKEY set that may be held is signed in each of its algorithms",
        _dnskey_algorithms,
        (
            Way(
                "goes-with-signer",
                "each key of the algorithm is only ever in a DNSKEY set together with one that signs the set",
                _dnskey_signed,
            ),
            Way(
                "signed-in-turn",
                "the successor of a lost key begins to sign the DNSKEY set when the lost key's signature goes",
                _dnskey_signed_in_turn,
            ),
            Way(
                "signed-by-nodes",
                "nodes with keys of their own sign one after the other: every DNSKEY set with a key of the algorithm "
                "has each key whose signature over a DNSKEY set may be held, or that key stays, and is in all sets "
                "that it signed",
                _set_signed_by_nodes,
                inductive=True,
            ),
        ),
    ),
    Rule(
        "zone-data-signed",
        "for any DNSKEY set and any RRset that may be held: in each algorithm of the first, a key in it made a "
        "signature over the second",
        _dnskey_algorithms,
        (
            Way(
                "goes-with-zone-signer",
                "each key of the algorithm is only ever in a DNSKEY set together with one whose zrrsig is "
                "omnipresent",
                _zone_signed,
            ),
            Way(
                "signatures-replaced",
                "all keys of the algorithm that any held signature is by have dnskey omnipresent, and their "
                "times of signing leave no gap (pre-publication)",
                _zone_signature_swap,
            ),
            Way(
                "signed-by-nodes",
                "nodes with keys of their own sign one after the other: every DNSKEY set with a key of the algorithm "
                "has each key whose signatures over zone data may be held",
                _data_signed_by_nodes,
                inductive=True,
            ),
        ),
    ),
    Rule(
        "ds-stays",
        "while the zone is to be secure, a DS is withdrawn from the parent only where another takes its place",
        _zone_if_signed,
        (
            Way("ds-follows", "every DS set that may be held has one of our DS", _ds_follows),
            Way(
                "ds-never-there",
                "another is submitted, and none that leaves was ever at all the parent's servers",
                _ds_never_there,
            ),
        ),
        (Rec.DS, Event.WITHDRAW),
    ),
)
