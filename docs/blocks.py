"""The shell blocks of the documents, for the tests that run them or hold the documents to the rule below.

Each block of commands in a page of `PAGES` is run by tests/integration/test_docs.py, unless the line before it is
`<!-- not run: why, or which test does -->`; test_howto_machine.py runs these too, as root on bare systems. A page
elsewhere says once, in `<!-- commands: … -->`, which tests run its commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
#: Pages whose commands are run as they stand.
PAGES = ("tutorial.md", *(f"howto/{path.name}" for path in sorted((DOCS / "howto").glob("*.md"))))
_BLOCK = re.compile(
    r"^( *)(?:<!-- not run: (.+?) -->\n *)?```(?:sh|console|shell|bash)\n(.*?)^ *```", re.M | re.S
)
WHERE = re.compile(r"<!-- commands: (.+?) -->", re.S)


@dataclass(frozen=True)
class Block:
    """A block of commands. not_run: why, "" where it is run."""

    text: str
    not_run: str

    @property
    def lines(self) -> list[str]:
        """The commands, without prompts and comments."""
        found = [line.strip().removeprefix("$ ") for line in self.text.splitlines()]
        return [line for line in found if line and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page of docs/."""
    return [Block(text, why or "") for _, why, text in _BLOCK.findall((DOCS / page).read_text())]
