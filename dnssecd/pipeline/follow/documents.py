"""Judge the state documents of a record: each can be read, and its key set is the one that the zone publishes.

No signature of the zone covers them. Anyone who can write to the database of the cluster can forge one; so nothing that
the next owner would publish, or destroy, is taken from a document that the published version does not confirm.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import msgspec

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys.keyset import Keyset, key_tag, signing_view
from dnssecd.core.keys.lost import in_distress
from dnssecd.core.zone.stale_input import LoadedInput
from dnssecd.pipeline.jobs.shared_input import INPUTS
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import CEREMONY, CeremonyState
from dnssecd.pipeline.version.keychange import REMOVALS, pending_removals
from dnssecd.store.interface import ReplayedVersion, State


def _listed(field: str, kind: object) -> Callable[[State | None], object]:
    return lambda document: msgspec.convert((document or {}).get(field, []), kind)


#: Document → what reads it.
READERS: Mapping[str, Callable[[State | None], object]] = {
    state.VERSION: partial(state.from_document, kind=state.VersionState),
    state.KEYSET: state.keyset_from,
    state.RESTORED: state.restored_from,
    state.ADOPTION: state.foreign_keys,
    state.FOREIGN: state.input_keys,
    CEREMONY: partial(state.from_document, kind=CeremonyState),
    INPUTS: _listed("loaded", list[LoadedInput]),
    REMOVALS: _listed("keys", list[str]),
}


def document_faults(replayed: ReplayedVersion) -> Iterator[str]:
    """Yield why the documents that a record wrote cannot be followed."""
    for name in sorted(replayed.documents & READERS.keys()):
        try:
            READERS[name](replayed.state(name))
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
            yield f"its state document {name!r} cannot be read: {error}"
            return
    keyset = state.keyset_from(replayed.state(state.KEYSET))
    if keyset is not None:
        yield from _shape_faults(replayed, keyset)
    yield from _removal_faults(replayed, keyset)


def keyset_faults(replayed: ReplayedVersion) -> Iterator[str]:
    """Yield where the key set is not that of the version; the documents were read without faults before."""
    keyset = state.keyset_from(replayed.state(state.KEYSET))
    if keyset is not None and (replayed.written or state.KEYSET in replayed.documents):
        yield from _published_faults(replayed, keyset)


def _shape_faults(replayed: ReplayedVersion, keyset: Keyset) -> Iterator[str]:
    """Yield what no key set has."""
    if keyset.apex != replayed.origin:
        yield "its key set is of another zone"
    if len({key.ref for key in keyset.keys}) < len(keyset.keys):
        yield "its key set names a key twice"
    if any(key.tag != key_tag(key.rdata) for key in keyset.keys):
        yield "its key set has a key with the tag of another"


def _published_faults(replayed: ReplayedVersion, keyset: Keyset) -> Iterator[str]:
    """Yield where the key set publishes other RRsets than the version has.

    CDS and CDNSKEY may be missing: a policy, or a ceremony, withholds them. While a key is lost no version may be
    possible, and the key set is ahead of the zone. But no key of another signer enters it in these ways.
    """
    if replayed.state(state.VERSION) is None:
        return
    view = signing_view(keyset, cds=True)
    shown = _rdatas(replayed, DNSKEY)
    if any(
        key.foreign and (key.dnskey.visible or key.ds.visible) and key.rdata not in shown
        for key in keyset.keys
    ):
        yield "its key set uses a key of another signer that the zone does not publish"
    if in_distress(keyset) and not replayed.written:
        return
    if set(view.dnskey_rdatas) != shown:
        yield "its key set has other DNSKEYs than the zone publishes"
    for rtype, name, wanted in ((CDS, "CDS", view.cds), (CDNSKEY, "CDNSKEY", view.cdnskey)):
        found = _rdatas(replayed, rtype)
        if found and found != set(wanted):
            yield f"its key set has other {name} than the zone publishes"


def _rdatas(replayed: ReplayedVersion, rtype: int) -> set[bytes]:
    rrset = replayed.rrset(APEX, rtype)
    return set() if rrset is None else set(unpack(rrset.rdata))


def _removal_faults(replayed: ReplayedVersion, after: Keyset | None) -> Iterator[str]:
    """Yield which private keys are to be destroyed although the zone uses them: the next owner would do it."""
    if REMOVALS not in replayed.documents:
        return
    shown = _rdatas(replayed, DNSKEY)
    before = state.keyset_from(replayed.old_state(state.KEYSET))
    used = {key.key_id for key in after.keys} if after is not None else set()
    if before is not None:
        used |= {key.key_id for key in before.keys if not key.lost and (key.rdata in shown or key.ds.visible)}
    wanted = used.intersection(pending_removals(replayed.state(REMOVALS)))
    if wanted:
        yield f"it has {len(wanted)} key(s) destroyed that the zone uses"
