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
    r"(?:to|can|could|cannot|not) be had": "is available, exists",
    r"(?:comes?|came|becomes?|became) of (?:it|them|this)": "the result",
    r"sees? to it": "ensures",
    r"takes? care of": "acknowledges, handles",
    r"the (?:front|office)(?! of)": "the daemon; name the class by its job",
    r"(?:bring|brings|brought|bringing) (?:in|over)": "import, restore",
    r"(?:comes?|coming|came) over": "migrate",
    r"the other way round": "vice versa; better: name both directions",
    r"hand-over": "handover; the verb is: to hand over",
    r"as ever": "still",
    r"broken? off": "interrupted, cancelled",
    r"(?:is|are) (?:to be )?believed": "is trusted, is accepted",
    r"fares?|fared": "the state, the result",
    r"good news": "name the news",
    r"end(?:s|ed)? well": "succeeds",
    r"on the wire": "in transit, in wire format",
    r"(?:go|goes|went) dark": "is no longer served",
    r"leans? on|leant on|leaned on": "depends on",
    r"just so": "exactly, as expected",
    r"the books": "name them: metrics, catalogue",
    r"by daylight": "later",
    r"need not be looked through": "exclude from …",
    r"RRSIGs are good": "are valid, verify",
    r"another directory than you": "the working directory of … differs",
    r"knowing again": "restores the state",
    r"beyond the first few": "after the first N",
    r"held, and served": "still serving N",
    r"what its updates made of it": "its content comes from updates only",
    r"follow by themselves": "then, automatically",
    r"whose it is to": "who can",
    r"leave as soon as it": "retire as soon as it is safe",
    r"Until it is there": "until …",
    r"a person.s word": "an operator confirms",
    r"in the order in which things": "in dependency order",
    r"Counting is no news": "a higher count alone sends no message",
    r"is never over|was never over": "does not count as resolved",
    r"too late at once": "is not yet an outage",
    r"Say that you": "the name of the action, as: Acknowledge",
    r"Nothing is (?:left )?to (?:be )?do(?:ne)?": "no action needed",
    r"and comes again until": "and repeats until",
    r"(?:it|you) get there by steps|gets there by steps": "happens in several steps",
    r"Take what fits": "choose what fits you",
    r"the way of a change": "the path of a change",
    r"(?<!there\s)(?:is|are) no (?:file|directory|list|time|number|zone|key|choice|algorithm|network|mail|lifetime)": (
        "is not a …"
    ),
}
#: Comments and strings. From Python 3.12 on an f-string is several tokens.
TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
#: Between two words: spaces, a line end in a comment or between two pieces of a string.
GAP = r"[\s#\"']+"
PATTERN = re.compile("|".join(rf"\b(?:{turn.replace(' ', GAP)})\b" for turn in BANNED), re.IGNORECASE)

DOCUMENTS = sorted(
    path
    for glob in ("*.md", "config.example.toml", "Makefile", "docs/**/*.md", "docs/man/*.in")
    for path in ROOT.glob(glob)
)
#: Programs, units and examples that are installed or run beside the package.
OTHERS = sorted(
    path
    for glob in ("demo/*.py", "deploy/**/*", "scripts/*", "systemd/**/*")
    for path in ROOT.glob(glob)
    if path.is_file() and path.suffix not in (".pyc", ".json", ".zone")
)

#: Folders with such words in strings, docstrings or comments.
NOT_DONE: frozenset[str] = frozenset({})


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
        if token.type in TEXTS:
            for number, line in enumerate(token.string.split("\n"), token.start[0]):
                lines[number - 1] += " " + line
    return "\n".join(lines)


def folders() -> list[str]:
    parents = {path.parent for path in (ROOT / "dnssecd").rglob("*.py")}
    return sorted(path.relative_to(ROOT).as_posix() for path in parents)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents(path: Path) -> None:
    assert found(path.read_text()) == []


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_other_texts(path: Path) -> None:
    text = path.read_text()
    assert found(words_of(text) if path.suffix == ".py" else text) == []


def test_names_of_tests() -> None:
    """A name is read in reports of failures: it is plain English, too."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    names = [name for path in files for name in re.findall(r"(?:def|class) (test_\w+)", path.read_text())]
    assert [name for name in names if PATTERN.search(name.replace("_", " "))] == []


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
    assert len(found("It is no list; there is no list. The office\n# sees to it that all ended well.")) == 4
    assert found("It is served on port 53, goes one way, and is renewed.") == []
    assert len(found(words_of('anew = 1  # goes on\ntext = f"{one} for ever"\n'))) == 2
    assert len(found(words_of('text = (\n    "is served "\n    "on"\n)\n'))) == 1
