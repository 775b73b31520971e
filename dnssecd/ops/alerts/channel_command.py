"""Command: a program of the operator's, run without a shell, the alert as JSON on its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from dnssecd.ops.alerts.channels import Deferred, Parcel, Sent, WayDown, WayName

DEADLINE_S = 30.0
_OUTPUT_MAX = 4_096
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "TMPDIR")


class CommandWay:
    """Runs *argv*; status 0 means: taken."""

    def __init__(self, argv: Sequence[str], *, deadline_s: float = DEADLINE_S) -> None:
        self._argv = tuple(argv)
        self._deadline_s = deadline_s

    @property
    def name(self) -> WayName:
        return "command"

    @property
    def target(self) -> str:
        """The program alone: arguments may hold a token."""
        return self._argv[0]

    async def send(self, parcel: Parcel) -> Sent:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
        except OSError as error:
            raise WayDown(f"{self.target} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._deadline_s):
                output = await _converse(process, parcel.body)
                status = await process.wait()
        except BaseException as error:
            await _kill(process)
            if not isinstance(error, TimeoutError):
                raise
            raise Deferred(
                f"{self.target} did not end within {self._deadline_s:.0f} s; it was killed"
            ) from error
        if status != 0:
            said = f": {output}" if output else ""
            how = f"status {status}" if status > 0 else f"signal {-status}"
            raise Deferred(f"{self.target} ended with {how}{said}")
        return Sent()


async def _converse(process: asyncio.subprocess.Process, body: bytes) -> str:
    """Feed the program and take what it says, at the same time; only the beginning is kept."""
    feeding = asyncio.ensure_future(_feed(process, body))
    assert process.stdout is not None
    kept = bytearray()
    try:
        while piece := await process.stdout.read(65_536):
            kept += piece[: _OUTPUT_MAX - len(kept)]
        await feeding
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    return " ".join(kept.decode(errors="replace").split())


async def _feed(process: asyncio.subprocess.Process, body: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read all, or anything
        process.stdin.write(body)
        await process.stdin.drain()
    process.stdin.close()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the program and what it started; while any of them lives the group's number is not used anew."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
