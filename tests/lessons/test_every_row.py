"""Every row of the table of incidents is claimed by tests that exist and that CI runs."""

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
    """The tests of a module that CI runs: all but those marked as soak tests, each or as a module."""
    body = ast.parse(path.read_text()).body
    marks = [ast.unparse(node.value) for node in body if isinstance(node, ast.Assign) if is_pytestmark(node)]
    if any("pytest.mark.soak" in mark for mark in marks):
        return set()
    found = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        node.name
        for node in found
        if node.name.startswith("test_")
        and not any(ast.unparse(each).startswith("pytest.mark.soak") for each in node.decorator_list)
    }


def is_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def test_every_row_is_claimed(shared: Path) -> None:
    rows = first_table((shared / "LESSONS.md").read_text())
    assert len(rows) > 10
    assert rows == list(CLAIMS)


@pytest.mark.parametrize("incident", CLAIMS)
def test_the_tests_that_claim_it_exist(incident: str) -> None:
    assert CLAIMS[incident]
    for name in CLAIMS[incident]:
        module, _, function = name.rpartition(".")
        path = TESTS / ("" if "/" in module else "lessons") / f"{module}.py"
        assert function in functions(path), name
