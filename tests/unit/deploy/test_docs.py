"""The documents: links lead somewhere, commands exist, every block is run or marked, every page is in the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from dnssecd.cli.app import build
from docs import blocks, pictures

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
#: Pages that docs/site_sources.py makes.
GENERATED = {"commands.md", "changelog.md", "contributing.md", "report.md"}
COMMANDS: Any = typer.main.get_command(build())
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: A command in single back-ticks, or at the begin of a line in a block.
_TYPED = re.compile(r"(?:(?<!`)`|^(?: {4,}|\$ ?))(dnssecd [a-z][^`\n|;&>]*)", re.M)


def anchors(text: str) -> set[str]:
    """The anchors of headings, as mkdocs and GitHub make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
        plain = re.sub(r"[`*]", "", heading).lower()
        found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-"))
    return found


@pytest.mark.parametrize("page", [*(f"docs/{page}" for page in PAGES), *TOP])
def test_links(page: str) -> None:
    path = ROOT / page
    broken = []
    for link in _LINK.findall(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = path if not place else (path.parent / place)
        if place in GENERATED:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [*(f"docs/{page}" for page in PAGES if "decisions/" not in page), *TOP])
def test_commands_exist(page: str) -> None:
    unknown = []
    text = (ROOT / page).read_text()
    fenced = "\n".join(re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.M | re.S))
    in_blocks = re.findall(r"^ *(?:\$ )?(dnssecd [a-z][^\n|;&>]*)", fenced, re.M)
    for line in [*_TYPED.findall(text), *in_blocks]:
        words = line.split("#")[0].split()[1:]
        command: Any = COMMANDS
        while words and getattr(command, "commands", None):
            if words[0] not in command.commands:
                break
            command = command.commands[words.pop(0)]
        known = {"--help", "--version"}
        known |= {
            name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        bad = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        if line == "dnssecd trial":  # the label of a key in a token
            continue
        if bad or (getattr(command, "commands", None) and words and re.fullmatch(r"[a-z-]+", words[0])):
            unknown.append(line)
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in blocks.PAGES])
def test_other_pages_say_which_test_runs_their_commands(page: str) -> None:
    if not blocks.blocks(page):
        return
    told = blocks.WHERE.search((DOCS / page).read_text())
    assert told is not None, "add <!-- commands: which tests run them, or why none does -->"
    for test in re.findall(r"tests/[\w/.*]+\.py", told[1]):
        assert list(ROOT.glob(test)), f"{test} does not exist"


def test_reasons_name_tests_that_exist() -> None:
    for page in blocks.PAGES:
        for block in blocks.blocks(page):
            for test in re.findall(r"tests/[\w/.*]+\.py", block.not_run):
                assert list(ROOT.glob(test)), f"{page}: {test}"


def test_most_blocks_are_run() -> None:
    found = [block for page in blocks.PAGES for block in blocks.blocks(page)]
    assert sum(not block.not_run for block in found) > len(found) / 2 > 10


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"([\w./-]+\.md)", str(yaml.safe_load(text)["nav"])))
    assert listed - GENERATED == {page for page in PAGES if not page.startswith("decisions/")}, (
        "add the page to mkdocs.yml"
    )


def test_pictures_are_up_to_date() -> None:
    for name, text in pictures.draw().items():
        assert (pictures.TARGET / name).read_text() == text, "run .venv/bin/python docs/pictures.py"
