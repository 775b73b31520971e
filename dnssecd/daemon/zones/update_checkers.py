"""The processes that help the threads of updates to check signatures (pipeline/workers/helped_checker.py)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, local

import structlog

from dnssecd.core.verify import SignatureChecker, inline_checker
from dnssecd.pipeline.workers.helped_checker import HelpedChecker, Helper

log = structlog.get_logger("dnssecd.updates")


class UpdateCheckers:
    """One helper for each thread that makes versions of updates; none where there is only one processor for both."""

    def __init__(
        self, count_failed: Callable[[], None], processors: int = len(os.sched_getaffinity(0))
    ) -> None:
        """count_failed: counts a process that failed."""
        self._count_failed, self._helps = count_failed, processors > 1
        self._local = local()
        self._lock = Lock()
        self._helpers: list[Helper] = []

    @contextmanager
    def checker(self) -> Iterator[SignatureChecker]:
        """Provide the checker for one version, in the thread that makes it."""
        if not self._helps:
            yield inline_checker
            return
        helper = self._of_thread()
        with helper.busy:
            yield HelpedChecker(helper)

    def _of_thread(self) -> Helper:
        helper: Helper | None = getattr(self._local, "helper", None)
        if helper is None:
            helper = self._local.helper = Helper(self._failed)
            with self._lock:
                self._helpers.append(helper)
        return helper

    def _failed(self, cause: str) -> None:
        self._count_failed()
        log.warning("the thread of an update checks signatures alone for a minute", cause=cause)

    def rest(self) -> None:
        """End the processes that had nothing to do for a while; in any thread."""
        with self._lock:
            helpers = list(self._helpers)
        for helper in helpers:
            helper.rest()

    def close(self) -> None:
        """End the processes, after the threads ended."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.close()
