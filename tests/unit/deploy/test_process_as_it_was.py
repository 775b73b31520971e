"""A test that changes the process for those after it fails itself, and those after it find the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GUILTY = """
import os
import resource

def test_umask():
    os.umask(0o027)

def test_directory(tmp_path):
    os.chdir(tmp_path)

def test_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))

def test_environment():
    os.environ["LEFT"] = "1"

def test_innocent(monkeypatch, tmp_path, umask_zero):
    assert "LEFT" not in os.environ
    assert os.umask(0) == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SET", "1")
"""


def test_it_fails_the_guilty_test_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_guilty.py").write_text(GUILTY)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    ran = subprocess.run(
        [*command, "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=os.getcwd(),
    )
    said = [
        line for line in ran.stdout.splitlines() if line.startswith("E  ") and "the test changed this" in line
    ]
    found = [line.partition("after it: ")[2].partition(" (")[0] for line in said]
    assert found == ["umask", "current directory", "limit of descriptors", "environment"], ran.stdout
    assert "5 passed, 4 errors" in ran.stdout
