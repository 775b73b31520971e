"""Zones that come signed and are served as they are (``signing = "verify-only"``): verified, and never signed again.

A new version is the input, record by record, with its own serial and signatures. It is verified as a whole: against its
own DNSKEY RRset, the configured anchor and its ZONEMD. One that would be bogus is not published, and the previous
version is still served.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset, Rrsigs, unpack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, DNSKEY, SOA
from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.keyset import Keyset, SigningView
from dnssecd.core.verify import (
    Expectation,
    Rank,
    VerificationFailed,
    Violation,
    checked_keys,
    verify_given,
    verify_zone,
)
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.core.zone.zoneview import ZoneView
from dnssecd.ops.secret_text import redact_text
from dnssecd.pipeline.adoption.served_zone import ForeignZone
from dnssecd.pipeline.jobs.input_check import REMEDY, read_file_again
from dnssecd.pipeline.jobs.job import Report, Tools, run_job
from dnssecd.pipeline.jobs.load import check_guard, checked_content, parse_input
from dnssecd.pipeline.jobs.outcome import Outcome, Problem
from dnssecd.pipeline.jobs.passed_dates import PassedDates
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Draft, Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.review import review
from dnssecd.publish.commit import commit
from dnssecd.store.interface import ZoneStore, ZoneTransaction

#: With more findings than these, a zone counts as bogus: the rest is not known.
FOUND_MAX = 1_000

_ZONEMD = {"require": True, "check": None, "ignore": False}

#: (RRSIGs before, after) of one RRset.
Signed = tuple[Rrsigs | None, Rrsigs | None]


def given_expectation(spec: ZoneSpec, now: int) -> Expectation:
    """Return the expectation for a zone that another signer signs: its own keys, and what the configuration adds."""
    return Expectation(
        spec.origin, now, ds=spec.input_anchor, zonemd=_ZONEMD[spec.input_zonemd], checkable=True
    )


def given_faults(view: ZoneView, spec: ZoneSpec, tools: Tools) -> list[str]:
    """Return why validators would refuse a stored version now, or why the configuration does not accept it."""
    return _bogus(view, given_expectation(spec, tools.now), tools)


def damage_of(view: ZoneView, version: state.VersionState, tools: Tools) -> list[str]:
    """Return why a stored version is not the one that was published.

    What the configuration demanded since then, such as another anchor, is no damage: the version is still served.
    """
    zonemd = None if version.zonemd_checked else False
    return _bogus(view, Expectation(view.origin, version.published_at, zonemd=zonemd), tools)


def _bogus(view: ZoneView, expected: Expectation, tools: Tools) -> list[str]:
    found = verify_zone(view, expected, FOUND_MAX, tools.checker)
    return [str(one) for one in found if one.rank is Rank.BOGUS]


def pass_file(
    db: ZoneStore,
    spec: ZoneSpec,
    path: Path,
    tools: Tools,
    *,
    accept_change: bool = False,
    resting: bool = False,
) -> Outcome:
    """Publish the zone of a signed file as it is. accept_change, resting: as in ``load.py``."""
    report = Report()

    def work() -> Published:
        parsed = parse_input(path, spec, report, finished=resting)
        checked_content(parsed, spec, report)
        zone = read_file_again(path, spec.origin, parsed, as_given=True)
        with db.write() as transaction:
            digest = parsed.digest.sha256.hex()
            return pass_on(
                transaction, spec, zone, str(path), report, tools, digest=digest, guarded=not accept_change
            )

    return run_job(db, spec, report, work, tools)


def pass_on(
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    zone: ForeignZone,
    blamed: str,
    report: Report,
    tools: Tools,
    *,
    digest: str,
    guarded: bool,
) -> Published:
    """Verify a signed zone and publish it as it is; raise Rejected.

    blamed: what the input is, for messages. guarded: the delta guard judges its content.
    """
    report.stripped, report.input_serial = 0, zone.serial
    before = state.from_document(transaction.old.version, state.VersionState)
    _check_stored(transaction, spec, before)
    changes = list(diff(transaction.old.scan(), zone.scan()))
    denial = list(diff(transaction.old.denial_scan(), zone.denial_scan()))
    signatures = list(_pairs(transaction.old.rrsig_scan(), zone.rrsig_scan()))
    restored = state.restored_from(transaction.state(state.RESTORED)) is not None
    if before is not None and not (changes or denial or signatures):
        return _serve_restored(transaction, spec, blamed, tools) if restored else Published(None)
    _check_serial(before, zone.serial, blamed, restored=restored)
    content = [change for change in changes if change.owner or change.rtype not in (*APEX_DERIVED_TYPES, SOA)]
    largest = max(rrset.ttl for rrset in zone.scan())
    given = Input(content, zone.soa, largest, zone.owners, digest, zone.serial, rrsets=None, renew=True)
    if guarded:
        check_guard(transaction, spec, given)
    dates = PassedDates(spec.origin, zone.rrset(APEX, DNSKEY), tools.now)
    # Which of several RRSIGs is good depends on the time and the keys of this version, too.
    again = ((sigs, sigs) for sigs in zone.rrsig_scan() if len(unpack(sigs.rdata)) > 1)
    _write(transaction, changes, denial, [*again, *signatures], dates)
    version = state.VersionState(
        serial=zone.serial,
        input_serial=zone.serial,
        published_at=tools.now,
        policy=state.PASSED,
        largest_ttl=largest,
        owners=zone.owners,
        records=(before.records if before else 0) + transaction.records_delta,
        digest=digest,
        zonemd_checked=spec.input_zonemd != "ignore",
        checked_keys=checked_keys(zone),
    )
    _write_state(transaction, version, before, zone.soa, restored=restored)
    previous = None if before is None else before.serial
    draft = Draft(
        transaction, changes, version, zone.soa, previous, SigningView(), spec, tools.now, given, len(denial)
    )
    _publish(draft, None if restored else before, blamed, report, tools)
    return Published(zone.serial, len(changes), len(denial), 0, zone.soa, whole=True, version=version)


def _serve_restored(transaction: ZoneTransaction, spec: ZoneSpec, blamed: str, tools: Tools) -> Published:
    """Serve a restored version that the input has as well, if it verifies by now; raise Rejected."""
    faults = given_faults(transaction.old, spec, tools)
    if faults:
        raise Rejected(
            "input-error",
            f"{blamed} is the restored version of {spec.name}, which does not verify: {faults[0]}",
            "it is served when its signer has made a version that verifies",
            faults,
        )
    transaction.set_state(state.RESTORED, {})
    transaction.commit_state()
    return Published(None, whole=True)


def _check_stored(transaction: ZoneTransaction, spec: ZoneSpec, before: state.VersionState | None) -> None:
    """Raise Rejected if the stored version was signed here: its keys are in use, and must leave in steps."""
    if before is not None and before.policy != state.PASSED:
        raise Rejected(
            "input-error",
            f"{spec.name} was signed here before, and signing is verify-only now",
            f'write signing = "sign" again; to serve another signer\'s version: dnssecd zone remove {spec.name}, then '
            "configure it again (docs/configuration.md)",
        )
    if before is None:
        transaction.set_state(state.KEYSET, state.to_document(Keyset(spec.origin, signed=False)))


def _check_serial(before: state.VersionState | None, serial: int, blamed: str, *, restored: bool) -> None:
    """Raise Rejected if secondaries would not transfer it. They may have another version with a restored serial."""
    if before is None or is_after(serial, before.serial) or (restored and serial == before.serial):
        return
    how = "the same as" if serial == before.serial else "not after"
    raise Rejected(
        "input-error",
        f"{blamed} has changed, but its serial {serial} is {how} that of the served version ({before.serial}): no "
        "secondary would transfer it",
        "raise the serial at the signer; the previous version is still served",
    )


def _pairs(old: Iterable[Rrsigs], new: Iterable[Rrsigs]) -> Iterator[Signed]:
    """Yield the RRSIG sets that differ."""
    before = {(sigs.owner, sigs.covered): sigs for sigs in old}
    for sigs in new:
        had = before.pop((sigs.owner, sigs.covered), None)
        if had != sigs:
            yield had, sigs
    yield from ((gone, None) for gone in before.values())


def _write(
    transaction: ZoneTransaction,
    changes: list[Change],
    denial: list[Change],
    signed: list[Signed],
    dates: PassedDates,
) -> None:
    transaction.apply_content(changes)
    transaction.apply_denial(denial)
    transaction.delete_rrsigs(old for old, new in signed if old is not None and new is None)
    transaction.put_rrsigs(
        (old, new, dates.until(new.covered, new.rdata)) for old, new in signed if new is not None
    )


def _write_state(
    transaction: ZoneTransaction,
    version: state.VersionState,
    before: state.VersionState | None,
    soa: RRset,
    *,
    restored: bool,
) -> None:
    """Store the documents of a version. No difference leads to it from a restored one, which no secondary may have."""
    transaction.set_state(state.VERSION, state.to_document(version))
    if restored:
        transaction.set_state(state.RESTORED, {})
        transaction.forget_journal()
    elif before is not None:
        serials = before.serial, version.serial
        transaction.close_journal(version.published_at, transaction.old.rrset(APEX, SOA), soa, serials)
    transaction.add_history(
        version.published_at, "dnssecd", "published", version.serial, "as it came, verified"
    )


def _publish(
    draft: Draft, before: state.VersionState | None, blamed: str, report: Report, tools: Tools
) -> None:
    transaction, spec = draft.transaction, draft.spec
    transaction.forget_reads()
    known = before is not None and before.checked_keys == draft.version.checked_keys
    verdict, notes = verify_given(
        transaction,
        given_expectation(spec, tools.now),
        transaction,
        transaction.generation,
        limit=FOUND_MAX,
        verify_signatures=tools.checker,
        old=transaction.old if before is not None and known else None,
        old_verified_at=before.published_at if before is not None else 0,
    )
    if isinstance(verdict, VerificationFailed):
        raise _refused(spec, blamed, verdict.violations)
    report.warn(Problem("input-warning", str(note)) for note in notes)
    review(draft, tools.decisions, redact_text)
    transaction.prune_journal(spec.journal_octets_max, tools.now - spec.journal_age_s_max)
    commit(verdict, transaction)


def _refused(spec: ZoneSpec, blamed: str, found: tuple[Violation, ...]) -> Rejected:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    led = " or does not lead to input_anchor" if spec.input_anchor else ""
    return Rejected(
        "input-error",
        f"{blamed} does not verify{led}: {found[0]}{more}",
        f"correct it at its signer; {REMEDY}",
        [str(one) for one in found],
    )
