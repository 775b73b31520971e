"""Making the next version of a zone, from a change to the commit: the one path, whatever the change.

    unsigned changes → apex RRsets and serial → denial chain → signatures → verification → commit

Everything is written into one transaction of the zone's database, which nobody else sees until the verifier has
passed it; whatever goes wrong before leaves the published version as it was.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from operator import itemgetter

import msgspec

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA, ZONEMD
from dnssecd.core.dns.serial import latest, next_serial
from dnssecd.core.keys.keyset import Keyset, SigningView, published, signing_view
from dnssecd.core.signing.denial import denial_changes
from dnssecd.core.signing.lifetimes import SPREAD_SHARE, Lifetimes, Window, refresh_s, signing_window
from dnssecd.core.signing.regions import WHOLE_ZONE, Regions, regions_of
from dnssecd.core.signing.rrsig import RrsigBuilder
from dnssecd.core.signing.signplan import Drop, SignatureJudge, SignNeed, plan_signatures
from dnssecd.core.verify import VerificationFailed, VerifiedVersion, Violation
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.pipeline.jobs.progress import Progress, untold
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import apex_rrsets, is_signed, soa_expire, soa_serial, with_serial
from dnssecd.pipeline.version.first_version_view import planned_from
from dnssecd.pipeline.version.held_denial import in_force
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.signatures import carry_out
from dnssecd.pipeline.version.zonedigest import complete, drop, reserve, without_zonemd
from dnssecd.publish.commit import commit
from dnssecd.store.interface import OldVersion, Transaction

#: At most this many RRSIGs that come due are made anew in one version, so that no version is unduly large; those
#: that expire within the hour, or have expired in an outage, are all made, whatever their number.
DUE_MAX = 20_000
URGENT_S = 3600

#: In a zone of so few records a retiring key's signatures are all replaced at once; in larger ones as they come due.
PROMPT_RECORDS_MAX = 5_000

CHUNK_RRSETS = 1_000

#: (owner, type) of a change.
_PLACE = itemgetter(0, 1)

Verifier = Callable[["Draft"], VerifiedVersion | VerificationFailed]


@dataclass(frozen=True)
class Input:
    """What a job brings: changes to content and the SOA that content has now (any serial).

    ``serial_floor`` is the latest serial seen anywhere (secondaries at a first publication); ``resign`` asks for
    RRSIGs that come due; ``rrsets`` is the whole unsigned content, where the job has it, for the verifier;
    ``window`` are signature times asked for explicitly; ``anew`` asks for a version
    though nothing has changed, and has all of it verified.
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
    anew: bool = False


@dataclass(frozen=True)
class Draft:
    """A version complete but for its verification: what the verifier needs to judge it by."""

    transaction: Transaction
    changes: list[Change]
    serial: int
    previous_serial: int | None
    view: SigningView
    spec: ZoneSpec
    now: int
    given: Input
    chain_changes: int
    signatures: int


@dataclass(frozen=True)
class StoredVersion:
    """What the store has of the published version; ``earliest``: when its first RRSIG expires (epoch s)."""

    version: state.VersionState
    soa: RRset
    earliest: int | None


@dataclass(frozen=True)
class Published:
    """What was made; None for ``serial`` when nothing had to be, else ``soa`` is the version's SOA RRset.

    ``whole``: all of the zone was verified, not only what changed. ``stored``: where it was read in the transaction
    that made it; the outcome takes no snapshot then.
    """

    serial: int | None
    changed_rrsets: int = 0
    chain_changes: int = 0
    signatures: int = 0
    soa: RRset | None = None
    whole: bool = False
    stored: StoredVersion | None = None


def policy_mark(spec: ZoneSpec, view: SigningView) -> str:
    """Return the mark of the policy and keys that RRSIGs and the chain depend on; a new mark means a whole walk."""
    parts = (
        spec.denial,
        spec.opt_out,
        spec.zonemd,
        *(f"{key.algorithm}/{key.tag}" for key in (*view.dnskey_keys, *view.cds_keys, *view.zone_keys)),
        view.urgent,
    )
    return sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def make_version(
    transaction: Transaction,
    spec: ZoneSpec,
    keyset: Keyset,
    given: Input,
    signer: SignerClient,
    verify: Verifier,
    now: int,
    date: int,
) -> Published:
    """Make, verify and commit the next version, or find that none is needed. Raises Rejected.

    ``now`` is epoch seconds, ``date`` today as YYYYMMDD (UTC).
    """
    draft = draft_version(transaction, spec, keyset, given, signer, now, date)
    if draft is None:
        return Published(None)
    verdict = verify(draft)
    if isinstance(verdict, VerificationFailed):
        raise verification_failed(verdict.violations)
    transaction.prune_journal(spec.journal_octets_max, now - spec.journal_age_s_max)
    commit(verdict, transaction)
    soa = next(change.new for change in draft.changes if (change.owner, change.rtype) == (APEX, SOA))
    whole = draft.previous_serial is None or given.anew
    return Published(draft.serial, len(draft.changes), draft.chain_changes, draft.signatures, soa, whole)


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
    """Write the next version into the transaction, signed but neither verified nor committed; None if none is due.

    ``meanwhile`` does a piece of other work while the key service is waited for, and tells whether there was any;
    ``told`` hears how many signatures have been made.
    """
    old = transaction.old
    spec = in_force(spec, old, keyset)
    before = state.from_document(old.version, state.VersionState)
    view = signing_view(keyset, cds=spec.cds)
    if view.retiring_keys and before is not None and before.records <= PROMPT_RECORDS_MAX:
        view = replace(view, urgent=True)
    changes = content_changes(transaction, given, apex_rrsets(view, spec))
    refresh, _ = refresh_s(spec.refresh_s, spec.validity_s, soa_expire(given.soa), given.largest_ttl)
    due = _due(old, now, refresh) if given.resign else []
    mark = policy_mark(spec, view)
    same_policy = before is not None and before.policy == mark
    if same_policy and not changes and not due and not _input_rose(before, given) and not given.anew:
        return None
    serial = _serial(before, spec, given, now, date)
    _put_soa(changes, old.rrset(APEX, SOA), with_serial(given.soa, serial))
    regions = regions_of(changes) if same_policy else WHOLE_ZONE
    _apply_content(transaction, spec, changes, serial, given.soa.ttl)
    new = planned_from(transaction, old, changes, complete=not spec.zonemd)
    chain = _ChainChanges(transaction, _denial(old, new, regions, spec, view))
    if before is not None:
        chain.settle()
    window = given.window or signing_window(
        Lifetimes(spec.validity_s, spec.inception_offset_s, refresh, spec.jitter_s),
        now,
        spread=_is_spread(before, len(changes) + chain.count + len(due), regions),
    )
    changed = {(change.owner, change.rtype) for change in changes} if before is not None else set()
    plan = plan_signatures(old, new, regions, changed, chain, due, SignatureJudge(view))
    signatures = _sign(
        transaction, plan, view, RrsigBuilder(spec.origin, window), signer, spec, serial, meanwhile, told
    )
    _write_state(transaction, spec, keyset, given, before, serial, mark, signatures, now)
    previous = None if before is None else before.serial
    return Draft(transaction, changes, serial, previous, view, spec, now, given, chain.count, signatures)


def _denial(
    old: ZoneView, new: ZoneView, regions: Regions, spec: ZoneSpec, view: SigningView
) -> Iterable[Change]:
    """Return the changes of the chain; a zone that nobody signs has none."""
    if is_signed(view):
        return denial_changes(old, new, regions, spec.denial_parameters)
    return [Change(r.owner, r.rtype, r, None) for r in old.denial_scan()]


def _without_signers(plan: Iterable[SignNeed | Drop]) -> Iterator[SignNeed | Drop]:
    """Turn the plan for a zone that nobody signs any more into one that takes its signatures away."""
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
) -> int:
    """Carry out the plan, and what the zone digest needs after it; return how many signatures were made."""
    steps: Callable[[Iterable[SignNeed | Drop]], Iterator[SignNeed | Drop]]
    steps = iter if is_signed(view) else _without_signers
    if not spec.zonemd:
        return carry_out(steps(plan), transaction, view, builder, signer, meanwhile, told).signatures
    made = carry_out(steps(without_zonemd(plan)), transaction, view, builder, signer).signatures
    return (
        made + carry_out(steps(complete(transaction, serial)), transaction, view, builder, signer).signatures
    )


def content_changes(transaction: Transaction, given: Input, derived: list[RRset]) -> list[Change]:
    """Return the content changes without the SOA's serial: the job's own and those of the derived apex RRsets."""
    old = transaction.old
    standing = [r for r in old.rrsets_at(APEX) if r.rtype in APEX_DERIVED_TYPES and r.rtype != ZONEMD]
    changes = sorted(given.changes, key=_PLACE)
    for change in diff(standing, sorted(derived)):
        insort(changes, change, key=_PLACE)
    held = old.rrset(APEX, SOA)
    if held is not None and with_serial(held, 0) != with_serial(given.soa, 0):
        insort(changes, Change(APEX, SOA, held, given.soa), key=_PLACE)
    return changes


def _due(old: OldVersion, now: int, refresh: int) -> list[tuple[bytes, int]]:
    """Return the places to be signed again, soonest to expire first."""
    due = old.rrsigs_due(now + refresh, DUE_MAX)
    if len(due) < DUE_MAX:
        return due
    urgent = old.rrsigs_due(now + URGENT_S, -1)
    return urgent if len(urgent) > len(due) else due


class _ChainChanges:
    """The chain's changes, written as they are drawn: a first chain is made while content is being signed."""

    def __init__(self, transaction: Transaction, changes: Iterable[Change]) -> None:
        self._transaction, self._changes = transaction, iter(changes)
        self._written: list[Change] = []
        self.count = 0

    def settle(self) -> None:
        """Draw and write them all now, so that ``count`` is known; they can be drawn once more."""
        self._written = list(self)

    def __iter__(self) -> Iterator[Change]:
        yield from self._written
        while chunk := list(islice(self._changes, CHUNK_RRSETS)):
            self._transaction.apply_denial(chunk)
            self.count += len(chunk)
            yield from chunk


def _put_soa(changes: list[Change], held: RRset | None, soa: RRset) -> None:
    """Put the change of the SOA RRset, which has the new serial, in its place among the others."""
    start, end = (side(changes, (APEX, SOA), key=_PLACE) for side in (bisect_left, bisect_right))
    changes[start:end] = [Change(APEX, SOA, held, soa)]


def _input_rose(before: state.VersionState | None, given: Input) -> bool:
    """Tell whether the input's serial alone is a change: it is above the published one."""
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


def _write_state(
    transaction: Transaction,
    spec: ZoneSpec,
    keyset: Keyset,
    given: Input,
    before: state.VersionState | None,
    serial: int,
    mark: str,
    signatures: int,
    now: int,
) -> None:
    input_serial = given.input_serial
    if input_serial is None:
        input_serial = before.input_serial if before else soa_serial(given.soa)
    version = state.VersionState(
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
    transaction.set_state(state.VERSION, state.to_document(version))
    transaction.set_state(state.KEYSET, state.to_document(published(keyset, serial, now)))
    soa = transaction.rrset(APEX, SOA)
    assert soa is not None
    if before is not None:
        transaction.close_journal(now, transaction.old.rrset(APEX, SOA), soa, (before.serial, serial))
    transaction.add_history(now, "dnssecd", "published", serial, f"{signatures} signatures")


def verification_failed(violations: Iterable[Violation]) -> Rejected:
    """Return the refusal for a version with violations."""
    lines = [str(violation) for violation in violations]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return Rejected(
        "verification-failed",
        f"the new version did not pass verification: {lines[0]}{more}",
        "the version before is being served on; nothing was published. See the list of violations; if the key "
        "service or an HSM made bad signatures take it out of service, otherwise report this as a defect",
        lines,
    )
