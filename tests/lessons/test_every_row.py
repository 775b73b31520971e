"""Every row of the table of incidents is claimed by tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.lessons import CLAIMS

TESTS = Path(__file__).resolve().parents[1]


def first_table(text: str) -> list[str]:
    """The first cells of the first table in Markdown, but for its head."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


def functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_is_claimed(shared: Path) -> None:
    rows = first_table((shared / "LESSONS.md").read_text())
    assert len(rows) > 10
    assert rows == list(CLAIMS)


@pytest.mark.parametrize("incident", CLAIMS)
def test_the_tests_that_claim_it_exist(incident: str) -> None:
    for name in CLAIMS[incident]:
        module, _, function = name.rpartition(".")
        path = TESTS / ("" if "/" in module else "lessons") / f"{module}.py"
        assert function in functions(path), name
