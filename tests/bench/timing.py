"""Running commands by turns and saying how they compare."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROUNDS = 3


@dataclass
class Runner:
    """One contender: a command, and what to do before each run of it."""

    name: str
    command: Sequence[str]
    directory: Path
    before: Callable[[], None] = lambda: None
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    memory_mib: float = 0.0

    def run(self) -> None:
        """Run once; AssertionError when the command fails."""
        self.before()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        with Memory() as memory:
            process = subprocess.Popen(
                list(self.command), cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            memory.watch(process.pid)
            output, _ = process.communicate(timeout=600)
        self.walls.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpus.append(after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)
        self.memory_mib = max(self.memory_mib, memory.peak_mib)
        assert process.returncode == 0, f"{self.name}: {output.decode(errors='replace')[-2000:]}"

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)


class Memory:
    """The most memory a process and its descendants have held together (proportional set size), sampled."""

    def __init__(self) -> None:
        self.peak_mib = 0.0

    def __enter__(self) -> Memory:
        self._done = threading.Event()
        self._pid = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def watch(self, pid: int) -> None:
        self._pid = pid

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(0.2):
            if self._pid:
                total = sum(map(pss_kib, family(self._pid)))
                self.peak_mib = max(self.peak_mib, total / 1024)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: list[str] = []
    with contextlib.suppress(OSError):  # it has gone; each thread has children of its own
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += (thread / "children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def pss_kib(pid: int) -> int:
    """Proportional set size in KiB; 0 for a process that has gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


def interleaved(runners: Sequence[Runner], rounds: int = ROUNDS) -> None:
    """Run all by turns."""
    for _ in range(rounds):
        for runner in runners:
            runner.run()


def table(title: str, runners: Sequence[Runner], notes: Mapping[str, str] | None = None) -> str:
    """Wall time (median), CPU time (median), memory, and the wall time as a ratio of each other's."""
    lines = ["", f"{title}  (load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, median of {ROUNDS})"]
    names = [runner.name for runner in runners]
    lines.append(f"{'':34}{'wall s':>8}{'cpu s':>8}{'MiB':>7}" + "".join(f"{'/' + n:>22}" for n in names[1:]))
    for runner in runners:
        ratios = "".join(f"{runner.wall / other.wall:>22.2f}" for other in runners[1:])
        cpu = statistics.median(runner.cpus)
        lines.append(f"{runner.name:34}{runner.wall:>8.2f}{cpu:>8.2f}{runner.memory_mib:>7.0f}{ratios}")
    lines += [f"  {name}: {text}" for name, text in (notes or {}).items()]
    return "\n".join(lines)
