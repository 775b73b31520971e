"""What zones, peers and files hold does not drive the terminal of who asks about them."""

from __future__ import annotations

import ast
import io
import json
import sys
from pathlib import Path

import msgspec
import pytest
import typer

import dnssecd.cli
from dnssecd.cli import common, output
from dnssecd.control import client
from dnssecd.control.messages.alerts import Alert

HOSTILE = "\x1b]0;owned\x07 \x9b31m \r\n[critical] forged \u202e\u2028 \x7f \x08"
COMMANDS = Path(dnssecd.cli.__file__).parent
#: What writes to a terminal without asking anyone.
WRITERS = {"print", "echo", "secho", "write", "writelines", "copyfileobj"}


def harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("module", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.stem)
def test_commands_print_by_one_module_only(module: Path) -> None:
    """No command calls print() or hands a standard stream to anything: dnssecd.cli.output escapes what it prints."""
    if module.name == "output.py":
        return
    found = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            to_stream = any(is_stream(part) for part in (*node.args, *(word.value for word in node.keywords)))
            on_stream = (
                isinstance(node.func, ast.Attribute) and is_stream(node.func.value) and called in WRITERS
            )
            if called in ("print", "echo", "secho") or to_stream or on_stream:
                found.append(f"{module.name}:{node.lineno} {ast.unparse(node)[:80]}")
    assert not found


def is_stream(node: ast.AST) -> bool:
    return ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.stdout.write", "sys.stderr.write")


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(HOSTILE)
    output.say(HOSTILE, err=True)
    shown = capsys.readouterr()
    for text in shown:
        assert text.count("\n") == 1
        assert harmless(text)


def test_a_text_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_lines("one\n\x1b[2Jtwo\r\n")
    assert capsys.readouterr().out == "one\n\\x1b[2Jtwo\\x0d\n"


def test_a_paragraph_is_wrapped_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "  note: " + "word " * 20
    output.say_wrapped(text)
    assert capsys.readouterr().out == f"{text}\n"
    monkeypatch.setenv("COLUMNS", "50")
    output.say_wrapped(text, err=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("    word") for line in lines] == [False, True, True]
    assert max(map(len, lines)) <= 50


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        client.Failed(HOSTILE, HOSTILE, 1, [HOSTILE, HOSTILE]),
        client.Unreachable(HOSTILE, HOSTILE),
        common.Bad(HOSTILE, HOSTILE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_escaped(error: Exception, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise error

    with pytest.raises(typer.Exit):
        common._guarded(common.Cli(None, None, as_json), work)
    shown = capsys.readouterr()
    assert harmless(shown.out)
    assert harmless(shown.err)
    assert "owned" in shown.out + shown.err
    if as_json:
        assert json.loads(shown.out)["error"]["what"] == HOSTILE


def test_json_says_the_same_and_drives_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    every = "".join(map(chr, [*range(0x300), *range(0x2000, 0x2100), 0xFEFF, 0xFFF9, 0xE0001, 0x1F600]))
    output.print_json({every: [every, {"zone": "bücher.example."}]})
    shown = capsys.readouterr().out
    assert harmless(shown)
    assert json.loads(shown) == {every: [every, {"zone": "bücher.example."}]}
    assert "bücher" in shown


def test_master_file_text_is_data_in_a_pipe_and_escaped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, expected in [(io.StringIO(), 'a\tTXT\t"\x1b"\n'), (Terminal(), 'a\tTXT\t"\\x1b"\n')]:
        monkeypatch.setattr(sys, "stdout", stream)
        output.copy_text('a\tTXT\t"\x1b"\n')
        assert stream.getvalue() == expected


def test_tables_pairs_and_alerts_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("a", "b"), [(HOSTILE, 1)], empty=HOSTILE)
    output.table(("a", "b"), [], empty=HOSTILE)
    output.pairs([("cause", HOSTILE), ("lines", [HOSTILE])])
    alert = dict.fromkeys(("name", "zone", "subject", "cause", "effect", "remedy", "acked_by"), HOSTILE)
    rest: dict[str, object] = {
        "severity": "error",
        "first_seen": 0.0,
        "last_seen": 0.0,
        "count": 1,
        "firing": True,
    }
    output.print_alerts([msgspec.convert(alert | rest, Alert)])
    assert harmless(capsys.readouterr().out)
