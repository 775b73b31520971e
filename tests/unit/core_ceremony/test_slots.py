"""Which RRsets a request asks for, and when."""

from itertools import pairwise

from dnssecd.core.ceremony.checks import Limits
from dnssecd.core.ceremony.request import Planned
from dnssecd.core.ceremony.slots import slots_of, within, zsk_timeline, zsks_to_come
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.simulate import Span
from dnssecd.replacing import replace
from tests.unit.core_ceremony.world import DAY, NOW, A, B, C, ordered

SETS = tuple(ordered(*keys) for keys in ((A,), (A, B), (B,), (B, C), (C,)))
PLAN = tuple(Planned(NOW + 20 * number * DAY, zsks) for number, zsks in enumerate(SETS))


def slots(start: int = NOW, stop: int = NOW + 100 * DAY):
    return slots_of(PLAN, start, stop, validity_s=14 * DAY, refresh_s=7 * DAY, inception_offset_s=-3600)


def test_slots_overlap_by_the_refresh_and_reach_the_end():
    found = slots()
    assert all(before.expiration - after.inception == 7 * DAY + 3600 for before, after in pairwise(found))
    assert found[0].inception == NOW - 3600
    assert found[-1].expiration >= NOW + 100 * DAY + 7 * DAY


def test_a_set_is_signed_two_steps_early():
    """So that a ZSK can be rolled over at once when it is compromised."""
    assert set(slots()[0].sets) == {SETS[0], SETS[1], SETS[2]}


def test_a_set_is_signed_to_the_end_of_the_period():
    """So that evidence may come late, and no step leads to a set that ends before the present one."""
    assert set(slots()[-1].sets) == set(SETS)


def test_a_slot_has_a_bounded_number_of_sets():
    plan = tuple(Planned(NOW + number * DAY, SETS[number % 5]) for number in range(90))
    long = tuple(replace(each, zsks=(*each.zsks, bytes((number,)))) for number, each in enumerate(plan))
    found = slots_of(long, NOW, NOW + 90 * DAY, validity_s=2 * DAY, refresh_s=DAY, inception_offset_s=0)
    assert max(len(slot.sets) for slot in found) <= Limits().sets_max


def test_the_last_sets_are_signed_to_the_end():
    assert {SETS[3], SETS[4]} <= set(slots()[-1].sets)


def span(ref: str, start: int, stop: int | None, state: State = State.OMNIPRESENT) -> Span:
    return Span(ref, Role.ZSK, f"ZSK {ref}, algorithm 13", Rec.DNSKEY, state, start, stop)


def test_the_zsks_to_come_are_those_that_the_forecast_publishes_first_use_first():
    spans = [
        span("a", NOW, None),
        span("new 2", NOW + 50, None),
        span("new 1", NOW, NOW + 10, State.HIDDEN),
        span("new 1", NOW + 10, None, State.RUMOURED),
        span("new 3", NOW, None, State.HIDDEN),
        replace(span("ksk", NOW, None), role=Role.KSK),
    ]
    assert zsks_to_come(spans, {"a"}) == ["new 1", "new 2"]


def test_a_timeline_follows_the_dnskey_records():
    refs = {"a": A.rdata, "b": B.rdata}
    spans = [
        span("a", NOW - 9, NOW + 30),
        span("b", NOW + 10, NOW + 20, State.RUMOURED),
        span("b", NOW + 20, None),
        span("a", NOW + 30, None, State.UNRETENTIVE),
        span("ksk", NOW, None),
    ]
    found = zsk_timeline(spans, refs, [A.rdata], NOW)
    assert found == (
        Planned(NOW, ordered(A)), Planned(NOW + 10, ordered(A, B)), Planned(NOW + 30, ordered(B)),
    )  # fmt: skip


def test_a_timeline_begins_with_the_published_set_even_if_the_forecast_leaves_it_at_once():
    spans = [span("a", NOW, None), span("b", NOW, None, State.RUMOURED)]
    found = zsk_timeline(spans, {"a": A.rdata, "b": B.rdata}, [A.rdata], NOW)
    assert [each.zsks for each in found] == [ordered(A), ordered(A, B)]


def test_the_plan_of_a_later_period_begins_with_the_set_in_force():
    found = within(PLAN, NOW + 30 * DAY, NOW + 70 * DAY)
    assert [(each.start, each.zsks) for each in found] == [
        (NOW + 30 * DAY, SETS[1]), (NOW + 40 * DAY, SETS[2]), (NOW + 60 * DAY, SETS[3]),
    ]  # fmt: skip


def test_where_a_zsk_comes_as_another_goes_the_set_with_both_is_signed_too():
    spans = [span("a", NOW, NOW + 10), span("b", NOW, NOW + 10), span("c", NOW + 10, None, State.RUMOURED)]
    spans.append(span("a", NOW + 10, None))
    refs = {"a": A.rdata, "b": B.rdata, "c": C.rdata}
    found = zsk_timeline(spans, refs, [A.rdata, B.rdata], NOW)
    assert found == (
        Planned(NOW, ordered(A, B)), Planned(NOW + 10, ordered(A, B, C)), Planned(NOW + 10, ordered(A, C)),
    )  # fmt: skip
