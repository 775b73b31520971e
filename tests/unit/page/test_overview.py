"""What the overview shows: filters, orders, pages, groups."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.control.messages.zones import PersonTask
from dnssecd.page.digest import Digest
from dnssecd.page.overview import PER_PAGE, Query, read_query, select

from .samples import DAY, NOW, alert, survey, zone

ZONES = [
    zone("b.test.", runway_seconds=3 * DAY),
    zone("a.test.", runway_seconds=9 * DAY, alerts=[alert(severity="info")]),
    zone("broken.test.", alerts=[alert(zone="broken.test.")]),
    zone("bogus.test.", security="bogus"),
    zone("new.test.", serial=None, runway_seconds=None, security="unknown", secondaries=[]),
    zone("due.test.", security="ds-due", waits_for_person=[PersonTask(what="hand over", command="ds show")]),
]


def names(**fields: str) -> list[str]:
    return [each.zone for each in select(ZONES, read_query(fields))]


def test_the_worst_come_first() -> None:
    assert names() == ["bogus.test.", "broken.test.", "a.test.", "due.test.", "new.test.", "b.test."]


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("bad", {"broken.test.", "bogus.test."}),
        ("you", {"due.test."}),
        ("behind", {"b.test.", "a.test.", "broken.test.", "bogus.test.", "due.test."}),
        ("waiting", {"new.test."}),
        ("bogus", {"bogus.test."}),
        ("ds-due", {"due.test."}),
        ("nonsense", {each.zone for each in ZONES}),
    ],
)
def test_filters(show: str, expected: set[str]) -> None:
    assert set(names(show=show)) == expected


def test_orders_and_search() -> None:
    assert names(sort="name")[0] == "a.test."
    assert names(sort="runway") == [
        "b.test.",
        "a.test.",
        "bogus.test.",
        "broken.test.",
        "due.test.",
        "new.test.",
    ]
    assert names(q=" BRO ") == ["broken.test."]


@given(
    st.dictionaries(st.sampled_from(["q", "show", "sort", "page", "per", "span", "refresh", "x"]), st.text())
)
def test_any_address_is_a_query_and_is_written_as_one(fields: dict[str, str]) -> None:
    query = read_query(fields)
    again = read_query(dict(parse_qsl(query.url().removeprefix("?"), keep_blank_values=True)))
    assert again == query
    assert 1 <= query.per <= 500
    assert query.refresh == 0 or query.refresh >= 10


def test_a_change_of_what_is_shown_begins_with_the_first_page() -> None:
    assert Query(page=7).url(sort="name") == "?sort=name"
    assert Query(page=7).url(span=2) == "?page=7&span=2"


def test_pages_of_zones_and_a_page_beyond_the_last() -> None:
    many = survey([zone(f"z{number:03}.test.") for number in range(120)])
    page = Digest(many).page(Query(page=3))
    assert (page.page, page.pages, page.matching, len(page.zones)) == (3, 3, 120, 120 - 2 * PER_PAGE)
    assert Digest(many).page(Query(page=99)).page == 3
    assert Digest(survey([])).page(Query(page=2)).pages == 1


def test_an_alert_of_many_zones_is_one() -> None:
    zones = [zone(f"z{number}.test.", alerts=[alert(zone=f"z{number}.test.")]) for number in range(5)]
    page = Digest(survey(zones)).page(Query())
    assert [(group.first.name, len(group.zones)) for group in page.alerts] == [
        ("input-error", 5),
        ("disk-low", 0),
    ]
    few = Digest(survey(zones[:3])).page(Query())
    assert len(few.alerts) == 4


def test_what_is_late_comes_before_what_comes_later() -> None:
    tasks = [
        PersonTask(what="later", command="x", at=NOW + 9),
        PersonTask(what="late", command="x", by=NOW - 9),
    ]
    page = Digest(survey([zone(waits_for_person=tasks)])).page(Query())
    assert [task.what for task in page.tasks] == ["late", "later"]


def test_ten_thousand_zones_are_sorted_and_paged_quickly() -> None:
    many = survey([zone(f"z{number}.test.") for number in range(10_000)])
    started = time.process_time()
    Digest(many).page(Query(sort="runway", text="z9"))
    Digest(many).page(Query())
    assert time.process_time() - started < 1.0
