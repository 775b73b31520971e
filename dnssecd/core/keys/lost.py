"""Lost keys: what can still be published when a private key can sign nothing more.

What a lost key signed stays valid until it expires.  Until its successor signs in its place:

* lost KSK or CSK: the DNSKEY RRset stays as it is.  So the DS of the successor comes first (RFC 7583 section 3.3.2,
  Double-DS).  Then one version swaps the keys: the successor and its signature come, the lost key's signature goes.
  Meanwhile no CDS is published, as no key that the parent knows could sign it.  Where zone data cannot be signed
  either, the CDS RRset stays as it is: its absence would change the NSEC or NSEC3 record of the apex.
* lost ZSK or CSK: zone data stays as it is.  A new version still needs a new SOA, which the successor signs.
  Validators with an older DNSKEY set cannot check that SOA for a while; a standby ZSK spares the zone this.
"""

from collections.abc import Iterable, Iterator

from dnssecd.core.keys.evidence import SignatureCount
from dnssecd.core.keys.keyset import Key, Keyset, SigningView, signing_view
from dnssecd.core.keys.keystate import Event, Goal, Rec, Role, State, advance
from dnssecd.core.keys.rules import may_be_held, secured
from dnssecd.core.keys.types import KeySpec
from dnssecd.replacing import replace

Atom = tuple[str, Rec, Event]
RULE = "lost-key"


def signs_set(key: Key) -> bool:
    """Return whether a lost key's signature over the DNSKEY set is still the one that is published."""
    return key.lost and key.krrsig.visible


def never_returns(key: Key, rec: Rec) -> bool:
    """Return whether a record of this key is not published again, or at all, because the key is lost.

    It can sign nothing, so no validator has a use for its DNSKEY, and its successor's DS is the one to submit.  Only a
    DS whose withdrawal is not over at the parent may be wanted again: it keeps the zone secure until the successor's is
    there.
    """
    if not key.lost:
        return False
    return rec is not Rec.DS or key.ds.state is not State.UNRETENTIVE or key.ds.seen is not None


def in_distress(keyset: Keyset) -> bool:
    """Return whether a lost key's signatures are still published as those of a key in use."""
    return any(key.lost and (key.krrsig.visible or key.zrrsig.visible) for key in keyset.keys)


def swaps(keyset: Keyset, comes: Iterable[tuple[Atom, ...]]) -> Iterator[tuple[Atom, ...]]:
    """Yield the moves that bring the successors of lost keys together; ``comes``: moves of keys that come.

    Where lost keys sign the DNSKEY set, their signatures over it go: with the signature of a successor, or, where
    others sign the set already, with a successor for zone data, without which no version can be signed.  Where lost
    keys of several algorithms sign zone data, no successor can come before the others: each version needs an SOA
    signed in every algorithm.
    """
    signers = [key for key in keyset.keys if key.lost and key.zrrsig.visible]
    leaving = [key for key in keyset.keys if signs_set(key) and key.goal is Goal.ABSENT]
    coming = tuple(atom for move in comes for atom in move if atom[2] is Event.PUBLISH)
    goes = tuple((key.ref, Rec.KRRSIG, Event.WITHDRAW) for key in leaving)
    idle = tuple((key.ref, Rec.ZRRSIG, Event.WITHDRAW) for key in signers if _is_idle(keyset, key))
    if goes and coming:
        yield (*coming, *goes, *idle)
    elif coming and len({key.algorithm for key in signers}) > 1:
        yield (*coming, *idle)


def with_lost_algorithms(keyset: Keyset, specs: tuple[KeySpec, ...]) -> tuple[KeySpec, ...]:
    """Return the specs as they are while lost keys wait for their successors: with each lost key's algorithm.

    An algorithm rollover under way is given up, or stands still if keys of both algorithms are lost.  It begins again
    once everything is signed by keys that are there.  A lost key of an algorithm that leaves the DNSKEY RRset already
    gets no successor: its signatures go when no validator asks for them.
    """
    staying = {key.algorithm for key in keyset.keys if key.dnskey.visible}
    lost = [
        key
        for key in keyset.keys
        if key.lost and (key.krrsig.visible or key.zrrsig.visible) and key.algorithm in staying
    ]
    wanted = tuple(spec for spec in specs if any(key.algorithm == spec.algorithm for key in lost))
    missing = {key.algorithm: key for key in lost if all(key.algorithm != spec.algorithm for spec in wanted)}
    restored = tuple(
        replace(spec, algorithm=algorithm, bits=_bits(keyset, spec.role, key))
        for algorithm, key in missing.items()
        for spec in specs
    )
    return (*wanted, *restored) or specs


def _bits(keyset: Keyset, role: Role, lost: Key) -> int:
    """Return the size of the newest key of a role in a lost key's algorithm."""
    sizes = [key.bits for key in keyset.keys if (key.role, key.algorithm) == (role, lost.algorithm)]
    return sizes[-1] if sizes else lost.bits


def without_idle_signatures(keyset: Keyset) -> Keyset:
    """Return the key set with the zone signatures of lost keys withdrawn, in algorithms that no DNSKEY set has.

    At the beginning of an algorithm rollover no validator asks for these.  To keep them, each new version would need an
    SOA signed in this algorithm, too, which no published key can sign.
    """
    for key in keyset.keys:
        if key.lost and key.zrrsig.visible and _is_idle(keyset, key):
            step = keyset.step + 1
            record = advance(key.zrrsig, Event.WITHDRAW, step, key.zrrsig.changed)
            keyset = replace(keyset.with_key(key.with_record(Rec.ZRRSIG, record)), step=step)
    return keyset


def _is_idle(keyset: Keyset, key: Key) -> bool:
    """Return whether no DNSKEY set has a key of its algorithm."""
    return not any(may_be_held(other.dnskey) for other in keyset.keys if other.algorithm == key.algorithm)


def can_sign_data(keyset: Keyset) -> bool:
    """Return whether no key that signs zone data is lost, so that the types at the apex can change (NSEC, NSEC3)."""
    return not any(key.lost and key.zrrsig.visible for key in keyset.keys)


def with_cds_judged(keyset: Keyset) -> Keyset:
    """Return the key set with CDS wanted again, once every DNSKEY set has keys that can sign them.

    While a lost KSK signs the DNSKEY set they are left out as soon as zone data can be signed; and also after its
    successor took its place, while there are DNSKEY sets without the successor.
    """
    if not can_sign_data(keyset):
        return keyset
    held = any(key.lost and key.krrsig.state is not State.HIDDEN for key in keyset.keys)
    if any(signs_set(key) for key in keyset.keys) or (held and not _has_signer_everywhere(keyset)):
        return replace(keyset, no_cds=True)
    if keyset.no_cds and not held:
        return replace(keyset, no_cds=False)
    return keyset


def _has_signer_everywhere(keyset: Keyset) -> bool:
    """Return whether, in each algorithm, a key that signs CDS is in every DNSKEY set that may be held."""
    signers = {signer.key_id for signer in signing_view(keyset).cds_keys}
    able = {
        key.algorithm
        for key in keyset.keys
        if key.key_id in signers and not key.lost and key.dnskey.state is State.OMNIPRESENT
    }
    return able >= {key.algorithm for key in keyset.keys if key.dnskey.state is not State.HIDDEN}


def can_publish(keyset: Keyset) -> bool:
    """Return whether some key can sign the SOA of a new version, in each algorithm of the zone's data."""
    view = signing_view(keyset)
    able = {key.algorithm for key in (view.soa_keys or view.zone_keys) if key not in view.lost_keys}
    return able >= {key.algorithm for key in view.zone_keys}


def shows(before: Keyset, after: Keyset) -> bool:
    """Return whether a step needs a zone version.  Where none can be signed, the CDS RRset stays as it is."""
    cds = can_publish(after)
    return _published(signing_view(before, cds=cds)) != _published(signing_view(after, cds=cds))


def unsignable(before: Keyset, after: Keyset) -> str:
    """Return why no version with this step can be signed ("": one can, or none is needed)."""
    if not in_distress(after) or not shows(before, after):
        return ""
    old, new = signing_view(before), signing_view(after)
    for key in after.keys:
        if signs_set(key) and old.dnskey_rdatas != new.dnskey_rdatas:
            return (
                f"{key.role.value} {key.tag}, which signs the DNSKEY RRset, is lost: the RRset cannot change"
            )
    for key in after.keys:
        if key.lost and key.zrrsig.state is State.RUMOURED and not secured(after):
            return f"{key.role.value} {key.tag} is lost and may not have signed all data: its successor signs first"
    if can_publish(after):
        return ""
    tags = ", ".join(f"{key.role.value} {key.tag}" for key in after.keys if key.lost and key.zrrsig.visible)
    return f"{tags}, which signs zone data, is lost: no new version can be signed"


def half_signed(before: Keyset, after: Keyset, counts: Iterable[SignatureCount]) -> str:
    """Return why a step waits for the successor of a lost key that had not signed all zone data yet ("": it need not).

    This is of zones that no validator depends on: there the successor signs everything at once.  ``counts``: of the
    version that is published.
    """
    if secured(after) or not shows(before, after):
        return ""
    lacking = {count.ref for count in counts if count.missing}
    for key in after.keys:
        if key.lost and key.zrrsig.visible and key.ref in lacking:
            return f"{key.role.value} {key.tag} is lost and had not signed all zone data: its successor signs first"
    return ""


def _published(view: SigningView) -> tuple[object, ...]:
    signers = view.dnskey_keys, view.zone_keys, view.soa_keys
    return view.dnskey_rdatas, view.cds, view.cdnskey, *signers
