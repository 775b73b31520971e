"""`make demo-cluster` does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.cluster import demonstrate, running

pytestmark = [pytest.mark.integration, pytest.mark.soak]


def test_the_demo(peer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    told: list[str] = []
    with running(peer_dir) as (cluster, _):
        took = demonstrate(cluster, told.append)
    print(f"take-over after {took:.1f} s")
    assert "took cluster.test. over" in " ".join(told)
    assert "lost: none" in told[-1]
