"""The job that renews signatures that are due; content is not changed."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.first_keys import check_available
from dnssecd.store.interface import ZoneStore


def resign(db: ZoneStore, spec: ZoneSpec, tools: Tools) -> Outcome:
    """Renew RRSIGs that are due, and everything that a changed policy affects; content is not changed."""
    report = Report()

    def work() -> Published:
        if spec.verify_only:
            return Published(None)  # its signer renews them, and the input brings them
        with db.write() as transaction:
            before = state.from_document(transaction.old.version, state.VersionState)
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            if before is None or keyset is None:
                return Published(None)
            check_available(spec, keyset, tools.signer)
            soa = transaction.rrset(APEX, SOA)
            assert soa is not None, "a published version has an SOA"
            given = Input([], soa, before.largest_ttl, before.owners, resign=True)
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)
