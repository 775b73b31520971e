"""Key stores tried out and measured with throw-away keys, one at a time."""

from __future__ import annotations

import asyncio

from dnssecd import keyservice_protocol as wp
from dnssecd.signer.deadlines import Deadline
from dnssecd.signer.errors import Busy
from dnssecd.signer.stores import Stores
from dnssecd.signer.use_counts import UseCounts


class StoreTrials:
    """See the module."""

    def __init__(self, stores: Stores, uses: UseCounts, deadline: Deadline) -> None:
        self._stores, self._uses, self._deadline = stores, uses, deadline
        self._trial = asyncio.Lock()
        self._measuring = asyncio.Lock()

    async def test(self, request: wp.TestRequest) -> wp.Reply:
        """Try out a store, and its evicted tokens: those that sign right are used again."""
        store = self._stores.named(request.store)
        async with self._trial:
            deadline = self._deadline(request.timeout_ms)
            readmitted = await store.try_evicted(deadline)
            for token in readmitted:
                self._uses.note("token readmitted", token=token, store=store.name)
            self._uses.note("tested", store=store.name, algorithm=request.algorithm)
            detail = await store.trial(request.algorithm, deadline)
            detail += f"; used again: {', '.join(readmitted)}" if readmitted else ""
        return wp.DoneReply(request.id, detail)

    async def measure(self, request: wp.BenchRequest) -> wp.Reply:
        """Measure a store; Busy while another measurement runs."""
        store = self._stores.named(request.store)
        if self._measuring.locked():
            raise Busy("a measurement is under way; wait for its end", retry_in_s=1.0)
        async with self._measuring:
            self._uses.note("measured", store=store.name, algorithm=request.algorithm)
            line = await store.bench(request, self._deadline(request.timeout_ms))
        return wp.BenchReply(request.id, (line,))
