"""A state directory on a read-only file system: the start says why nothing is served, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dnssecd.daemon import state_dir


def test_the_start_says_why_nothing_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(state_dir, "own", refused)
    with pytest.raises(state_dir.CannotStart, match=r"Read-only file system; .* mount it for writing"):
        state_dir.own_state_dir(tmp_path)
