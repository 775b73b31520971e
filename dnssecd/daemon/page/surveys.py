"""The page's source of data: what its threads ask for is collected on the event loop, a part of the zones at a time.

The overview shows a survey of all zones that is made once a minute, and again when the page is looked at: a page is
answered immediately with the last survey if a new one takes longer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from bisect import bisect_left
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from msgspec import structs

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.daemon.commands.status import StatusCommand
from dnssecd.daemon.page.ahead import ComingSteps
from dnssecd.daemon.page.zone_views import ZoneViews
from dnssecd.daemon.rollover.engine import STORE_ERRORS
from dnssecd.keyservice_protocol import StatusReply
from dnssecd.page.digest import Digest
from dnssecd.page.model import Freeze, StoreState, Survey, TokenState, Unavailable, ZoneView

T = TypeVar("T")

#: A survey is made after this time in any case.
PERIOD_S = 60.0
#: A survey of this age is shown as it is; otherwise the page waits for a new one, up to WAIT_S.
FRESH_S = 3.0
WAIT_S = 0.15
#: Surveys take at most this share of the time.
SHARE = 0.1
#: The wait of a page that has nothing to show meanwhile.
PATIENCE_S = 8.0
FREEZE_YEARS = 2
PAST_S = 3_600

log = structlog.get_logger("dnssecd.page")


class Surveys:
    """The source of the page's data (``page.digest.Source``). ``digest`` and ``zone`` are called in threads."""

    def __init__(
        self,
        status: StatusCommand,
        views: ZoneViews,
        coming: ComingSteps,
        config: Callable[[], Config],
        key_service: Callable[[], StatusReply | None],
        clock: Clock,
    ) -> None:
        self._status, self._views, self._coming = status, views, coming
        self._config, self._key_service, self._clock = config, key_service, clock
        self._kept: Digest | None = None
        self._kept_at = self._not_before = self._took = 0.0
        self._making: asyncio.Task[Digest] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Make surveys until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                await self._make()
            except STORE_ERRORS as error:
                log.warning("no survey for the status page", cause=str(error))
            await asyncio.sleep(PERIOD_S)

    def digest(self) -> Digest:
        """Return the state of all zones; raise Unavailable."""
        kept, age = self._kept, self._clock.monotonic() - self._kept_at
        if kept is not None and age < FRESH_S:
            return kept
        if kept is None or age > 2 * PERIOD_S:
            return self._ask(self._make(), PATIENCE_S)
        try:
            return self._ask(self._make(), WAIT_S if self._took < WAIT_S else 0.0)
        except Unavailable:
            return kept

    def zone(self, name: str, days: int) -> ZoneView | None:
        """Return the state of a zone; None if there is none of that name; raise Unavailable."""
        view = self._ask(self._views.view(name, days), PATIENCE_S)
        return view and structs.replace(view, docs_url=docs_link(self._config()))

    def _ask(self, work: Coroutine[Any, Any, T], patience: float) -> T:
        """Return the result of work on the event loop."""
        if self._loop is None:
            work.close()
            raise Unavailable("dnssecd is starting")
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise Unavailable("dnssecd is stopping") from None
        try:
            return future.result(patience)
        except TimeoutError:
            future.cancel()
            raise Unavailable(f"dnssecd did not answer within {patience:g} s") from None
        except STORE_ERRORS as error:
            raise Unavailable(f"dnssecd cannot read its data: {error}") from None
        except concurrent.futures.CancelledError:
            raise Unavailable("dnssecd is stopping") from None

    async def _make(self) -> Digest:
        """Return a new survey, or the last one if another so soon would cost too much."""
        if self._making is None:
            if self._kept is not None and self._clock.monotonic() < self._not_before:
                return self._kept
            self._making = asyncio.get_running_loop().create_task(self._compose())
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)

    def _made(self, task: asyncio.Task[Digest]) -> None:
        self._making = None
        if not task.cancelled() and task.exception() is None:
            self._kept, self._kept_at = task.result(), self._clock.monotonic()

    async def _compose(self) -> Digest:
        started, now = self._clock.monotonic(), self._clock.now()
        coming, looked_ahead = await self._coming.collect()
        first = bisect_left(coming, now - PAST_S, key=lambda entry: entry.at)
        survey = Survey(
            taken_at=now,
            host=socket.gethostname(),
            status=await self._status.compose(None),
            stores=describe_stores(self._key_service()),
            coming=coming[first:],
            looked_ahead=looked_ahead,
            freezes=list_freezes(self._config(), now),
            docs_url=docs_link(self._config()),
        )
        digest = Digest(survey)
        await asyncio.to_thread(digest.warm)
        ended = self._clock.monotonic()
        self._took = ended - started
        self._not_before = ended + self._took / SHARE
        return digest


def docs_link(config: Config) -> str:
    """Return where the operations page is published; "": nowhere, or where a browser follows no link from a page."""
    url = config.alerts.docs_url
    return "" if url.startswith("file:") else url


def describe_stores(reply: StatusReply | None) -> list[StoreState]:
    """Return the key stores as the key service reported them last; none while it does not answer."""
    if reply is None:
        return []
    return [
        StoreState(
            name=store.name,
            kind=store.type,
            state=store.state,
            detail=store.detail,
            signatures=store.signatures,
            tokens=[TokenState(name=one.name, state=one.state, detail=one.detail) for one in store.tokens],
        )
        for store in reply.stores
    ]


def list_freezes(config: Config, now: float) -> list[Freeze]:
    """Return the freeze windows of all policies that end later, earliest first."""
    year = datetime.fromtimestamp(now, UTC).year
    found = [
        Freeze(policy=policy.name, start=start, stop=stop)
        for policy in config.policies.values()
        for window in policy.freeze
        for start, stop in window.spans(range(year - 1, year + FREEZE_YEARS))
        if stop > now
    ]
    return sorted(found, key=lambda freeze: (freeze.start, freeze.policy))
