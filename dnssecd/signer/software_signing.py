"""Signing with keys in memory: a queue, threads, and processes when there is much to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dnssecd.signer.errors import ServiceError, Unavailable
from dnssecd.signer.key_directory import KeyDirectory
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.software_open import Opened, OpenKeys
from dnssecd.signer.software_pool import IDLE_S, SigningProcesses
from dnssecd.signer.software_pool import PIECE as PROCESS_PIECE

T = TypeVar("T")
PIECE = 64


class SoftwareSigning:
    """See the module. `threads` pieces are signed at the same time."""

    def __init__(
        self,
        name: str,
        threads: int,
        queue: FairQueue,
        keys: OpenKeys,
        directory: KeyDirectory,
        processes: SigningProcesses,
    ) -> None:
        self.threads = threads
        self.signatures = 0
        self._queue, self._keys, self._directory, self._processes = queue, keys, directory, processes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"sign-{name}")
        self._changing = asyncio.Lock()
        self._runners: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to sign what is queued."""
        loop = asyncio.get_running_loop()
        # One piece more than there are threads waits in the executor: no thread idles between pieces.
        self._runners = [loop.create_task(self._run()) for _ in range(self.threads + 1)]

    async def stop(self) -> None:
        """End the threads; what is queued fails."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._queue.fail_all(lambda key_id: Unavailable("the key service is stopping"))
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; one at a time, since the first key of a store makes its passphrase."""
        async with self._changing:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def sign_here(self, opened: Opened, preimages: list[bytes]) -> list[bytes] | None:
        """Sign at once on the event loop; None when that fails."""
        try:
            signatures = [opened.sign(preimage) for preimage in preimages]
        except Exception:  # any error occurs again where it is reported
            return None
        self.signatures += len(signatures)
        return signatures

    async def _run(self) -> None:
        while True:
            many = self._processes.wanted(len(self._queue))
            piece = self._queue.take(PROCESS_PIECE if many else PIECE)
            if piece is not None:
                await self._do(piece)
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._queue.wait()
            except TimeoutError:
                self._processes.end_idle()
                self._directory.forget_backup()

    async def _do(self, piece: Piece) -> None:
        opened = self._keys.get(piece.job.key_id)
        if opened is None:
            piece.fail(Unavailable(self._directory.absent_text()))
            return
        loop = asyncio.get_running_loop()
        try:
            signatures = await loop.run_in_executor(self._pool, self._sign_all, opened, piece.preimages)
        except Exception as error:  # of any kind: the client must hear of it, and the runner must live
            piece.fail(ServiceError(f"signing failed: {type(error).__name__}"))
            return
        self.signatures += len(signatures)
        piece.finish(signatures)

    def _sign_all(self, opened: Opened, preimages: list[bytes]) -> list[bytes]:
        """Sign, in a thread: by a process when there are some, else here."""
        signatures = None
        if len(preimages) > PIECE:
            signatures = self._processes.sign(opened.key_id, opened.call, preimages)
        return [opened.sign(preimage) for preimage in preimages] if signatures is None else signatures
