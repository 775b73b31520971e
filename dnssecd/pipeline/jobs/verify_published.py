"""The job that verifies the whole zone as it is published."""

from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.verify import verify_zone
from dnssecd.pipeline.jobs.content import PROBLEMS_MAX
from dnssecd.pipeline.jobs.job import Report, Tools, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.pass_through import given_faults
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Published
from dnssecd.pipeline.version.held_denial import in_force
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.version.verification import published_expectation
from dnssecd.store.errors import DAMAGE
from dnssecd.store.interface import ZoneStore


def verify_published(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> Outcome:
    """Verify the whole published zone, to find damage by the disk or by a bug in dnssecd."""
    report = Report()

    def work() -> Published:
        try:
            faults = _published_faults(db, spec, tools)
        except DAMAGE as error:
            faults = [f"the database cannot be read: {type(error).__name__}: {error}"]
        if faults is None:
            return Published(None)
        if faults:
            raise Rejected(
                "verification-failed",
                f"the published version has faults: {faults[0]}",
                f"list them: dnssecd zone export {spec.name} -o F && dnssecd verify F --origin {spec.name}",
                faults,
            )
        return Published(None, whole=True)

    return run_job(db, spec, report, work, tools)


def _published_faults(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> list[str] | None:
    """Return the faults of the published version; None if there is no version."""
    with db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
        if snapshot.version is None or keyset is None:
            return None
        if spec.verify_only:
            return given_faults(snapshot, spec, tools)
        wanted = published_expectation(
            in_force(spec, snapshot, keyset),
            signing_view(keyset, cds=spec.cds),
            snapshot.serial,
            tools.now,
        )
        return [str(fault) for fault in verify_zone(snapshot, wanted, PROBLEMS_MAX, tools.checker)]
