"""Signatures by lost keys: kept where they are, beside those of the keys that are there; none is made."""

from collections.abc import Iterable, Iterator

from msgspec import structs

from dnssecd.core.dns.rrset import RRset, Rrsigs, unpack
from dnssecd.core.keys.keyset import SigningKey, SigningView
from dnssecd.core.keys.signed_ahead import expiration, signer_mark
from dnssecd.core.signing.signplan import Drop, SignNeed, signed_as, signers
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.rejected import Rejected

Place = tuple[bytes, int]


def able_signers(view: SigningView, rtype: int) -> tuple[SigningKey, ...]:
    """Return the keys that make signatures over RRsets of a type (see ``signers``): those that are not lost."""
    return tuple(key for key in signers(view, rtype) if key not in view.lost_keys)


def kept_rrsigs(view: SigningView, old: Rrsigs | None) -> list[bytes]:
    """Return the RRSIGs by lost keys that stay beside the new ones of an RRset."""
    if not view.lost_keys or old is None:
        return []
    marks = _marks(signers(view, signed_as(old.owner, old.covered)), view)
    return [rdata for rdata in unpack(old.rdata) if signer_mark(rdata) in marks]


def earliest(expires: int, kept: Iterable[bytes]) -> int:
    """Return when the first RRSIG of an RRset expires: a new one, or one that was kept."""
    return min([expires, *(expiration(rdata, expires) for rdata in kept)])


def spared(
    plan: Iterable[SignNeed | Drop], view: SigningView, changed: frozenset[Place]
) -> Iterator[SignNeed | Drop]:
    """Yield the plan without what only lost keys could sign; raise Rejected where an RRset changed that they sign."""
    if not view.lost_keys:
        yield from plan
        return
    for step in plan:
        if isinstance(step, Drop):
            yield step
            continue
        rtype = signed_as(step.rrset.owner, step.rrset.rtype)
        lost = _marks(signers(view, rtype), view)
        if not lost:
            yield step
        elif (step.rrset.owner, step.rrset.rtype) in changed or len(kept_rrsigs(view, step.old)) < len(lost):
            raise Rejected("signing-failed", *_refusal(view))
        elif able_signers(view, rtype):
            yield step


def renewable(due: list[Place], view: SigningView) -> list[Place]:
    """Return the places, of those that come due, whose signatures are by keys that are all there."""
    if not view.lost_keys:
        return due
    return [place for place in due if not _marks(signers(view, signed_as(*place)), view)]


def kept_ttl(spec: ZoneSpec, view: SigningView, held: RRset | None) -> ZoneSpec:
    """Return the spec with the TTL that the DNSKEY RRset has, where a lost key signs it: it cannot change."""
    if held is None or not _marks(view.dnskey_keys, view):
        return spec
    return structs.replace(spec, dnskey_ttl=held.ttl)


def _marks(keys: Iterable[SigningKey], view: SigningView) -> frozenset[tuple[int, int]]:
    return frozenset((key.algorithm, key.tag) for key in keys if key in view.lost_keys)


def _refusal(view: SigningView) -> tuple[str, str]:
    tags = ", ".join(str(key.tag) for key in view.lost_keys)
    return (
        f"key {tags} is lost, and what it signed cannot change until its successor signs",
        "the recovery plan says when that is (dnssecd explain); the change is made then. The previous version is "
        "still served",
    )
