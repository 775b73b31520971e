"""A transfer that is cancelled while a thread makes its messages: the snapshot is closed after them, not under them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

from dnssecd.server.transfer import TransferJob


class Reading:
    """A version whose messages take until ``go``; it knows whether it was closed while it was read."""

    serial = 1

    def __init__(self) -> None:
        self.begun, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.read_after_close = False

    @contextmanager
    def snapshot(self) -> Iterator[Reading]:
        try:
            yield self
        finally:
            self.closed.set()

    def messages(self) -> Iterator[bytes]:
        self.begun.set()
        self.go.wait(5)
        self.read_after_close = self.closed.is_set()
        yield b"message"

    def job(self) -> TransferJob:
        zone: Any = SimpleNamespace(snapshot=self.snapshot, origin=b"\0")
        made: Any = SimpleNamespace(kind="axfr", messages=self.messages())
        return TransferJob(
            zone, IPv4Address("192.0.2.1"), make=lambda version: made,
            seal=lambda message, first: message, decline=lambda rcode: b"",
        )  # fmt: skip


async def test_a_cancelled_transfer_is_closed_when_the_thread_has_ended() -> None:
    reading = Reading()
    job = reading.job()
    with ThreadPoolExecutor(1) as pool:
        job.open()

        async def send() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(pool, job.next_slice)
            finally:
                job.close()

        task = asyncio.ensure_future(send())
        await asyncio.to_thread(reading.begun.wait, 5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not reading.closed.is_set()
        reading.go.set()
        assert await asyncio.to_thread(reading.closed.wait, 5)
    assert not reading.read_after_close


def test_a_closed_transfer_reads_nothing() -> None:
    reading = Reading()
    job = reading.job()
    job.open()
    job.close()
    assert reading.closed.is_set()
    assert job.next_slice() == []
    assert not reading.begun.is_set()
