"""Restoring as a whole, without a key service: what is here, who is asked, and what is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dnssecd.archive import restore as restoring
from dnssecd.archive.restore import Done, Wish, restore
from dnssecd.config.model import Config
from dnssecd.front.specs import database_path
from dnssecd.signing.client import SignerClient
from dnssecd.signing.errors import SignerError
from tests.unit.archive.test_archive import NOW, config, make

__all__ = ["config"]
B = "b.test."


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key service here."""

    @contextmanager
    def none(config: Config) -> Iterator[SignerClient]:
        raise SignerError("there is none in this test")
        yield

    monkeypatch.setattr(restoring, "key_service", none)


def restored(config: Config, file: Path, *zones: str, check: bool = False) -> Done:
    return restore(config, Wish(file, zones, check=check), ("root", 0), NOW, lambda done, total, what: None)


def codes(done: Done) -> list[tuple[str, str]]:
    return [(refusal.zone, refusal.code) for refusal in done.refusals]


def test_a_zone_that_cannot_be_understood_is_named(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    make(config, file)
    with closing(sqlite3.connect(database_path(config, B))) as db:
        db.execute("UPDATE state SET value = '{' WHERE name = 'keyset'")
        db.commit()
    damaged = tmp_path / "damaged.tar"
    manifest = make(config, damaged)
    assert codes(restored(config, damaged, B, check=True)) == [(B, "damaged")]
    done = restored(config, damaged, check=True)
    assert done.refusals == ()
    assert any(B in note and "damaged" in note for note in done.notes)
    assert B in manifest.damaged


def test_a_zone_backed_up_by_a_version_that_did_not_look_is_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that only the reader cannot understand."""
    from dnssecd.archive import content, write

    with closing(sqlite3.connect(database_path(config, B))) as db:
        db.execute("UPDATE state SET value = '{\"apex\": 7}' WHERE name = 'keyset'")
        db.commit()
    with monkeypatch.context() as patch:
        patch.setattr(write.content, "read", lambda connection: (None, None))
        make(config, tmp_path / "b.tar")
    assert content.read is write.content.read
    assert codes(restored(config, tmp_path / "b.tar", check=True)) == [(B, "damaged")]
