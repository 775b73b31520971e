"""Many small zones: making them, and what a server's processes cost while nothing happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.bench.timing import family, pss_kib
from tests.peers.nameserver import Zone
from tests.peers.nsd import Nsd

TICK = os.sysconf("SC_CLK_TCK")
HOSTS = 4


def zone_names(count: int) -> list[str]:
    """Names of ``count`` zones beside one another."""
    return [f"z{number:05}.example." for number in range(count)]


def zone_text(serial: int = 1) -> str:
    """A zone of 10 records, with relative names: it fits any origin."""
    head = f"@ 3600 IN SOA ns1 hostmaster {serial} 3600 900 1209600 300\n@ 3600 IN NS ns1\n@ 3600 IN NS ns2\n"
    more = "ns1 3600 IN A 192.0.2.1\nns2 3600 IN A 192.0.2.2\n@ 3600 IN MX 10 www\n"
    return (
        head
        + more
        + "".join(f"host{n} 3600 IN A 192.0.2.{n + 10}\n" for n in range(HOSTS - 1))
        + ("www 3600 IN A 192.0.2.80\n")
    )


def zone_files(directory: Path, names: Iterable[str]) -> dict[str, Path]:
    """One file for each zone, all in one directory, as people have them."""
    directory.mkdir()
    files = {name: directory / f"{name}zone" for name in names}
    for name, path in files.items():
        path.write_text(f"$ORIGIN {name}\n{zone_text()}")
    return files


def cpu_seconds(pid: int) -> dict[int, float]:
    """User and system time so far of a process and its descendants, by process."""
    found = {}
    for one in family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[one] = (int(fields[11]) + int(fields[12])) / TICK
    return found


def cores_used(pid: int, seconds: float) -> float:
    """What share of one core a process and its descendants use over ``seconds``."""
    before = cpu_seconds(pid)
    started = time.monotonic()
    time.sleep(seconds)
    after = cpu_seconds(pid)
    return sum(after[one] - before.get(one, 0.0) for one in after) / (time.monotonic() - started)


def memory_mib(pid: int) -> float:
    """Memory of a process and its descendants (proportional set size)."""
    return sum(map(pss_kib, family(pid))) / 1024


def open_files(pid: int) -> int:
    """How many files the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def timed(action: Callable[[], object]) -> float:
    """Seconds an action took."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def sampled(names: list[str], count: int = 50) -> Iterator[str]:
    """Some of the names, evenly spread, the last among them."""
    step = max(1, len(names) // count)
    yield from names[::step]
    yield names[-1]


class CalmNsd(Nsd):
    """A secondary of many zones that asks again as seldom as secondaries do, not as often as other tests need."""

    def _zone(self, zone: Zone) -> str:
        text = super()._zone(zone)
        for short, usual in (("refresh-time: 1", "refresh-time: 3600"), ("retry-time: 1", "retry-time: 600")):
            text = text.replace(f"min-{short}", f"min-{usual}")
        return text.replace("max-retry-time: 2", "max-retry-time: 900")
