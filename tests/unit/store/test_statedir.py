"""A state directory that other users may write to is corrected and reported; another user's is refused."""

import os
from pathlib import Path

import pytest

from dnssecd.store.statedir import may_use, tighten


def test_write_permission_of_others_is_taken_away(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "0777" in tighten(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert tighten(tmp_path) == ""


def test_databases_and_their_directory_are_corrected_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    zones = tmp_path / "zones"
    zones.mkdir()
    (zones / "z.sqlite").touch(0o600)
    (tmp_path / "catalogue.sqlite").touch(0o600)
    assert tighten(tmp_path) == ""
    zones.chmod(0o777)
    (zones / "z.sqlite").chmod(0o666)
    (tmp_path / "catalogue.sqlite").chmod(0o660)
    assert "(and 2 more)" in tighten(tmp_path)
    assert zones.stat().st_mode & 0o777 == 0o755
    assert (zones / "z.sqlite").stat().st_mode & 0o777 == 0o644
    assert tighten(tmp_path) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="owners are changed")
def test_a_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(tmp_path, 61_003, 61_003)
    assert "61003" in tighten(tmp_path)
    assert may_use(tmp_path), "root's own business"
    monkeypatch.setattr(os, "geteuid", lambda: 61_001)
    assert not may_use(tmp_path)
    assert may_use(tmp_path / "missing")
