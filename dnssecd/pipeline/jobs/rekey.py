"""The job "rekey": make the next version of a zone with a planned key set, stored in the same transaction.

A plan is dropped if the stored key set is no longer the one it started from; the planner then plans again. If
the plan changes nothing in the published zone, only the key set is stored.
"""

from collections.abc import Iterable

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.keys.keyset import Keyset, published, signing_view
from dnssecd.core.keys.lost import shows, unsignable
from dnssecd.core.verify import VerificationFailed
from dnssecd.pipeline.jobs.job import Report, Tools, run_job, verifier_of
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published, draft_version, verification_failed
from dnssecd.pipeline.version.first_keys import check_available
from dnssecd.pipeline.version.keychange import REMOVALS, KeyChange, pending_removals
from dnssecd.publish.commit import commit
from dnssecd.store.interface import EvidenceRow, ZoneStore, ZoneTransaction


def rekey(db: ZoneStore, spec: ZoneSpec, change: KeyChange, tools: Tools) -> Outcome:
    """Make, verify and commit the version for a planned key set."""

    def work() -> Published:
        with db.write() as transaction:
            before = state.from_document(transaction.old.version, state.VersionState)
            if before is None or _stored(transaction) != change.before:
                return Published(None)
            check_available(spec, change.after, tools.signer)
            soa = transaction.rrset(APEX, SOA)
            assert soa is not None, "a published version has an SOA"
            given = Input([], soa, before.largest_ttl, before.owners)
            return _make(transaction, spec, change, given, before.serial, tools)

    return run_job(db, spec, Report(), work, tools)


def _make(
    transaction: ZoneTransaction, spec: ZoneSpec, change: KeyChange, given: Input, serial: int, tools: Tools
) -> Published:
    draft = draft_version(transaction, spec, change.after, given, tools.signer, tools.now, tools.date)
    if draft is None:
        _store(transaction, change, published(change.after, serial, tools.now), serial, tools.now)
        return Published(None)
    _record(transaction, change, draft.serial, tools.now)
    verdict = verifier_of(tools)(draft)
    if isinstance(verdict, VerificationFailed):
        raise verification_failed(verdict.violations)
    transaction.prune_journal(spec.journal_octets_max, tools.now - spec.journal_age_s_max)
    commit(verdict, transaction)
    return Published(draft.serial, len(draft.changes), draft.chain_changes, draft.signatures)


def store_keyset(
    db: ZoneStore, spec: ZoneSpec, change: KeyChange, now: int, evidence: Iterable[EvidenceRow] = ()
) -> bool:
    """Store a key set that publishes the same as the previous one; return False if the plan is out of date.

    ``evidence``: what it was planned by, stored in the same transaction.

    It raises ValueError if the key set would change the zone: that needs a verified version. If a lost key makes a
    new version impossible, the next version that can be signed publishes the change.
    """
    with db.write() as transaction:
        version = transaction.old.version
        if version is None or _stored(transaction) != change.before:
            return False
        if changes_zone(change.before, change.after, cds=spec.cds):
            raise ValueError("this key set changes the published zone; it needs a new version")
        transaction.put_evidence(evidence)
        _store(transaction, change, change.after, int(version["serial"]), now)
    return True


def removed(db: ZoneStore, keys: frozenset[str]) -> None:
    """Note that private keys were destroyed."""
    with db.write() as transaction:
        left = [key for key in pending_removals(transaction.state(REMOVALS)) if key not in keys]
        transaction.set_state(REMOVALS, {"keys": left})
        transaction.commit_state()


def _stored(transaction: ZoneTransaction) -> Keyset | None:
    return state.keyset_from(transaction.state(state.KEYSET))


def changes_zone(before: Keyset, after: Keyset, *, cds: bool) -> bool:
    """Return whether a key set must not be stored without a version; ``cds``: the zone publishes CDS and CDNSKEY."""
    if any(keyset.no_cds or any(key.lost for key in keyset.keys) for keyset in (before, after)):
        return shows(before, after) and not unsignable(before, after)
    return signing_view(before, cds=cds).shown != signing_view(after, cds=cds).shown


def _store(transaction: ZoneTransaction, change: KeyChange, keyset: Keyset, serial: int, now: int) -> None:
    transaction.set_state(state.KEYSET, state.to_document(keyset))
    _record(transaction, change, serial, now)
    transaction.commit_state()


def _record(transaction: ZoneTransaction, change: KeyChange, serial: int, now: int) -> None:
    for note in change.notes:
        transaction.add_history(now, note.who, note.what, serial, note.detail)
    if change.removals:
        waiting = pending_removals(transaction.state(REMOVALS))
        transaction.set_state(REMOVALS, {"keys": sorted({*waiting, *change.removals})})
