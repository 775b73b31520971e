"""Fixtures and rules common to all tests.

Under CI a skipped test is a failed test: a peer that is missing there is a fault of the set-up, and nobody
would notice that nothing was judged. Expected failures (xfail) stay what they are.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.fixtures import peer_dir, servers, tsig_key
from tests.peers.paths import shared_dir

__all__ = ["peer_dir", "servers", "shared", "tsig_key"]

SLOW = Path(__file__).with_name("slow.txt")
# Commands that tests start wrap their tables at this width, where it is set: pytest's workers set it.
os.environ.pop("COLUMNS", None)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skips are not allowed when CI is set: {reason}"


def read_slow() -> set[str]:
    """The tests that `make check` leaves to `make test`: modules, and single tests as ``module::test``."""
    return set(SLOW.read_text().split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what slow.txt names as slow. It runs in `make test` and in CI."""
    slow = read_slow()
    for item in items:
        place, _, rest = item.nodeid.removeprefix("tests/").partition("::")
        if place in slow or f"{place}::{rest.partition('[')[0]}" in slow:
            item.add_marker(pytest.mark.slow)


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
