"""Several signers of one zone (RFC 8901, model 2): what the other signers' servers, NS and DS allow us to do.

Each signer signs with its own keys. A validator may get the DNSKEY RRset from one signer and data from another, so
each DNSKEY RRset has the zone-signing keys of all, and the parent has a DS for each. A foreign key is a key of the set
with a ``signer``: it is published, and its DS asked for, but no signature is made by it.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.evidence import SignerSight
from dnssecd.core.keys.facts import World, ttl_dnskey
from dnssecd.core.keys.keyset import DS_DIGESTS, Key, Keyset, ds_rdata
from dnssecd.core.keys.keystate import Event, Goal, Rec, Role, State
from dnssecd.core.keys.rules import backed, everywhere, may_be_held
from dnssecd.core.keys.ttl_memory import remembered
from dnssecd.core.keys.types import Blocker, Gate, Missing
from dnssecd.core.utc import moment
from dnssecd.replacing import replace

Move = tuple[tuple[str, Rec, Event], ...]

#: The TTL of the parent's NS RRset where it cannot be asked: that of .com, which few exceed.
NS_TTL_UNSEEN = 172_800


class Refusal(Struct, frozen=True):
    """Why a step waits for other signers: the evidence that is missing, or the time (epoch s) that ends the wait."""

    detail: str
    missing: tuple[Missing, ...] = ()
    until: int | None = None


class SignerGate(Struct, frozen=True):
    """A row: a step that several signers of the zone make unsafe until they are ready for it."""

    name: str
    text: str
    judge: Callable[[Keyset, Move, World], Refusal | None]


def foreign_keys(keyset: Keyset, signer: str | None = None) -> list[Key]:
    """Return the keys of other signers, or of one of them; not those of other nodes, which serve nothing else."""
    return [key for key in keyset.keys if key.foreign and not key.of_node and signer in (None, key.signer)]


def signers_of(keyset: Keyset) -> list[str]:
    """Return the names of the other signers whose keys are published."""
    return sorted({key.signer for key in foreign_keys(keyset) if key.dnskey.visible})


def is_leaving(keyset: Keyset, signer: str) -> bool:
    """Tell whether all keys of a signer are to go."""
    return all(key.goal is Goal.ABSENT for key in foreign_keys(keyset, signer))


def joins(keyset: Keyset, move: Move, world: World) -> bool:
    """Tell whether a DS is asked for while only another signer's DS leads to the zone: its servers alone serve it.

    Either that DS itself, which the parent has, or our first one. None of our DNSKEY sets is in use until then.
    """
    ref, rec, event = move[0]
    key = keyset.find(ref)
    if key is None or rec is not Rec.DS or event is not Event.PUBLISH:
        return False
    if any(may_be_held(other.ds) for other in keyset.keys if not other.foreign):
        return False
    if key.of_node:
        return False
    if key.foreign:
        return _at_parent(keyset, key, world)
    return backed(key) and any(everywhere(other.ds) for other in foreign_keys(keyset))


def _at_parent(keyset: Keyset, key: Key, world: World) -> bool:
    """Tell whether a parent server has the DS of a key already."""
    made = {ds_rdata(keyset.apex, key.rdata, digest) for digest in DS_DIGESTS}
    return any(made & set(sight.ds or ()) for sight in world.evidence.parents)


# What evidence shows over time


def note_others(keyset: Keyset, world: World) -> Keyset:
    """Return the key set with what is seen of other signers: largest TTLs, and since when leaving keys are unused."""
    foreign = foreign_keys(keyset)
    if not foreign:
        return keyset if not keyset.ttl_others else replace(keyset, ttl_others=0)
    ttls = [sight.ttl for sight in world.evidence.signers]
    ttls += [sight.ns_ttl for sight in world.evidence.parents]
    keyset = replace(keyset, ttl_others=max(keyset.ttl_others, *ttls, 0))
    for key in foreign:
        keyset = keyset.with_key(replace(key, left=_left(keyset, key, world)))
    return keyset


def _left(keyset: Keyset, key: Key, world: World) -> int | None:
    if key.goal is not Goal.ABSENT:
        return None
    if is_leaving(keyset, key.signer):
        if _ns_present(keyset, key.signer, world):
            return None
        return key.left if key.left is not None else _ns_gone(keyset, key, world)
    sights = [sight for sight in world.evidence.signers if sight.signer == key.signer]
    if any(key.rdata in _served(sight) for sight in sights):
        return None
    return key.left if key.left is not None else _since_unserved(keyset, key, sights)


def _since_unserved(keyset: Keyset, key: Key, sights: list[SignerSight]) -> int | None:
    """Return when all servers were seen without a key; a look from before it was asked to leave shows nothing."""
    since = max(keyset.trust_after, key.announced)
    if not sights or any(sight.dnskeys is None or sight.at < since for sight in sights):
        return None
    return max(sight.at for sight in sights)


def _served(sight: SignerSight) -> dict[bytes, int]:
    return dict(sight.dnskeys or ())


def _names(signer: str, world: World) -> frozenset[str]:
    return frozenset(dict(world.evidence.signer_ns).get(signer, ()))


def _ns_present(keyset: Keyset, signer: str, world: World) -> bool:
    names = _names(signer, world)
    seen = [sight.ns for sight in world.evidence.parents if sight.at >= keyset.trust_after]
    return any(names & set(ns or ()) for ns in (world.evidence.ns, *seen))


def _ns_gone(keyset: Keyset, key: Key, world: World) -> int | None:
    """Return when parent and zone were seen without the signer's NS, after it was asked to leave; None: not seen."""
    names, evidence = _names(key.signer, world), world.evidence
    if not names or not evidence.parents or evidence.serial is None:
        return None
    if _ns_present(keyset, key.signer, world):
        return None
    since = max(keyset.trust_after, key.announced)
    times = [min(evidence.committed or 0, world.now)]  # the clock may have been ahead then
    for sight in evidence.parents:
        if sight.ns is None or sight.at < since:
            return None
        times.append(sight.at)
    for secondary in evidence.secondaries:
        if secondary.serial is None or secondary.at < keyset.trust_after:
            return None
        if is_after(evidence.serial, secondary.serial):
            return None
        times.append(secondary.at)
    return max(times)


def _data_wait(keyset: Keyset, signer: str, world: World) -> int:
    """Return how long (s) what another signer served may be held: its data, its DNSKEY set, and its NS before."""
    ttl_zone = remembered(keyset.ttl_zone, world.evidence.ttl_zone, world.now, world.policy.margin)
    served = max(ttl_zone, ttl_dnskey(keyset, world), keyset.ttl_others, world.evidence.ttl_negative)
    delegation = max(keyset.ttl_others, ttl_zone, world.policy.parent_ds_ttl)
    if is_leaving(keyset, signer) and not any(sight.ns_ttl for sight in world.evidence.parents):
        delegation = max(delegation, NS_TTL_UNSEEN)
    return served + delegation + world.policy.parent_propagation_delay + world.policy.margin


# Whether other signers have our keys


def missing_at_others(
    keyset: Keyset, keys: Iterable[Key], signers: Iterable[str], world: World
) -> Refusal | None:
    """Return what is missing until the DNSKEY sets of these signers are known to have our keys; None: nothing."""
    keys, missing, until = list(keys), [], 0
    for signer in signers:
        sights = [sight for sight in world.evidence.signers if sight.signer == signer]
        if not sights:
            wanted = f"a server of signer {signer} in other_signers (configuration of the zone)"
            missing.append(Missing(f"signer {signer}", "no server known", wanted))
        for sight in sights:
            served = _served(sight)
            lacking = [key for key in keys if key.rdata not in served]
            if lacking:
                seen = sight.answer or ("its DNSKEY RRset is without it" if sight.dnskeys else "no answer")
                tags = ", ".join(f"DNSKEY {key.tag}" for key in lacking)
                missing.append(Missing(sight.name, seen, tags, sight.next_look))
                continue
            ttl = max(sight.ttl, keyset.ttl_others)
            since = max((max(served[key.rdata], keyset.trust_after) for key in keys), default=0)
            until = max(until, since + ttl + world.policy.margin)
    if missing:
        return Refusal("", tuple(missing))
    return Refusal("", until=until) if until > world.now else None


# Rows


def _atoms(keyset: Keyset, move: Move) -> list[tuple[Key, Rec, Event]]:
    found = [(keyset.find(ref), rec, event) for ref, rec, event in move]
    return [(key, rec, event) for key, rec, event in found if key is not None]


def _common_algorithms(keyset: Keyset) -> frozenset[int]:
    return frozenset(key.algorithm for key in foreign_keys(keyset) if may_be_held(key.dnskey))


def _others_have_key(keyset: Keyset, move: Move, world: World) -> Refusal | None:
    keys = [
        key
        for key, rec, event in _atoms(keyset, move)
        if rec is Rec.ZRRSIG and event is Event.PUBLISH and not key.foreign
    ]
    strange = [key for key in keys if key.algorithm not in _common_algorithms(keyset)]
    if strange and signers_of(keyset):
        return Refusal(
            f"the other signers have no key of algorithm {strange[0].algorithm}: all signers of a zone use the same "
            "algorithms (RFC 8901 section 4); change it before they join, or after they left"
        )
    refused = missing_at_others(keyset, keys, signers_of(keyset), world) if keys else None
    if refused is None:
        return None
    tags = ", ".join(str(key.tag) for key in keys)
    detail = f"key {tags} signs only when the other signers' DNSKEY RRsets have it: bring them its DNSKEY"
    return replace(refused, detail=detail)


def _exchanged(keyset: Keyset, move: Move, world: World) -> Refusal | None:
    """Have a foreign KSK's DS, or our first DS beside one, wait until all signers have each other's keys."""
    asked = [key for key, rec, event in _atoms(keyset, move) if (rec, event) == (Rec.DS, Event.PUBLISH)]
    first = not any(may_be_held(key.ds) for key in keyset.keys if not key.foreign)
    for key in asked:
        if key.of_node and not everywhere(key.dnskey):
            return Refusal(
                f"all DNSKEY sets have the key of {key.signer} first (DNSKEY {key.dnskey.state.value})"
            )
        if key.of_node:
            continue
        if _at_parent(keyset, key, world) or not (key.foreign or (first and foreign_keys(keyset))):
            continue
        signers = [key.signer] if key.foreign else signers_of(keyset)
        refused = _not_exchanged(keyset, signers, world)
        if refused is not None:
            return refused
    return None


def _not_exchanged(keyset: Keyset, signers: list[str], world: World) -> Refusal | None:
    theirs = [key for signer in signers for key in foreign_keys(keyset, signer) if key.goal is Goal.PRESENT]
    late = [key for key in theirs if not everywhere(key.dnskey)]
    if late:
        tags = ", ".join(str(key.tag) for key in late)
        return Refusal(f"all our DNSKEY sets have the keys of signer {late[0].signer} first: {tags}")
    ours = [
        key
        for key in keyset.keys
        if not key.foreign and Rec.ZRRSIG in key.records and may_be_held(key.zrrsig)
    ]
    refused = missing_at_others(keyset, ours, signers, world)
    if refused is None:
        return None
    tags = ", ".join(str(key.tag) for key in ours)
    detail = (
        f"the DNSKEY RRset of signer {', '.join(signers)} has our zone-signing keys ({tags}) first: "
        "bring it their DNSKEY (dnssecd key list)"
    )
    return replace(refused, detail=detail)


def _signer_left(keyset: Keyset, move: Move, world: World) -> Refusal | None:
    """Keep a foreign ZSK, or a whole signer's keys and DS, until its servers are not asked any more."""
    for key, rec, event in _atoms(keyset, move):
        if not key.foreign or event is not Event.WITHDRAW:
            continue
        if rec is Rec.DNSKEY and key.ds.state is not State.HIDDEN:
            return Refusal(f"its DNSKEY stays until its DS is gone (DS {key.ds.state.value})")
        if key.of_node:
            continue  # it serves nothing that the rules do not know
        if key.left is None:
            return _still_used(keyset, key, world)
        until = key.left + _data_wait(keyset, key.signer, world)
        if until > world.now:
            return Refusal(
                f"what signer {key.signer} served may be cached until {moment(until)}", until=until
            )
        zsks = [other for other in foreign_keys(keyset, key.signer) if other.role is Role.ZSK]
        if rec is Rec.DS and is_leaving(keyset, key.signer) and any(may_be_held(z.dnskey) for z in zsks):
            return Refusal(f"its DS goes last: the zone-signing keys of signer {key.signer} leave first")
    return None


def _still_used(keyset: Keyset, key: Key, world: World) -> Refusal:
    if not is_leaving(keyset, key.signer):
        sights = [sight for sight in world.evidence.signers if sight.signer == key.signer]
        missing = tuple(
            Missing(sight.name, sight.answer or "DNSKEY served", f"no DNSKEY {key.tag}", sight.next_look)
            for sight in sights
            if sight.dnskeys is None or key.rdata in _served(sight)
        )
        return Refusal(f"signer {key.signer} removes its key from its own DNSKEY RRset first", missing)
    names = ", ".join(sorted(_names(key.signer, world))) or f"of signer {key.signer}"
    wanted = f"no NS {names}"
    missing = tuple(
        Missing(sight.name, "NS " + ", ".join(sight.ns or ("not known",)), wanted, sight.next_look)
        for sight in world.evidence.parents
        if sight.ns is None or set(sight.ns) & _names(key.signer, world)
    )
    detail = (
        f"signer {key.signer} still serves the zone: remove its NS ({names}) from the zone and at the parent; where "
        "that cannot be seen: dnssecd key remove-foreign --ns-gone"
    )
    return Refusal(detail, missing)


SIGNER_GATES: tuple[SignerGate, ...] = (
    SignerGate(
        "signers-have-key",
        "a key signs zone data only when the DNSKEY set at every server of the other signers has it, then their TTL; "
        "it is of an algorithm that they use, too",
        _others_have_key,
    ),
    SignerGate(
        "signers-exchanged",
        "another signer's DS, or our first beside it, waits until its keys are in all our DNSKEY sets and our "
        "zone-signing keys in every one of its, then their TTL",
        _exchanged,
    ),
    SignerGate(
        "signer-left",
        "a foreign key stays until its signer's servers do not have it, or, where the signer leaves, until its NS are "
        "gone from zone and parent; then for the TTLs of NS, DNSKEY set and data; the DS goes last",
        _signer_left,
    ),
)


def awaits_signers(blocker: Blocker) -> bool:
    """Tell whether a step waits for servers of other signers, or for the delegation."""
    return blocker.rule in _LOOKED_AT


_LOOKED_AT = frozenset({"signers-have-key", "signers-exchanged", "signer-left", "signer-ns"})

# Advice


def is_joined(keyset: Keyset, signer: str) -> bool:
    """Tell whether a signer's servers may be in the delegation: the parent has its DS and ours, everywhere."""
    theirs = [key for key in foreign_keys(keyset, signer) if key.goal is Goal.PRESENT]
    ksks = [key for key in theirs if Rec.DS in key.records]
    ours = any(everywhere(key.ds) and backed(key) for key in keyset.keys if not key.foreign)
    return bool(ksks) and ours and all(everywhere(key.record(rec)) for key in theirs for rec in key.records)


def advice(keyset: Keyset, world: World) -> list[Blocker]:
    """Return, for each signer that is ready and not in the delegation yet, that its NS can be added now."""
    found = []
    for signer in signers_of(keyset):
        names = _names(signer, world)
        seen = [sight for sight in world.evidence.parents if sight.ns is not None]
        lacking = [sight for sight in seen if not names <= set(sight.ns or ())]
        if not is_joined(keyset, signer) or (seen and names and not lacking):
            continue
        shown = ", ".join(sorted(names)) or f"of signer {signer}"
        missing = tuple(
            Missing(sight.name, "NS " + ", ".join(sight.ns or ()), f"NS {shown}", sight.next_look)
            for sight in lacking
        )
        detail = f"signer {signer} is ready: add its NS ({shown}) to the zone, then at the parent"
        if names:
            found.append(Blocker(Gate.POLICY, "signer-ns", detail, missing=missing))
    return found
