"""The states that a zone's keys had until now: from the key set, and from the steps in the zone's history.  Pure."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from dnssecd.core.keys.keyset import Key, Keyset
from dnssecd.core.keys.keystate import Event, Rec, Role, State
from dnssecd.core.keys.simulate import EVENT_NAMES, Span, label_of
from dnssecd.core.keys.types import STEP_EFFECTS, RemoveKey
from dnssecd.replacing import replace

#: What a step in the history makes of which record.
_STEPS = {
    EVENT_NAMES[effect.__name__]: (rec, State.RUMOURED if event is Event.PUBLISH else State.UNRETENTIVE)
    for (rec, event), effect in STEP_EFFECTS.items()
}
_REACHED = {f"{rec.value} {state.value}": (rec, state) for rec in Rec for state in State}
_REMOVED = EVENT_NAMES[RemoveKey.__name__]
_ROLES = frozenset({"ksk", "zsk", "csk"})

Moves = dict[Rec, list[tuple[int, State]]]


class PastStep(Struct, frozen=True):
    """A step of a key in the history.  `at`: epoch s; `event`: as `simulate.describe` names it."""

    at: int
    role: str
    tag: int
    event: str


def step_text(role: str, tag: int, event: str) -> str:
    """Return a key's step as the history has it."""
    return f"{role} {tag}: {event}"


def read_step(at: int, text: str) -> PastStep | None:
    """Return the step that `step_text` wrote; None for another entry of the history."""
    head, colon, event = text.partition(": ")
    role, _, tag = head.partition(" ")
    if not colon or role not in _ROLES or not (tag.isascii() and tag.isdigit()):
        return None
    return PastStep(at, role, int(tag), event)


def past_spans(keyset: Keyset, steps: Iterable[PastStep], now: int) -> tuple[Span, ...]:
    """Return how long each record of each key was in which state, until `now`.

    Without steps only what the key set tells: the present states and how they came about.
    """
    by_key: dict[tuple[str, int], Moves] = {}
    ended: dict[tuple[str, int], int] = {}
    for step in sorted(steps, key=lambda step: step.at):
        name = (step.role, step.tag)
        moved = _STEPS.get(step.event) or _REACHED.get(step.event)
        if moved is not None:
            by_key.setdefault(name, {}).setdefault(moved[0], []).append((step.at, moved[1]))
        elif step.event == _REMOVED:
            ended[name] = step.at
    spans: list[Span] = []
    for key in keyset.keys:
        moves = by_key.pop((key.role.value, key.tag), {})
        for rec in key.records:
            whose = key.ref, key.role, label_of(key, key.tag), rec
            spans += _spans_of(*whose, _completed(key, rec, moves.get(rec, [])), now)
    for (role, tag), moves in by_key.items():
        for rec, known in moves.items():
            end = ended.get((role, tag), known[-1][0])
            spans += _spans_of(f"past {role} {tag}", Role(role), f"{role.upper()} {tag}", rec, known, end)
    return tuple(spans)


def joined(past: Sequence[Span], ahead: Sequence[Span]) -> tuple[Span, ...]:
    """Return the past and what follows; a state that lasts beyond the present is one span."""
    last = {(span.ref, span.rec): span for span in past}
    first: dict[tuple[str, Rec], Span] = {}
    for span in sorted(ahead, key=lambda span: span.start):
        first.setdefault((span.ref, span.rec), span)
    merged = {}
    for place, span in first.items():
        before = last.get(place)
        if before is not None and before.state is span.state and before.stop == span.start:
            merged[span] = replace(span, start=before.start)
    dropped = {last[span.ref, span.rec] for span in merged}
    return (*(span for span in past if span not in dropped), *(merged.get(span, span) for span in ahead))


def _completed(key: Key, rec: Rec, known: list[tuple[int, State]]) -> list[tuple[int, State]]:
    """Return the moves of a record up to its present state, which the key set knows best."""
    record = key.record(rec)
    moves = list(known)
    since = record.changed or key.created
    if not moves:
        if record.state is State.OMNIPRESENT and record.published is not None and record.published < since:
            moves.append((record.published, State.RUMOURED))
        elif record.state is State.UNRETENTIVE:
            before = State.OMNIPRESENT if record.full else State.RUMOURED
            moves.append((min(key.active or key.created, since), before))
    if (moves[-1][1] if moves else State.HIDDEN) is not record.state:
        moves.append((max(since, moves[-1][0]) if moves else since, record.state))
    return moves


def _spans_of(
    ref: str, role: Role, label: str, rec: Rec, moves: list[tuple[int, State]], end: int
) -> list[Span]:
    ends = [*(at for at, _ in moves[1:]), end]
    return [
        Span(ref, role, label, rec, state, at, stop)
        for (at, state), stop in zip(moves, ends, strict=False)
        if stop > at
    ]
