"""A zone's keys over time as SVG: a row per record, a bar per state.  Pure: spans in, text out.

A bar is at least BAR_MIN wide, so that a step of an hour can be seen in a picture of a year; later bars of its row
move to the right for it.  The states differ in height as well as in colour (palette: M. Okabe, K. Ito): a reader
need not tell colours apart.  Every colour is an attribute: a page that allows no inline styles can contain
the picture, and its style sheet can replace them by class.
"""

from collections.abc import Iterable, Sequence
from html import escape

from msgspec import Struct

from dnssecd.core.keys.keystate import Rec, State
from dnssecd.core.keys.simulate import Span
from dnssecd.core.keys.timeline_axis import ticks
from dnssecd.core.utc import minute

WIDTH = 1_000
LEFT = 190
RIGHT = 12
ROW_HEIGHT = 15
BAR_HEIGHT = 11
BAR_MIN = 4.0
KEY_GAP = 9
TOP = 60
LANE = 26  # from the top: where flags stand
FOOT = 20
CHAR_WIDTH = 7  # of a wide font
TITLE_HEIGHT = 18
FLAG_APART = 17.0
#: Keys that are drawn: one with keys that last a day has hundreds in a year.
KEYS_MAX = 40

#: Colour, height of the bar, and words for each state that is drawn.
LOOKS = {
    State.RUMOURED: ("#56B4E9", 5, "arriving in caches"),
    State.OMNIPRESENT: ("#0072B2", BAR_HEIGHT, "in all caches"),
    State.UNRETENTIVE: ("#E69F00", 5, "leaving caches"),
}
FLAG = "#C44E00"
INK, FAINT = "#24292f", "#57606a"
#: The order of keys, by what their labels begin with.
ROLES = "KSK CSK ZSK"
RECORDS = {
    Rec.DNSKEY: "DNSKEY",
    Rec.ZRRSIG: "signatures of data",
    Rec.KRRSIG: "signature of DNSKEY",
    Rec.DS: "DS at the parent",
}


class Flag(Struct, frozen=True):
    """Where a person acts: when (epoch s), and what is to be done."""

    at: int
    text: str


class _Scale(Struct, frozen=True):
    start: int
    stop: int

    def x(self, when: float) -> float:
        share = (when - self.start) / max(self.stop - self.start, 1)
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)


def render_svg(
    spans: Sequence[Span],
    start: int,
    stop: int,
    title: str,
    *,
    now: int | None = None,
    flags: Sequence[Flag] = (),
    island: bool = False,
) -> str:
    """Return the picture from ``start`` to ``stop`` (epoch s); hidden records have no bar.

    ``island``: validators have trust anchors in place of a DS at the parent.

    ``now``: where the line of today is.  Flags are numbered from the left.
    """
    scale = _Scale(start, stop)
    shown = [
        span
        for span in spans
        if span.state is not State.HIDDEN and span.start < stop and (span.stop is None or span.stop > start)
    ]
    every = _rows(shown)
    rows = dict(list(every.items())[:KEYS_MAX])
    words = {**RECORDS, Rec.DS: "trust anchor"} if island else RECORDS
    bottom = TOP + sum(ROW_HEIGHT * (1 + len(recs)) + KEY_GAP for recs in rows.values())
    height = bottom + FOOT + (ROW_HEIGHT * 2 if not rows or len(every) > len(rows) else 0)
    foot = height - FOOT + 4
    body = [
        *_legend(bool(flags)),
        *_past(scale, now, foot),
        *_axis(scale, foot),
    ]
    top = TOP
    for (_ref, label), recs in rows.items():
        body.append(_text(4, top + 11, label, "key", bold=True))
        top += ROW_HEIGHT
        for rec, bars in recs.items():
            body.append(_text(14, top + 11, words[rec], "rec", FAINT))
            body += _bars(bars, top, scale, words[rec])
            top += ROW_HEIGHT
        top += KEY_GAP
    if len(every) > len(rows):
        body.append(_text(4, top + 11, f"and {len(every) - len(rows)} more keys", "rec", FAINT))
    if not rows:
        body.append(_text(LEFT + 8, TOP + 14, "no keys in this time", "rec", FAINT))
    body += [*_today(scale, now, foot), *_flags(flags, scale, foot)]
    whole = height + TITLE_HEIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" '
        f'height="{whole}" role="img" font-family="system-ui, sans-serif" font-size="11">'
        f'<title>{escape(title)}</title><rect class="ground" width="{WIDTH}" height="{whole}" fill="#ffffff"/>'
    )
    below = f'<g transform="translate(0 {TITLE_HEIGHT})">'
    return "\n".join([head, _text(4, 13, title, "name", bold=True), below, *body, "</g>", "</svg>", ""])


def _rows(spans: Iterable[Span]) -> dict[tuple[str, str], dict[Rec, list[Span]]]:
    """Spans by key and record: KSKs, CSKs, then ZSKs, each in order of appearance."""
    rows: dict[tuple[str, str], dict[Rec, list[Span]]] = {}
    order = list(RECORDS)
    for span in sorted(spans, key=lambda span: (ROLES.find(span.label[:3]), span.start, span.ref)):
        rows.setdefault((span.ref, span.label), {}).setdefault(span.rec, []).append(span)
    return {key: {rec: recs[rec] for rec in order if rec in recs} for key, recs in rows.items()}


def _bars(spans: Sequence[Span], top: int, scale: _Scale, record: str) -> list[str]:
    drawn = []
    for span, (left, right) in zip(spans, _placed(spans, scale), strict=True):
        colour, height, state = LOOKS[span.state]
        end = "" if span.stop is None else f" until {minute(span.stop)}"
        hint = f"{record} {state}, from {minute(span.start)}{end}"
        y = top + 2 + (BAR_HEIGHT - height)
        drawn.append(
            f'<rect class="{span.state.value}" x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{height}" '
            f'fill="{colour}"><title>{escape(hint)}</title></rect>'
        )
    return drawn


def _placed(spans: Sequence[Span], scale: _Scale) -> list[tuple[float, float]]:
    """Return left and right of the bars of a row: each BAR_MIN wide or more, in order, inside of the picture."""
    places: list[tuple[float, float]] = []
    free = float(LEFT)
    for span in spans:
        left = max(scale.x(span.start), free)
        right = max(scale.x(scale.stop if span.stop is None else span.stop), left + BAR_MIN)
        places.append((left, right))
        free = right
    limit = float(WIDTH - RIGHT)
    for index in range(len(places) - 1, -1, -1):
        left, right = places[index]
        if right <= limit:
            break
        places[index] = (min(left, limit - BAR_MIN), limit)
        limit = places[index][0]
    return places


def _axis(scale: _Scale, foot: int) -> list[str]:
    lines, free = [], 0.0
    for when, label in ticks(scale.start, scale.stop):
        x = scale.x(when)
        half = len(label) * CHAR_WIDTH / 2
        lines.append(_line("axis", x, TOP - 6, foot, "#d0d7de"))
        if x - half >= free and x + half <= WIDTH:
            lines.append(_text(x, TOP - 11, label, "tick", FAINT, anchor="middle"))
            free = x + half + CHAR_WIDTH
    return lines


def _past(scale: _Scale, now: int | None, foot: int) -> list[str]:
    if now is None or now <= scale.start:
        return []
    place = f'x="{LEFT}" y="{TOP - 6}" width="{scale.x(now) - LEFT:.1f}" height="{foot - TOP + 6}"'
    return [f'<rect class="past" {place} fill="#f3f4f6"/>']


def _today(scale: _Scale, now: int | None, foot: int) -> list[str]:
    if now is None or not scale.start <= now <= scale.stop:
        return []
    x = scale.x(now)
    anchor = "start" if x < LEFT + 12 else "middle"
    return [
        _line("today", x, TOP - 6, foot, INK, 'stroke-width="1.5" stroke-dasharray="5 3"'),
        _text(x, foot + 12, "now", "now", bold=True, anchor=anchor),
    ]


def _flags(flags: Sequence[Flag], scale: _Scale, foot: int) -> list[str]:
    drawn, free = [], 0.0
    shown = [flag for flag in sorted(flags, key=lambda flag: flag.at) if scale.start <= flag.at <= scale.stop]
    for number, flag in enumerate(shown, 1):
        x = min(max(scale.x(flag.at), free), WIDTH - RIGHT - 2.0)
        free = x + FLAG_APART
        back = -1 if x > WIDTH - RIGHT - 16 else 1
        label = (
            f'x="{x + 6.5 * back:.1f}" y="{LANE + 5}" text-anchor="middle" font-weight="bold" font-size="10"'
        )
        drawn.append(
            f'<g class="flag"><title>{escape(f"{number}. {minute(flag.at)}: {flag.text}")}</title>'
            + _line("pole", x, LANE - 4, foot, FLAG, 'stroke-width="1.5"')
            + f'<path d="M{x:.1f} {LANE - 4}h{14 * back}v12h{-14 * back}z" fill="{FLAG}"/>'
            + f'<text {label} fill="#ffffff">{number}</text></g>'
        )
    return drawn


def _legend(flags: bool) -> list[str]:
    lines, x = [], LEFT
    for state, (colour, height, words) in LOOKS.items():
        place = f'x="{x}" y="{4 + BAR_HEIGHT - height}" width="18" height="{height}"'
        lines.append(f'<rect class="{state.value}" {place} fill="{colour}"/>')
        lines.append(_text(x + 24, 14, words, "legend"))
        x += 44 + CHAR_WIDTH * len(words)
    if flags:
        lines.append(f'<path class="flag" d="M{x} 17v-13h14v9h-13v4z" fill="{FLAG}"/>')
        lines.append(_text(x + 20, 14, "you act", "legend"))
    return lines


def _text(
    x: float, y: float, text: str, name: str, colour: str = INK, *, bold: bool = False, anchor: str = ""
) -> str:
    more = (' font-weight="bold"' if bold else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text class="{name}" x="{x}" y="{y}" fill="{colour}"{more}>{escape(text)}</text>'


def _line(name: str, x: float, top: int, bottom: int, colour: str, more: str = "") -> str:
    return (
        f'<line class="{name}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" {more}/>'
    )
