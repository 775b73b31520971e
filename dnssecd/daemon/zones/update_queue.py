"""The queue of one zone's updates: what waits, for how long, and which serials of clients count."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from dnssecd.core.dns.serial import MODULUS
from dnssecd.core.update.types import SERIAL_STEP_MAX, SERVFAIL
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.update import Answer, Update

GROUP_MAX = 64
#: Messages waiting for one zone; more are answered SERVFAIL at once rather than queued invisibly.
WAITING_MAX = 1024
#: A message that has not been begun for this long is answered SERVFAIL and not carried out any more: its client is
#: about to give up, and must not find it done later.
WAITING_S = 30.0
#: After a group of several messages their senders are given so long for their next ones: a version for all costs
#: little more than one for the first. As soon as there are as many as last time it goes on.
GATHER_S = 0.001
#: In this time clients lead the serial SERIAL_STEP_MAX ahead at most, in any number of steps: half the number space
#: takes them years, so that no secondary is left behind (RFC 1982).
SERIAL_WINDOW_S = 3600.0


@dataclass(eq=False, slots=True)
class Waiting:
    """A message and the answer that its client waits for; the key that signed it, and ``spec`` it was judged by."""

    update: Update
    answer: "asyncio.Future[Answer]"
    key: bytes | None
    spec: ZoneSpec
    expiry: asyncio.TimerHandle | None = None

    def give(self, answer: Answer) -> None:
        """Answer, unless that was done, or nobody waits any more."""
        self.begun()
        if not self.answer.done():
            self.answer.set_result(answer)

    def begun(self) -> None:
        """Stop the clock: the message is being carried out."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    def expire(self) -> None:
        """Give up on a message that was not begun in time."""
        self.give(Answer(SERVFAIL, f"other work on the zone took longer than {WAITING_S:.0f} s"))


@dataclass(eq=False, slots=True)
class ZoneQueue:
    """What waits for one zone; ``task`` works on it, ``tidy`` waits for a quiet moment."""

    waiting: deque[Waiting] = field(default_factory=deque)
    task: "asyncio.Task[None] | None" = None
    tidy: asyncio.TimerHandle | None = None
    together: int = 0
    ended_at: float = 0.0
    wanted: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    window_began_at: float = 0.0
    window_serial: int | None = None

    @property
    def full(self) -> bool:
        """Whether no more messages may wait."""
        if len(self.waiting) >= WAITING_MAX:
            self.waiting = deque(waiting for waiting in self.waiting if not waiting.answer.done())
        return len(self.waiting) >= WAITING_MAX

    def put(self, update: Update, key: bytes | None, spec: ZoneSpec) -> "asyncio.Future[Answer]":
        """Add a message; return its answer to be."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(update, loop.create_future(), key, spec)
        waiting.expiry = loop.call_later(WAITING_S, waiting.expire)
        self.waiting.append(waiting)
        if self.wanted and len(self.waiting) >= self.wanted:
            self.enough.set()
        return waiting.answer

    def take(self) -> list[Waiting]:
        """Return what is to go into one version, those that have expired left out."""
        group: list[Waiting] = []
        while self.waiting and len(group) < GROUP_MAX:
            waiting = self.waiting.popleft()
            if not waiting.answer.done():
                waiting.begun()
                group.append(waiting)
        self.together = len(group)
        return group

    def put_back(self, rest: list[Waiting]) -> None:
        """Take in again, before all others, what was taken and not carried out."""
        self.waiting.extendleft(reversed(rest))

    async def gather(self) -> None:
        """Wait until those of the last group have sent again, if it ended just now; a moment at most."""
        ago_s = asyncio.get_running_loop().time() - self.ended_at
        if self.together < 2 or len(self.waiting) >= self.together or ago_s > GATHER_S:
            return
        self.wanted = self.together
        self.enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self.enough.wait()
        self.wanted = 0

    def serial_max(self, serial: int) -> int:
        """Return the farthest serial of a client that counts, for a zone at ``serial``."""
        now = asyncio.get_running_loop().time()
        if self.window_serial is None or now - self.window_began_at >= SERIAL_WINDOW_S:
            self.window_began_at, self.window_serial = now, serial
        return (self.window_serial + SERIAL_STEP_MAX) % MODULUS
