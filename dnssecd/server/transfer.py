"""One outgoing transfer: opened and closed on the event loop; worker threads make its messages in slices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import EndedTransfer, ServedZone, Transfer
from dnssecd.server.reasons import Drop, TransferEnd

#: A slice ends at the first of these limits, so that other transfers and the event loop do not wait noticeably.
SLICE_OCTETS = 128 * 1024
SLICE_S = 0.004
#: A difference up to this size and number of versions is made on the event loop: for the small IXFRs that
#: follow updates, the handover to a thread would cost more than the answer.
AT_ONCE_OCTETS = 8 * 1024
AT_ONCE_VERSIONS = 64


class NotServed(Exception):
    """The zone has no version to transfer."""


class TransferJob:
    """An allowed transfer. Life: :meth:`open`, :meth:`next_slice` until ``finished``, :meth:`close`."""

    def __init__(
        self,
        zone: ServedZone,
        address: Address,
        make: Callable[[ServedVersion], Transfer],
        seal: Callable[[bytes, bool], bytes],
        decline: Callable[[int], bytes],
        client_serial: int | None = None,
        client: str = "",
    ) -> None:
        """Take the functions that make the answer.

        make: chooses the form; seal: adds OPT and TSIG to (message, is the first one); decline: (RCODE) →
        answer.

        client_serial: the version the client holds (IXFR); client: whose transfer it is (server.clients).
        """
        self.zone = zone
        self.address = address
        self.client = client
        self.decline = decline
        self.kind = "unknown"
        self.serial = 0
        self.messages = 0
        self.octets = 0
        self.finished = False
        self._client_serial = client_serial
        self._make = make
        self._seal = seal
        self._stack = ExitStack()
        self._version: ServedVersion | None = None
        self._iterator: Iterator[bytes] | None = None
        self._working = threading.Lock()
        self._closing = False

    def open(self) -> None:
        """Take the snapshot (event loop); raise NotServed if there is none."""
        context = self.zone.snapshot()
        if context is None:
            raise NotServed
        self._version = self._stack.enter_context(context)
        self.serial = self._version.serial

    def difference_octets(self) -> int | None:
        """Return how large the difference is that an IXFR asks for; None: the whole zone is sent (event loop)."""
        context = None if self._client_serial is None else self.zone.snapshot()
        if context is None or self._client_serial is None:
            return None
        with context as version:
            return version.journal_size(self._client_serial)

    @property
    def wants_difference(self) -> bool:
        """Tell whether an IXFR is asked for."""
        return self._client_serial is not None

    @property
    def is_small(self) -> bool:
        """Tell whether the whole answer is small enough to be made on the event loop."""
        version, serial = self._version, self._client_serial
        if version is None or serial is None or (version.serial - serial) % 2**32 > AT_ONCE_VERSIONS:
            return False
        size = version.journal_size(serial)
        return size is not None and size <= AT_ONCE_OCTETS

    def next_slice(self) -> list[bytes]:
        """Return the next messages, each after its two octets of length (any thread); none after ``close``."""
        try:
            with self._working:
                return [] if self._closing else self._next_slice()
        finally:
            self._close_if_wanted()

    def _next_slice(self) -> list[bytes]:
        if self._iterator is None:
            assert self._version is not None
            transfer = self._make(self._version)
            self.kind = transfer.kind
            self._iterator = transfer.messages
        deadline = time.monotonic() + SLICE_S
        out: list[bytes] = []
        octets = 0
        for message in self._iterator:
            sealed = self._seal(message, not self.messages)
            out.append(len(sealed).to_bytes(2, "big") + sealed)
            self.messages += 1
            octets += len(sealed) + 2
            if octets >= SLICE_OCTETS or time.monotonic() >= deadline:
                break
        else:
            self.finished = True
        self.octets += octets
        return out

    def ended(self, seconds: float, outcome: TransferEnd | Drop) -> EndedTransfer:
        """Return how the transfer went, for the hooks."""
        return EndedTransfer(
            self.zone.origin,
            self.kind,
            self.address,
            self.serial,
            self.messages,
            self.octets,
            seconds,
            outcome,
        )

    def close(self) -> None:
        """Close the snapshot (event loop), or let the thread that makes a slice close it when the slice is done.

        A task that waits for a slice can be cancelled, the thread that makes it cannot.
        """
        self._closing = True
        self._close_if_wanted()

    def _close_if_wanted(self) -> None:
        if not self._closing or not self._working.acquire(blocking=False):
            return
        try:
            if isinstance(self._iterator, Generator):
                # First the messages, then the snapshot: open cursors would keep its read transaction alive.
                self._iterator.close()
            self._iterator = None
            self._version = None
            self._stack.close()
        finally:
            self._working.release()
