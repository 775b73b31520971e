"""Starting the key service as a child process, and noticing when it dies.

The child is executed afresh (never forked with our memory), gets its settings on standard input, where
nothing shows in a process list, and ends when that input is closed: by us, or by the kernel when we die.

    with launched_signer(settings):                  # one-shot commands; the service ends with the block
        client = SignerClient(settings.socket, owners=OWN_CHILD)

    service = SignerChild(settings, on_change)        # daemon; restarted with back-off whenever it dies
    await service.start()
    ...
    await service.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Iterator

import msgspec

from dnssecd.breaker import Breaker
from dnssecd.keyservice_client.errors import OperatorNeeded
from dnssecd.keyservice_settings import SignerSettings
from dnssecd.procs import child

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
STABLE_S = 60.0
MODULE = "dnssecd.signer"
#: The user of a child: that of this process.
OWN_CHILD = frozenset({os.geteuid()})


def _environment(name: str, value: str) -> dict[str, str]:
    """Return the key service's environment: its HSM workers need what the vendors of their modules ask for."""
    return child.environment(of_vendors=True, extra={name: value})


def _settings_line(settings: SignerSettings) -> bytes:
    return msgspec.json.encode(settings) + b"\n"


def _failed(settings: SignerSettings, line: bytes, status: int | None) -> OperatorNeeded:
    """Return why it is not ready, from its line on standard output and its exit status (None: it still runs)."""
    told = line.decode(errors="replace").strip()
    if told.startswith("failed "):
        return OperatorNeeded(
            f"the key service for {settings.socket} cannot start: {told.removeprefix('failed ')}"
        )
    if status is not None:
        return OperatorNeeded(
            f"the key service for {settings.socket} ended with status {status} before it was ready;"
            " its log on standard error says why"
        )
    return OperatorNeeded(
        f"the key service for {settings.socket} did not get ready within {START_DEADLINE_S:g} s;"
        " its log on standard error says why"
    )


@contextlib.contextmanager
def launched_signer(settings: SignerSettings, *, quiet: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run a key service for the length of the block; OperatorNeeded when it does not get ready.

    quiet: only warnings and errors in its log.
    """
    process = child.start(
        MODULE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment("DNSSECD_SIGNER_LOG", "warning" if quiet else "info"),
        new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(_settings_line(settings))
            process.stdin.flush()
        readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        line = process.stdout.readline() if readable else b""
        if line != b"ready\n":
            raise _failed(settings, line, _status(process) if readable else None)
        yield process
    finally:
        child.stop(process, STOP_DEADLINE_S)
        process.stdout.close()


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a process that has closed its output; None when it does not end all the same."""
    try:
        return process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        return None


class SignerChild:
    """A supervised key service. `on_change(up, detail)` is called whenever it becomes ready or dies."""

    def __init__(
        self,
        settings: SignerSettings,
        on_change: Callable[[bool, str], None] = lambda up, detail: None,
        log_format: str = "json",
    ) -> None:
        self._log_format = log_format
        self._settings = settings
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._breaker = Breaker(threshold=2, first_s=0.5, longest_s=60.0)

    @property
    def pid(self) -> int | None:
        """Process id while it lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it and wait until it answers; OperatorNeeded when it does not. In any case it is supervised then.

        After a failure it is tried again: what it lacked, as a file, may be there later.
        """
        try:
            self._process = await self._launch()
        except OSError as error:
            raise OperatorNeeded(
                f"the key service for {self._settings.socket} cannot start: {error}"
            ) from error
        else:
            self._on_change(True, "")
        finally:
            self._supervisor = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self) -> None:
        """End it and wait for its end."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._process is not None:
            await child.stop_async(self._process, STOP_DEADLINE_S)

    async def _launch(self) -> asyncio.subprocess.Process:
        process = await child.start_async(
            MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment("DNSSECD_SIGNER_LOG_FORMAT", self._log_format),
            new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        line, late = b"", False
        try:
            process.stdin.write(_settings_line(self._settings))
            async with asyncio.timeout(START_DEADLINE_S):
                line = await process.stdout.readline()
        except TimeoutError:
            late = True
        except OSError:
            pass  # it has ended: its status says more
        except asyncio.CancelledError:
            await child.stop_async(process, STOP_DEADLINE_S)
            raise
        if line != b"ready\n":
            if not late:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
            status = process.returncode
            await child.stop_async(process, STOP_DEADLINE_S)
            raise _failed(self._settings, line, status)
        return process

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        if self._process is None:
            await self._restart()
        while True:
            assert self._process is not None
            started_at = loop.time()
            status = await self._process.wait()
            if loop.time() - started_at > STABLE_S:
                self._breaker.succeeded()
            self._on_change(False, f"the key service ended with status {status}")
            await self._restart()

    async def _restart(self) -> None:
        while True:
            self._breaker.failed()
            await asyncio.sleep(self._breaker.wait_s())
            try:
                self._process = await self._launch()
            except (OperatorNeeded, OSError) as error:
                self._on_change(False, str(error))
                continue
            self._on_change(True, "")
            return
