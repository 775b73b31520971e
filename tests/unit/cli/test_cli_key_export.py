"""`dnssecd key export`: which key is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from dnssecd.cli import keyservice
from dnssecd.cli.app import build


@pytest.mark.parametrize(
    ("tags", "fault"),
    [((), "no key 7 of example. is in a key store"), ((7, 8, 7), "2 keys of example. have the tag 7")],
)
def test_a_key_that_is_not_clear_is_not_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tags: tuple[int, ...], fault: str
) -> None:
    client: Any = SimpleNamespace(keys=lambda zone: tuple(SimpleNamespace(tag=tag) for tag in tags))

    @contextmanager
    def key_service(cli: object) -> Iterator[tuple[None, Any]]:
        yield None, client

    monkeypatch.setattr(keyservice, "key_service", key_service)
    done = CliRunner().invoke(build(), ["key", "export", "example", "7", "-o", str(tmp_path / "keys")])
    assert (done.exit_code, fault in done.output) == (1, True), done.output
    assert "to do: " in done.output
    assert not (tmp_path / "keys").exists()
