"""How much memory one job may take, judged by what the machine has left."""

import os
from contextlib import suppress
from pathlib import Path

#: What the records of $GENERATE lines may take, at least and at most.
_GENERATED_OCTETS_MIN, _GENERATED_OCTETS_MAX = 256 << 20, 2 << 30


def memory_available() -> int:
    """Octets that can be used without swapping (proc(5), MemAvailable); half of the machine's where it is not known."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def generated_octets_max() -> int:
    """Return the octets that the records of a zone file's $GENERATE lines may take: a quarter of what is free.

    A line of 40 octets makes a million records, so the size of the file bounds nothing.
    """
    return min(_GENERATED_OCTETS_MAX, max(_GENERATED_OCTETS_MIN, memory_available() // 4))
