"""One transfer out as a job: opened and closed on the event loop, its messages made in slices by worker threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

from dnssecd.core.zone.zoneview import ServedVersion
from dnssecd.server.acl import Address
from dnssecd.server.interfaces import ServedZone, Transfer

#: A slice ends at whichever comes first; neither lets another transfer or the event loop wait noticeably.
SLICE_OCTETS = 64 * 1024
SLICE_S = 0.004
#: A difference no larger than this, over no more versions, is made on the event loop as a query's answer is: what a
#: secondary that follows updates asks for is smaller than the way to a thread and back.
AT_ONCE_OCTETS = 8 * 1024
AT_ONCE_VERSIONS = 64


class NotServed(Exception):
    """The zone has no version to transfer."""


class TransferJob:
    """A transfer that was granted. Life: :meth:`open`, :meth:`next_slice` until ``finished``, :meth:`close`."""

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
        """make: chooses the form; seal: adds OPT and TSIG to (message, is the first one); decline: (RCODE) → answer.

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

    def open(self) -> None:
        """Take the snapshot (event loop); raises NotServed."""
        context = self.zone.snapshot()
        if context is None:
            raise NotServed
        self._version = self._stack.enter_context(context)
        self.serial = self._version.serial

    @property
    def is_small(self) -> bool:
        """Whether the whole answer is so small that it need not be made in a thread (event loop)."""
        version, serial = self._version, self._client_serial
        if version is None or serial is None or (version.serial - serial) % 2**32 > AT_ONCE_VERSIONS:
            return False
        size = version.journal_size(serial)
        return size is not None and size <= AT_ONCE_OCTETS

    def next_slice(self) -> list[bytes]:
        """Return the next messages, each behind its two octets of length (any thread)."""
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

    def close(self) -> None:
        """Let go of the snapshot (event loop); no slice may be running."""
        if isinstance(self._iterator, Generator):
            # Before the snapshot goes: cursors left open would keep its read transaction alive.
            self._iterator.close()
        self._iterator = None
        self._version = None
        self._stack.close()
