"""A manual page for every command, with every option, in roff that the formatter does not complain about."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from dnssecd.cli.app import build
from docs import configuration_schema

ROOT = Path(__file__).parents[3]


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manpages", ROOT / "deploy/packaging/manpages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MANPAGES = _module()
PAGES: dict[str, str] = MANPAGES.pages()


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if not below:
        yield path, command
        return
    for name, one in below.items():
        yield from leaves(one, (*path, name))


def plain(roff: str) -> str:
    return re.sub(r"\\f[BIR]|\\&", "", roff).replace("\\-", "-")


def test_every_command_and_option() -> None:
    root = typer.main.get_command(build())
    found = list(leaves(root))
    assert len(found) > 30
    for path, command in found:
        page = plain(PAGES[f"dnssecd-{path[0]}.8"])
        assert " ".join(("dnssecd", *path)) in page
        for parameter in command.params:
            if parameter.name not in MANPAGES.COMMON and parameter.param_type_name == "option":
                assert parameter.opts[0] in page, f"{path} {parameter.opts}"
    main = plain(PAGES["dnssecd.8"])
    for path, _ in found:
        assert f"dnssecd-{path[0]} (8)" in main
    for option in ("--config", "--socket", "--json", "--version"):
        assert option in main


def test_every_configuration_key_is_in_its_page() -> None:
    page = plain(MANPAGES.configpage.page())
    for name, table in configuration_schema.described().items():
        headings = [heading for heading, table in configuration_schema.ELSEWHERE.items() if table == name]
        assert f'.SH "{headings[0] if headings else "[" + name}' in page, name
        for key, (_, meaning) in table.items():
            assert re.search(rf"^{key} \(", page, re.M), key
            assert not meaning or plain(MANPAGES.configpage._text(meaning)) in page, key
    assert "`" not in page
    assert not re.search(r"^\|", page, re.M)


def test_names_have_a_summary() -> None:
    """What apropos shows: one line, not too long."""
    for name, page in PAGES.items():
        summary = plain(page).partition(".SH NAME\n")[2].partition("\n")[0]
        assert re.fullmatch(rf"{name.removesuffix('.8')} - \S.{{3,100}}[^.]", summary), summary


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        (".SH not a request", "\\&.SH not a request"),
        ("'quoted", "\\&'quoted"),
        ("a\\b --option", "a\\eb \\-\\-option"),
        ("two\n  lines", "two lines"),
    ],
)
def test_escape(text: str, roff: str) -> None:
    assert MANPAGES.escape(text) == roff


def test_the_formatter_does_not_complain(tmp_path: Path) -> None:
    """Only a check beyond the others: not every machine has groff."""
    if shutil.which("groff") is None:
        return
    for path in MANPAGES.write(tmp_path):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z", str(path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
