"""What a request says of the zone's KSKs: those that the ceremony has to know, and the CDS that the zone may have."""

from collections.abc import Collection, Iterable, Iterator

from dnssecd.core.ceremony.request import KnownKsk
from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import VISIBLE, Goal, Rec, Role
from dnssecd.core.keys.label import label
from dnssecd.core.keys.simulate import Span

#: More CDS RRsets than these are not asked for: the first are those that are needed soonest.
CDS_SETS_MAX = 12


def known_ksks(keyset: Keyset, offline: Collection[str]) -> Iterator[KnownKsk]:
    """Yield the KSKs and CSKs that may be published; ``offline``: the key stores whose keys are not at the signer.

    A key that left the zone is none of them: no DNSKEY or CDS RRset will have it.
    """
    for key in keyset.keys:
        if _may_be_shown(key):
            yield KnownKsk(key.rdata, f"{label(key)}; DS {key.ds.state.value}", key.keystore not in offline)


def _may_be_shown(key: Key) -> bool:
    if key.role is Role.ZSK or key.revoked or key.foreign:
        return False
    return key.dnskey.visible or key.ds.visible or key.goal is not Goal.ABSENT


def cds_sets(
    keyset: Keyset, spans: Iterable[Span], start: int, ksks: Collection[bytes]
) -> tuple[tuple[bytes, ...], ...]:
    """Return the sets of keys (DNSKEY RDATA) that the CDS RRset has at ``start`` (epoch s), and will have.

    ``spans`` is the forecast; a set with a key that is still to be made, or that is not in ``ksks``, is left out.
    """
    present = tuple(sorted(key.rdata for key in keyset.keys if key.ds.visible))
    known = {key.ref: key.rdata for key in keyset.keys if Rec.DS in key.records}
    shown = [
        (span.start, span.stop, known.get(span.ref, b""))
        for span in spans
        if span.rec is Rec.DS and span.state in VISIBLE
    ]
    times = sorted({at for begin, end, _ in shown for at in (begin, end) if at is not None and at >= start})
    ahead = (
        tuple(sorted({rdata for begin, end, rdata in shown if begin <= at and (end is None or at < end)}))
        for at in times
    )
    found = (rdatas for rdatas in (present, *ahead) if rdatas and set(rdatas) <= set(ksks))
    return tuple(dict.fromkeys(found))[:CDS_SETS_MAX]
