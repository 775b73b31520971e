"""Accepting connections, and what happens when the process is out of descriptors."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket

import pytest
import structlog

from dnssecd import acceptor
from dnssecd.acceptor import Acceptor, StreamServer, log_exhausted
from dnssecd.ops import log as log_setup


class Listening(socket.socket):
    """A listening socket on loopback whose accept() fails while ``failure`` is set."""

    failure: int | None = None
    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.failure is not None:
            raise OSError(self.failure, os.strerror(self.failure))
        return super().accept()


@pytest.fixture
def listening() -> Listening:
    sock = Listening()
    sock.bind(("127.0.0.1", 0))
    return sock


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_it_pauses_and_then_continues(
    failure: int, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "REST_S", 0.2)
    accepted: list[socket.socket] = []
    told: list[OSError] = []
    listening.failure = failure
    made = Acceptor(listening, 16, lambda sock, peer: accepted.append(sock), told.append)
    clients = [socket.create_connection(made.address) for _ in range(3)]
    await until(lambda: told)
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert listening.tries <= 2, "not at each turn of the loop"
    assert len(told) == listening.tries
    listening.failure = None
    await until(lambda: len(accepted) == 3)
    made.close()
    for sock in [*clients, *accepted]:
        sock.close()


async def test_a_connection_that_ended_early_is_no_reason_to_rest(listening: Listening) -> None:
    accepted: list[socket.socket] = []
    told: list[OSError] = []
    listening.failure = errno.ECONNABORTED
    made = Acceptor(listening, 16, lambda sock, peer: accepted.append(sock), told.append)
    client = socket.create_connection(made.address)
    await until(lambda: listening.tries)
    listening.failure = None
    await until(lambda: accepted)
    assert not told
    made.close()
    for sock in [client, *accepted]:
        sock.close()


async def test_streams_are_served(listening: Listening) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()

    server = StreamServer(listening, 16, 1024, echo, log_exhausted("test"))
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"ping")
    assert await reader.read() == b"ping"
    writer.close()
    server.close()


def test_it_is_logged_once_a_minute() -> None:
    report = log_exhausted("test")
    with structlog.testing.capture_logs() as lines:
        for _ in range(5000):
            report(OSError(errno.EMFILE, "Too many open files"))
    assert [(line["log_level"], line["listener"]) for line in lines] == [("error", "test")]


def test_what_libraries_repeat_is_logged_a_few_times(capsys: pytest.CaptureFixture[str]) -> None:
    """asyncio reports a lack of descriptors at each of its tries, with addresses of objects in the text."""
    handler = log_setup._ToStructlog()
    logger = logging.Logger("asyncio")
    logger.addHandler(handler)
    with structlog.testing.capture_logs() as lines:
        for number in range(5000):
            try:
                raise OSError(errno.EMFILE, "Too many open files")
            except OSError:
                text = f"socket.accept() out of system resource\nsocket: <socket.socket fd={number}>"
                logger.exception(text)
        logger.error("something else")
        handler._repeats.flush(0.0, all_windows=True)
    texts = [line["event"].partition("\n")[0] for line in lines]
    assert texts.count("socket.accept() out of system resource") == 5
    assert "something else" in texts
    assert [line["count"] for line in lines if line["event"] == "lines of libraries omitted"] == [4995]
