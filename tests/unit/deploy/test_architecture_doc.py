"""docs/architecture.md names files that exist, and every package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "dnssecd"
#: What looks like a path of the package: in back-ticks, or first in a line of a diagram.
NAMED = sorted(set(re.findall(r"(?<![\w/.-])((?:[a-z0-9_]+/)+(?:[a-z0-9_]+\.py)?)(?=[`\s:;,).]|$)", TEXT)))


@pytest.mark.parametrize("path", NAMED)
def test_a_named_file_or_folder_exists(path: str) -> None:
    assert (PACKAGE / path).exists() or (ROOT / path).exists()


def test_enough_is_named_to_find_the_way() -> None:
    assert len(NAMED) > 50


def test_every_package_is_in_the_table() -> None:
    _, _, table = TEXT.partition("## Packages")
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == {name for name in packages if f"`{name}`" in table}
