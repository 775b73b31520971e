"""How the parts of the daemon are put together: each gets all that it needs when it is made, and nothing later."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dnssecd

ROOT = Path(dnssecd.__file__).parent
DAEMON = sorted((ROOT / "daemon").rglob("*.py"))
#: Dictionaries by zone name or origin that are still kept outside the zone table; to become rooms of the zone.
BY_ZONE_NAME = {
    "daemon/parent/automation.py": {"_zones"},
    "daemon/zones/update_notes.py": {"_windows", "_timers"},
    "daemon/refusals.py": {"_raised"},
}


def late_callables(tree: ast.AST) -> Iterator[str]:
    """Yield what makes a slot that others fill: a callable attribute, or a lambda that is put into another part."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            if ast.unparse(node.annotation).startswith("Callable"):
                yield ast.unparse(node)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from (ast.unparse(node) for target in node.targets if isinstance(target, ast.Attribute))


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from (target for target in node.targets if isinstance(target, ast.Attribute))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Attribute):
            yield node.target


@pytest.mark.parametrize("path", DAEMON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_part_has_a_slot_for_a_callback(path: Path) -> None:
    assert list(late_callables(ast.parse(path.read_text()))) == []


def test_a_slot_is_found() -> None:
    slots = ("self.on_x: Callable[[], None] = lambda: None", "jobs.on_load = lambda zone: None")
    assert all(list(late_callables(ast.parse(slot))) for slot in slots)


def test_the_wiring_makes_parts_and_changes_none() -> None:
    tree = ast.parse((ROOT / "daemon" / "wiring.py").read_text())
    for target in assigned(tree):
        assert isinstance(target.value, ast.Name)
        assert target.value.id == "self", ast.unparse(target)


def test_nothing_more_is_kept_by_a_zones_name() -> None:
    """Dictionaries by a name, or by a pair that begins with one, in the daemon."""
    found: dict[str, set[str]] = {}
    for path in DAEMON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                kind = ast.unparse(node.annotation)
                if kind.startswith(("dict[str, ", "dict[bytes, ", "dict[tuple[str", "defaultdict[str")):
                    found.setdefault(str(path.relative_to(ROOT)), set()).add(node.target.attr)
    found.pop("daemon/zones/table.py")
    others = {"daemon/wiring.py": {"commands"}}
    for path, names in others.items():
        found[path] = found.get(path, set()) - names
    assert {path: names for path, names in found.items() if names} == BY_ZONE_NAME
