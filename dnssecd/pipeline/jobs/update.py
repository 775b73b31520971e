"""Carry out dynamic updates (RFC 2136): a group of messages becomes one version, or nothing is changed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from dnssecd.core.dns.names import APEX, ancestors, wildcard_key
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.update.group import UpdateGroup
from dnssecd.core.update.types import NOERROR, SERVFAIL, UpdateMessage, UpdatePolicy, UpdateResult
from dnssecd.pipeline.jobs.job import Report, Tools, make, run_job
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.server.reasons import Refusal
from dnssecd.store.interface import ZoneStore

#: When the messages of a group change this many names of the denial chain, the rest waits for the next version.
GROUP_NAMES_MAX = 1000

Update = tuple[UpdateMessage, UpdatePolicy]


class Answer(NamedTuple):
    """The answer to a message: RCODE and reason; ``ignored`` and ``notable`` as in core.update.types.UpdateResult.

    refusal: the kind of reason, if the RCODE refuses the message.
    """

    rcode: int
    reason: str = ""
    ignored: Sequence[str] = ()
    notable: bool = False
    refusal: Refusal = Refusal.NOT_ALLOWED


Told = Callable[[list[Answer], int, RRset], None]


class Committed(Struct, frozen=True):
    """The answers to the messages, in order, and the outcome of the version.

    If there are fewer answers than messages, the others were not processed and must be carried out next.
    """

    answers: list[Answer]
    outcome: Outcome


def untold(answers: list[Answer], serial: int, soa: RRset) -> None:
    """Ignore the version."""


def commit_updates(
    db: ZoneStore,
    spec: ZoneSpec,
    updates: Sequence[Update],
    tools: Tools,
    told: Told = untold,
) -> Committed:
    """Carry out messages one after another in one version; NOERROR means committed, signed and served.

    If the version cannot be made, the zone is unchanged, and SERVFAIL is the answer to the first message that would
    have changed something and to all after it: those were judged by content that is not stored. ``told`` is called
    with a version (the answers, its serial and SOA) as soon as it is committed, before anything else.
    """
    report = Report()
    results: list[UpdateResult] = []

    def work() -> Published:
        with db.write() as transaction:
            keyset = state.keyset_from(transaction.state(state.KEYSET))
            before = state.from_document(transaction.old.version, state.VersionState)
            if keyset is None or before is None:
                raise Rejected("input-error", "the zone has no version yet that could be updated")
            # Nothing is written yet: what is read of the old version is remembered for planning and verification.
            transaction.old.read_ahead(_names(updates))
            group = UpdateGroup(transaction.old)
            results.clear()
            for message, policy in updates:
                if group.names >= GROUP_NAMES_MAX:
                    break
                results.append(group.apply(message, policy))
            given = _input(group, before)
            if given is None:
                return Published(None)
            made = make(transaction, spec, keyset, given, tools)
            if made.serial is not None and made.soa is not None and made.version is not None:
                told(_answers(results), made.serial, made.soa)
            return made

    outcome = run_job(db, spec, report, work, tools)
    failed = outcome.result not in ("published", "unchanged")
    if failed and not results:
        return Committed([Answer(SERVFAIL, outcome.problems[0].cause)] * len(updates), outcome)
    cause = outcome.problems[0].cause if failed else ""
    return Committed(_answers(results, cause), outcome)


def _names(updates: Sequence[Update]) -> Iterator[bytes]:
    """Yield the names that judging these messages looks at: theirs, those above, and wildcards beside them."""
    yield APEX
    for message, _ in updates:
        for rr in (*message.prerequisites, *message.updates):
            if rr.owner is not None:
                yield rr.owner
                for above in ancestors(rr.owner):
                    yield above
                    yield wildcard_key(above)


def _input(group: UpdateGroup, before: state.VersionState) -> Input | None:
    """Return the changes of the group as input, or None if there are none."""
    changes = group.changes()
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


def _answers(results: Iterable[UpdateResult], failure: str = "") -> list[Answer]:
    """Return the answers to a group of messages; ``failure``: why the version could not be made."""
    answers, unfounded = [], False
    for result in results:
        changes = result.rcode == NOERROR and not result.is_noop
        unfounded = unfounded or (bool(failure) and changes)
        answers.append(Answer(SERVFAIL, failure) if unfounded else _answer(result))
    return answers


def _answer(result: UpdateResult) -> Answer:
    refusal = Refusal.NOT_ALLOWED if result.granted else Refusal.NO_GRANT
    return Answer(result.rcode, result.reason, result.ignored, result.notable, refusal)
