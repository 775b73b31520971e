"""The job "rekey": the next version of a zone with a planned key set, which is stored in its transaction.

A plan that was overtaken (another key set is stored than the one it began with) is not carried out; the planner is
asked again. Where the plan changes nothing that is published, the key set alone is stored.
"""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.keys.keyset import Keyset, SigningView, published, signing_view
from dnssecd.core.verify import VerificationFailed
from dnssecd.pipeline.jobs.load import Report, Tools, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published, draft_version, verification_failed
from dnssecd.pipeline.version.first_keys import check_available
from dnssecd.pipeline.version.keychange import REMOVALS, KeyChange
from dnssecd.pipeline.version.verification import DraftVerifier
from dnssecd.publish.commit import commit
from dnssecd.store.interface import ZoneStore, ZoneTransaction


def rekey(db: ZoneStore, spec: ZoneSpec, change: KeyChange, tools: Tools) -> Outcome:
    """Make, verify and commit the version that a planned key set asks for."""

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
    verdict = DraftVerifier(tools.checker, tools.signer)(draft)
    if isinstance(verdict, VerificationFailed):
        raise verification_failed(verdict.violations)
    transaction.prune_journal(spec.journal_octets_max, tools.now - spec.journal_age_s_max)
    commit(verdict, transaction)
    return Published(draft.serial, len(draft.changes), draft.chain_changes, draft.signatures)


def store_keyset(db: ZoneStore, spec: ZoneSpec, change: KeyChange, now: int) -> bool:
    """Store a key set that publishes what the one before did; False when it is not the one planned with.

    ValueError when it would publish something else: that takes a verified version.
    """
    with db.write() as transaction:
        version = transaction.old.version
        if version is None or _stored(transaction) != change.before:
            return False
        if _shown(change.before, spec) != _shown(change.after, spec):
            raise ValueError("this key set changes what is published; it takes a new version")
        _store(transaction, change, change.after, int(version["serial"]), now)
    return True


def removed(db: ZoneStore, keys: frozenset[str]) -> None:
    """Note that private keys were destroyed."""
    with db.write() as transaction:
        left = [key for key in pending_removals(transaction.state(REMOVALS)) if key not in keys]
        transaction.set_state(REMOVALS, {"keys": left})
        transaction.commit_state()


def pending_removals(document: dict[str, object] | None) -> list[str]:
    """Return the keys that are still to be destroyed."""
    keys = (document or {}).get("keys", [])
    return [str(key) for key in keys] if isinstance(keys, list) else []


def _stored(transaction: ZoneTransaction) -> Keyset | None:
    return state.keyset_from(transaction.state(state.KEYSET))


def _shown(keyset: Keyset, spec: ZoneSpec) -> tuple[object, ...]:
    view: SigningView = signing_view(keyset, cds=spec.cds)
    return view.dnskey_rdatas, view.cds, view.cdnskey, view.dnskey_keys, view.cds_keys, view.zone_keys


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
