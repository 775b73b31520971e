"""The queue of one zone's updates: waiting messages, their deadlines, and the accepted client serials."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from dnssecd.core.dns.serial import MODULUS
from dnssecd.core.update.types import SERIAL_STEP_MAX, SERVFAIL
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.jobs.update import Answer, Update

GROUP_MAX = 64
#: The most messages waiting for one zone; more are answered SERVFAIL immediately.
WAITING_MAX = 1024
#: A message not started after this long is answered SERVFAIL and not carried out: its client is about to give
#: up, and the update must not take effect later.
WAITING_S = 30.0
#: After a group the senders of several messages get this time to send the next ones, because one version for all
#: costs little more than one for the first message. The wait ends as soon as there are as many messages as were
#: answered last time or waited then: without those that waited, senders stay apart in two groups, each of which is
#: committed while the other sends.
GATHER_S = 0.002
#: In this time clients can advance the serial by at most SERIAL_STEP_MAX, in any number of steps. Half of the
#: number space then takes years, so that secondaries can follow (RFC 1982).
SERIAL_WINDOW_S = 3600.0


@dataclass(eq=False, slots=True)
class Waiting:
    """A message and the answer that its client waits for; its TSIG key, and the ``spec`` by which it was checked.

    until: the time of the event loop after which it is no longer started.
    """

    update: Update
    answer: "asyncio.Future[Answer]"
    key: bytes | None
    spec: ZoneSpec
    until: float
    expiry: asyncio.TimerHandle | None = None

    @property
    def received_at(self) -> float:
        """When it was received, by the event loop's clock."""
        return self.until - WAITING_S

    @property
    def late(self) -> bool:
        """Whether it is too late to start the message, or to start it again."""
        return asyncio.get_running_loop().time() > self.until

    def give(self, answer: Answer) -> None:
        """Answer, unless that was done already, or the client no longer waits."""
        self.begun()
        if not self.answer.done():
            self.answer.set_result(answer)

    def begun(self) -> None:
        """Stop the deadline, because the message is being processed."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    def expire(self) -> None:
        """Give up a message that was not started in time."""
        self.give(Answer(SERVFAIL, f"other work on the zone took longer than {WAITING_S:.0f} s"))


@dataclass(eq=False, slots=True)
class ZoneQueue:
    """The waiting messages of one zone; ``task`` processes them, ``tidy`` waits for a pause.

    ``committing``: the task must not be cancelled now.
    """

    waiting: deque[Waiting] = field(default_factory=deque)
    task: "asyncio.Task[None] | None" = None
    tidy: asyncio.TimerHandle | None = None
    committing: bool = False
    senders: int = 0
    ended_at: float = 0.0
    wanted: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    window_began_at: float = 0.0
    window_serial: int | None = None

    @property
    def full(self) -> bool:
        """Tell whether the queue is full."""
        if len(self.waiting) >= WAITING_MAX:
            self.waiting = deque(waiting for waiting in self.waiting if not waiting.answer.done())
        return len(self.waiting) >= WAITING_MAX

    def put(self, update: Update, key: bytes | None, spec: ZoneSpec) -> "asyncio.Future[Answer]":
        """Add a message; return the future of its answer."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(update, loop.create_future(), key, spec, loop.time() + WAITING_S)
        waiting.expiry = loop.call_at(waiting.until, waiting.expire)
        self.waiting.append(waiting)
        if self.wanted and len(self.waiting) >= self.wanted:
            self.enough.set()
        return waiting.answer

    def take(self) -> list[Waiting]:
        """Return the messages for one version, without expired ones."""
        group: list[Waiting] = []
        while self.waiting and len(group) < GROUP_MAX:
            waiting = self.waiting.popleft()
            if waiting.late:
                waiting.expire()
            elif not waiting.answer.done():
                waiting.begun()
                group.append(waiting)
        self.senders = len(group)
        return group

    def answered(self, messages: int) -> None:
        """Note that this number of messages of a group is answered now; the others wait for the next one."""
        self.senders = messages + len(self.waiting)

    def put_back(self, rest: list[Waiting]) -> None:
        """Put back, before all others, messages that were taken and not processed."""
        self.waiting.extendleft(reversed(rest))

    def answer_all(self, answer: Answer) -> None:
        """Answer all waiting messages, which are not carried out."""
        while self.waiting:
            self.waiting.popleft().give(answer)

    async def gather(self) -> None:
        """Wait a moment until the clients of the last group have sent again, if it ended just now."""
        ago_s = asyncio.get_running_loop().time() - self.ended_at
        wanted = min(self.senders, GROUP_MAX)
        if wanted < 2 or len(self.waiting) >= wanted or ago_s > GATHER_S:
            return
        self.wanted = wanted
        self.enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self.enough.wait()
        self.wanted = 0

    def serial_max(self, serial: int) -> int:
        """Return the farthest client serial that is accepted, for a zone at ``serial``."""
        now = asyncio.get_running_loop().time()
        if self.window_serial is None or now - self.window_began_at >= SERIAL_WINDOW_S:
            self.window_began_at, self.window_serial = now, serial
        return (self.window_serial + SERIAL_STEP_MAX) % MODULUS
