"""What the package does in one place only: a second way to do it is found by its form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dnssecd

PACKAGE = Path(dnssecd.__file__).parent
MODULES = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}


#: What, its form, and where it may stand.
PLACES = (
    ("a wait that doubles", r"2(\.0)? ?\*\* ?\(?\w*(failures|doublings|tries|excess)", {"backoff.py"}),
    ("a wait that doubles", r"\b2 \* \w*(pause|delay|wait|notify|look|retry)\w*", set()),
    ("the name of a zone", r'if \w+\.endswith\("\."\).* else \w[\w.()]* \+ "\."', {"core/dns/names.py"}),
    # The key service imports nothing of the core.
    (
        "a time for people",
        r'strftime\("%Y-%m-%d %H:%M( UTC|:%SZ)"',
        {"core/utc.py", "signer/software_medium.py"},
    ),
    # DNS over TCP has a length of its own.
    (
        "the length of a frame",
        r"readexactly\(LENGTH_OCTETS\)",
        {"procs/frames.py", "pipeline/fetch/receive.py"},
    ),
    ("a program's process group", r"\bkillpg\(", {"procs/program.py", "procs/reader_program.py"}),
    ("a pause of the collector", r"\bgc\.disable\(", {"ingest/gc_pause.py"}),
)


@pytest.mark.parametrize(("what", "form", "places"), PLACES)
def test_it_is_done_in_one_place(what: str, form: str, places: set[str]) -> None:
    assert {name for name, text in MODULES.items() if re.search(form, text)} == places, what
