"""The processes that sign for the software key store, while there is much to sign.

They are started when many preimages wait and ended when there was nothing for a while, or at once when a key is to
be forgotten. When one fails in any way, the key service signs by itself.
"""

from __future__ import annotations

import os
import socket
import time
from queue import Empty, SimpleQueue

import msgspec
import structlog

from dnssecd.keyservice_protocol import FrameError, frame_buffer
from dnssecd.procs import child
from dnssecd.signer.child import RECEIVE_OCTETS
from dnssecd.signer.software_worker import KeyCall, SignCall, frame

log = structlog.get_logger()
#: The number of preimages waiting that is worth the start of processes.
BULK_PREIMAGES = 1024
#: Preimages given to a process at a time.
PIECE = 256
IDLE_S = 20.0
ANSWER_DEADLINE_S = 20.0
MODULE = "dnssecd.signer.software_worker"


class _Lost(Exception):
    """A process gave no answer; it is of no use any more."""


class _Worker:
    """One process; it holds the key that it got last."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            descriptor = theirs.fileno()
            self._process = child.start(MODULE, (os.getpid(), descriptor), pass_fds=(descriptor,))
        ours.settimeout(ANSWER_DEADLINE_S)
        self._socket = ours
        self._frames = frame_buffer()
        self._key_id = ""

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def sign(self, key_id: str, key: KeyCall, preimages: list[bytes]) -> list[bytes]:
        """Return the signatures; _Lost when the process is of no use."""
        try:
            if self._key_id != key_id:
                self._socket.sendall(frame(key))
                self._key_id = key_id
            self._socket.sendall(frame(SignCall(preimages)))
            signatures = msgspec.msgpack.decode(self._answer(), type=list[bytes])
        except (OSError, FrameError, msgspec.DecodeError) as error:
            raise _Lost(str(error)) from None
        if len(signatures) != len(preimages):
            raise _Lost(f"{len(signatures)} signatures for {len(preimages)} preimages")
        return signatures

    def _answer(self) -> bytes:
        while octets := self._socket.recv(RECEIVE_OCTETS):
            bodies = list(self._frames.feed(octets))
            if bodies:
                return bodies[0]
        raise _Lost("it ended")

    def end(self) -> None:
        """End the process, and with it what it knows."""
        self._socket.close()
        child.kill(self._process)


class SigningProcesses:
    """At most ``count`` processes. `sign` is for threads, as many as there are processes; all else for the loop's."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._all: list[_Worker] = []
        self._used_at = 0.0

    def wanted(self, waiting: int) -> bool:
        """Tell whether the next piece is for a process; starts them when ``waiting`` preimages are many."""
        if waiting >= BULK_PREIMAGES:
            self._used_at = time.monotonic()
            if not self._all and self._count > 1:
                self._start()
        return bool(self._all)

    @property
    def pids(self) -> list[int]:
        """Process ids of those that were started."""
        return [worker.pid for worker in self._all]

    def _start(self) -> None:
        try:
            while len(self._all) < self._count:
                worker = _Worker()
                self._all.append(worker)
                self._free.put(worker)
        except OSError as error:
            log.warning("signing process cannot be started", error=str(error))

    def end_idle(self) -> None:
        """End the processes when there was nothing to do for them for a while."""
        if self._all and time.monotonic() - self._used_at > IDLE_S:
            self.end()

    def end(self) -> None:
        """End all processes, and with them what they know; a piece under way is then signed by the key service."""
        ended, self._all, self._free = self._all, [], SimpleQueue()
        for worker in ended:
            worker.end()

    def sign(self, key_id: str, key: KeyCall, preimages: list[bytes]) -> list[bytes] | None:
        """Return signatures in DNSSEC wire form, None when no process is free or the one that was is lost."""
        free = self._free
        try:
            worker = free.get_nowait()
        except Empty:
            return None
        try:
            signatures = worker.sign(key_id, key, preimages)
        except _Lost as error:
            log.warning("signing process lost", error=str(error))
            worker.end()
            return None
        free.put(worker)
        return signatures
