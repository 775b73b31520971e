"""Fixtures and rules common to all tests.

Under CI a skipped test is a failed test: a peer that is missing there is a fault of the set-up, and nobody
would notice that nothing was judged. Expected failures (xfail) stay what they are.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.peers.fixtures import peer_dir, servers, tsig_key
from tests.peers.paths import shared_dir

__all__ = ["peer_dir", "servers", "shared", "tsig_key"]

SLOW = Path(__file__).with_name("slow.txt")
# Variables that each test has anew: pytest sets the first, and each token of SoftHSM the second.
OF_EACH_TEST = {"PYTEST_CURRENT_TEST", "SOFTHSM2_CONF"}
# Commands that tests start wrap their tables at this width, where it is set: pytest's workers set it.
os.environ.pop("COLUMNS", None)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


# When CI began (seconds since 1970), which .ci/run sets; after this time no further test begins: the longest takes a
# quarter of a minute to two minutes on a usual machine, and up to seven on one for which this is needed.
CI_STARTED, LAST_BEGIN_S = "CI_STARTED", 27 * 60
WITH_SERVERS = ("tests/integration/", "tests/faults/", "tests/cases/")
NO_TIME = "not begun in time: this machine is too slow for all tests in one run of CI"


def out_of_time(environment: Mapping[str, str], now: float) -> bool:
    """Whether a run of CI has no time left to begin a test; other runs have no limit."""
    return CI_STARTED in environment and now - float(environment[CI_STARTED]) > LAST_BEGIN_S


def first_of_run(tests: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return with which test a run begins: in CI with another module each time, where servers make tests slow.

    So it is not always the same tests for which a slow machine has no time.
    """
    if CI_STARTED not in environment or not tests or not all(test.startswith(WITH_SERVERS) for test in tests):
        return 0
    first = int(float(environment[CI_STARTED])) % len(tests)
    module = tests[first].partition("::")[0]
    return next(place for place, test in enumerate(tests) if test.partition("::")[0] == module)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin no test for which there is no time; before its fixtures are made."""
    if out_of_time(os.environ, time.time()):
        pytest.skip(NO_TIME)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the tests that were not begun in time."""
    skipped = terminalreporter.stats.get("skipped", [])
    left = [report.nodeid for report in skipped if NO_TIME in str(report.longrepr)]
    if left:
        terminalreporter.write_sep("=", f"{len(left)} tests {NO_TIME}")
        for name in left:
            terminalreporter.write_line(f"NOT RUN {name}")


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and NO_TIME not in str(report.longrepr):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skips are not allowed when CI is set: {reason}"


def read_slow() -> set[str]:
    """The tests that `make check` leaves to `make test`: modules, and single tests as ``module::test``."""
    return set(SLOW.read_text().split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what slow.txt names as slow: it runs in `make test` and in CI. Begin CI with another module each time."""
    slow = read_slow()
    for item in items:
        place, _, rest = item.nodeid.removeprefix("tests/").partition("::")
        if place in slow or f"{place}::{rest.partition('[')[0]}" in slow:
            item.add_marker(pytest.mark.slow)
    first = first_of_run([item.nodeid for item in items], os.environ)
    items[:] = [*items[first:], *items[:first]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Keep each phase's report on the item, so that fixtures know whether their test failed."""
    report = yield
    _forbid_skip(report)
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """A module skipped while it is imported counts as a skip too."""
    report = yield
    _forbid_skip(report)
    return report


def read_umask() -> int:
    """The umask of this process, which can be read without a change here only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


def process_settings() -> dict[str, Any]:
    """What a test may change for all tests after it: modes of new files, relative paths, limits, the environment."""
    return {
        "umask": read_umask(),
        "current directory": os.getcwd(),
        "limit of descriptors": resource.getrlimit(resource.RLIMIT_NOFILE),
        "limit of file sizes": resource.getrlimit(resource.RLIMIT_FSIZE),
        "environment": {name: text for name, text in os.environ.items() if name not in OF_EACH_TEST},
    }


def put_back(settings: dict[str, Any]) -> None:
    """Restore :func:`process_settings`."""
    os.umask(settings["umask"])
    os.chdir(settings["current directory"])
    resource.setrlimit(resource.RLIMIT_NOFILE, settings["limit of descriptors"])
    resource.setrlimit(resource.RLIMIT_FSIZE, settings["limit of file sizes"])
    for name in os.environ.keys() - settings["environment"].keys() - OF_EACH_TEST:
        del os.environ[name]
    os.environ.update(settings["environment"])


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """A test that leaves the process changed fails itself, not a later one that has nothing to do with it."""
    before = process_settings()
    yield
    after = process_settings()
    left = [what for what, value in before.items() if after[what] != value]
    if left:
        put_back(before)
        pytest.fail(f"the test changed this for all tests after it: {', '.join(left)} (use monkeypatch)")


@pytest.fixture
def umask_zero() -> Iterator[None]:
    """Files get the mode that they are created with: a test of private files sees whether that is private."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of published vectors and real zones (`../shared`); read only."""
    path = shared_dir()
    if path is None:
        pytest.skip("no shared test data: set DNSSECD_SHARED to the directory that holds zones/ and vectors/")
    return path


@pytest.fixture(scope="module")
def signer() -> Iterator[str]:
    """The socket of a key service for the tests of a module."""
    from tests.pipeline_zone import running_signer

    with running_signer() as socket:
        yield socket
