"""Where things are: the repository, the shared test data, the peers' programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Debian keeps servers where an ordinary user's PATH does not look.
_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def shared_dir() -> Path | None:
    """The shared test data: $DNSSECD_SHARED, else beside the repository, else /work/shared, else None."""
    named = os.environ.get("DNSSECD_SHARED")
    candidates = [Path(named)] if named else [REPOSITORY.parent / "shared", Path("/work/shared")]
    return next((path for path in candidates if (path / "zones").is_dir()), None)


def find_program(name: str) -> str | None:
    """Full path of a peer's program, or None."""
    return shutil.which(name, path=_SYSTEM_PATH)


def program(name: str) -> str:
    """Full path of a peer's program; a missing one skips the test (in CI: fails it)."""
    path = find_program(name)
    if path is None:
        pytest.skip(f"{name} is not installed; `make peers` as root installs it")
    return path
