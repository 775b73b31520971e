"""Dynamic updates (RFC 2136) carried out: a group of messages becomes one version, or none of it happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.update.group import UpdateGroup
from dnssecd.core.update.types import NOERROR, SERVFAIL, UpdateMessage, UpdatePolicy, UpdateResult
from dnssecd.pipeline.jobs.load import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published, StoredVersion
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import ZoneStore, ZoneTransaction

#: When the messages of a group change so many names of the denial chain, the rest waits for the next version.
GROUP_NAMES_MAX = 1000

Update = tuple[UpdateMessage, UpdatePolicy]


class Answer(NamedTuple):
    """What becomes of a message: RCODE and reason; ``ignored`` and ``notable`` as in core.update_types.UpdateResult."""

    rcode: int
    reason: str = ""
    ignored: Sequence[str] = ()
    notable: bool = False


Told = Callable[[list[Answer], int, RRset], None]


@dataclass(frozen=True)
class Committed:
    """The answers to the messages, in order, and how the version fared.

    Where there are fewer answers than messages, the others were not looked at and are to be carried out next.
    """

    answers: list[Answer]
    outcome: Outcome


def untold(answers: list[Answer], serial: int, soa: RRset) -> None:
    """Tell nobody."""


def commit_updates(
    db: ZoneStore,
    spec: ZoneSpec,
    updates: Sequence[Update],
    tools: Tools,
    told: Told = untold,
) -> Committed:
    """Carry out messages one after another in one version: NOERROR means committed, signed and served.

    Where the version cannot be made, each message that would have changed something is answered SERVFAIL, and the
    zone is as it was. ``told`` hears of a version (the answers, its serial and SOA) the moment it is committed,
    before anything else is done about it.
    """
    report = Report()
    results: list[UpdateResult] = []

    def work() -> Published:
        with db.write() as transaction:
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            before = state.from_document(transaction.old.version, state.VersionState)
            if keyset is None or before is None:
                raise Rejected("input-error", "the zone has no version yet that could be updated")
            group = UpdateGroup(transaction)
            results.clear()
            for message, policy in updates:
                if group.names >= GROUP_NAMES_MAX:
                    break
                results.append(group.apply(message, policy))
            given = _input(transaction, group, before)
            if given is None:
                return Published(None)
            made = make(transaction, spec, keyset, given, tools)
            if made.serial is not None and made.soa is not None:
                told([_answer(result) for result in results], made.serial, made.soa)
                return replace(made, stored=_stored(transaction, made.soa))
            return made

    outcome = run_job(db, spec, report, work, tools)
    failed = outcome.result not in ("published", "unchanged")
    if failed and not results:
        return Committed([Answer(SERVFAIL, outcome.problems[0].cause)] * len(updates), outcome)
    cause = outcome.problems[0].cause if failed else ""
    return Committed([_answer(result, cause) for result in results], outcome)


def _stored(transaction: ZoneTransaction, soa: RRset) -> StoredVersion | None:
    """Return what is stored of the version just committed: the transaction knows most of it already."""
    version = state.from_document(transaction.state(state.VERSION), state.VersionState)
    return None if version is None else StoredVersion(version, soa, transaction.earliest_expiration())


def _input(transaction: ZoneTransaction, group: UpdateGroup, before: state.VersionState) -> Input | None:
    """Return what the group changes, or None when that is nothing."""
    changes = group.changes()
    soa = transaction.rrset(APEX, SOA)
    assert soa is not None, "a published version has an SOA"
    if not changes and group.client_serial is None:
        return None
    return Input(
        changes=changes,
        soa=group.soa,
        largest_ttl=max(before.largest_ttl, group.ttl_max),
        owners=before.owners + group.owners_delta,
        digest="updates",
        input_serial=group.client_serial,
    )


def _answer(result: UpdateResult, failure: str = "") -> Answer:
    """Return the answer to a message; ``failure``: why the version could not be made."""
    if failure and result.rcode == NOERROR and not result.is_noop:
        return Answer(SERVFAIL, failure)
    return Answer(result.rcode, result.reason, result.ignored, result.notable)
