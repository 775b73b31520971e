"""Keys of other signers in a zone's input: noted with the version; the daemon plans with them."""

from collections.abc import Iterable

from dnssecd.core.keys.foreign_keys import follow_input, published_at_once
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.pipeline.jobs.job import Tools, make
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.draft import Input, Published
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.replacing import replace
from dnssecd.store.interface import ZoneTransaction

#: An input may hold any number of unusable keys; at most this number of reasons is given.
REASONS_MAX = 5


def follow_usable_input(keyset: Keyset, rdatas: Iterable[bytes], now: int) -> tuple[Keyset, list[str]]:
    """Return the key set with the foreign keys of the input, and why some of them cannot join.

    A key that the verifier cannot decode stays out: with it in the DNSKEY RRset, every version would be rejected, and
    no step of our own keys could be published.
    """
    keys = [ZoneKey(rdata) for rdata in rdatas]
    after, refused = follow_input(keyset, [key.rdata for key in keys if not key.problem], now)
    reasons = refused + [f"DNSKEY {key.tag} of the input: {key.problem}" for key in keys if key.problem]
    if len(reasons) > REASONS_MAX:
        reasons[REASONS_MAX:] = [f"and {len(reasons) - REASONS_MAX} more keys"]
    return after, reasons


def with_input_keys(keyset: Keyset, foreign: tuple[bytes, ...] | None, now: int) -> Keyset:
    """Return a zone's first key set with the foreign keys of the input, published from the first version on.

    Raise Rejected if one of them cannot be: validators may hold signatures made by it.
    """
    if foreign is None:
        return keyset
    keyset, refused = follow_usable_input(keyset, foreign, now)
    if refused:
        raise Rejected(
            "input-error", "; ".join(refused), "correct the DNSKEY RRset of the input, or the policy"
        )
    return published_at_once(keyset, now)


def make_with_foreign(
    transaction: ZoneTransaction,
    spec: ZoneSpec,
    keyset: Keyset,
    given: Input,
    tools: Tools,
    foreign: tuple[bytes, ...] | None,
) -> Published:
    """Make the next version, and store the foreign keys of the input, also where no version is needed."""
    document = None if foreign is None else {"dnskeys": [rdata.hex() for rdata in foreign]}
    noted = transaction.state(state.FOREIGN)
    changed = document is not None and noted != document
    if changed and document is not None:
        transaction.set_state(state.FOREIGN, document)
        if spec.review is not None and (foreign or noted is not None):
            # The keys are published later, by a step of the key set: the review is of the input that brings them.
            given = replace(given, foreign=foreign, renew=True)
    made = make(transaction, spec, keyset, given, tools)
    if made.serial is None and changed:
        transaction.commit_state()
    return made
