"""A client waits for its place in a full queue: another user can fill it, and people must come through."""

import asyncio
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from dnssecd.keyservice_client.async_client import AsyncSignerClient, open_streams
from dnssecd.keyservice_client.errors import SignerTimeout
from dnssecd.keyservice_client.peer import check_owner, enter_queue


def test_a_client_waits_while_the_queue_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        listener.bind(path)
        listener.listen(0)
        for one in (first, second):
            one.settimeout(5)
        first.connect(path)
        with pytest.raises(BlockingIOError):
            enter_queue(second, path, time.monotonic())
        accepting = threading.Timer(0.05, lambda: listener.accept()[0].close())
        accepting.start()
        enter_queue(second, path, time.monotonic() + 5)
        accepting.join()


async def test_the_daemon_waits_while_the_queue_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        connecting = asyncio.create_task(open_streams(path, 1024))
        await asyncio.sleep(0.05)
        assert not connecting.done()
        listener.accept()[0].close()
        _, writer = await connecting
        check_owner(writer.get_extra_info("socket"), path, frozenset({os.geteuid()}))
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await open_streams(path, 1024)


async def test_the_daemon_says_so_when_no_place_came_in_time(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        client = AsyncSignerClient(path, deadline_s=0.1, owners=frozenset({12_345}))
        with pytest.raises(SignerTimeout):
            await client.status()
        await client.aclose()
