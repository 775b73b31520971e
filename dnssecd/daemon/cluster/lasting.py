"""Keep the tasks of a node running: a failure that no code expects is logged, counted, and the task begins again.

A daemon whose heartbeat ends would lose its zones; one that stops would no longer serve them. Rows of the cluster's
database, which others write, may be the cause.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock

WAITS = Backoff(3.0, 60.0)
#: A task that ran for this time (s) has recovered.
RECOVERED_S = 120.0

log = structlog.get_logger("dnssecd.cluster")


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], failures: Counter, clock: Clock
) -> None:
    """Run ``work``, which does not end, again after each failure; failures: a counter by task."""
    count = 0
    while True:
        begun = clock.monotonic()
        try:
            await work()
        except Exception as error:
            count = 1 if clock.monotonic() - begun > RECOVERED_S else count + 1
            failures.labels(name).inc()
            wait_s = WAITS.delay_s(count)
            log.error("a task of the cluster failed; it begins again", task=name, wait=wait_s, exc_info=error)
            await asyncio.sleep(wait_s)
