"""Run a program of the operator: without a shell, with a deadline. Besides, only ``reader_program.py`` does this.

The program gets a document on its standard input and may ignore it. It runs in the root directory, in its own session,
with a few known environment variables. The start of its output is kept. Exit status 0 means success. At the deadline
the program and its children are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from enum import Enum

from msgspec import Struct

OUTPUT_MAX = 4_096
_READ_OCTETS = 65_536
_KILLED_POLL_S = 0.005
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "TMPDIR")


class Ending(Enum):
    """How a run ended."""

    DONE = "done"  # with status 0
    FAILED = "failed"  # with another status, or by a signal
    LATE = "late"  # killed at the deadline
    NOT_STARTED = "not started"


class Run(Struct, frozen=True):
    """A run that ended. ``detail`` describes it, with ``output``: the start of what the program wrote.

    ``status``: the exit status that the program chose; None if it chose none, or if that is not known.
    """

    ending: Ending
    detail: str
    output: str
    seconds: float
    status: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the program succeeded."""
        return self.ending is Ending.DONE


async def run_program(
    argv: Sequence[str], body: bytes, deadline_s: float, *, redact: Callable[[str], str]
) -> Run:
    """Run ``argv`` with ``body`` on its standard input. A failure is a result, not an exception.

    ``redact`` removes secrets from the output. Messages name only the program, because arguments may contain a token.
    """
    started_at = time.monotonic()
    program = argv[0]
    try:
        process = await _start(argv)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Run(Ending.NOT_STARTED, f"{program} cannot be run: {why}", "", time.monotonic() - started_at)
    kept = bytearray()
    try:
        async with asyncio.timeout(deadline_s):
            await _converse(process, body, kept)
            status = await process.wait()
    except BaseException as error:
        await _kill(process)  # also after the end of the program: its children may keep its output open
        if not isinstance(error, TimeoutError):
            raise
        ending, detail = Ending.LATE, f"{program} did not finish within {deadline_s:g} s and was killed"
    else:
        ending, detail = _judge(program, status)
    # Secrets are known by their form, which includes lines.
    output = one_line(redact(kept.decode(errors="replace")))
    seconds = time.monotonic() - started_at
    if ending is Ending.DONE:
        return Run(ending, f"{detail} after {seconds:.1f} s", output, seconds)
    return Run(ending, f"{detail}: {output}" if output else detail, output, seconds)


async def _start(argv: Sequence[str]) -> asyncio.subprocess.Process:
    """Start the program. If the caller is cancelled meanwhile, the program is killed."""
    starting = asyncio.ensure_future(_execute(argv))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            await _kill(await starting)
        raise


async def _execute(argv: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        cwd="/",
        env=program_environment(),
    )


def program_environment() -> dict[str, str]:
    """Return the environment of an operator's program."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def _judge(program: str, status: int) -> tuple[Ending, str]:
    if status == 0:
        return Ending.DONE, f"{program} succeeded"
    how = f"status {status}" if status > 0 else f"signal {-status}"
    return Ending.FAILED, f"{program} failed with {how}"


async def _converse(process: asyncio.subprocess.Process, body: bytes, kept: bytearray) -> None:
    """Write to the program and read its output at the same time; keep only the start of the output."""
    feeding = asyncio.ensure_future(_feed(process, body))
    assert process.stdout is not None
    try:
        while piece := await process.stdout.read(_READ_OCTETS):
            kept += piece[: OUTPUT_MAX - len(kept)]
        await feeding
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the program may end without reading
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the program and its children, and close their pipes. The group id is not reused while one of them lives.

    A child that left the group lives on and may keep the output open: ``process.wait()`` would wait for it.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    while process.returncode is None:
        await asyncio.sleep(_KILLED_POLL_S)
    process._transport.close()  # type: ignore[attr-defined]


def one_line(text: str) -> str:
    """Return the output as one line without control characters."""
    line = " ".join(text.split())
    return "".join(char for char in line if char.isprintable())
