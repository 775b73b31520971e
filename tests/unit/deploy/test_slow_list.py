"""tests/slow.txt names tests that exist: a renamed test would come back into `make check` unseen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import read_slow

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", sorted(read_slow()))
def test_an_entry_names_a_test(entry: str) -> None:
    place, _, rest = entry.partition("::")
    tree = ast.parse((TESTS / place).read_text())
    scope: list[ast.stmt] = tree.body
    for name in filter(None, rest.split("::")):
        found = [node for node in scope if getattr(node, "name", None) == name]
        assert found, f"{place} has no {name}"
        scope = getattr(found[0], "body", [])
