"""A run of CI on a slow machine ends in time and names the tests that were not begun; any other skip fails it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import CI_STARTED, LAST_BEGIN_S, first_of_run, out_of_time

TESTS = """
import pytest

@pytest.fixture
def server():
    raise AssertionError("no server is started for a test that is not begun")

def test_with_a_server(server):
    pass

def test_skipped():
    pytest.skip("a peer is missing")
"""


def run_tests(tmp_path: Path, **settings: str) -> tuple[int, str]:
    """Exit status and output of a run with these variables of the environment."""
    (tmp_path / "test_two.py").write_text(TESTS)
    environment = {name: text for name, text in os.environ.items() if name not in ("CI", CI_STARTED)}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", tmp_path],
        capture_output=True,
        text=True,
        timeout=110,
        env={**environment, **settings},
    )
    return ran.returncode, ran.stdout


@pytest.mark.parametrize(
    ("started", "late"), [({}, False), ({CI_STARTED: "1000"}, False), ({CI_STARTED: "999"}, True)]
)
def test_only_a_run_of_ci_has_a_limit(started: dict[str, str], late: bool) -> None:
    assert out_of_time(started, 1000.0 + LAST_BEGIN_S) == late


def test_not_always_the_same_tests_come_last() -> None:
    with_servers = [
        "tests/integration/test_a.py::test_1",
        "tests/faults/test_b.py::test_2",
        "tests/faults/test_b.py::test_3",
        "tests/cases/test_c.py::test_4",
    ]
    begun = [first_of_run(with_servers, {CI_STARTED: str(second)}) for second in (1000, 1001, 1002, 1003)]
    assert begun == [0, 1, 1, 3], "a module is not begun in its middle"
    assert first_of_run(with_servers, {}) == 0
    assert first_of_run([*with_servers, "tests/unit/test_d.py::test_4"], {CI_STARTED: "1004"}) == 0
    assert first_of_run([], {CI_STARTED: "1002"}) == 0


def test_tests_that_are_not_begun_are_named(tmp_path: Path) -> None:
    status, said = run_tests(tmp_path, CI="true", CI_STARTED="0")
    assert status == 0, said
    named = [line.rpartition("::")[2] for line in said.splitlines() if line.startswith("NOT RUN ")]
    assert named == ["test_with_a_server", "test_skipped"]
    assert "2 tests not begun in time" in said


def test_in_time_a_skipped_test_fails_the_run(tmp_path: Path) -> None:
    status, said = run_tests(tmp_path, CI="true", CI_STARTED=str(int(time.time())))
    assert status == 1
    assert "skips are not allowed when CI is set: " in said
    assert "NOT RUN" not in said
