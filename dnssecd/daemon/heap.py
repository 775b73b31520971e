"""The C heap of the daemon: few arenas, and what was freed goes back to the host.

SQLite takes its memory there. glibc gives each thread an arena of its own, up to eight for each core, and keeps what
was freed in it: with one interpreter lock there is nothing to gain by that. On other C libraries nothing is done.
"""

import ctypes
from collections.abc import Callable
from typing import Any

#: mallopt(3).
_M_ARENA_MAX = -8
ARENAS_MAX = 2


def _nothing(*_numbers: int) -> int:
    return 0


def _of_glibc(name: str) -> Callable[..., Any]:
    return getattr(ctypes.CDLL(None), name, _nothing)


def limit_arenas() -> bool:
    """Let the threads that start from now on share few arenas; return whether that was possible."""
    return bool(_of_glibc("mallopt")(_M_ARENA_MAX, ARENAS_MAX))


def trim() -> bool:
    """Give free memory back to the host, which takes up to some 100 ms; return whether there was any."""
    return bool(_of_glibc("malloc_trim")(0))
