"""Texts on the waits of a rollover: gate, rule, awaited server, its last answer, next look."""

from collections.abc import Iterable, Sequence

from dnssecd.control.messages.rollovers import Missing as MissingFrom
from dnssecd.control.messages.rollovers import Wait
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Rec
from dnssecd.core.keys.label import label
from dnssecd.core.keys.rules import RULES
from dnssecd.core.keys.types import Blocker, Gate, Missing
from dnssecd.core.utc import about
from dnssecd.core.utc import moment as written
from dnssecd.daemon.rollover.policy import FOREVER
from dnssecd.replacing import replace

REC_WORDS = {
    Rec.DNSKEY: "DNSKEY",
    Rec.KRRSIG: "signature over the DNSKEY RRset",
    Rec.ZRRSIG: "zone signatures",
    Rec.DS: "DS",
}

#: The source of evidence that only a person can give.
OPERATOR = "an operator"
FOLLOWING = "then, automatically, when it is safe:"
RULE_NAMES = frozenset(rule.name for rule in RULES)


def moment(when: float | None) -> str:
    """Return ``2026-11-24 03:30:00Z``."""
    if when is not None and when >= FOREVER:
        return "the zone is thawed"
    return "never" if when is None else written(when)


def step(blocker: Blocker, keyset: Keyset) -> str:
    """Name the waiting step: key, record and event."""
    key = keyset.find(blocker.ref)
    parts = [f"{key.role.value} {blocker.tag}"] if key is not None else []
    if blocker.rec is not None:
        parts.append(REC_WORDS[blocker.rec])
    if blocker.event is not None:
        parts.append(blocker.event.value)
    else:
        parts.append("rollover" if key is not None else blocker.rule)
    return " ".join(parts)


def line(blocker: Blocker, keyset: Keyset, *, looks: bool = True) -> str:
    """Return one line for ``status``; without the times of next looks, so that it changes only if the state changes."""
    what = step(blocker, keyset)
    if blocker.missing:
        return f"{what} {_awaited(blocker.missing, looks=looks)}"
    if blocker.gate is Gate.APPROVAL:
        return f"{what}: {blocker.detail} ({blocker.token})"
    until = f" until {moment(blocker.until)}" if blocker.until is not None else ""
    return f"{what} waits{until}: {blocker.detail}"


def late_lines(blockers: Sequence[Blocker], keyset: Keyset) -> list[str]:
    """Return one line for all steps that wait for the same evidence: what they wait for, and their records."""
    steps: dict[tuple[Missing, ...], list[str]] = {}
    for blocker in blockers:
        same = tuple(replace(missing, next_look=None) for missing in blocker.missing)
        steps.setdefault(same, []).append(_record(blocker, keyset))
    return [
        f"{_awaited(missing, looks=False)}; this delays {', '.join(delayed)}"
        for missing, delayed in steps.items()
    ]


def _record(blocker: Blocker, keyset: Keyset) -> str:
    key = keyset.find(blocker.ref)
    if key is None or blocker.rec is None:
        return step(blocker, keyset)
    return f"the {REC_WORDS[blocker.rec]} of {key.role.value} {blocker.tag}"


def _awaited(missing: Iterable[Missing], *, looks: bool) -> str:
    return "; ".join(_missing(each, looks=looks) for each in missing)


def _missing(missing: Missing, *, looks: bool = True) -> str:
    shown = looks and missing.next_look is not None
    look = f"; next look {moment(missing.next_look)}" if shown else ""
    if missing.whom == OPERATOR and missing.seen == "nothing":
        return f"waits: {missing.wanted}{look}"
    return f"waits for {missing.whom}: {missing.wanted} (now: {missing.seen or 'nothing'}{look})"


def waiting(blocker: Blocker, keyset: Keyset) -> Wait:
    """Return a blocker in the form for commands."""
    looks = [missing.next_look for missing in blocker.missing if missing.next_look is not None]
    until = None if blocker.until is None or blocker.until >= FOREVER else blocker.until
    if until is not None:
        looks.append(until)
    return Wait(
        step=step(blocker, keyset),
        gate=blocker.gate.value,
        rule=blocker.rule,
        detail=blocker.detail,
        key_tag=blocker.tag or None,
        since=blocker.since or None,  # 0: the record was never changed
        until=until,
        token=blocker.token or None,
        missing=[
            MissingFrom(source=each.whom, seen=each.seen, wanted=each.wanted, next_look=each.next_look)
            for each in blocker.missing
        ],
        next_look=min(looks, default=None),
    )


def states(keyset: Keyset) -> list[str]:
    """Return a line for each key: its name, its state in words, and the state of each record."""
    lines = []
    for key in keyset.keys:
        records = ", ".join(f"{rec.value} {key.record(rec).state.value}" for rec in key.records)
        whose = f" of signer {key.signer}" if key.foreign else ""
        name = f"{key.role.value} {key.tag}{whose} (algorithm {key.algorithm})"
        lines.append(f"{name}: {label(key)}; {records}")
    return lines


def signed_ahead(present: int | None, until: int | None, now: float) -> list[str]:
    """Return a line on what an off-line KSK signed ahead; none without one. ``present``: of the present RRset."""
    if present is None or until is None:
        return []
    if present <= now:
        return ["the KSK is off-line, and the DNSKEY RRset is not signed any more: hold a ceremony"]
    line = (
        f"the KSK is off-line; the DNSKEY RRset is signed until {moment(present)}, for {about(present - now)}"
    )
    return [line + (f"; those that follow it until {moment(until)}" if until > present else "")]


def waits(zone: str, blockers: tuple[Blocker, ...], keyset: Keyset, now: float) -> list[str]:
    """Return the waits, some lines for each: first those for an operator, a server or time, then those that follow.

    They have the names and the wording of the rules (docs/key-states.md).
    """
    lines: list[str] = []
    for blocker in in_order(blockers):
        if lines and _follows(blocker) and FOLLOWING not in lines:
            lines.append(FOLLOWING)
        lines += _wait(zone, blocker, keyset, now)
    return lines


def in_order(blockers: tuple[Blocker, ...]) -> list[Blocker]:
    """Return the waits for an operator, a server or time, then those that follow from them."""
    return sorted(blockers, key=_follows)


def _follows(blocker: Blocker) -> bool:
    """Tell whether only other steps decide when it happens, so that no action is needed."""
    return blocker.gate in (Gate.POLICY, Gate.SAFETY) and not blocker.missing


def _wait(zone: str, blocker: Blocker, keyset: Keyset, now: float) -> list[str]:
    lines = [
        f"{step(blocker, keyset)}: held by {blocker.gate.value} ({blocker.rule})",
        f"  {_why(blocker)}",
    ]
    lines += [f"  {_missing(missing)}" for missing in blocker.missing]
    if blocker.until is not None:
        left = "" if blocker.until >= FOREVER else f", in {about(max(0.0, blocker.until - now))}"
        lines.append(f"  until {moment(blocker.until)}{left}")
    if blocker.token:
        lines.append(f"  to let it happen: dnssecd key approve {zone} --step {blocker.token}")
    return lines


def _why(blocker: Blocker) -> str:
    return f"must stay true: {blocker.detail}" if blocker.rule in RULE_NAMES else blocker.detail
