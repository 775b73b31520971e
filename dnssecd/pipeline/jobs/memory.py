"""How much memory one job may take, from the memory that the host has free."""

import os
from contextlib import suppress
from pathlib import Path

#: Bounds of the memory for records of $GENERATE lines.
_GENERATED_OCTETS_MIN, _GENERATED_OCTETS_MAX = 256 << 20, 2 << 30


def memory_available() -> int:
    """Return the octets that can be used without swapping (proc(5), MemAvailable); if unknown, half of the memory."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def generated_octets_max() -> int:
    """Return the octets that the records of a zone file's $GENERATE lines may take: a quarter of the free memory.

    A line of 40 octets can make a million records, so the size of the file is not a bound.
    """
    return min(_GENERATED_OCTETS_MAX, max(_GENERATED_OCTETS_MIN, memory_available() // 4))
