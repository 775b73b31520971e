"""Writes the tables of requirements into docs/audit.md: `.venv/bin/python docs/audit_table.py`."""

from __future__ import annotations

from pathlib import Path

from dnssecd.config.audit.table import PROFILES

DOCUMENT = Path(__file__).with_name("audit.md")
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"


def tables() -> str:
    """All requirements, by profile."""
    lines: list[str] = []
    for name, rows in PROFILES.items():
        lines += [f"## {name}", "", "| id | requirement | source | what to change |", "|---|---|---|---|"]
        lines += [f"| `{row.id}` | {row.text} | {row.source} | {row.change} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def written(text: str) -> str:
    """The document with the tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
