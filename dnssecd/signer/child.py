"""What every process of the key service does first, and how it is spoken to."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator

from dnssecd.keyservice_protocol import frame_buffer

RECEIVE_OCTETS = 256 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def guard_child(parent: int) -> bool:
    """Shut others out of this process's memory, and let it die with its parent; False if that died already."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return False  # the parent died before its death could be signalled
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the key service ends its children, after its own work
    return True


def serve_parent(serve: Callable[[socket.socket], object]) -> bool:
    """Guard this process and serve until the socket closes; False if the parent died already.

    The arguments of the process: the parent's process id, the socket's descriptor.
    """
    parent, descriptor = map(int, sys.argv[1:])
    if not guard_child(parent):
        return False
    with socket.socket(fileno=descriptor) as connection:
        serve(connection)
    return True


def frame_bodies(connection: socket.socket) -> Iterator[bytes]:
    """Yield frame bodies until the other side closes."""
    buffer = frame_buffer()
    while octets := connection.recv(RECEIVE_OCTETS):
        yield from buffer.feed(octets)
