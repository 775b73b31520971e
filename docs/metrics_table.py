"""Writes the table of metrics into docs/metrics.md: `.venv/bin/python docs/metrics_table.py`."""

from __future__ import annotations

from pathlib import Path

from dnssecd.ops.metrics import Metrics

DOCUMENT = Path(__file__).with_name("metrics.md")
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def table() -> str:
    """All metrics, by name."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in Metrics().table():
        labels = ", ".join(metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"


def written(text: str) -> str:
    """The document with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
