"""The job "return": make the first version of a restored zone, with a serial after all public ones."""

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, SOA
from dnssecd.core.keys.keyset import Keyset, KeysetError
from dnssecd.core.keys.node_keys import HeldKey, hand_over_to_holder
from dnssecd.core.keys.requests import ds_found, signatures_found
from dnssecd.core.keys.restore_limits import highest
from dnssecd.pipeline.jobs.content import judge_content
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.pass_through import given_faults
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.first_keys import check_available
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import ZoneStore, ZoneTransaction


def bring_back(
    db: ZoneStore,
    spec: ZoneSpec,
    tools: Tools,
    floor: int | None,
    at_parent: tuple[bytes, ...] | None = None,
) -> Outcome:
    """Make a version of the restored content with a serial after ``floor``; signatures that are due are renewed.

    ``at_parent``: the zone's DNSKEYs (RDATA) of which the parent has a DS now, as far as it could be asked; None: the
    zone has no parent.

    The content is checked like a file, and verified: the backup may have been changed, and an older version
    of dnssecd may have accepted content that this one refuses. Name servers may lack their address, because a
    rejected zone would not be served.

    The commit of that version removes the note that the zone was restored; without the note nothing is done.
    """
    report = Report()

    def work() -> Published:
        with db.write() as transaction:
            before = state.from_document(transaction.old.version, state.VersionState)
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            restored = state.restored_from(transaction.state(state.RESTORED))
            if before is None or keyset is None or restored is None:
                return Published(None)
            if spec.verify_only:
                return _serve_again(transaction, spec, tools)
            keyset = _signed_here(keyset, spec, tools)
            check_available(spec, keyset, tools.signer)
            if at_parent is not None:
                keyset = ds_found(keyset, at_parent, tools.now)
            keyset = signatures_found(keyset, tools.now)
            soa = transaction.rrset(APEX, SOA)
            assert soa is not None, "a published version has an SOA"
            content = [r for r in transaction.old.scan() if r.owner or r.rtype not in APEX_DERIVED_TYPES]
            remedy = f"replace the content: dnssecd zone import {spec.name}, or the zone's own source"
            report.warn(
                judge_content(content, spec, "the restored zone has errors", remedy, missing_glue=True)
            )
            transaction.set_state(state.RESTORED, {})
            given = Input(
                [],
                soa,
                before.largest_ttl,
                before.owners,
                serial_floor=highest((), before.serial, restored.floor, floor),
                resign=True,
                renew=True,
            )
            return make(transaction, spec, keyset, given, tools)

    return run_job(db, spec, report, work, tools)


def _signed_here(keyset: Keyset, spec: ZoneSpec, tools: Tools) -> Keyset:
    """Return the key set with the keys that are here in use: another node with its own may have signed the zone."""
    if not keyset.node:
        return keyset
    found = [info for info in tools.signer.keys(spec.origin) if info.state == "available"]
    held = {info.dnskey: HeldKey(info.id, info.store, info.bits) for info in found}
    try:
        return hand_over_to_holder(keyset, held, tools.now)
    except KeysetError as error:
        remedy = "start the node that signed the zone, or restore its keys from their backup"
        raise Rejected("signing-failed", f"{spec.name} cannot be signed here: {error}", remedy) from None


def _serve_again(transaction: ZoneTransaction, spec: ZoneSpec, tools: Tools) -> Published:
    """Serve a restored version that another signer made as it is, if it still verifies; its input brings newer ones."""
    faults = given_faults(transaction.old, spec, tools)
    if faults:
        raise Rejected(
            "verification-failed",
            f"the restored version of {spec.name} does not verify: {faults[0]}",
            "it is served when its input brings a version that verifies",
            faults,
        )
    transaction.set_state(state.RESTORED, {})
    transaction.commit_state()
    return Published(None, whole=True)
