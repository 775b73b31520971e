"""The key service's end of one HSM worker process: start it, call it with a deadline, kill it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TypeVar

from dnssecd.keyservice_protocol import FRAME_OCTETS_MAX
from dnssecd.procs import child
from dnssecd.procs.frames import FrameError, receive_frame
from dnssecd.signer.pkcs11 import messages as m

A = TypeVar("A", bound=m.Answer)
MODULE = "dnssecd.signer.pkcs11.worker"


class WorkerLost(Exception):
    """The worker is of no use any more; `kind` is a stable name for counters, `call` the PKCS#11 call or empty."""

    def __init__(self, kind: str, message: str, call: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.call = call


class CallFailed(Exception):
    """The token refused the call; the session is as good as before."""

    def __init__(self, kind: str, message: str, call: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.call = call


class WorkerLink:
    """One worker process. One call at a time; after WorkerLost only `kill` is left to do."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._end = asyncio.get_running_loop().create_task(process.wait())

    def when_dead(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the process ends, also between calls."""
        self._end.add_done_callback(lambda task: tell())

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._process.returncode is not None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @classmethod
    async def start(cls) -> WorkerLink:
        """Start a worker process, executed afresh so that no secret of the key service is in its memory."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            ours.setblocking(False)
            process = await child.start_async(
                MODULE,
                (os.getpid(), theirs.fileno()),
                stdout=sys.stderr.fileno(),
                pass_fds=(theirs.fileno(),),
                env=child.environment(of_vendors=True),
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=FRAME_OCTETS_MAX)
        return cls(process, reader, writer)

    async def call(self, call: m.AnyCall, kind: type[A], deadline_s: float) -> A:
        """Make one call; CallFailed when the token refuses it, WorkerLost when the worker is lost."""
        try:
            async with asyncio.timeout(deadline_s):
                self._writer.write(m.encode(call))
                await self._writer.drain()
                answer = m.decode_answer(await receive_frame(self._reader, FRAME_OCTETS_MAX))
        except TimeoutError:
            raise WorkerLost("timeout", f"no answer within {deadline_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError):
            raise await self.death() from None
        except FrameError as error:
            raise WorkerLost("nonsense", str(error)) from None
        if isinstance(answer, m.Failed):
            raise (WorkerLost if answer.fatal else CallFailed)(answer.kind, answer.message, answer.call)
        if not isinstance(answer, kind):
            raise WorkerLost("nonsense", f"{type(answer).__name__} in answer to {type(call).__name__}")
        return answer

    async def kill(self) -> None:
        """End the process, also in the middle of a call."""
        self._writer.close()
        await child.kill_async(self._process)

    async def death(self) -> WorkerLost:
        """Return the error for a worker that died, saying how."""
        how = "it closed its connection"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                how = _exit_text(await self._process.wait())
        return WorkerLost("died", f"HSM worker died: {how}")


def _exit_text(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
