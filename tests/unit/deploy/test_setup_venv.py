"""scripts/setup-venv: its stamp says that packages are there only while they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.peers.paths import REPOSITORY


def test_a_failed_installation_leaves_no_stamp_and_touches_no_copy(tmp_path: Path) -> None:
    """A virtual environment may be copied by hard links: a stamp that is overwritten would change in each copy."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup-venv", "requirements-dev.txt", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 7\n")
    python.chmod(0o755)
    stamp, copy = tmp_path / ".venv/.locked", tmp_path / "copy"
    stamp.write_text("of older packages\n")
    os.link(stamp, copy)
    done = subprocess.run(
        [tmp_path / "scripts/setup-venv"], capture_output=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 7
    assert not stamp.exists()
    assert copy.read_text() == "of older packages\n"
