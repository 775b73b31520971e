"""Make the next version of a zone, from a change to the commit: the one path for every change.

    unsigned changes → apex RRsets and serial → denial chain → signatures → verification → commit

Everything is written to one transaction of the zone's database, which is not visible to others before
verification has passed. A failure before that leaves the published version unchanged.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from operator import itemgetter

import msgspec
from msgspec import Struct

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DNSKEY, SOA, ZONEMD
from dnssecd.core.dns.serial import latest, next_serial
from dnssecd.core.keys.keyset import Keyset, SigningView, published, signing_view
from dnssecd.core.signing.lifetimes import SPREAD_SHARE, Lifetimes, Window, refresh_s, signing_window
from dnssecd.core.signing.regions import WHOLE_ZONE, Regions, regions_of
from dnssecd.core.signing.rrsig import RrsigBuilder
from dnssecd.core.signing.signplan import Drop, SignatureJudge, SignNeed, plan_signatures
from dnssecd.core.verify import VerificationFailed, VerifiedVersion, Violation
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.ahead import PreSigned, presigned_at
from dnssecd.pipeline.version.apex import apex_rrsets, is_signed, soa_expire, soa_serial, with_serial
from dnssecd.pipeline.version.chain_changes import ChainChanges, chain_difference
from dnssecd.pipeline.version.committed import FirstVersion
from dnssecd.pipeline.version.csync import with_csync
from dnssecd.pipeline.version.first_version_view import planned_from
from dnssecd.pipeline.version.held_denial import in_force
from dnssecd.pipeline.version.kept import Kept
from dnssecd.pipeline.version.lost_keys import kept_ttl, renewable, spared
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.signatures import carry_out
from dnssecd.pipeline.version.zonedigest import complete, drop, is_plain, reserve, without_zonemd
from dnssecd.publish.commit import commit
from dnssecd.replacing import replace
from dnssecd.store.interface import OldVersion, Transaction, ZoneTransaction

#: At most this many due RRSIGs are renewed in one version, to limit its size; RRSIGs that expire within the
#: hour, or have expired in an outage, are all renewed, in any number.
DUE_MAX = 20_000
URGENT_S = 3600

#: In a zone of at most this many records, all signatures of a retiring key are replaced at once; in larger
#: zones when they are due.
PROMPT_RECORDS_MAX = 5_000

#: (owner, type) of a change.
_PLACE = itemgetter(0, 1)

Verifier = Callable[["Draft"], VerifiedVersion | VerificationFailed]


class Input(Struct, frozen=True):
    """The input of a job: changes to content, and the SOA of the new content (any serial).

    ``serial_floor`` is the latest serial seen anywhere (secondaries at a first publication); ``resign``:
    renew RRSIGs that are due; ``rrsets``: the whole unsigned content for the verifier, if the job has it;
    ``window``: explicit signature times; ``renew``: make a version even if nothing has changed, and verify
    all of it; ``foreign``: DNSKEY RDATA of other signers in the input, if they are not those of the last one.
    """

    changes: list[Change]
    soa: RRset
    largest_ttl: int
    owners: int
    digest: str = ""
    input_serial: int | None = None
    serial_floor: int | None = None
    rrsets: list[RRset] | None = None
    resign: bool = False
    window: Window | None = None
    renew: bool = False
    foreign: tuple[bytes, ...] | None = None


class Draft(Struct, frozen=True):
    """A complete version that is not yet verified, with the data for its verification."""

    transaction: Transaction
    changes: list[Change]
    version: state.VersionState
    soa: RRset
    previous_serial: int | None
    view: SigningView
    spec: ZoneSpec
    now: int
    given: Input
    chain_changes: int

    @property
    def serial(self) -> int:
        """The version's serial."""
        return self.version.serial

    @property
    def signatures(self) -> int:
        """How many signatures were made."""
        return self.version.signatures


class StoredVersion(Struct, frozen=True):
    """Stored data of the published version; ``earliest``: when its first RRSIG expires (epoch s)."""

    version: state.VersionState
    soa: RRset
    earliest: int | None


class Published(Struct, frozen=True):
    """The result; ``serial`` is None if no version was needed, else ``soa`` is the version's SOA RRset.

    ``whole``: all of the zone was verified, not only what changed. ``version``: what is stored of it. ``stored``:
    set if it was read in the transaction that made the version; the outcome then needs no snapshot. ``first``:
    likewise, of a first version.
    """

    serial: int | None
    changed_rrsets: int = 0
    chain_changes: int = 0
    signatures: int = 0
    soa: RRset | None = None
    whole: bool = False
    stored: StoredVersion | None = None
    version: state.VersionState | None = None
    first: FirstVersion | None = None


def policy_mark(spec: ZoneSpec, view: SigningView) -> str:
    """Return the mark of the policy and keys that RRSIGs and the chain depend on; a new mark causes a whole walk."""
    parts = (
        spec.denial,
        spec.opt_out,
        spec.zonemd,
        *(f"{key.algorithm}/{key.tag}" for key in (*view.dnskey_keys, *view.cds_keys, *view.zone_keys)),
        view.urgent,
    )
    return sha256(msgspec.json.encode(parts)).hexdigest()[:16]


class _OfView:
    """What follows from a signing view: the judge of its signatures, and the policy's mark by specification."""

    def __init__(self, view: SigningView) -> None:
        self.judge = SignatureJudge(view)
        self.mark = Kept[ZoneSpec, str](lambda spec: policy_mark(spec, view))


_VIEWS = {cds: Kept(partial(signing_view, cds=cds)) for cds in (True, False)}
_of_view = Kept(_OfView)


def make_version(
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    keyset: Keyset,
    given: Input,
    signer: SignerClient,
    verify: Verifier,
    now: int,
    date: int,
) -> Published:
    """Make, verify and commit the next version, or find that none is needed; raise Rejected.

    ``now`` is epoch seconds, ``date`` today as YYYYMMDD (UTC).
    """
    draft = draft_version(transaction, spec, keyset, given, signer, now, date)
    if draft is None:
        return Published(None)
    verdict = verify(draft)
    if isinstance(verdict, VerificationFailed):
        raise verification_failed(verdict.violations)
    transaction.prune_journal(spec.journal_octets_max, now - spec.journal_age_s_max)
    first = draft.previous_serial is None
    # Before the commit: a client waits for what comes after it. A first version has no index for it yet.
    stored = None if first else StoredVersion(draft.version, draft.soa, transaction.earliest_expiration())
    commit(verdict, transaction)
    counts = len(draft.changes), draft.chain_changes, draft.signatures
    return Published(
        draft.serial, *counts, draft.soa, first or given.renew, stored=stored, version=draft.version
    )


def draft_version(
    transaction: Transaction,
    spec: ZoneSpec,
    keyset: Keyset,
    given: Input,
    signer: SignerClient,
    now: int,
    date: int,
    meanwhile: Callable[[], bool] | None = None,
    told: Progress = untold,
) -> Draft | None:
    """Write the next version to the transaction, signed but not verified or committed; None if none is due.

    ``meanwhile`` does a piece of other work during a wait for the key service, and returns whether there was
    any; ``told`` is called with the number of signatures made.
    """
    old = transaction.old
    before = state.from_document(old.version, state.VersionState)
    _check_ours(spec, before)
    spec = in_force(spec, old, keyset)
    view = _VIEWS[spec.cds](keyset)
    ahead = presigned_at(transaction, spec, view, now)
    if ahead is not None:
        view, spec = ahead.view, ahead.spec(spec)
    if view.retiring_keys and before is not None and before.records <= PROMPT_RECORDS_MAX:
        view = replace(view, urgent=True)
    spec = kept_ttl(spec, view, old.rrset(APEX, DNSKEY))
    if spec.csync and before is not None:
        number = before.serial if is_signed(view) else None
        with_it, rrsets = with_csync(given.changes, given.rrsets, old, number, spec.dnskey_ttl)
        given = replace(given, changes=with_it, rrsets=rrsets)
    changes = content_changes(transaction, given, apex_rrsets(view, spec))
    refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(given.soa), given.largest_ttl)
    due = renewable(_due(old, now, refresh, ahead), view) if given.resign else []
    mark = _of_view(view).mark(spec)
    same_policy = before is not None and before.policy == mark
    if same_policy and not changes and not due and not _input_rose(before, given) and not given.renew:
        return None
    serial = _serial(before, spec, given, now, date)
    soa = with_serial(given.soa, serial)
    _put_soa(changes, old.rrset(APEX, SOA), soa)
    regions = regions_of(changes) if same_policy else WHOLE_ZONE
    few = before is not None and not regions.whole and not due and is_plain(spec, old)
    if not few:
        _apply_content(transaction, spec, changes, serial, given.soa.ttl)
    new = planned_from(transaction, old, changes, complete=not spec.zonemd, few=few)
    chain = ChainChanges(transaction, chain_difference(old, new, regions, spec, view))
    if few:
        old.read_ahead((), [change.owner for change in chain.find()])
    elif before is not None:
        chain.settle()
    window = given.window or signing_window(
        Lifetimes(spec.validity_s, spec.inception_offset_s, refresh, spec.jitter_s),
        now,
        spread=_is_spread(before, len(changes) + chain.count + len(due), regions),
    )
    changed = {(change.owner, change.rtype) for change in changes} if before is not None else set()
    plan = spared(
        plan_signatures(old, new, regions, changed, chain, due, _of_view(view).judge),
        view,
        frozenset(changed),
    )

    def write_small() -> None:
        if few:
            transaction.apply_content(changes)
            chain.write()

    signatures = _sign(
        transaction,
        list(plan) if few else plan,
        view,
        RrsigBuilder(spec.origin, window),
        signer,
        spec,
        serial,
        meanwhile,
        told,
        ahead,
        write_small,
    )
    version = _version_state(transaction, given, before, serial, mark, signatures, now)
    _write_state(transaction, keyset, version, before, soa)
    previous = None if before is None else before.serial
    return Draft(transaction, changes, version, soa, previous, view, spec, now, given, chain.count)


def _check_ours(spec: ZoneSpec, before: state.VersionState | None) -> None:
    """Raise Rejected for a zone that another signer signs: with our keys in its place it would be bogus."""
    if spec.verify_only:
        raise Rejected(
            "input-error",
            f"{spec.name} is not signed here: signing is verify-only",
            "make the change at its signer; the previous version is still served",
        )
    if before is not None and before.policy == state.PASSED:
        raise Rejected(
            "input-error",
            f"the served version of {spec.name} was signed by another signer, and signing is no longer verify-only",
            f'write signing = "verify-only" again; to sign it here: dnssecd zone remove {spec.name}, configure it '
            "again, and adopt it with the other signer's keys (docs/migration.md)",
        )


def _without_signers(plan: Iterable[SignNeed | Drop]) -> Iterator[SignNeed | Drop]:
    """Return the plan for a zone that becomes unsigned: all its signatures are dropped."""
    for step in plan:
        if step.old is not None:
            yield Drop(step.old)


def _apply_content(
    transaction: Transaction, spec: ZoneSpec, changes: list[Change], serial: int, soa_ttl: int
) -> None:
    transaction.apply_content(changes)
    if spec.zonemd:
        reserve(transaction, serial, soa_ttl)
    else:
        drop(transaction)


def _sign(
    transaction: Transaction,
    plan: Iterable[SignNeed | Drop],
    view: SigningView,
    builder: RrsigBuilder,
    signer: SignerClient,
    spec: ZoneSpec,
    serial: int,
    meanwhile: Callable[[], bool] | None,
    told: Progress,
    ahead: PreSigned | None,
    begun: Callable[[], None],
) -> int:
    """Carry out the plan, then sign the zone digest; return how many signatures were made."""
    steps: Callable[[Iterable[SignNeed | Drop]], Iterator[SignNeed | Drop]]
    steps = iter if is_signed(view) else _without_signers
    if not spec.zonemd:
        return carry_out(
            steps(plan), transaction, view, builder, signer, meanwhile, told, ahead, begun
        ).signatures
    made = carry_out(steps(without_zonemd(plan)), transaction, view, builder, signer, ahead=ahead).signatures
    return (
        made + carry_out(steps(complete(transaction, serial)), transaction, view, builder, signer).signatures
    )


def content_changes(transaction: Transaction, given: Input, derived: list[RRset]) -> list[Change]:
    """Return the content changes without the SOA's serial: those of the job and of the derived apex RRsets."""
    old = transaction.old
    standing = [r for r in old.rrsets_at(APEX) if r.rtype in APEX_DERIVED_TYPES and r.rtype != ZONEMD]
    changes = sorted(given.changes, key=_PLACE)
    for change in diff(standing, sorted(derived)):
        insort(changes, change, key=_PLACE)
    held = old.rrset(APEX, SOA)
    if held is not None and with_serial(held, 0) != with_serial(given.soa, 0):
        insort(changes, Change(APEX, SOA, held, given.soa), key=_PLACE)
    return changes


def _due(old: OldVersion, now: int, refresh: int, ahead: PreSigned | None) -> list[tuple[bytes, int]]:
    """Return the places to sign again, in order of expiration."""
    due = _all_due(old, now, refresh)
    return due if ahead is None else [place for place in due if ahead.is_due(old, place)]


def _all_due(old: OldVersion, now: int, refresh: int) -> list[tuple[bytes, int]]:
    due = old.rrsigs_due(now + refresh, DUE_MAX)
    if len(due) < DUE_MAX:
        return due
    urgent = old.rrsigs_due(now + URGENT_S, -1)
    return urgent if len(urgent) > len(due) else due


def _put_soa(changes: list[Change], held: RRset | None, soa: RRset) -> None:
    """Insert the change of the SOA RRset, which has the new serial, at its place among the others."""
    start, end = (side(changes, (APEX, SOA), key=_PLACE) for side in (bisect_left, bisect_right))
    changes[start:end] = [Change(APEX, SOA, held, soa)]


def _input_rose(before: state.VersionState | None, given: Input) -> bool:
    """Tell whether the input's serial alone is a change, because it is after the published one."""
    if before is None or given.input_serial is None or given.input_serial == before.input_serial:
        return False
    return latest(before.serial, given.input_serial) != before.serial


def _serial(before: state.VersionState | None, spec: ZoneSpec, given: Input, now: int, date: int) -> int:
    seen = [s for s in (before.serial if before else None, given.serial_floor) if s is not None]
    wanted = soa_serial(given.soa) if given.input_serial is None else given.input_serial
    return next_serial(spec.serial, latest(*seen) if seen else None, wanted, now, date)


def _is_spread(before: state.VersionState | None, places: int, regions: Regions) -> bool:
    if before is None or regions.whole:
        return True
    return places > SPREAD_SHARE * max(before.owners, 1) and places > 100


def _version_state(
    transaction: Transaction,
    given: Input,
    before: state.VersionState | None,
    serial: int,
    mark: str,
    signatures: int,
    now: int,
) -> state.VersionState:
    input_serial = given.input_serial
    if input_serial is None:
        input_serial = before.input_serial if before else soa_serial(given.soa)
    return state.VersionState(
        serial=serial,
        input_serial=input_serial,
        published_at=now,
        policy=mark,
        largest_ttl=given.largest_ttl,
        owners=given.owners,
        records=(before.records if before else 0) + transaction.records_delta,
        digest=given.digest or (before.digest if before else ""),
        signatures=signatures,
    )


def _write_state(
    transaction: Transaction,
    keyset: Keyset,
    version: state.VersionState,
    before: state.VersionState | None,
    soa: RRset,
) -> None:
    serial, now = version.serial, version.published_at
    transaction.set_state(state.VERSION, state.to_document(version))
    stored = published(keyset, serial, now)
    if stored != keyset or state.keyset_from(transaction.state(state.KEYSET)) is not keyset:
        transaction.set_state(state.KEYSET, state.to_document(stored))
    if before is not None:
        transaction.close_journal(now, transaction.old.rrset(APEX, SOA), soa, (before.serial, serial))
    transaction.add_history(now, "dnssecd", "published", serial, f"{version.signatures} signatures")


def verification_failed(violations: Iterable[Violation]) -> Rejected:
    """Return the Rejected for a version with violations."""
    lines = [str(violation) for violation in violations]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return Rejected(
        "verification-failed",
        f"the new version did not pass verification: {lines[0]}{more}",
        "the previous version is still served; nothing was published. See the list of violations; if the "
        "key service or an HSM made bad signatures, take it out of service, otherwise report this as a bug",
        lines,
    )
