"""Inputs of a zone that several nodes share: they are noted with the version, and an old copy is refused."""

import msgspec

from dnssecd.core.zone.stale_input import InputAge, LoadedInput, SeenInput, judge_input, see_input, with_input
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.store.interface import ZoneTransaction

#: State document: {"loaded": list of [digest, epoch]}, the newest last.
INPUTS = "inputs"
STALE = "input-stale"


def seen_now(transaction: ZoneTransaction, digest: str, seen: SeenInput | None) -> SeenInput | None:
    """Return what this node has seen in the present ownership after an input; None without a log.

    seen: before it, perhaps of an earlier ownership.
    """
    return None if transaction.epoch is None else see_input(seen, digest, transaction.epoch)


def note_input(
    transaction: ZoneTransaction, spec: ZoneSpec, digest: str, seen: SeenInput | None, *, accept_older: bool
) -> None:
    """Write that an input is loaded by the version of the transaction. Do nothing without a log.

    seen: what this node saw before, as in :func:`seen_now`. Raise Rejected for an old copy, unless accept_older.
    """
    epoch = transaction.epoch
    if epoch is None:
        return
    loaded = _loaded(transaction)
    age = judge_input(loaded, digest, epoch, seen)
    if age is InputAge.STALE and not accept_older:
        raise Rejected(
            STALE,
            f"the file of {spec.name} on this node equals an earlier input than the newest that was loaded, on another "
            "node: it is an old copy",
            "bring the file up to date; it is loaded when it changes. If the older content is intended: "
            f"dnssecd zone reload {spec.name} --accept-older",
        )
    if age is not InputAge.NEWEST:
        transaction.set_state(INPUTS, {"loaded": [list(each) for each in with_input(loaded, digest, epoch)]})


def _loaded(transaction: ZoneTransaction) -> list[LoadedInput]:
    document = transaction.state(INPUTS) or {}
    return msgspec.convert(document.get("loaded", []), list[LoadedInput])
