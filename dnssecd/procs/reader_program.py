"""Run a program of the operator that reads a long input and judges it, in a process that waits for it (a zone worker).

As in ``program.py``: without a shell, in the root directory, in its own session, with a few known environment
variables, a bound on its output, and killed with all that it started, at the deadline or at its end. Its input is a
pipe, so what it has read is known: a program that ends with success before it has read everything has not judged it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO

from dnssecd.procs.program import OUTPUT_MAX, Ending, Run, one_line, program_environment

_LOOK_S = 0.05
_WRITE_OCTETS = 65_536
_PR_SET_PDEATHSIG = 1


def run_reader(
    argv: Sequence[str],
    pieces: Iterable[bytes],
    deadline_s: float,
    environment: Mapping[str, str],
    *,
    redact: Callable[[str], str],
) -> Run:
    """Run ``argv`` with ``pieces`` on its standard input; ``environment`` is added. A failure is a result.

    The ending is DONE for status 0, FAILED for another status or a signal, and for a program that succeeded without
    reading its input.
    """
    started = time.monotonic()
    reading, writing = os.pipe()
    # The writing end is closed by what owns it, and once: another thread may get its number right after.
    with open(reading, "rb", buffering=0), open(writing, "wb", buffering=0) as to_program:
        try:
            process = _start(argv, reading, environment)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Run(Ending.NOT_STARTED, f"{argv[0]} cannot be run: {why}", "", 0.0)
        with process:
            conversation = _Conversation(process, to_program, iter(pieces), started + deadline_s)
            ended = conversation.hold()
            whole = conversation.fed and not _unread(reading)
            _kill(process.pid)
            status = process.wait()
    output = one_line(redact(bytes(conversation.kept).decode(errors="replace")))
    seconds = time.monotonic() - started
    ending, detail, known = _judge(argv[0], status, deadline_s, ended=ended, whole=whole)
    if ending is not Ending.DONE and output:
        detail = f"{detail}: {output}"
    return Run(ending, detail, output, seconds, known)


def _start(argv: Sequence[str], reading: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv),
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd="/",
        env={**program_environment(), **environment},
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Have the kernel kill the program when the process that watches its deadline dies (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Conversation:
    """Writes the input and reads the output until the program ends, or its time does."""

    def __init__(
        self, process: subprocess.Popen[bytes], writing: FileIO, pieces: Iterator[bytes], ends_at: float
    ) -> None:
        assert process.stdout is not None
        self._process, self._writing, self._pieces, self._ends_at = process, writing, pieces, ends_at
        self._output = process.stdout.fileno()
        self._left = b""
        self.kept = bytearray()
        #: All of the input was written.
        self.fed = False
        os.set_blocking(writing.fileno(), False)
        os.set_blocking(self._output, False)

    def hold(self) -> bool:
        """Return whether the program ended by itself."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._writing, selectors.EVENT_WRITE)
            selector.register(self._output, selectors.EVENT_READ)
            while time.monotonic() < self._ends_at:
                for key, _ in selector.select(_LOOK_S):
                    if key.fileobj is self._writing:
                        self._feed(selector)
                    elif not self._read():
                        selector.unregister(self._output)
                if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                    self._read()
                    return True
        return False

    def _feed(self, selector: selectors.BaseSelector) -> None:
        if not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                self.fed = True
                selector.unregister(self._writing)
                self._writing.close()
                return
            self._left = piece
        with suppress(BlockingIOError):
            written = os.write(self._writing.fileno(), self._left[:_WRITE_OCTETS])
            self._left = self._left[written:]

    def _read(self) -> bool:
        """Read what there is; return whether there may be more later."""
        with suppress(BlockingIOError):
            while piece := os.read(self._output, _WRITE_OCTETS):
                self.kept += piece[: OUTPUT_MAX - len(self.kept)]
            return False
        return True


def _unread(reading: int) -> int:
    """Return how many octets of a pipe were written and not read."""
    (octets,) = struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, struct.pack("i", 0)))
    return int(octets)


def _kill(pid: int) -> None:
    """Kill the program's group. It is not reaped yet, so the number is still its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _judge(
    program: str, status: int, deadline_s: float, *, ended: bool, whole: bool
) -> tuple[Ending, str, int | None]:
    """Return the ending, its description, and the status that the program chose; None if it chose none."""
    if not ended:
        return Ending.LATE, f"{program} did not finish within {deadline_s:g} s and was killed", None
    if status < 0:
        return Ending.FAILED, f"{program} was ended by signal {-status}", None
    if status > 0:
        return Ending.FAILED, f"{program} ended with status {status}", status
    if not whole:
        return Ending.FAILED, f"{program} ended with success before it had read all of its input", None
    return Ending.DONE, f"{program} succeeded", 0
