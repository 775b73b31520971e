"""docs/audit.md has the table of requirements; docs/security.md answers each of SP 800-81r3."""

from __future__ import annotations

import re
from pathlib import Path

from dnssecd.config.audit.table import PROFILES
from docs import audit_table

ROOT = Path(__file__).parents[3]
DOCUMENTS = ("docs/security.md", "docs/hsm.md", "docs/configuration.md", "README.md")


def test_the_tables_are_up_to_date() -> None:
    text = audit_table.DOCUMENT.read_text()
    assert text == audit_table.written(text), "run .venv/bin/python docs/audit_table.py"
    assert all(f"## {name}\n" in text for name in PROFILES)


def test_every_requirement_of_nist_is_answered_in_order() -> None:
    text = (ROOT / "docs/security.md").read_text().partition("## NIST SP 800-81r3\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \| \S", text, flags=re.M) == [row.id for row in PROFILES["sp800-81r3"]]


def test_requirements_that_documents_name_exist() -> None:
    known = {row.id for rows in PROFILES.values() for row in rows}
    for path in DOCUMENTS:
        named = re.findall(r"`((?:keys|r3|9276|tld)-[a-z0-9-]+)`", (ROOT / path).read_text())
        assert set(named) - known == set(), path


def test_no_document_refers_to_replaced_editions() -> None:
    sources = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("dnssecd/**/*.py"), ROOT / "README.md"]
    old = re.compile(r"800-81-2|800-81r2|RFC 8624|FIPS 140-2 level", re.IGNORECASE)
    assert [str(path) for path in sources if old.search(path.read_text())] == []
