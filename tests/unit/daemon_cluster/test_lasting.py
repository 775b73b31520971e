"""A task of a node begins again after a failure, with waits that grow."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Counter

from dnssecd.daemon.cluster import lasting
from dnssecd.daemon.cluster.lasting import keep_running


def test_a_failure_does_not_end_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now = [0.0]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            raise asyncio.CancelledError

    async def work() -> None:
        now[0] += 200.0 if len(waits) == 2 else 1.0
        raise KeyError("a row that no node writes")

    monkeypatch.setattr(lasting, "asyncio", SimpleNamespace(sleep=sleep))
    registry = CollectorRegistry()
    failures = Counter("failures", "", ("task",), registry=registry)
    clock = SimpleNamespace(monotonic=lambda: now[0])
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_running("heartbeat", work, failures, clock))  # type: ignore[arg-type]
    assert waits == [3.0, 6.0, 3.0, 6.0], "it had recovered before the third"
    assert registry.get_sample_value("failures_total", {"task": "heartbeat"}) == 4
