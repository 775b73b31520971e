"""The job "return": the first version of a zone that came out of a back-up, above everything that is public."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.keys.restore_limits import highest
from dnssecd.pipeline.jobs.content import judge_content
from dnssecd.pipeline.jobs.load import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.first_keys import check_available
from dnssecd.store.interface import ZoneStore


def bring_back(db: ZoneStore, spec: ZoneSpec, tools: Tools, floor: int | None) -> Outcome:
    """Make a version of the content as restored with a serial after ``floor``; what has come due is signed anew.

    All of it is checked as a file is, and verified: what happened to the back-up meanwhile is not known, and an older
    version may have taken what this one refuses. Name servers may lack their address: a zone that is held is dark.

    The note that the zone was restored goes with the commit of that version; without the note nothing is done.
    """

    report = Report()

    def work() -> Published:
        with db.write() as transaction:
            before = state.from_document(transaction.old.version, state.VersionState)
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            restored = state.restored_from(transaction.state(state.RESTORED))
            if before is None or keyset is None or restored is None:
                return Published(None)
            check_available(spec, keyset, tools.signer)
            soa = transaction.rrset(APEX, SOA)
            assert soa is not None, "a published version has an SOA"
            content = [r for r in transaction.old.scan() if r.owner or r.rtype not in APEX_DERIVED_TYPES]
            remedy = (
                f"put good content in its place: dnssecd zone import {spec.name}, or the zone's own source"
            )
            report.warn(
                judge_content(content, spec, "the restored zone is not good", remedy, missing_glue=True)
            )
            transaction.set_state(state.RESTORED, {})
            given = Input(
                [],
                soa,
                before.largest_ttl,
                before.owners,
                serial_floor=highest((), before.serial, restored.floor, floor),
                resign=True,
                anew=True,
            )
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)
