"""A zone's keys over time as SVG: a row per record, a bar per state.  Pure: spans in, text out."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from dnssecd.core.keys.keystate import State
from dnssecd.core.keys.simulate import Span

WIDTH = 1_000
LABEL_WIDTH = 190
ROW_HEIGHT = 14
KEY_GAP = 10
TOP = 46
TICKS = 8
COLOURS = {
    State.RUMOURED: "#9ecae1",
    State.OMNIPRESENT: "#2171b5",
    State.UNRETENTIVE: "#fdae6b",
}
STYLE = "text{font:11px sans-serif;fill:#222}.axis{stroke:#ccc}.key{font-weight:bold}"


def render_svg(spans: Sequence[Span], start: int, stop: int, title: str) -> str:
    """The picture from `start` to `stop` (epoch s); hidden records leave no bar."""
    shown = [span for span in spans if span.state is not State.HIDDEN and span.start < stop]
    rows = _rows(shown)
    height = TOP + sum(len(recs) * ROW_HEIGHT + KEY_GAP + ROW_HEIGHT for recs in rows.values()) + 10
    body = [*_axis(start, stop, height), *_legend()]
    top = TOP
    for (_ref, label), recs in rows.items():
        body.append(f'<text class="key" x="4" y="{top + 10}">{escape(label)}</text>')
        top += ROW_HEIGHT
        for rec, bars in recs.items():
            body.append(f'<text x="14" y="{top + 10}">{rec}</text>')
            body += [_bar(bar, top, start, stop) for bar in bars]
            top += ROW_HEIGHT
        top += KEY_GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text class="key" x="4" y="14">{escape(title)}</text>'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _rows(spans: list[Span]) -> dict[tuple[str, str], dict[str, list[Span]]]:
    """Spans by key in order of appearance, then by record."""
    rows: dict[tuple[str, str], dict[str, list[Span]]] = {}
    for span in sorted(spans, key=lambda span: (span.start, span.ref, span.rec.value)):
        rows.setdefault((span.ref, span.label), {}).setdefault(span.rec.value, []).append(span)
    return rows


def _x(when: int, start: int, stop: int) -> float:
    share = (when - start) / max(stop - start, 1)
    return round(LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - 10), 1)


def _bar(span: Span, top: int, start: int, stop: int) -> str:
    end = stop if span.stop is None else min(span.stop, stop)
    left = _x(max(span.start, start), start, stop)
    width = max(round(_x(end, start, stop) - left, 1), 0.8)
    hint = f"{span.rec.value} {span.state.value}: {_time(span.start)} to {_time(end)}"
    return (
        f'<rect x="{left}" y="{top + 2}" width="{width}" height="{ROW_HEIGHT - 4}" '
        f'fill="{COLOURS[span.state]}"><title>{escape(hint)}</title></rect>'
    )


def _axis(start: int, stop: int, height: int) -> list[str]:
    lines = []
    for tick in range(TICKS + 1):
        when = start + (stop - start) * tick // TICKS
        x = _x(when, start, stop)
        anchor = "end" if tick == TICKS else "middle"
        lines.append(f'<line class="axis" x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{height - 4}"/>')
        lines.append(f'<text x="{x}" y="{TOP - 10}" text-anchor="{anchor}">{_date(when)}</text>')
    return lines


def _legend() -> list[str]:
    lines = []
    for place, (state, colour) in enumerate(COLOURS.items()):
        x = WIDTH - 330 + place * 110
        lines.append(f'<rect x="{x}" y="6" width="12" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{x + 16}" y="15">{state.value}</text>')
    return lines


def _date(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")


def _time(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M")
