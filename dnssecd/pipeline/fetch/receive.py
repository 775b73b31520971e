"""Fetching a zone from its primaries over TCP: the messages are proven (TSIG) and kept in a file, not looked into.

Only so much is read of a message as tells where the stream ends; the zone worker takes it apart later
(pipeline.transferin). So a slow primary holds a socket, never a worker, and how large a transfer is is known
before anybody works on it. Every wait is bounded: to connect, for the next message, in all; so are octets.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import dns.rcode

from dnssecd.core.dns import message as m
from dnssecd.core.dns.tsig import AnswerVerifier, TsigError, TsigKey, parse_rdata, sign_request, strip
from dnssecd.ingest.xfrin_wire import AXFR, IXFR
from dnssecd.pipeline.fetch.end import EndFinder, NotATransfer
from dnssecd.pipeline.fetch.plan import Attempt, Fetched, FetchLimits, FetchPeer, FetchPlan
from dnssecd.publish.source import local_address

LENGTH_OCTETS = 2
_STREAM_OCTETS = 1 << 18
_SPOOL_OCTETS = 1 << 20
#: Transfers end before the disk is full, which the zones' databases need: below the larger of this and a share.
DISK_LEFT_MIN = 64 << 20
DISK_LEFT_SHARE = 50
#: An answer to IXFR that consists of one newer SOA so far: more may follow, or it means "ask for AXFR".
_AFTER_ONE_SOA_S = 3.0


class FetchFailed(Exception):
    """A transfer did not come about. ``unreachable``: the primary cannot even be connected to."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


class Places:
    """Places for transfers that run at the same time: a limit in total, and a limit for each address."""

    def __init__(self, in_all: int, for_host: int) -> None:
        self._free = asyncio.Semaphore(in_all)
        self._for_host = for_host
        #: By address: the places of it, and how many hold or wait for one.
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def take(self, host: str) -> AsyncIterator[None]:
        """Hold a place while a transfer from ``host`` runs; waits until one is free."""
        places, users = self._hosts.get(host, (asyncio.Semaphore(self._for_host), 0))
        self._hosts[host] = places, users + 1
        try:
            async with places, self._free:
                yield
        finally:
            places, users = self._hosts.pop(host)
            if users > 1:
                self._hosts[host] = places, users - 1


@asynccontextmanager
async def _any_place(host: str) -> AsyncIterator[None]:
    yield


async def fetch(
    plan: FetchPlan,
    now: Callable[[], float],
    place: Callable[[str], AbstractAsyncContextManager[None]] = _any_place,
) -> Fetched:
    """Carry out a plan; never raises for what a primary does.

    now: epoch seconds, for TSIG. place: held while a transfer from an address runs.
    """
    attempts: list[Attempt] = []
    for peer in plan.primaries:
        for kind in ("axfr",) if plan.base is None else ("ixfr", "axfr"):
            try:
                async with place(peer.host):
                    return await _attempt(plan, peer, kind, now, tuple(attempts))
            except FetchFailed as failed:
                attempts.append(Attempt(peer.name, kind, str(failed)))
                if failed.unreachable:
                    break
    return Fetched(result="failed", attempts=tuple(attempts))


async def _attempt(
    plan: FetchPlan, peer: FetchPeer, kind: str, now: Callable[[], float], before: tuple[Attempt, ...]
) -> Fetched:
    base = plan.base if kind == "ixfr" else None
    try:
        async with asyncio.timeout(plan.limits.total_s):
            stream = _Stream(plan, peer, base, now)
            await stream.receive()
    except TimeoutError:
        raise FetchFailed(f"not finished within {plan.limits.total_s:g} s") from None
    except (m.FormError, TsigError, NotATransfer) as error:
        raise FetchFailed(str(error)) from None
    result = "current" if stream.end.is_current else kind
    return Fetched(
        result=result,
        primary=peer.name,
        whole=stream.end.whole,
        octets=stream.octets,
        messages=stream.messages,
        attempts=before,
    )


class _Stream:
    """One request and its answer."""

    def __init__(self, plan: FetchPlan, peer: FetchPeer, base: int | None, now: Callable[[], float]) -> None:
        self._plan, self._peer, self._now, self._base = plan, peer, now, base
        self.end = EndFinder(base)
        self.octets = 0
        self.messages = 0
        self._id = secrets.randbelow(1 << 16)
        self._began = asyncio.get_running_loop().time()
        self._verifier: _StreamVerifier | None = None

    async def receive(self) -> None:
        """Ask, and write the messages of the answer to the plan's file."""
        async with self._connected() as (reader, writer):
            request = self._request()
            writer.write(len(request).to_bytes(LENGTH_OCTETS, "big") + request)
            with _Spool(self._plan.path) as spool:
                while not self.end.reached:
                    wire = await self._next(reader)
                    if wire is None:
                        break
                    self.end.feed(wire)
                    await spool.add(wire)
            self.end.finish()
            if self._verifier is not None:
                self._verifier.finish()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        peer = self._peer
        try:
            async with asyncio.timeout(self._plan.limits.connect_s):
                local = local_address(peer.source, peer.host, peer.port)
                reader, writer = await asyncio.open_connection(
                    peer.host, peer.port, limit=_STREAM_OCTETS, local_addr=local
                )
        except TimeoutError:
            raise FetchFailed("no connection in time", unreachable=True) from None
        except OSError as error:
            raise FetchFailed(f"no connection: {error.strerror or error}", unreachable=True) from None
        try:
            yield reader, writer
        finally:
            writer.close()

    def _request(self) -> bytes:
        origin, base = self._plan.origin, self._base
        counts = (1, 0, 0 if base is None else 1, 0)
        head = b"".join(number.to_bytes(2, "big") for number in (self._id, 0, *counts))
        qtype = AXFR if base is None else IXFR
        wire = head + origin + qtype.to_bytes(2, "big") + b"\x00\x01"
        if base is not None:
            # RFC 1995 §3: of the SOA only the serial counts.
            rdata = b"\x00\x00" + base.to_bytes(4, "big") + bytes(16)
            wire += b"\xc0\x0c\x00\x06\x00\x01" + bytes(4) + len(rdata).to_bytes(2, "big") + rdata
        if not self._peer.key:
            return wire
        key = TsigKey.make(self._peer.key, self._peer.algorithm, self._peer.secret)
        wire, mac = sign_request(wire, key, int(self._now()))
        self._verifier = _StreamVerifier(key, mac)
        return wire

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        """Return the next message, proven and without TSIG; None where an answer of one SOA is all there is."""
        limits = self._plan.limits
        wait_s = min(limits.idle_s, _AFTER_ONE_SOA_S) if self.end.may_be_all else limits.idle_s
        try:
            async with asyncio.timeout(wait_s):
                head = await reader.readexactly(LENGTH_OCTETS)
                wire = await reader.readexactly(int.from_bytes(head, "big"))
        except TimeoutError:
            if self.end.may_be_all:
                return None
            raise FetchFailed(f"no whole message within {wait_s:g} s") from None
        except asyncio.IncompleteReadError:
            if self.end.may_be_all:
                return None
            raise FetchFailed("the connection was closed before the end of the transfer") from None
        except OSError as error:
            raise FetchFailed(f"the connection broke: {error.strerror or error}") from None
        self.octets += len(wire) + LENGTH_OCTETS
        self.messages += 1
        if self.octets > limits.octets:
            raise FetchFailed(
                f"more than {limits.octets} octets, the limit for this zone (max_transfer_mib); does it ever end?"
            )
        self._check_rate(limits)
        return self._judged(wire)

    def _check_rate(self, limits: FetchLimits) -> None:
        """A transfer that drips must not hold its place for as long as a large one may take."""
        running_s = asyncio.get_running_loop().time() - self._began
        if running_s > limits.rate_after_s and self.octets < limits.octets_per_s * running_s:
            rate = self.octets / running_s
            raise FetchFailed(f"{rate:.0f} octets a second, at least {limits.octets_per_s} are expected")

    def _judged(self, wire: bytes) -> bytes:
        header = m.parse_header(wire)
        if header.id != self._id or not header.is_response:
            raise FetchFailed("it answers another question")
        rcode = header.flags & 15
        if rcode:
            raise FetchFailed(f"answered {dns.rcode.to_text(dns.rcode.Rcode(rcode))}")
        if header.flags & m.TC:
            raise FetchFailed("the answer is marked as truncated, over TCP")
        return wire if self._verifier is None else self._verifier.accept(wire, int(self._now()))


class _StreamVerifier(AnswerVerifier):
    """Finds the TSIG record at the end of a message without walking all that is before it."""

    def __init__(self, key: TsigKey, request_mac: bytes) -> None:
        super().__init__(key, request_mac)
        self._head = key.name + m.TYPE_TSIG.to_bytes(2, "big") + m.CLASS_ANY.to_bytes(2, "big") + bytes(4)

    def accept(self, wire: bytes, now: int) -> bytes:
        """Return the message without its TSIG record; raises TsigError or FormError when it must be refused."""
        if not int.from_bytes(wire[10:12], "big"):
            return self._accept_unsigned(wire)
        start = wire.rfind(self._head, m.HEADER_SIZE)
        rdata = start + len(self._head) + 2
        if start < 0 or rdata + int.from_bytes(wire[rdata - 2 : rdata], "big") != len(wire):
            # Signed with a name written in another way, with another key, or not at all.
            return super().accept(wire, now)
        tsig = parse_rdata(
            wire, m.Record(start, self._key.name, m.TYPE_TSIG, m.CLASS_ANY, 0, rdata, len(wire))
        )
        stripped = strip(wire, tsig)
        self._check(tsig, stripped, now)
        self._signed(tsig.mac)
        return stripped

    def _signed(self, mac: bytes) -> None:
        self._pending = [len(mac).to_bytes(2, "big") + mac]
        self._first = False
        self._unsigned = 0


class _Spool:
    """The file of messages, each with two octets of length before it; written a megabyte at a time, off the loop."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._buffer = bytearray()
        self._descriptor = -1

    def __enter__(self) -> "_Spool":
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise self._failed(error) from None
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if failure[0] is None:
                self._write(bytes(self._buffer))
        finally:
            os.close(self._descriptor)

    async def add(self, wire: bytes) -> None:
        """Append a message."""
        self._buffer += len(wire).to_bytes(LENGTH_OCTETS, "big")
        self._buffer += wire
        if len(self._buffer) >= _SPOOL_OCTETS:
            full, self._buffer = bytes(self._buffer), bytearray()
            await asyncio.to_thread(self._write, full)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            disk = os.fstatvfs(self._descriptor)
        except OSError as error:
            raise self._failed(error) from None
        left = disk.f_bavail * disk.f_frsize
        if left < max(DISK_LEFT_MIN, disk.f_blocks * disk.f_frsize // DISK_LEFT_SHARE):
            raise FetchFailed(f"our fault: only {left >> 20} MiB are left on the disk of {self._path}")

    def _failed(self, error: OSError) -> FetchFailed:
        return FetchFailed(f"our fault: {self._path} cannot be written: {error.strerror}")
