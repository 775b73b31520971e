"""pytest fixtures of the harness; tests/conftest.py makes them known to all tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.process import Servers
from tests.peers.tsig import TsigKey

#: A test during which a server crashed is not repeated (scripts/repeat-failed).
CRASHES = Path(__file__).parents[2] / ".pytest_cache" / "crashes"


def _failed(request: pytest.FixtureRequest) -> bool:
    reports = [getattr(request.node, f"report_{when}", None) for when in ("setup", "call")]
    return any(report is not None and report.failed for report in reports)


@pytest.fixture
def peer_dir(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory for the peers' files, its path short enough for Unix sockets; kept when the test fails."""
    path = Path(tempfile.mkdtemp(prefix="peers-"))
    yield path
    if _failed(request):
        print(f"the peers' files are kept in {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def servers(request: pytest.FixtureRequest, peer_dir: Path) -> Iterator[Servers]:
    """The test's servers: stopped at its end, the ends of their logs shown when it failed. No server may crash."""
    group = Servers()
    yield group
    group.stop()
    if crashed := group.crashed():
        CRASHES.mkdir(parents=True, exist_ok=True)
        (CRASHES / peer_dir.name).write_text("\n".join(crashed))
        pytest.fail("\n".join(["a server crashed", *crashed]), pytrace=False)
    if _failed(request):
        for tail in group.tails():
            print(tail)


@pytest.fixture
def tsig_key() -> TsigKey:
    """A fresh HMAC-SHA256 key named ``transfer.``."""
    return TsigKey()
