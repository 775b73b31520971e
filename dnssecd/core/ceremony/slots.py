"""From the planner's forecast to what a request asks for: the timeline of ZSK sets, and the slots that sign them.

All sets are signed for the same slots, so that none of them ends before another. A set is signed from two steps before
the plan expects it, so that a ZSK can be rolled over early (when one is compromised), to the end of the period, so that
evidence may come late, and so that no step leads to a set that ends before the present one. Where ZSKs roll over
so often that this would be too many, a set ends twelve steps after the plan expects it.
"""

from collections.abc import Collection, Iterable, Mapping

from dnssecd.core.ceremony.request import Planned, Slot
from dnssecd.core.keys.keystate import VISIBLE, Rec, Role, State
from dnssecd.core.keys.simulate import Span

EARLY_STEPS = 2
LATE_STEPS = 12


def zsk_timeline(
    spans: Iterable[Span], refs: Mapping[str, bytes], published: Iterable[bytes], start: int
) -> tuple[Planned, ...]:
    """Return the sets of ZSKs over time, from ``start`` (epoch s) on; ``refs``: their DNSKEY RDATA by name.

    ``published``: the ZSKs (DNSKEY RDATA) that are published at ``start``. The first set is of these, also where the
    forecast goes beyond them at once: that step may wait for the very response that is asked for. Where one ZSK comes
    and another goes at the same time, there is a set with both between: the planner takes one step after the other,
    and takes none to a set that is not signed.
    """
    shown = [
        (span.start, span.stop, refs[span.ref])
        for span in spans
        if span.rec is Rec.DNSKEY and span.state in VISIBLE and span.ref in refs
    ]
    times = sorted({start, *(at for begin, end, _ in shown for at in (begin, end) if at and at > start)})
    present = tuple(sorted(published))
    plan = [Planned(start, present)] if present else []
    for at in times:
        zsks = tuple(
            sorted({rdata for begin, end, rdata in shown if begin <= at and (end is None or at < end)})
        )
        if not zsks or (plan and plan[-1].zsks == zsks):
            continue
        both = tuple(sorted({*plan[-1].zsks, *zsks})) if plan else zsks
        if plan and both not in (plan[-1].zsks, zsks):
            plan.append(Planned(at, both))
        plan.append(Planned(at, zsks))
    return tuple(plan)


def zsks_to_come(spans: Iterable[Span], known: Collection[str]) -> list[str]:
    """Return the names of the ZSKs of a forecast that are still to be made, in the order of their first use.

    ``known``: the names of the keys there are.
    """
    begins: dict[str, int] = {}
    for span in spans:
        if span.role is Role.ZSK and span.ref not in known and span.state is not State.HIDDEN:
            begins[span.ref] = min(begins.get(span.ref, span.start), span.start)
    return sorted(begins, key=begins.__getitem__)


def within(plan: tuple[Planned, ...], start: int, stop: int) -> tuple[Planned, ...]:
    """Return the part of a timeline that is in force between two times (epoch s)."""
    ends = [*(each.start for each in plan[1:]), stop]
    return tuple(
        Planned(max(each.start, start), each.zsks)
        for each, end in zip(plan, ends, strict=True)
        if end > start and each.start < stop
    )


def slots_of(
    plan: tuple[Planned, ...],
    start: int,
    stop: int,
    *,
    validity_s: int,
    refresh_s: int,
    inception_offset_s: int,
) -> tuple[Slot, ...]:
    """Return the slots from ``start`` to ``stop`` (epoch s).

    Each begins ``refresh_s`` before the one before it expires. ``inception_offset_s`` is negative, as in the policy.
    """
    step = max(1, validity_s - refresh_s)
    slots = []
    at = start
    while at < stop:
        sets = tuple(_possible(plan, at, at + step))
        slots.append(Slot(at + inception_offset_s, at + validity_s, sets))
        at += step
    return tuple(slots)


def _possible(plan: tuple[Planned, ...], start: int, stop: int) -> Iterable[tuple[bytes, ...]]:
    """Return the sets that may be published between two times, each once, in the order of the plan."""
    found: dict[tuple[bytes, ...], None] = {}
    for index, each in enumerate(plan):
        early = plan[index - EARLY_STEPS].start if index >= EARLY_STEPS else 0
        after = index + LATE_STEPS
        late = plan[after].start if after < len(plan) else stop
        if (early < stop and late > start) or (not found and index == len(plan) - 1):
            found[each.zsks] = None
    return found
