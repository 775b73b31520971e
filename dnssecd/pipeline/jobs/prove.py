"""The job "prove": verify a stored zone as a whole before it is served, if its database may have changed.

It checks whether this is the published version, not whether it fits the present policy or time: the zone is
verified as of its publication, with the denial it has. The next version renews due signatures and applies a
changed policy.
"""

from collections.abc import Iterator

from msgspec import structs

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.keys.keyset import Keyset, signing_view
from dnssecd.core.keys.restore_limits import goes_back
from dnssecd.core.signing.lifetimes import full_time
from dnssecd.core.verify import verify_zone
from dnssecd.pipeline.follow.judge import Unfit, history_faults
from dnssecd.pipeline.jobs.content import PROBLEMS_MAX
from dnssecd.pipeline.jobs.job import Report, Tools, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.pass_through import damage_of
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Published
from dnssecd.pipeline.version.held_denial import denial_of
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.verification import published_expectation
from dnssecd.replacing import replace
from dnssecd.store.errors import DAMAGE
from dnssecd.store.interface import ZoneSnapshot, ZoneStore


def prove(db: ZoneStore, spec: ZoneSpec, tools: Tools, known_serial: int | None) -> Outcome:
    """Verify the whole stored zone; if it fails, nothing is changed.

    The journal is deleted, because it cannot be verified: secondaries transfer the whole zone once. A version
    older than ``known_serial``, the last one known to be published, is marked as restored: it is published
    again with a serial after that.

    A database with a log is left as it is: its rows are those of the log, which has the versions that it lacks. What
    can be verified of the journal is.
    """

    def work() -> Published:
        try:
            with db.snapshot() as snapshot:
                logged = snapshot.position.sequence > 0
                version = _judge(snapshot, spec, tools, known_serial)
        except DAMAGE as error:
            raise _damaged(spec, f"{type(error).__name__}: {error}") from error
        if version is not None and not logged:
            _settle(db, tools.now, version.serial, known_serial)
        return Published(None, whole=version is not None)

    return run_job(db, spec, Report(), work, tools)


def _judge(
    snapshot: ZoneSnapshot, spec: ZoneSpec, tools: Tools, known_serial: int | None
) -> state.VersionState | None:
    verdict = snapshot.integrity()
    if verdict != "ok":
        raise _damaged(spec, verdict)
    version = state.from_document(snapshot.version, state.VersionState)
    keyset = state.keyset_from(snapshot.state(state.KEYSET))
    if version is None:
        if known_serial is not None:
            raise _damaged(spec, f"it has no version, but serial {known_serial} was published")
        return None
    if keyset is None:
        raise _damaged(spec, "it has no key set")
    faults = [*_dates(snapshot, spec, version.published_at), *_faults(snapshot, spec, keyset, version, tools)]
    if snapshot.position.sequence:
        faults += _history(snapshot)
    if faults:
        raise Rejected(
            "verification-failed",
            f"the stored version of {spec.name} (serial {version.serial}) is not the published one: "
            f"{faults[0]}",
            _remedy(spec),
            faults,
        )
    return version


def _faults(
    snapshot: ZoneSnapshot, spec: ZoneSpec, keyset: Keyset, version: state.VersionState, tools: Tools
) -> list[str]:
    if spec.verify_only:
        return damage_of(snapshot, version, tools)
    found = denial_of(snapshot)
    as_stored = spec if found is None else structs.replace(spec, denial=found.kind, opt_out=found.opt_out)
    wanted = published_expectation(
        as_stored, signing_view(keyset, cds=True), version.serial, version.published_at
    )
    faults = verify_zone(snapshot, replace(wanted, zonemd=None), PROBLEMS_MAX, tools.checker)
    return [str(fault) for fault in faults]


def _history(snapshot: ZoneSnapshot) -> list[str]:
    try:
        return list(history_faults(snapshot))
    except Unfit as error:
        return list(error.faults)


def _dates(snapshot: ZoneSnapshot, spec: ZoneSpec, near: int) -> Iterator[str]:
    """Yield the RRsets whose signatures would not be renewed in time, because the stored expiration is wrong.

    In a passed zone it may be that of any RRSIG over the RRset (``passed_dates``): nothing is renewed.
    """
    for owner, covered, rdata, expiration in snapshot.rrsig_dates():
        times = [full_time(int.from_bytes(one[8:12]), near) for one in unpack(rdata)]
        if expiration != min(times) and not (spec.verify_only and expiration in times):
            name = key_to_text(owner, snapshot.origin)
            yield f"{name}: RRSIG over type {covered} expires at {min(times)}, but {expiration} is stored"
            return


def _settle(db: ZoneStore, now: int, serial: int, known_serial: int | None) -> None:
    with db.write() as transaction:
        transaction.forget_journal()
        if goes_back(serial, known_serial):
            source = f"an older copy of the database, at serial {serial}"
            held = state.Restored(at=now, who="dnssecd", source=source, floor=known_serial)
            transaction.set_state(state.RESTORED, state.to_document(held))
        transaction.add_history(
            now, "dnssecd", "verified", serial, "the whole stored zone, before serving it"
        )
        transaction.commit_state()


def _damaged(spec: ZoneSpec, how: str) -> Rejected:
    return Rejected("store-failed", f"{spec.database} is damaged: {how}", _remedy(spec))


def _remedy(spec: ZoneSpec) -> str:
    return (
        f"{spec.name} is not served by dnssecd; secondaries serve their present version. Stop dnssecd, "
        f"then restore the zone from a backup (dnssecd restore), or put the original file back"
    )
