"""tests/slow.txt names tests that exist: a renamed test would come back into `make check` unseen."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.conftest import read_slow

TESTS = Path(__file__).parents[2]


@cache
def functions(place: str) -> frozenset[str]:
    """The tests of a module, those in classes as ``Class::test``."""
    found = set()
    for node in ast.parse((TESTS / place).read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if hasattr(each, "name")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return frozenset(found)


def test_every_entry_names_tests_that_exist() -> None:
    unknown = []
    for entry in read_slow():
        place, _, name = entry.partition("::")
        if not (TESTS / place).is_file() or (name and name not in functions(place)):
            unknown.append(entry)
    assert unknown == []
