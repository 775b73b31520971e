"""What the daemon stores of ceremonies: that a request was made, and what an accepted response brought."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from dnssecd.core.ceremony.accept import Accepted, Published, ResponseRefused, Signer, accept_response
from dnssecd.core.ceremony.response import Response
from dnssecd.core.keys.keyset import Keyset, KeysetError, add_key, key_tag, mark_of, signing_view
from dnssecd.core.keys.keystate import Role
from dnssecd.core.keys.signed_ahead import SignedAhead, cds_until
from dnssecd.core.utc import moment
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import CEREMONY, CeremonyState, offline_key, read_ceremony
from dnssecd.store.interface import ZoneStore, ZoneTransaction


class Import(Struct, frozen=True):
    """A response to import. ``zsks``: DNSKEY RDATA of the ZSKs that the key service has; ``accepted``: DS digests.

    ``now`` is epoch seconds.
    """

    response: Response
    zsks: frozenset[bytes]
    accepted: frozenset[str]
    who: str
    now: int


class Imported(Struct, frozen=True):
    """What an import brought: RRsets, RRSIGs, tags of new KSKs, and until when all is signed (epoch s).

    ``cds_until``: the end of what signs the CDS RRset published now, where that is earlier; None: it is not.
    """

    sets: int
    rrsigs: int
    ksks: tuple[int, ...]
    until: int
    cds_until: int | None = None


def import_response(db: ZoneStore, spec: ZoneSpec, job: Import) -> Imported:
    """Verify a response and store what is in it. Raise ResponseRefused, StoreError."""
    with db.write() as transaction:
        keyset = state.keyset_from(transaction.state(state.KEYSET))
        before = read_ceremony(transaction)
        accepted = accept_response(job.response, _signer(spec, keyset, before, job), job.now)
        ksks = _fresh(accepted, keyset)
        after = msgspec.structs.replace(
            before,
            sets=accepted.ahead.sets,
            response=job.response.digest.hex(),
            ksks=ksks if keyset is None else before.ksks,
            imported=job.now,
        )
        if keyset is None:
            _check_first(ksks)
        elif ksks:
            keyset = _joined(keyset, ksks, spec, job.now)
            transaction.set_state(state.KEYSET, state.to_document(keyset))
        _store(transaction, after, job, accepted)
    rrsigs = sum(len(each.rrsigs) for each in after.sets)
    cds_end = cds_until(keyset, accepted.ahead, job.now) if keyset is not None and spec.cds else None
    return Imported(
        len(after.sets),
        rrsigs,
        tuple(map(key_tag, ksks)),
        accepted.until,
        cds_end if cds_end is not None and cds_end < accepted.until else None,
    )


def count_request(db: ZoneStore, first_zsk: str) -> None:
    """Note that a request was made; ``first_zsk``: id of the ZSK that a new zone is to begin with ("": it has keys)."""
    with db.write() as transaction:
        before = read_ceremony(transaction)
        after = msgspec.structs.replace(before, requests=before.requests + 1, first_zsk=first_zsk)
        transaction.set_state(CEREMONY, state.to_document(after))
        transaction.commit_state()


def _signer(spec: ZoneSpec, keyset: Keyset | None, before: CeremonyState, job: Import) -> Signer:
    ahead = SignedAhead(frozenset(spec.offline), before.sets)
    if keyset is None:
        return Signer(spec.origin, job.zsks, frozenset(before.ksks), ahead, Published(), job.accepted)
    view = signing_view(keyset, cds=False)
    ksks = {key.rdata for key in keyset.keys if key.role is not Role.ZSK}
    zsks = {key.rdata for key in keyset.keys if key.role is Role.ZSK}
    offline = any(ahead.is_offline(key) for key in view.dnskey_keys)
    published = Published(view.dnskey_rdatas, view.dnskey_keys) if offline else Published()
    return Signer(spec.origin, job.zsks | zsks, frozenset(ksks), ahead, published, job.accepted)


def _fresh(accepted: Accepted, keyset: Keyset | None) -> tuple[bytes, ...]:
    """Return the KSKs that are new: one that left the zone does not come back with a response."""
    past = frozenset() if keyset is None else frozenset(keyset.past)
    return tuple(rdata for rdata in accepted.ksks if mark_of(rdata[3], rdata[4:]) not in past)


def _check_first(ksks: Iterable[bytes]) -> None:
    algorithms = [rdata[3] for rdata in ksks]
    if len(set(algorithms)) < len(algorithms):
        raise ResponseRefused(["a new zone begins with one KSK, and the response has several: sign with one"])


def _joined(keyset: Keyset, ksks: Iterable[bytes], spec: ZoneSpec, now: int) -> Keyset:
    """Return the key set with new off-line KSKs; the planner then replaces the one in use."""
    stores = [wish.keystore for wish in spec.keys if wish.keystore in spec.offline] or list(spec.offline)
    try:
        for rdata in ksks:
            keyset = add_key(keyset, offline_key(rdata, stores[0], now))
    except KeysetError as error:
        raise ResponseRefused([f"its KSK cannot join the zone's keys: {error}"]) from None
    return keyset


def _store(transaction: ZoneTransaction, after: CeremonyState, job: Import, accepted: Accepted) -> None:
    transaction.set_state(CEREMONY, state.to_document(after))
    tags = ", ".join(str(key_tag(rdata)) for rdata in accepted.ksks)
    detail = f"request {job.response.number or 'without number'}, signed until {moment(accepted.until)}"
    detail += f", new KSK {tags}" if tags else ""
    transaction.add_history(job.now, job.who, "ceremony's response imported", None, detail)
    transaction.commit_state()
