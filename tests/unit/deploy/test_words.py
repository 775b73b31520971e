"""Plain English: words and turns that readers stumble over are in no document, message, docstring or comment.

A folder of `NOT_DONE` still has some. The list only shrinks: a folder on it that is clean must leave it.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: pattern → what to write instead. Patterns are matched without regard to case, over line ends.
BANNED = {
    r"anew": "again; to make anew: to renew",
    r"(?:no|some|every)body(?!-live)": "no server, an operator, all secondaries: name the actor",
    r"who(?:m|so)?ever": "anyone who, an attacker who, a server that",
    r"whatever|whichever way": "any, in any case",
    r"for ever": "indefinitely, or for how long",
    r"so (?:long|many)": "a number or a time",
    r"(?:is|are|was|were|being|keeps being) served on(?! (?:port|[0-9`\"]))": "is still served",
    r"(?:go|goes|going|went|gone) on": "continue",
    r"(?:is|are|was|were|be|been|being|not|gets?) told(?! (?:apart|from|by))": "is reported, an alert is sent, gets",
    r"tells? of|said of": "reports, shows",
    r"roll-over": "rollover",
    r"back-up": "backup; the verb is: to back up",
    r"stand-by": "standby",
    r"fail-over": "failover",
    r"version before": "the previous version",
    r"of (?:ours|before|itself)": "dnssecd's; previous; alone",
    r"vouch(?:es)?": "proves, confirms",
    r"(?:is|are) no (?:IP address|DNS name|role of a key)": "is not a …",
    r"did ?n't like": "the name of the error, as BADSIG",
    r"in the making|on its way": "being built, being sent",
    r"there (?:are|is) no \w+ to be had": "offers no …",
    r"mend(?:s|ed|ing)?": "repair, correct",
    r"look whether": "check whether",
}
#: Between two words: spaces, a line end in a comment or between two pieces of a string.
GAP = r"[\s#\"']+"
PATTERN = re.compile("|".join(rf"\b(?:{turn.replace(' ', GAP)})\b" for turn in BANNED), re.IGNORECASE)

DOCUMENTS = sorted(
    path
    for glob in ("*.md", "config.example.toml", "docs/**/*.md", "docs/man/*.in", "deploy/**/*.md")
    for path in ROOT.glob(glob)
)

#: Folders with such words in strings, docstrings or comments.
NOT_DONE: frozenset[str] = frozenset(
    {
        "dnssecd/backup",
        "dnssecd/cli",
        "dnssecd/config",
        "dnssecd/core/keys",
        "dnssecd/core/parent",
        "dnssecd/daemon",
        "dnssecd/daemon/commands",
        "dnssecd/daemon/parent",
        "dnssecd/daemon/rollover",
        "dnssecd/daemon/zones",
        "dnssecd/ingest",
        "dnssecd/ops/alerts",
        "dnssecd/pipeline/adoption",
        "dnssecd/pipeline/jobs",
        "dnssecd/pipeline/version",
        "dnssecd/publish",
        "dnssecd/server",
        "dnssecd/signer",
        "dnssecd/signer/pkcs11",
        "dnssecd/store",
    }
)


def found(text: str) -> list[str]:
    """Return the banned turns in *text*, with their line and what to write instead."""
    hits = []
    for match in PATTERN.finditer(text):
        turn = re.sub(GAP, " ", match[0])
        advice = next(better for one, better in BANNED.items() if re.fullmatch(one, turn, re.IGNORECASE))
        hits.append(f"line {text.count(chr(10), 0, match.start()) + 1}: {turn!r}; write: {advice}")
    return hits


def words_of(source: str) -> str:
    """Return comments and strings of Python *source*, each at its line; all else is blank."""
    lines = [""] * (source.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for number, line in enumerate(token.string.split("\n"), token.start[0]):
                lines[number - 1] += " " + line
    return "\n".join(lines)


def folders() -> list[str]:
    parents = {path.parent for path in (ROOT / "dnssecd").rglob("*.py")}
    return sorted(path.relative_to(ROOT).as_posix() for path in parents)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents(path: Path) -> None:
    assert found(path.read_text()) == []


@pytest.mark.parametrize("folder", folders())
def test_code(folder: str) -> None:
    hits = [
        f"{path.name} {hit}"
        for path in sorted((ROOT / folder).glob("*.py"))
        for hit in found(words_of(path.read_text()))
    ]
    if folder in NOT_DONE:
        assert hits, f"{folder} is clean: take it off NOT_DONE"
    else:
        assert hits == []


def test_the_list_names_folders_that_exist() -> None:
    assert set(folders()) >= NOT_DONE


def test_what_is_found() -> None:
    assert len(found("The zone is made\nanew; nobody is\n# told.")) == 3
    assert found("line one\nWHOEVER asks")[0].startswith("line 2: 'WHOEVER'")
    assert found("It is served on port 53, goes one way, and is renewed.") == []
    assert len(found(words_of('anew = 1  # goes on\ntext = f"{one} for ever"\n'))) == 2
    assert len(found(words_of('text = (\n    "is served "\n    "on"\n)\n'))) == 1
