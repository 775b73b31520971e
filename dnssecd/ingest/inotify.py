"""Use inotify(7) on directories, through the C library: names that appear, vanish or are written."""

import ctypes
import errno
import os
from struct import Struct
from typing import NamedTuple

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_Q_OVERFLOW, _IGNORED, _ONLYDIR = 0x4000, 0x8000, 0x01000000
_MASK = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO
    | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
)  # fmt: skip
_HEADER = Struct("iIII")
_READ_SIZE = 65536


class Event(NamedTuple):
    """A change of ``name`` in the directory of ``watch``; an empty name: a change of the directory itself.

    ``watch`` -1: events were lost. ``gone``: the watch has ended.
    """

    watch: int
    name: bytes
    gone: bool


class Inotify:
    """One inotify instance; its constructor raises OSError if the kernel provides none."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise self._error()

    def add(self, directory: bytes) -> int:
        """Watch a directory and return the watch's number: the same number for the same directory."""
        watch: int = self._libc.inotify_add_watch(self.descriptor, directory, ctypes.c_uint32(_MASK))
        if watch < 0:
            raise self._error()
        return watch

    def remove(self, watch: int) -> None:
        """End a watch; it may have ended already."""
        if self._libc.inotify_rm_watch(self.descriptor, watch) < 0 and ctypes.get_errno() != errno.EINVAL:
            raise self._error()

    def read(self) -> list[Event]:
        """Return the pending events, without waiting."""
        try:
            data = os.read(self.descriptor, _READ_SIZE)
        except BlockingIOError:
            return []
        events = []
        position = 0
        while position < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = data[position : position + length].rstrip(b"\x00")
            position += length
            events.append(Event(-1 if mask & _Q_OVERFLOW else watch, name, bool(mask & _IGNORED)))
        return events

    def close(self) -> None:
        """Close the instance."""
        os.close(self.descriptor)

    @staticmethod
    def _error() -> OSError:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number))
