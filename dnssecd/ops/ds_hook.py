"""A program of the operator's that brings a DS set to a registrar: run without a shell, JSON on standard input.

Status 0 means: the registrar has taken it. Anything else, a signal or a missed deadline is a failure, told with
the beginning of what the program said. The program must stand being run again with the same document (the same
`id`): that happens after a failure and after a restart of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dnssecd.ops.log import redact

DEADLINE_S = 120.0
OUTPUT_MAX = 4_096
RUNNING_MAX = 4
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended: `detail` says it for people, `output` is the beginning of standard output and error."""

    ok: bool
    detail: str
    output: str
    seconds: float


class HookRunner:
    """Runs hooks, at most ``running_max`` at one time; the others wait their turn."""

    def __init__(self, deadline_s: float = DEADLINE_S, running_max: int = RUNNING_MAX) -> None:
        self._deadline_s = deadline_s
        self._free = asyncio.Semaphore(running_max)

    async def run(self, argv: Sequence[str], document: Mapping[str, Any]) -> Ran:
        """Run ``argv`` with ``document`` on its standard input; a failure is a result, never raised."""
        body = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        async with self._free:
            return await _run(tuple(argv), body, self._deadline_s)


async def _run(argv: tuple[str, ...], body: bytes, deadline_s: float) -> Ran:
    started = time.monotonic()
    program = argv[0]  # alone: arguments may hold a token
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Ran(False, f"{program} cannot be run: {why}", "", time.monotonic() - started)
    kept = bytearray()
    try:
        async with asyncio.timeout(deadline_s):
            await _converse(process, body, kept)
            status = await process.wait()
    except BaseException as error:
        await _kill(process)
        if not isinstance(error, TimeoutError):
            raise
        detail = f"{program} did not end within {deadline_s:g} s; it was killed"
        return Ran(False, _with(detail, kept), _text(kept), time.monotonic() - started)
    seconds = time.monotonic() - started
    if status == 0:
        return Ran(True, f"{program} ended well after {seconds:.1f} s", _text(kept), seconds)
    how = f"status {status}" if status > 0 else f"signal {-status}"
    return Ran(False, _with(f"{program} ended with {how}", kept), _text(kept), seconds)


async def _converse(process: asyncio.subprocess.Process, body: bytes, kept: bytearray) -> None:
    """Feed the program and take what it says, at the same time; only the beginning is kept."""
    feeding = asyncio.ensure_future(_feed(process, body))
    assert process.stdout is not None
    try:
        while piece := await process.stdout.read(65_536):
            kept += piece[: OUTPUT_MAX - len(kept)]
        await feeding
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read all, or anything
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the program and what it started; while any of them lives the group's number is not used again."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _text(kept: bytearray) -> str:
    """What it said, on one line, without control characters and secrets."""
    line = " ".join(kept.decode(errors="replace").split())
    return str(redact(None, "", {"text": "".join(char for char in line if char.isprintable())})["text"])


def _with(detail: str, kept: bytearray) -> str:
    said = _text(kept)
    return f"{detail}: {said}" if said else detail
