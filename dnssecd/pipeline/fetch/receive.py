"""Fetch a zone from its primaries over TCP: messages are verified (TSIG) and stored in a file, but not parsed.

Only the end of the stream is searched for; the zone worker parses the messages later
(pipeline.jobs.transfer). So a slow primary occupies a socket, never a worker, and the size of a transfer is
known before the work on it begins. Every wait is bounded: to connect, for the next message, and in total; so
are the octets.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import dns.rcode

from dnssecd.core.dns import message as m
from dnssecd.core.dns.tsig import (
    AnswerVerifier,
    TsigError,
    TsigKey,
    TsigPeerError,
    parse_rdata,
    sign_request,
    strip,
)
from dnssecd.ingest.xfrin_wire import AXFR, IXFR
from dnssecd.pipeline.fetch.end import EndFinder, NotATransfer
from dnssecd.pipeline.fetch.plan import Attempt, Fetched, FetchKey, FetchLimits, FetchPeer, FetchPlan
from dnssecd.publish.source import local_address
from dnssecd.publish.tls_client import TlsTarget, client
from dnssecd.tls import TlsFailed, fault_of

LENGTH_OCTETS = 2
_STREAM_OCTETS = 1 << 18
_SPOOL_OCTETS = 1 << 20
#: Transfers stop while free disk space, which the zone databases need, is below the larger of this and a share.
DISK_LEFT_MIN = 64 << 20
DISK_LEFT_SHARE = 50
#: How long to wait after an answer to IXFR begins with one newer SOA: more may follow, or it means "ask for
#: AXFR".
_AFTER_ONE_SOA_S = 3.0


#: RCODEs of servers that do not accept the TSIG key.
_KEY_RCODES = frozenset({m.NOTAUTH, m.REFUSED})


class FetchFailed(Exception):
    """A transfer failed.

    ``unreachable``: no connection to the primary was possible. ``other_key``: with another TSIG key it may succeed.
    ``stale``: a connection that was kept for it was closed; a new one may do.
    """

    def __init__(
        self, reason: str, *, unreachable: bool = False, other_key: bool = False, stale: bool = False
    ) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.other_key = other_key
        self.stale = stale


class Places:
    """Places for transfers that run at the same time: a limit in total, and a limit for each address."""

    def __init__(self, in_all: int, for_host: int) -> None:
        self._free = asyncio.Semaphore(in_all)
        self._for_host = for_host
        #: By address: its places, and the number of transfers that hold or wait for one.
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def take(self, host: str) -> AsyncIterator[None]:
        """Hold a place while a transfer from ``host`` runs; wait until one is free."""
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
    """Carry out a plan; faults of a primary do not raise.

    now: epoch seconds, for TSIG. place: held while a transfer from an address runs.
    """
    attempts: list[Attempt] = []
    for peer in plan.primaries:
        for kind in ("axfr",) if plan.base is None else ("ixfr", "axfr"):
            try:
                async with place(peer.host):
                    return await _try_keys(plan, peer, kind, now, attempts)
            except FetchFailed as failed:
                attempts.append(Attempt(peer.name, kind, str(failed)))
                if failed.unreachable:
                    break
    return Fetched(result="failed", attempts=tuple(attempts))


async def _try_keys(
    plan: FetchPlan, peer: FetchPeer, kind: str, now: Callable[[], float], attempts: list[Attempt]
) -> Fetched:
    """Transfer with one of the primary's TSIG keys: during a change, one side has the new key first."""
    *first, last = peer.keys
    for key in first:
        try:
            return await _attempt(plan, peer, kind, now, tuple(attempts), key)
        except FetchFailed as failed:
            if not failed.other_key:
                raise
    return await _attempt(plan, peer, kind, now, tuple(attempts), last)


async def _attempt(
    plan: FetchPlan,
    peer: FetchPeer,
    kind: str,
    now: Callable[[], float],
    before: tuple[Attempt, ...],
    key: FetchKey | None,
    *,
    fresh: bool = False,
) -> Fetched:
    base = plan.base if kind == "ixfr" else None
    try:
        async with asyncio.timeout(plan.limits.total_s):
            stream = _Stream(plan, peer, base, now, key, fresh=fresh)
            await stream.receive()
    except TimeoutError:
        raise FetchFailed(f"not finished within {plan.limits.total_s:g} s") from None
    except TsigPeerError as error:
        raise FetchFailed(str(error), other_key=True) from None
    except (m.FormError, TsigError, NotATransfer) as error:
        raise FetchFailed(str(error)) from None
    except FetchFailed as failed:
        if failed.stale and not fresh:
            return await _attempt(plan, peer, kind, now, before, key, fresh=True)
        raise
    result = "current" if stream.end.is_current else kind
    return Fetched(
        result=result,
        primary=peer.name,
        whole=stream.end.whole,
        octets=stream.octets,
        messages=stream.messages,
        attempts=before,
        key="" if key is None else key.name,
        tls=peer.tls is not None,
        reused=stream.reused,
    )


class _Stream:
    """One request and its answer."""

    def __init__(
        self,
        plan: FetchPlan,
        peer: FetchPeer,
        base: int | None,
        now: Callable[[], float],
        key: FetchKey | None,
        *,
        fresh: bool,
    ) -> None:
        """fresh: use no TLS connection that is open from an earlier transfer."""
        self._plan, self._peer, self._now, self._base = plan, peer, now, base
        self._key, self._fresh, self._used = key, fresh, False
        self.end = EndFinder(base)
        self.reused = False
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
        if self._peer.tls is not None:
            async with self._connected_by_tls(self._peer.tls) as streams:
                yield streams
            return
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

    @asynccontextmanager
    async def _connected_by_tls(
        self, target: TlsTarget
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect by TLS; after a whole transfer the connection is kept for the next one."""
        entered = False
        try:
            async with client().connection(target, fresh=self._fresh) as found:
                entered = True
                self._used, self.reused = found.used, found.used or found.resumed
                yield found.reader, found.writer
                client().remember_session(target, found)
                if not self.end.reached:
                    found.writer.transport.abort()  # more messages may follow the single SOA
        except TlsFailed as failed:
            raise FetchFailed(str(failed), unreachable=True) from None
        except OSError as error:
            if entered:
                raise
            raise FetchFailed(f"no connection: {error.strerror or error}", unreachable=True) from None

    def _request(self) -> bytes:
        origin, base = self._plan.origin, self._base
        counts = (1, 0, 0 if base is None else 1, 0)
        head = b"".join(number.to_bytes(2, "big") for number in (self._id, 0, *counts))
        qtype = AXFR if base is None else IXFR
        wire = head + origin + qtype.to_bytes(2, "big") + b"\x00\x01"
        if base is not None:
            # RFC 1995 §3: only the serial of this SOA counts.
            rdata = b"\x00\x00" + base.to_bytes(4, "big") + bytes(16)
            wire += b"\xc0\x0c\x00\x06\x00\x01" + bytes(4) + len(rdata).to_bytes(2, "big") + rdata
        if self._key is None:
            return wire
        key = TsigKey.make(self._key.name, self._key.algorithm, self._key.secret)
        wire, mac = sign_request(wire, key, int(self._now()))
        self._verifier = _StreamVerifier(key, mac)
        return wire

    async def _next(self, reader: asyncio.StreamReader) -> bytes | None:
        """Return the next message, verified and without TSIG; None if the answer is a single SOA."""
        limits = self._plan.limits
        wait_s = min(limits.idle_s, _AFTER_ONE_SOA_S) if self.end.may_be_all else limits.idle_s
        try:
            async with asyncio.timeout(wait_s):
                head = await reader.readexactly(LENGTH_OCTETS)
                wire = await reader.readexactly(int.from_bytes(head, "big"))
        except TimeoutError:
            if self.end.may_be_all:
                return None
            raise FetchFailed(f"no complete message within {wait_s:g} s") from None
        except asyncio.IncompleteReadError:
            if self.end.may_be_all:
                return None
            raise FetchFailed(
                "the connection was closed before the end of the transfer", stale=self._is_stale
            ) from None
        except OSError as error:
            reason = str(fault_of(error)) if self._peer.tls else error.strerror or error
            raise FetchFailed(f"the connection broke: {reason}", stale=self._is_stale) from None
        self.octets += len(wire) + LENGTH_OCTETS
        self.messages += 1
        if self.octets > limits.octets:
            raise FetchFailed(f"more than {limits.octets} octets, the limit for this zone (max_transfer_mib)")
        self._check_rate(limits)
        return self._judged(wire)

    @property
    def _is_stale(self) -> bool:
        """Tell whether a kept connection failed before it gave anything."""
        return self._used and not self.messages

    def _check_rate(self, limits: FetchLimits) -> None:
        """Raise FetchFailed for a slow transfer: it must not hold its place for as long as a large one may take."""
        running_s = asyncio.get_running_loop().time() - self._began
        if running_s > limits.rate_after_s and self.octets < limits.octets_per_s * running_s:
            rate = self.octets / running_s
            raise FetchFailed(f"{rate:.0f} octets a second, but at least {limits.octets_per_s} are required")

    def _judged(self, wire: bytes) -> bytes:
        header = m.parse_header(wire)
        if header.id != self._id or not header.is_response:
            raise FetchFailed("it answers a different question")
        rcode = header.flags & 15
        if rcode:
            raise FetchFailed(
                f"answered {dns.rcode.to_text(dns.rcode.Rcode(rcode))}", other_key=rcode in _KEY_RCODES
            )
        if header.flags & m.TC:
            raise FetchFailed("the answer is marked as truncated, over TCP")
        return wire if self._verifier is None else self._verifier.accept(wire, int(self._now()))


class _StreamVerifier(AnswerVerifier):
    """Finds the TSIG record at the end of a message without parsing the records before it."""

    def __init__(self, key: TsigKey, request_mac: bytes) -> None:
        super().__init__(key, request_mac)
        self._head = key.name + m.TYPE_TSIG.to_bytes(2, "big") + m.CLASS_ANY.to_bytes(2, "big") + bytes(4)

    def accept(self, wire: bytes, now: int) -> bytes:
        """Return the message without its TSIG record; raise TsigError or FormError when it must be refused."""
        if not int.from_bytes(wire[10:12], "big"):
            return self._accept_unsigned(wire)
        start = wire.rfind(self._head, m.HEADER_SIZE)
        rdata = start + len(self._head) + 2
        if start < 0 or rdata + int.from_bytes(wire[rdata - 2 : rdata], "big") != len(wire):
            # Signed with the key name in another spelling, with another key, or not signed.
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
            raise FetchFailed(f"on this host only {left >> 20} MiB are free on the disk of {self._path}")

    def _failed(self, error: OSError) -> FetchFailed:
        return FetchFailed(f"on this host {self._path} cannot be written: {error.strerror}")
