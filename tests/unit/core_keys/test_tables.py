"""The automaton, the rules row by row, and what is derived from them."""

import random
from itertools import product
from pathlib import Path

import pytest

from dnssecd.core.keys.keyset import Key, Keyset, new_key
from dnssecd.core.keys.keystate import TRANSITIONS, Event, Goal, Rec, RecordState, Role, State, advance
from dnssecd.core.keys.keystate_doc import render
from dnssecd.core.keys.label import label
from dnssecd.core.keys.node_keys import signer_of
from dnssecd.core.keys.planner import TABLES
from dnssecd.core.keys.rules import RULES, broken, covered
from dnssecd.replacing import replace

from .bench import APEX

H, R, S, U = State.HIDDEN, State.RUMOURED, State.OMNIPRESENT, State.UNRETENTIVE
DOC = Path(__file__).parents[3] / "docs" / "key-states.md"


def key(name: str, role: Role, algorithm: int = 13, **states: State) -> Key:
    made = new_key(name, role, algorithm, name.encode().ljust(64, b"."), "local", 0)
    for rec, state in states.items():
        made = made.with_record(
            Rec(rec), RecordState(state, step_in=1, first_in=1, step_out=2 if state is U else 0)
        )
    return made


def steady(**states: State) -> tuple[Key, Key]:
    ksk = key("ksk", Role.KSK, dnskey=S, krrsig=S, ds=S)
    zsk = key("zsk", Role.ZSK, dnskey=S, zrrsig=S)
    for rec, state in states.items():
        holder = zsk if rec == "zrrsig" else ksk
        changed = holder.with_record(Rec(rec), RecordState(state, step_in=1, first_in=1, step_out=2))
        ksk, zsk = (ksk, changed) if holder is zsk else (changed, zsk)
    return ksk, zsk


def rule_broken(*keys: Key, step: tuple[Rec, Event] | None = None) -> str | None:
    rule = broken(Keyset(APEX, keys), RULES, step)
    return None if rule is None else rule.name


def test_the_document_is_up_to_date() -> None:
    assert DOC.read_text() == render(), (
        "write it anew: python -c 'from dnssecd.core.keys.keystate_doc import render; print(render(), end=\"\")' "
        "> docs/key-states.md"
    )


def test_the_document_has_every_row() -> None:
    text = render()
    for rule in TABLES.rules:
        assert rule.name in text
        assert all(way.name in text for way in rule.ways)
    assert text.count("-->") - 1 == sum(len(moves) for moves in TRANSITIONS.values()) + 1


def test_what_the_automaton_does_not_allow_is_an_error() -> None:
    for state, event in product(State, Event):
        record = RecordState(state)
        if event in TRANSITIONS[state]:
            assert advance(record, event, 1, 0).state is TRANSITIONS[state][event]
        else:
            with pytest.raises(KeyError):
                advance(record, event, 1, 0)


def test_a_secure_zone_at_rest_breaks_no_rule() -> None:
    assert rule_broken(*steady()) is None


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"dnskey": R}, "ds-leads-to-key"),
        ({"krrsig": R}, "ds-leads-to-key"),
        ({"dnskey": U}, "ds-leads-to-key"),
        ({"zrrsig": R}, "zone-data-signed"),
        ({"zrrsig": U}, "zone-data-signed"),
        ({"zrrsig": H}, "zone-data-signed"),
        ({"ds": R}, None),
        ({"ds": U}, None),
    ],
)
def test_one_record_short(change: dict[str, State], rule: str | None) -> None:
    assert rule_broken(*steady(**change)) == rule


def by_turns(ds: State) -> tuple[Key, Key, Key]:
    """Node a signs again, after node b, and no signature of either was everywhere at any time."""
    ksk, zsk = steady(ds=ds, zrrsig=R)
    theirs = key("theirs", Role.ZSK, dnskey=S, zrrsig=U)
    return ksk, zsk, replace(theirs, signer=signer_of("b"))


def test_the_first_ds_does_not_rest_on_what_nodes_signed_by_turns_before_it() -> None:
    keyset = Keyset(APEX, by_turns(R))
    assert broken(keyset, RULES, (Rec.DS, Event.PUBLISH), bound_before=True) is None
    rule = broken(keyset, RULES, (Rec.DS, Event.PUBLISH), bound_before=False)
    assert rule is not None
    assert rule.name == "zone-data-signed"
    everywhere = replace(keyset, keys=(*steady(ds=R), keyset.keys[2]))
    assert broken(everywhere, RULES, (Rec.DS, Event.PUBLISH), bound_before=False) is None


def test_before_any_ds_nothing_can_break() -> None:
    ksk, zsk = steady(ds=H, zrrsig=R)
    assert rule_broken(ksk, zsk) is None
    assert rule_broken(replace(ksk, dnskey=RecordState(R), krrsig=RecordState(R)), zsk) is None


def test_an_algorithm_comes_whole_or_not_at_all() -> None:
    old = steady()
    ksk = key("ksk15", Role.KSK, 15, dnskey=R, krrsig=R)
    zsk = key("zsk15", Role.ZSK, 15, dnskey=R, zrrsig=S)
    assert rule_broken(*old, ksk, zsk) is None
    assert rule_broken(*old, ksk) == "zone-data-signed"
    assert rule_broken(*old, zsk) == "dnskey-set-signed"
    assert rule_broken(*old, ksk, key("zsk15", Role.ZSK, 15, dnskey=R, zrrsig=R)) == "zone-data-signed"


def test_the_order_of_steps_tells_apart_what_states_do_not() -> None:
    """Withdrawn before it was ever omnipresent, a record stands in for nothing."""
    never = RecordState(U, step_in=3, step_out=5)
    once = RecordState(U, step_in=3, step_out=5, full=True)
    after = RecordState(R, step_in=5)
    late = RecordState(R, step_in=6)
    assert covered([once, after])
    assert not covered([once, late])
    assert not covered([never, after])
    assert covered([once, RecordState(U, step_in=5, step_out=7), RecordState(R, step_in=7)])
    assert not covered([once, RecordState(U, step_in=5, step_out=7), RecordState(R, step_in=8)])


def test_covered_is_right_about_random_histories() -> None:
    """Against sets written out: steps 0 to 9, of which those from `flushed` on may be held."""
    rng = random.Random(1)
    yes = 0
    for _ in range(20_000):
        flushed = rng.randrange(6)
        spans = [sorted(rng.sample(range(10), 2)) for _ in range(3)]
        records = [_record(start, stop if rng.random() < 0.6 else 99, flushed) for start, stop in spans]
        shown = [(record.step_in, record.step_out or 99) for record in records if record.state is not H]
        really = all(any(start <= step < stop for start, stop in shown) for step in range(flushed, 10))
        claimed = covered(records)
        yes += claimed
        assert really or not claimed, (flushed, records)
    assert yes > 1_000


def _record(start: int, stop: int, flushed: int) -> RecordState:
    if stop <= flushed:
        return RecordState(H)
    if stop == 99:
        return RecordState(S if start <= flushed else R, step_in=start, first_in=start)
    return RecordState(U, step_in=start, first_in=start, step_out=stop, full=start <= flushed)


def test_a_ds_leaves_only_where_another_takes_its_place() -> None:
    ksk, zsk = steady()
    leaving = replace(ksk, ds=RecordState(U, step_in=1, step_out=5, full=True))
    withdrawn = (Rec.DS, Event.WITHDRAW)
    assert rule_broken(leaving, zsk, step=withdrawn) == "ds-stays"
    new = key("new", Role.KSK, dnskey=S, krrsig=S)
    new = replace(new, ds=RecordState(R, step_in=5, first_in=5))
    assert rule_broken(leaving, zsk, new, step=withdrawn) is None
    assert broken(Keyset(APEX, (leaving, zsk), signed=False), RULES, withdrawn) is None


LABELS = [
    (key("k", Role.ZSK), "generated"),
    (key("k", Role.ZSK, dnskey=R), "published"),
    (key("k", Role.ZSK, dnskey=S), "ready"),
    (key("k", Role.ZSK, dnskey=S, zrrsig=R), "active"),
    (replace(key("k", Role.ZSK, dnskey=S, zrrsig=U), goal=Goal.ABSENT), "retired"),
    (replace(key("k", Role.ZSK, dnskey=U), goal=Goal.ABSENT), "dead"),
    (replace(key("k", Role.ZSK), goal=Goal.ABSENT, active=5), "removed"),
    (key("k", Role.KSK, dnskey=R, krrsig=R), "published"),
    (key("k", Role.KSK, dnskey=S, krrsig=S), "ready"),
    (key("k", Role.KSK, dnskey=S, krrsig=S, ds=R), "active"),
    (replace(key("k", Role.KSK, dnskey=S, krrsig=S, ds=U), goal=Goal.ABSENT), "retired"),
    (replace(key("k", Role.KSK, ds=S), goal=Goal.STANDBY), "standby"),
    (replace(key("k", Role.KSK, dnskey=R, krrsig=R), flags=0x181), "revoked"),
]


@pytest.mark.parametrize(("made", "name"), LABELS, ids=[f"{n}-{name}" for n, (_, name) in enumerate(LABELS)])
def test_rfc_7583_names(made: Key, name: str) -> None:
    assert label(made) == name
