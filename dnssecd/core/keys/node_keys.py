"""Nodes of a cluster with keys of their own (RFC 8901, model 2): who joins, who may take over, and the take-over.

The keys of all nodes are in the DNSKEY RRset, and the parent has a DS for the KSK of each; only the owner of the zone
signs. A node's keys have been in every DNSKEY set, and its DS at the parent, for long enough before it takes the zone
over: then a validator may hold any mix of what the two signed. Times and waits are those of the planner; there is no
other evidence than its records.
"""

from collections.abc import Container, Iterable, Mapping

from msgspec import Struct

from dnssecd.core.keys.foreign_keys import add_foreign
from dnssecd.core.keys.keyset import NODE, Key, Keyset, KeysetError, mark_of
from dnssecd.core.keys.keystate import Event, Goal, Rec, Role, advance
from dnssecd.core.keys.rules import (
    RULES,
    Rule,
    broken,
    everywhere,
    goes_with,
    in_emergency,
    is_in_its_sets,
    may_be_held,
    secured,
)
from dnssecd.core.keys.types import KeySpec
from dnssecd.replacing import replace


class NodeKey(Struct, frozen=True):
    """The public half of a key that a node has announced; rdata: DNSKEY RDATA."""

    role: Role
    rdata: bytes


class HeldKey(Struct, frozen=True):
    """A key that the key service of this node holds."""

    key_id: str
    keystore: str
    bits: int


def signer_of(node: str) -> str:
    """Return the ``signer`` of a node's keys in the key set of another."""
    return NODE + node


def keys_of(keyset: Keyset, node: str) -> list[Key]:
    """Return a node's keys."""
    if node == keyset.node:
        return [key for key in keyset.keys if not key.foreign]
    return [key for key in keyset.keys if key.signer == signer_of(node)]


def follow_nodes(
    keyset: Keyset, node: str, announced: Mapping[str, Iterable[NodeKey]], nodes: Iterable[str], now: int
) -> tuple[Keyset, list[str]]:
    """Return the owner's key set with the keys of the other nodes, and why some of them cannot join.

    node: the owner; nodes: all nodes of the configuration. A key that its node no longer announces is asked to leave,
    if another of its role is announced; of a node that was removed, all are. They go when the rules allow it.
    """
    if not keyset.node:
        keyset = replace(keyset, node=node)
    if not keyset.signed:
        return keyset, []
    refused: list[str] = []
    for name in sorted(set(announced).intersection(nodes) - {node}):
        wanted = list(announced[name])
        for one in wanted:
            try:
                keyset = _with_node_key(keyset, name, one, now)
            except KeysetError as error:
                refused.append(f"node {name}: {error}")
        keyset = _without_old(keyset, name, wanted)
    kept = {signer_of(name) for name in nodes}
    for key in keyset.keys:
        if key.of_node and key.signer not in kept and key.goal is not Goal.ABSENT:
            keyset = keyset.with_key(replace(key, goal=Goal.ABSENT))
    return keyset, refused


def leave_nodes(keyset: Keyset, now: int) -> Keyset:
    """Return the key set of a zone whose nodes share their keys from now on, or that is signed by one host alone."""
    keyset, _ = follow_nodes(keyset, keyset.node, {}, (keyset.node,), now)
    return keyset if any(key.of_node for key in keyset.keys) else replace(keyset, node="")


def _with_node_key(keyset: Keyset, node: str, wanted: NodeKey, now: int) -> Keyset:
    signer = signer_of(node)
    if any(
        key.signer == signer and key.rdata == wanted.rdata and key.goal is Goal.PRESENT for key in keyset.keys
    ):
        return keyset
    if any(key.signer == signer and key.rdata == wanted.rdata and key.compromised for key in keyset.keys):
        return keyset
    if mark_of(wanted.rdata[3], wanted.rdata[4:]) in keyset.past:
        raise KeysetError("it announces a key that left the zone; it makes another")
    return add_foreign(keyset, wanted.rdata, signer, now, wanted.role)


def _without_old(keyset: Keyset, node: str, wanted: Iterable[NodeKey]) -> Keyset:
    """Let the keys leave that a node announces no longer; what it announces must be able to sign a zone."""
    rdatas = {key.rdata for key in wanted}
    joined = [key for key in keys_of(keyset, node) if key.rdata in rdatas and key.goal is Goal.PRESENT]
    if not {Rec.KRRSIG, Rec.ZRRSIG} <= {rec for key in joined for rec in key.records}:
        return keyset
    for key in keys_of(keyset, node):
        if key.rdata not in rdatas and key.goal is not Goal.ABSENT:
            keyset = keyset.with_key(replace(key, goal=Goal.ABSENT))
    return keyset


def hand_over(
    keyset: Keyset, node: str, held: Mapping[bytes, HeldKey], now: int, rules: tuple[Rule, ...] = RULES
) -> Keyset:
    """Return the key set as a node signs by that took the zone over. KeysetError: validators could not follow.

    held: what the key service of this node holds, by DNSKEY RDATA.
    """
    if signs_with(keyset, held):  # the node has another name now
        return replace(keyset, node=node)
    step = keyset.step + 1
    signers = _signers(keyset, node, held)
    keys = []
    for key in keyset.keys:
        if key.foreign and key.signer != signer_of(node):
            keys.append(key)
        elif key.foreign:
            keys.append(_ours(key, held.get(key.rdata), signers, step, now))
        elif any(may_be_held(key.record(rec)) for rec in key.records):
            keys.append(_theirs(key, keyset.node, step, now))
    keys = [_judged(old, keyset) for old in keys]
    after = replace(keyset, keys=tuple(keys), node=node, step=step, no_cds=False)
    rule = broken(after, rules)
    if rule is not None and broken(keyset, rules) is not rule:
        raise KeysetError(f"its own keys could not sign in place of those of node {keyset.node}: {rule.text}")
    return after


def ready_nodes(keyset: Keyset, now: int) -> list[str]:
    """Return the other nodes whose keys all validators have, so that they could sign the zone at once."""
    found = []
    for signer in sorted({key.signer for key in keyset.keys if key.of_node}):
        held = {
            key.rdata: HeldKey(key.key_id, key.keystore, key.bits)
            for key in keyset.keys
            if key.signer == signer
        }
        try:
            hand_over(keyset, signer.removeprefix(NODE), held, now)
        except KeysetError:
            continue
        found.append(signer.removeprefix(NODE))
    return found


def signs_with(keyset: Keyset, held: Mapping[bytes, HeldKey]) -> bool:
    """Tell whether a zone is signed with keys that are held."""
    signers = [key for key in keyset.keys if not key.foreign and (key.krrsig.visible or key.zrrsig.visible)]
    return bool(signers) and all(
        key.revoked or ((one := held.get(key.rdata)) is not None and one.key_id == key.key_id)
        for key in signers
    )


def hand_over_to_holder(keyset: Keyset, held: Mapping[bytes, HeldKey], now: int) -> Keyset:
    """Return the key set as the node signs by whose keys are held; the given one if that signs. KeysetError: none can.

    This is of a host that is alone now: its configuration does not say which node it was.
    """
    if not keyset.node or signs_with(keyset, held):
        return keyset
    why = f"node {keyset.node} signed the zone, and the keys of no node are here"
    for signer in sorted({key.signer for key in keyset.keys if key.of_node and key.rdata in held}):
        try:
            return hand_over(keyset, signer.removeprefix(NODE), held, now)
        except KeysetError as error:
            why = str(error)
    raise KeysetError(why)


def _signers(keyset: Keyset, node: str, held: Mapping[bytes, HeldKey]) -> frozenset[tuple[str, Rec]]:
    """Return (ref, what it signs) of the keys that sign after a take-over: those that validators have.

    One for each algorithm and kind: a CSK that a KSK and a ZSK replace may sign the DNSKEY RRset beside the new ZSK,
    but not the data too, since a key stops signing data when its successor begins.
    """
    chosen: list[tuple[str, Rec]] = []
    mine = keys_of(keyset, node)
    for rec in (Rec.KRRSIG, Rec.ZRRSIG):
        for algorithm in sorted({key.algorithm for key in keyset.keys if key.record(rec).visible}):
            able = [key for key in mine if key.algorithm == algorithm and rec in key.records]
            if not able:
                what = "KSK" if rec is Rec.KRRSIG else "ZSK"
                raise KeysetError(f"the zone has no {what} of node {node} of algorithm {algorithm} yet")
            faults = {key.ref: _unready(keyset, key, held) for key in able}
            ready = [key for key in able if not faults[key.ref]]
            if not ready:
                raise KeysetError(
                    f"{able[-1].role.value} {able[-1].tag} of node {node}: {faults[able[-1].ref]}"
                )
            ready.sort(key=lambda key: key.goal is Goal.PRESENT)
            chosen += [(ready[-1].ref, rec)]
    return frozenset(chosen)


def _unready(keyset: Keyset, key: Key, held: Mapping[bytes, HeldKey]) -> str:
    if key.rdata not in held:
        return "the key service of this node does not hold it"
    if key.compromised or key.lost:
        return "it is compromised or lost"
    if not everywhere(key.dnskey):
        return f"not all validators have its DNSKEY yet (DNSKEY {key.dnskey.state.value})"
    if Rec.DS in key.records and secured(keyset) and not everywhere(key.ds):
        return f"not all validators have its DS yet (DS {key.ds.state.value})"
    return ""


def _ours(key: Key, held: HeldKey | None, signers: frozenset[tuple[str, Rec]], step: int, now: int) -> Key:
    """Return a key of this node's, which signs from now on if it is one of the signers."""
    if held is None:
        return replace(key, goal=Goal.ABSENT)
    ours = replace(key, signer="", key_id=held.key_id, keystore=held.keystore, bits=held.bits, announced=now)
    signs = [rec for rec in (Rec.KRRSIG, Rec.ZRRSIG) if (key.ref, rec) in signers]
    if not signs:
        return ours
    for rec in signs:
        ours = ours.with_record(rec, advance(key.record(rec), Event.PUBLISH, step, now))
    return replace(ours, active=now) if ours.active is None else ours


def _theirs(key: Key, node: str, step: int, now: int) -> Key:
    """Return a key of the node that owned the zone: its public half stays, and what it signed fades from caches."""
    name = f"foreign-{mark_of(key.algorithm, key.public_key)}"
    goal = Goal.ABSENT if key.revoked else key.goal
    theirs = replace(key, signer=signer_of(node), key_id=name, keystore="", goal=goal)
    for rec in (Rec.KRRSIG, Rec.ZRRSIG):
        record = key.record(rec)
        if record.visible:
            theirs = theirs.with_record(rec, advance(record, Event.WITHDRAW, step, now))
    return theirs


def _judged(key: Key, before: Keyset) -> Key:
    """Return a key with its signature over DNSKEY sets marked if no validator depends on it.

    That is if it is not of use to all, and a key that all have, with its DS, has signed each of these sets, too. A key
    whose DS all have, and that is in all sets that it signed, does for those that have no such use at all.
    """
    if not may_be_held(key.krrsig) or (everywhere(key.dnskey) and everywhere(key.ds)):
        return key
    old = next(one for one in before.keys if one.rdata == key.rdata)
    of_use = everywhere(old.ds) and is_in_its_sets(old)
    anchors = (
        one
        for one in before.keys
        if one.algorithm == key.algorithm
        and not one.revoked
        and everywhere(one.ds)
        and (everywhere(one.dnskey) or (not of_use and is_in_its_sets(one)))
    )
    anchored = any(goes_with(old.krrsig, one.krrsig) for one in anchors)
    beside = anchored or old.krrsig.beside or not secured(before)
    return key.with_record(Rec.KRRSIG, replace(key.krrsig, beside=beside))


def wants_hand_over(keyset: Keyset, node: str) -> bool:
    """Tell whether a zone is signed with the keys of another node than its owner."""
    return keyset.node not in ("", node)


class Choice(Struct, frozen=True):
    """The keys (DNSKEY RDATA) that a node wants in a zone's key set, and for which specs it needs a key more."""

    rdatas: frozenset[bytes]
    lacking: tuple[KeySpec, ...] = ()


def choose_own(
    keyset: Keyset, node: str, specs: Iterable[KeySpec], held: Mapping[bytes, HeldKey], now: int
) -> Choice:
    """Return which of its keys a node announces that does not own the zone.

    A key is announced until a successor can take its place, and as long as the owner uses one of its kind.
    """
    mine = [key for key in keys_of(keyset, node) if key.rdata in held and key.goal is Goal.PRESENT]
    rdatas = {key.rdata for key in mine if _used_by_owner(keyset, key)}
    lacking = []
    for spec in specs:
        joined = [key for key in mine if (key.role, key.algorithm) == (spec.role, spec.algorithm)]
        waiting = {key.ref for key in joined if _unready(keyset, key, held)}
        good = [
            key
            for key in joined
            if fits(spec, key.role, key.algorithm, held[key.rdata])
            and not _must_go(key, None if key.ref in waiting else spec.lifetime, now)
        ]
        ready = [key for key in good if key.ref not in waiting]
        if ready:
            rdatas -= {key.rdata for key in joined}
            rdatas |= {key.rdata for key in good[good.index(ready[-1]) :]}
            continue
        rdatas |= {key.rdata for key in joined}
        if not good:
            lacking.append(spec)
    return Choice(frozenset(rdatas), tuple(lacking))


def unsaved(keyset: Keyset, wanted: Mapping[bytes, str], saved: Container[str]) -> frozenset[bytes]:
    """Return the DNSKEY RDATA of keys that a node does not announce before there is a backup of them.

    wanted: key id by RDATA; saved: the ids of the keys with a confirmed backup.  Keys that the zone has already stay;
    and none has to wait while a compromised or lost key is to be replaced.
    """
    if in_emergency(keyset):
        return frozenset()
    joined = {key.rdata for key in keyset.keys if key.goal is not Goal.ABSENT}
    return frozenset(rdata for rdata, key_id in wanted.items() if rdata not in joined and key_id not in saved)


def _used_by_owner(keyset: Keyset, key: Key) -> bool:
    """Tell whether the owner has a key of that role and algorithm in use: one that replaces it must have it, too."""
    return any(
        other.role is key.role and other.algorithm == key.algorithm and other.goal is Goal.PRESENT
        for other in keyset.keys
        if not other.foreign
    )


def fits(spec: KeySpec, role: Role, algorithm: int, held: HeldKey) -> bool:
    """Tell whether a key of this node is of the kind that the policy wants."""
    kind = (role, algorithm, held.keystore) == (spec.role, spec.algorithm, spec.keystore)
    return kind and spec.bits in (0, held.bits)


def _must_go(key: Key, lifetime: int | None, now: int) -> bool:
    """Tell whether a key of a node that does not own the zone needs a successor. lifetime: seconds, None for no end."""
    if key.roll or key.revoke or key.compromised or key.lost:
        return True
    since = key.announced if key.active is None else key.active
    return lifetime is not None and now >= since + lifetime
