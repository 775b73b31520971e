"""What the KSKs sign at a ceremony: preimages out, signatures in, a response made of both."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from dnssecd.core.ceremony.checks import unknown_in_cds
from dnssecd.core.ceremony.request import Request, Slot
from dnssecd.core.ceremony.response import Response
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys.keyset import SigningKey, dnskey_rdata, ds_rdata
from dnssecd.core.keys.signed_ahead import AheadSet, merge
from dnssecd.core.signing.lifetimes import Window
from dnssecd.core.signing.rrsig import RrsigBuilder

Stage = tuple[SigningKey, ...]


class Task(Struct, frozen=True):
    """One signature to make: by which key, over which octets. ``head`` is the RRSIG RDATA before the signature."""

    rrset: RRset
    rdatas: tuple[bytes, ...]
    slot: int
    key: SigningKey
    head: bytes
    preimage: bytes


def stages_of(current: Stage, coming: Stage) -> tuple[Stage, ...]:
    """Return the sets of KSKs that the zone may have: those there are, with those to come, those to come alone.

    So a KSK rolls over between two ceremonies, at the time that the evidence of the DS at the parent allows.
    """
    if not coming:
        return (current,)
    return tuple(stage for stage in (current, (*current, *coming), coming) if stage)


def rdata_of_key(key: SigningKey) -> bytes:
    """Return the DNSKEY RDATA of a key."""
    return dnskey_rdata(key.flags, key.algorithm, key.public_key)


def tasks_of(request: Request, stages: Sequence[Stage], *, cds: bool) -> tuple[Task, ...]:
    """Return all signatures that a request asks for, slot by slot."""
    return tuple(
        task
        for number, slot in enumerate(request.slots)
        for task in _slot_tasks(request, number, slot, stages, cds)
    )


def _slot_tasks(
    request: Request, number: int, slot: Slot, stages: Sequence[Stage], cds: bool
) -> Iterator[Task]:
    builder = RrsigBuilder(request.zone, Window(slot.inception, slot.expiration, slot.expiration))
    for rtype, rdatas, keys in _wanted(request, slot, stages, cds):
        rrset = RRset(APEX, rtype, request.ttl, pack(rdatas))
        body = builder.body(rrset)
        for key in keys:
            head = builder.head(rrset, key, slot.expiration)
            yield Task(rrset, rdatas, number, key, head, head + body)


def _wanted(
    request: Request, slot: Slot, stages: Sequence[Stage], cds: bool
) -> Iterator[tuple[int, tuple[bytes, ...], Stage]]:
    """Yield (type, RDATA, signers) of every RRset that may be published in a slot."""
    for stage in stages:
        ksks = tuple(rdata_of_key(key) for key in stage)
        for zsks in slot.sets:
            for online in _online_sets(request):
                yield DNSKEY, tuple(sorted({*ksks, *zsks, *online})), stage
    everyone = tuple(dict.fromkeys(key for stage in stages for key in stage))
    for ksks in _cds_sets(request, stages) if cds else ():
        yield CDNSKEY, ksks, everyone
        yield CDS, tuple(sorted(ds_rdata(request.zone, rdata) for rdata in ksks)), everyone


def _online_sets(request: Request) -> tuple[tuple[bytes, ...], ...]:
    """Return the sets of KSKs at the signer (DNSKEY RDATA) that may be published beside those of the ceremony."""
    online = tuple(ksk.rdata for ksk in request.ksks if ksk.online)
    return tuple(dict.fromkeys([(), *((ksk,) for ksk in online), online]))


def _cds_sets(request: Request, stages: Sequence[Stage]) -> tuple[tuple[bytes, ...], ...]:
    """Return the sets of KSKs (DNSKEY RDATA) that the parent may be asked to have a DS of.

    Those that follow from the keys of the ceremony, and those that the signer says it publishes, or will: it knows
    which of the keys has a DS.
    """
    online = _online_sets(request)
    made = [tuple(rdata_of_key(key) for key in stage) for stage in (*stages, ())]
    derived = [(*ksks, *others) for ksks in made for others in online]
    stated = [ksks for ksks in request.cds_sets if not unknown_in_cds(request, ksks, _everyone(stages))]
    return tuple(dict.fromkeys(tuple(sorted(set(ksks))) for ksks in (*stated, *derived) if ksks))


def _everyone(stages: Sequence[Stage]) -> frozenset[bytes]:
    return frozenset(rdata_of_key(key) for stage in stages for key in stage)


def response_of(request: Request, tasks: Sequence[Task], signatures: Sequence[bytes], now: int) -> Response:
    """Return the response made of the signatures, which come in the order of the tasks."""
    sets = [
        AheadSet(task.rrset.rtype, task.rrset.ttl, task.rdatas, (task.head + signature,))
        for task, signature in zip(tasks, signatures, strict=True)
    ]
    return Response(
        zone=request.zone,
        sets=merge(sets),
        made=now,
        start=request.start,
        stop=request.stop,
        number=request.number,
        request=request.digest.hex(),
    )


def bundles_of(
    request: Request, tasks: Sequence[Task], signatures: Sequence[bytes], stage: Stage
) -> list[tuple[int, tuple[AheadSet, ...]]]:
    """Return the signatures by slot with one set of KSKs, as Knot's and BIND's form has them.

    A slot of such a request has one set of ZSKs, and begins at its inception.
    """
    ksks = {rdata_of_key(key) for key in stage}
    digests = {ds_rdata(request.zone, rdata) for rdata in ksks}
    found: dict[int, list[AheadSet]] = {number: [] for number in range(len(request.slots))}
    for task, signature in zip(tasks, signatures, strict=True):
        shown = {rdata for rdata in task.rdatas if task.rrset.rtype == CDS or rdata[1] & 1}
        if shown == (digests if task.rrset.rtype == CDS else ksks):
            rrsig = task.head + signature
            found[task.slot].append(AheadSet(task.rrset.rtype, task.rrset.ttl, task.rdatas, (rrsig,)))
    return [(request.slots[number].inception, merge(sets)) for number, sets in found.items()]
