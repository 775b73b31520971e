"""The pages as HTML: escaped, accessible, small, and in colours that everyone can tell apart."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from dnssecd.control.messages.zones import PersonTask, ServerSeen
from dnssecd.core.keys.timeline_svg import FAINT, FLAG, INK, LOOKS
from dnssecd.page.digest import Digest
from dnssecd.page.model import Survey
from dnssecd.page.overview import Query
from dnssecd.page.render import Pages, icon, runway_bar
from dnssecd.page.weeks import make_weeks

from . import colours
from .htmlrules import faults_of, read
from .samples import DAY, HOSTILE, NOW, alert, survey, view, zone

PAGES = Pages()


def overview(made: Survey | None = None, query: Query | None = None) -> str:
    query = query or Query()
    shown = made if made is not None else survey([zone(), zone("b.test.", alerts=[alert(zone="b.test.")])])
    digest = Digest(shown)
    weeks = make_weeks(digest.days, shown.freezes, shown.taken_at, query.span)
    return PAGES.overview(digest.page(query), weeks, query).decode()


def hostile_survey() -> Survey:
    bad = zone(
        HOSTILE,
        alerts=[alert(zone=HOSTILE, cause=HOSTILE, remedy=HOSTILE, subject=HOSTILE, acked_by=HOSTILE)],
        secondaries=[ServerSeen(name=HOSTILE, serial=1, seen_at=None, detail=HOSTILE)],
        next_step=HOSTILE,
        waits_for_person=[PersonTask(what=HOSTILE, command=HOSTILE)],
    )
    return survey([bad], host=HOSTILE)


@pytest.mark.parametrize(
    "page",
    [
        overview(),
        overview(survey([])),
        overview(hostile_survey(), Query(text=HOSTILE, refresh=60)),
        overview(survey([zone(f"z{n:03}.test.") for n in range(120)]), Query(page=2)),
        PAGES.zone(view(), 400).decode(),
        PAGES.zone(view(HOSTILE, HOSTILE), 30).decode(),
        PAGES.zone(view(docs_url="https://docs.example.com/operations.html"), 30).decode(),
        PAGES.message("No such page", HOSTILE).decode(),
    ],
    ids=["overview", "empty", "hostile", "many", "zone", "hostile zone", "links", "message"],
)
def test_pages_are_well_formed_accessible_and_have_nothing_active(page: str) -> None:
    assert faults_of(page) == []


@pytest.mark.parametrize(
    "page", [overview(hostile_survey()), PAGES.zone(view(HOSTILE, HOSTILE), 30).decode()]
)
def test_a_text_of_a_stranger_is_text(page: str) -> None:
    assert "<script" not in page
    assert "23331" not in page  # data is no template
    assert not set(page) & set("\x00\x1b\x7f\u202e\u2066"), "none that turns or hides what stands beside it"
    root, _ = read(page)
    shown = [element for element in root.walk() if "alert(1)" in element.text]
    assert shown
    links = [e.attributes["href"] for e in root.walk() if "alert" in e.attributes.get("href", "")]
    assert links
    assert all(re.fullmatch(r"[!-~]+", link) and "<" not in link and '"' not in link for link in links)


def test_the_rules_find_faults() -> None:
    """The checker itself."""
    page = overview()
    for before, after, fault in (
        ('lang="en"', "", "html-has-lang"),
        ("<h2 ", "<h4 ", "heading-order"),
        ('<label for="q">Name contains</label>', "", "label"),
        ('scope="col"', "", "scope-attr-valid"),
        ('aria-label="Weeks"', "", "landmark-unique"),
        ("<caption>", "<caption hidden></caption><b>", "closes"),
        ("<p>As of", "<p style='x'>As of", "<p style>"),
        ("<p>As of", "<p onclick='x'>As of", "<p onclick>"),
        ("<p>As of", "<script>x</script><p>As of", "<script>"),
        ('href="calendar.ics"', 'href="https://example.net/"', "leads away"),
    ):
        assert before in page
        assert any(fault in found for found in faults_of(page.replace(before, after, 1))), fault


def test_alerts_have_a_link_to_their_section_of_the_operations_page() -> None:
    url = "https://docs.example.com/operations.html"
    wanted = [f'href="{url}#disk-low"', f'href="{url}#input-error"']
    made = survey([zone(alerts=[alert()])], docs_url=url)
    assert all(link in overview(made) for link in wanted)
    assert Digest(made).page(Query()).docs_url == url
    assert wanted[1] in PAGES.zone(view(docs_url=url), 400).decode()
    without = survey([zone(alerts=[alert()])])
    for page in (overview(without), PAGES.zone(view(), 400).decode()):
        assert "#input-error" not in page


def test_pages_are_small() -> None:
    assert len(overview(survey([zone(f"z{n:03}.test.") for n in range(500)]))) < 150_000
    assert len(PAGES.style) < 20_000


def test_the_runway_as_a_bar() -> None:
    full = runway_bar(zone(runway_seconds=30 * DAY, refresh_seconds=8 * DAY))
    low = runway_bar(zone(runway_seconds=3 * DAY, refresh_seconds=8 * DAY))
    over = runway_bar(zone(runway_seconds=-60, refresh_seconds=8 * DAY))
    assert full is not None
    assert low is not None
    assert over is not None
    assert (full.width, full.look, low.look, over.look, over.text) == (
        72,
        "good",
        "low",
        "over",
        "expired 1m ago",
    )
    assert 0 < low.width < full.width / 2
    assert runway_bar(zone(runway_seconds=None)) is None


def test_the_weeks_show_acts_rollovers_and_freezes() -> None:
    made = survey([zone(f"z{n}.test.") for n in range(5)])
    weeks = make_weeks(Digest(made).days, made.freezes, NOW, 0)
    days = [day for week in weeks.weeks for day in week]
    assert weeks.title == "30 November 2026 to 3 January 2027"
    assert [day.label for day in days if day.today] == ["30 Nov"]
    assert [(day.label, len(day.acts), day.acts_more) for day in days if day.acts] == [("1 Dec", 3, 2)]
    assert [day.label for day in days if day.freeze] == ["5", "6", "7 Dec", "8", "9"]
    assert not any(day.acts for week in make_weeks(Digest(made).days, [], NOW, 1).weeks for day in week)


def test_icons_are_pictures() -> None:
    for level in ("ok", "warning", "critical", "", "<x>"):
        assert icon(level).startswith(b"<svg ")
        assert b"<x>" not in icon(level)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme: str) -> None:
    """WCAG 2.1, 1.4.3: 4.5 for text; 1.4.11: 3 for shapes."""
    sheet = colours.variables(PAGES.style.decode(), scheme)
    for ink, grounds in {
        "ink": ("ground", "raised", "ok-ground", "warn-ground", "bad-ground"),
        "faint": ("ground", "raised"),
        "link": ("ground", "raised"),
        "ok-ink": ("ground", "ok-ground"),
        "warn-ink": ("ground", "warn-ground"),
        "bad-ink": ("ground", "bad-ground", "warn-ground", "ok-ground"),
        "info-ink": ("ground", "info-ground"),
    }.items():
        for ground in grounds:
            assert colours.contrast(sheet[ink], sheet[ground]) >= 4.5, (scheme, ink, ground)
    for shape in ("ok", "bad", "info", "there"):
        assert colours.contrast(sheet[shape], sheet["ground"]) >= 3.0, (scheme, shape)


def test_the_picture_alone_has_enough_contrast() -> None:
    for ink in (INK, FAINT, FLAG):
        assert colours.contrast(ink, "#ffffff") >= 4.5


@pytest.mark.parametrize("sight", ["normal", "protan", "deutan", "tritan"])
def test_states_and_severities_can_be_told_apart(sight: str) -> None:
    """Also without colour they can: states differ in height, dots in shape; each word stands beside its colour."""
    sheet = colours.variables(PAGES.style.decode(), "light")
    groups = [
        [colour for colour, _, _ in LOOKS.values()] + [FLAG],
        [sheet["ok"], sheet["warn"], sheet["bad"]],
        [sheet["arriving"], sheet["there"], sheet["leaving"]],
    ]
    for group in groups:
        for index, one in enumerate(group):
            for other in group[index + 1 :]:
                assert colours.difference(one, other, sight) >= 15, (sight, one, other)


def test_an_alert_of_many_zones_names_some_and_counts_the_others() -> None:
    alerts = [zone(f"z{number}.test.", alerts=[alert(zone=f"z{number}.test.")]) for number in range(5)]
    text = re.sub(r"<[^>]+>", "", overview(survey(alerts)))
    assert re.search(r"z2\.test\. and 2 more", text), text


@pytest.mark.parametrize(("due", "shown"), [(NOW + DAY, True), (NOW - DAY, False)])
def test_the_page_of_a_zone_says_from_when_its_ds_may_be_handed_over(due: float, shown: bool) -> None:
    seen = view()
    seen = structs.replace(seen, zone=structs.replace(seen.zone, ds_due_at=due))
    assert ("hand it over from" in PAGES.zone(seen, 400).decode()) is shown


def test_the_page_of_an_island_speaks_of_trust_anchors_and_misses_no_parent() -> None:
    island = PAGES.zone(view(island=True, parents=[]), 30).decode()
    assert "validators have the zone's trust anchors" in island.replace("&#39;", "'")
    assert '<th scope="col">Trust anchor</th>' in island
    assert "No server of the parent" not in island
    other = PAGES.zone(view(parents=[]), 30).decode()
    assert "No server of the parent was seen" in other
    assert '<th scope="col">DS</th>' in other
