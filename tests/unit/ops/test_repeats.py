"""Lines that others can cause: the first at once, then a count each minute, whatever happens how often."""

from __future__ import annotations

from dnssecd.repeats import EXAMPLES_MAX, KINDS_MAX, OTHERS, WINDOW_S, Repeated, Repeats


class Lines:
    def __init__(self) -> None:
        self.first: list[object] = []
        self.counts: list[tuple[object, int]] = []
        self.repeats = Repeats(self.report)

    def report(self, window: Repeated) -> None:
        self.counts.append((window.kind, window.count))

    def happens(self, kind: object, now: float, **fields: str) -> None:
        self.repeats.flush(now)
        window = self.repeats.first(kind, now)
        if window is None:
            self.first.append(kind)
        else:
            window.add(dict(fields))


def test_a_flood_of_one_kind_is_a_line_a_minute() -> None:
    lines = Lines()
    for number in range(100_000):
        lines.happens("a", number / 100)
    lines.repeats.flush(2000.0)
    assert lines.first == ["a"]
    assert len(lines.counts) <= 1000 / WINDOW_S + 1
    assert sum(count for _, count in lines.counts) == 99_999
    lines.repeats.flush(3000.0)
    lines.happens("a", 3000.0)
    assert lines.first == ["a", "a"], "after a quiet minute it is news again"


def test_many_kinds_are_counted_together() -> None:
    lines = Lines()
    for number in range(10_000):
        lines.happens(number, 1.0)
    assert len(lines.first) == KINDS_MAX
    lines.repeats.flush(1.0, all_windows=True)
    assert lines.counts == [(OTHERS, 10_000 - KINDS_MAX)]
    assert not lines.repeats


def test_a_line_names_few_examples() -> None:
    window = Repeated("a", 60.0)
    for number in range(100):
        window.add({"address": f"192.0.2.{number}", "key": None})
        window.add({"address": "192.0.2.1"})
    assert window.count == 200
    assert window.examples == {"address": [f"192.0.2.{number}" for number in range(EXAMPLES_MAX)]}
