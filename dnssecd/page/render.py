"""The pages as HTML: templates, and the words and shapes that they use.

Every value is escaped by the template engine (autoescape), and an undefined one is an error. No page has a script or
an inline style: the content security policy allows none.
"""

from __future__ import annotations

import functools
import hashlib
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from dnssecd.control.messages.zones import ServerSeen, ZoneStatus
from dnssecd.core.utc import about, minute
from dnssecd.page import overview
from dnssecd.page.model import Page, ZoneView
from dnssecd.page.overview import Query
from dnssecd.page.weeks import Weeks

#: A bar is full at twice the refresh: signatures are renewed when it is half full.
BAR_FULL = 2.0
BAR_WIDTH = 72
LOW = 0.5
DOTS_MAX = 8
DAYS = (30, 120, 400)

LEVELS = {"ok": "All is well", "warning": "Needs attention", "critical": "Critical"}
SYMBOLS = {"ok": "✓", "warning": "!", "critical": "✕"}
SECURITY = {
    "unknown": ("–", "not known yet"),
    "insecure": ("○", "insecure"),
    "ds-due": ("⚑", "DS due"),
    "secure": ("✓", "secure"),
    "rolling": ("↻", "rolling"),
    "bogus": ("✕", "bogus"),
}

#: C0 and C1 without line ends and tabs; what sets the direction of text (UAX #9).
_C0_C1 = (*range(9), *range(11, 32), *range(127, 160))
_BIDI = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = dict.fromkeys((*_C0_C1, *_BIDI), "\ufffd")


class Dot(Struct, frozen=True):
    """A server as a dot. look: current, behind or unknown; hint: what it serves."""

    look: str
    hint: str


class Bar(Struct, frozen=True):
    """The runway as a bar. width: of BAR_WIDTH; look: good, low or over."""

    width: float
    look: str
    text: str


class Pages:
    """Renders the pages. One instance, used by many threads."""

    def __init__(self) -> None:
        loader = PackageLoader("dnssecd.page")
        self._environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            finalize=show_controls,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            minute=minute, about=about, iso=_iso, since=_since, bar=runway_bar, dots=dots, day=_day
        )
        self.style = loader.get_source(self._environment, "style.css")[0].encode()
        self._environment.globals.update(
            style_mark=hashlib.sha256(self.style).hexdigest()[:12],
            security=SECURITY,
            symbols=SYMBOLS,
            levels=LEVELS,
            shown=overview.SHOWN,
            sorted_by=overview.SORTED,
            current=overview.current,
            spans_max=overview.SPANS_MAX,
            days_offered=DAYS,
            dots_max=DOTS_MAX,
            bar_width=BAR_WIDTH,
        )
        for name in ("overview.html", "zone.html", "message.html"):
            self._environment.get_template(name)

    def overview(self, page: Page, weeks: Weeks, query: Query) -> bytes:
        """Return the overview. weeks: of the calendar."""
        return self._render("overview.html", page=page, query=query, weeks=weeks)

    def zone(self, view: ZoneView, days: int) -> bytes:
        """Return the page of a zone."""
        picture = Markup(view.times.svg.translate(_CONTROLS))  # noqa: S704 - made by core/keys/timeline_svg.py, which escapes
        return self._render("zone.html", view=view, zone=view.zone, picture=picture, days=days)

    def message(self, title: str, text: str) -> bytes:
        """Return a page with a message."""
        return self._render("message.html", title=title, text=text)

    def _render(self, name: str, **values: Any) -> bytes:
        return self._environment.get_template(name).render(**values).encode()


@functools.cache
def load_pages() -> Pages:
    """Return the pages; templates are compiled once."""
    return Pages()


def icon(level: str) -> bytes:
    """Return the icon of a verdict, for the tab of the browser."""
    colour = {"ok": "#007a5a", "warning": "#b35c00", "critical": "#b3261e"}.get(level, "#57606a")
    sign = {"ok": "M4 8.5l3 3 5-7", "warning": "M8 3v6M8 11.5v1.5", "critical": "M4.5 4.5l7 7M11.5 4.5l-7 7"}
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="{colour}"/>'
        f'<path d="{sign.get(level, "M5 8h6")}" fill="none" stroke="#fff" stroke-width="2"/></svg>'
    ).encode()


def show_controls(value: object) -> object:
    """Return a text with a mark instead of each control character: some would turn the text around them."""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return value.translate(_CONTROLS)


def runway_bar(zone: ZoneStatus) -> Bar | None:
    """Return the runway of a zone as a bar; None if it has none."""
    runway = zone.runway_seconds
    if runway is None:
        return None
    text = about(runway) if runway >= 0 else f"expired {about(-runway)} ago"
    if runway <= 0:
        return Bar(0.0, "over", text)
    if not zone.refresh_seconds:
        return Bar(BAR_WIDTH, "good", text)
    ratio = runway / zone.refresh_seconds
    width = max(2.0, round(min(ratio / BAR_FULL, 1.0) * BAR_WIDTH, 1))
    return Bar(width, "low" if ratio < LOW else "good", text)


def dots(zone: ZoneStatus, now: float) -> list[Dot]:
    """Return the servers of a zone as dots."""
    return [_dot(zone, one, now) for one in zone.secondaries]


def _dot(zone: ZoneStatus, one: ServerSeen, now: float) -> Dot:
    if one.serial is None:
        return Dot("unknown", f"{one.name}: {one.detail or 'not known'}")
    age = f", seen {about(max(0.0, now - one.seen_at))} ago" if one.seen_at else ""
    look = "current" if one.serial == zone.serial else "behind"
    return Dot(look, f"{one.name}: serial {one.serial}{age}")


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%-d %b %Y, %H:%M")


def _since(when: float, now: float) -> str:
    return f"{about(max(0.0, now - when))} ago"
