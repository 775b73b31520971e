"""The status page in a real browser: without scripts, at any width, by keyboard, judged by axe. For `make soak`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from dnssecd.config import Address
from dnssecd.config.model import StatusPageConfig
from dnssecd.control.messages.zones import PersonTask
from dnssecd.page.endpoint import StatusPage
from tests.peers.chromium import Chromium
from tests.unit.page.samples import DAY, HOSTILE, NOW, Samples, alert, survey, view, zone

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

AXE = "axe-playwright-python==0.1.8"
#: Where pictures of the pages are kept, to be looked at.
PICTURES = os.environ.get("DNSSECD_PICTURES")
PAGES = {
    "overview": "/",
    "later": "/?page=3&sort=runway&span=1",
    "nothing": "/?q=nothing",
    "zone": "/zone?name=a.test.",
    "hostile": "/zone?name=hostile.",
    "missing": "/zone?name=missing.",
}
TAB, SHIFT = ("Tab", 9), 8


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    zones = [zone(f"z{number:03}.test.", runway_seconds=number * DAY / 10) for number in range(200)]
    task = PersonTask(what="hand over the DS of key 4711", command="dnssecd ds show due.test.", by=NOW - 60)
    zones += [
        zone("a.test.", alerts=[alert(severity="critical", acked_by="root")]),
        zone("due.test.", security="ds-due", ds_due_at=NOW + 60, waits_for_person=[task]),
        zone("very-long-" * 5 + ".and-longer-" * 5 + ".test.", security="bogus", frozen=True),
        zone("rolling.test.", security="rolling", serial=None),
    ]
    source = Samples(survey(zones), {"a.test.": view(), "hostile.": view("hostile.", HOSTILE * 3)})
    settings = StatusPageConfig(listen=Address("127.0.0.1", 0))
    counter = Counter("requests", "x", ("result",), registry=CollectorRegistry())
    page = StatusPage(lambda: settings, source, counter)
    page.start()
    yield f"http://127.0.0.1:{page.address.port}"
    page.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The rules of axe-core (MPL 2.0), from a package that has them; they are no part of this repository."""
    home = tmp_path_factory.mktemp("axe")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(home), AXE]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("axe_playwright_python/axe.min.js").decode()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("width", "zoom"), [(1280, 1.0), (390, 1.0), (1280, 2.0), (320, 1.0)])
def test_nothing_is_cut_off_and_nothing_is_refused(
    site: str, browser: Chromium, page: str, width: int, zoom: float
) -> None:
    """WCAG 2.1, 1.4.4 and 1.4.10: 200 % zoom, and 320 px wide, without scrolling in two directions."""
    browser.open(site + PAGES[page], width, zoom=zoom)
    if PICTURES:
        browser.screenshot(Path(PICTURES) / f"{page}-{width}-{zoom:g}.png")
    over = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .hidden, .skip, thead') && "
        "e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map(e => e.tagName + '.' + (e.getAttribute('class') || '') + ' ' + e.textContent.slice(0, 40))"
    )
    assert over == []
    assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    expected = 0 if page != "missing" else 1  # the browser notes the 404
    assert len(browser.complaints()) == expected, browser.complaints()
    assert all(address.startswith(site) for address in browser.addresses())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(site: str, browser: Chromium, axe: str, page: str, dark: bool) -> None:
    browser.open(site + PAGES[page], 1280, dark=dark)
    if PICTURES and dark:
        browser.screenshot(Path(PICTURES) / f"{page}-dark.png")
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    try:
        browser.evaluate(axe + "; 0")
        found: Any = browser.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ': ' + v.help + "
            "' ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 150) + ' ' + n.failureSummary).join(' | ')))"
        )
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
    assert found == []


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(site: str, browser: Chromium) -> None:
    browser.open(site + "/", 1280)
    expected = browser.evaluate(
        "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')]"
        ".length"
    )
    order = []
    for _ in range(expected):
        browser.press(*TAB)
        order.append(
            browser.evaluate(
                "(() => { const e = document.activeElement, all = [...document.querySelectorAll('*')], "
                "s = getComputedStyle(e), r = e.getBoundingClientRect(); "
                "return [all.indexOf(e), s.outlineStyle, r.width > 0 && r.right > 0, e.tagName] })()"
            )
        )
    places = [place for place, _, _, _ in order]
    assert places == sorted(places)
    assert len(set(places)) == expected
    assert all(outline != "none" for _, outline, _, _ in order)
    assert all(visible for _, _, visible, _ in order), "the link to the content is seen when it has the focus"


def test_the_filter_works_without_a_script_and_by_keyboard(site: str, browser: Chromium) -> None:
    browser.open(site + "/", 1280)
    browser.evaluate("document.querySelector('#q').focus()")
    browser.call("Input.insertText", text="Z01")
    browser._events.clear()
    browser.call(
        "Input.dispatchKeyEvent",
        type="keyDown",
        key="Enter",
        code="Enter",
        windowsVirtualKeyCode=13,
        text="\r",
    )
    while not any(event.get("method") == "Page.loadEventFired" for event in browser._events):
        browser.evaluate("0")
    names = browser.evaluate(
        "[...document.querySelectorAll('table.zones tbody th a')].map(e => e.textContent)"
    )
    assert len(names) == 10
    assert all(name.startswith("z01") for name in names)
    assert browser.evaluate("document.querySelector('#q').value") == "z01"


def test_a_text_of_a_stranger_does_nothing(site: str, browser: Chromium) -> None:
    browser.open(site + PAGES["hostile"], 1280)
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("[...document.querySelectorAll('*')].every(e => !e.getAttribute('onmouseover'))")
    assert "<script>alert(1)</script>" in browser.evaluate("document.body.textContent")
