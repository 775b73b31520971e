"""A primary that answers whatever a test wants: over UDP the SOA, over TCP what the script of the hour says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self, cast

from dnssecd.core.dns import message as m
from dnssecd.core.dns.tsig import AnswerSigner, TsigKey, parse_rdata
from tests.unit.xfrin.streams import AXFR, IXFR, RR, message, soa

LOOPBACK = "127.0.0.1"


class Stall:
    """Sent instead of octets: nothing more comes, and the connection stays open."""


class Cut:
    """Sent instead of octets: the connection is closed at once."""


class Raw(bytes):
    """Sent as it is, without a length before it and without TSIG."""


class Unsigned(bytes):
    """A message that gets no TSIG record even where the request had one."""


Item = bytes | Stall | Cut | float
#: Takes the message id; gives what is sent, in order. A number is a pause in seconds.
Script = Callable[[int], Sequence[Item]]


def answers(*messages: Sequence[RR], qtype: int = AXFR) -> Script:
    """A script of sound messages with these RRs each."""
    return lambda mid: [message(rrs, qtype, mid=mid) for rrs in messages]


def ixfr_answers(*messages: Sequence[RR]) -> Script:
    """The same for IXFR."""
    return answers(*messages, qtype=IXFR)


def rcode(number: int, qtype: int = AXFR) -> Script:
    """A script of one answer without RRs."""
    return lambda mid: [message([], qtype, mid=mid, flags=0x8400 | number)]


class Liar:
    """Serves on one port of loopback. ``asked``: what was asked over TCP so far, ``axfr`` or ``ixfr``."""

    def __init__(self, key: TsigKey | None = None) -> None:
        self.serial = 7
        self.axfr: Script = rcode(5)
        self.ixfr: Script = rcode(5, IXFR)
        self.mute = False
        self.asked: list[str] = []
        self.port = 0
        self._key = key
        self._server: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (LOOPBACK, self.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        assert self._server is not None
        assert self._udp is not None
        self._server.close()
        self._udp.close()

    def signer(self, wire: bytes) -> AnswerSigner | None:
        """What signs the answers to a request, where it is signed."""
        parsed = m.parse(wire)
        if parsed.tsig is None or self._key is None:
            return None
        return AnswerSigner(parse_rdata(wire, parsed.tsig), self._key)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            wire = await reader.readexactly(size)
            kind = "ixfr" if m.parse(wire).qtype == IXFR else "axfr"
            self.asked.append(kind)
            await self._play(wire, self.ixfr if kind == "ixfr" else self.axfr, writer)
        writer.close()

    async def _play(self, wire: bytes, script: Script, writer: asyncio.StreamWriter) -> None:
        signer = self.signer(wire)
        for item in script(int.from_bytes(wire[:2], "big")):
            if isinstance(item, Stall):
                await self._over.wait()
            elif isinstance(item, Cut):
                return
            elif isinstance(item, float):
                await asyncio.sleep(item)
            elif isinstance(item, Raw):
                writer.write(item)
            else:
                if signer is not None:
                    item = self._seal(signer, item)
                writer.write(len(item).to_bytes(2, "big") + item)
            await writer.drain()

    def _seal(self, signer: AnswerSigner, item: bytes) -> bytes:
        if isinstance(item, Unsigned):
            # The next MAC covers it, too (RFC 8945 §5.3.1).
            signer._prior += item
            return item
        return signer.sign(item, self.now())

    def now(self) -> int:
        """The clock it signs by."""
        import time

        return int(time.time())


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, liar: Liar) -> None:
        self._liar = liar
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._liar.mute or self._transport is None:
            return
        wire = message([soa(self._liar.serial)], 6, mid=int.from_bytes(data[:2], "big"))
        signer = self._liar.signer(data)
        self._transport.sendto(wire if signer is None else signer.sign(wire, self._liar.now()), addr)


@contextmanager
def running(liar: Liar) -> Iterator[Liar]:
    """The liar in a thread of its own, for tests that have no event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(liar.__aenter__(), loop).result(10)
    try:
        yield liar
    finally:
        asyncio.run_coroutine_threadsafe(liar.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
