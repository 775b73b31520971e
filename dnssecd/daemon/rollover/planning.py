"""When a zone's next plan is made: soon after it was asked for, and not too often."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from dnssecd.flag import Flag

COALESCE_S = 0.05
#: How long a plan after a commit waits for the secondaries that are being brought to the version. The plan for their
#: sighting would follow at once, and makes the earlier one superfluous.
SEEN_S = 1.0
#: More plans than this within this time (s) are delayed. A stream of updates causes a version and a sighting
#: of it every few milliseconds, and a plan for each would delay the next update.
PLANS_MAX, PLANS_S = 5, 5.0


@dataclass(eq=False, slots=True)
class Planning:
    """When a zone's next plan is made. ``task`` makes plans while they are requested (``again``)."""

    task: "asyncio.Task[None] | None" = None
    again: bool = False
    urgent: Flag = field(default_factory=Flag)
    #: All secondaries were seen with the published version; cleared while they are being brought to it. At first only a
    #: commit makes a wait.
    seen: Flag = field(default_factory=lambda: Flag(is_set=True))
    planned: tuple[float, ...] = ()  # when, on the loop's clock

    def rests(self, now: float) -> bool:
        """Tell whether it is as good as a new one: no plan is under way, or was made lately (loop's clock)."""
        busy = self.task is not None or self.again or self.urgent.is_set() or not self.seen.is_set()
        return not busy and not any(at + PLANS_S > now for at in self.planned)

    def await_sightings(self) -> None:
        """Let the next plan wait for the sightings of the version that was committed, unless a command waits for it."""
        if not self.urgent.is_set():
            self.seen.clear()

    async def gather(self) -> None:
        """Wait for further requests, longer after many recent plans; do not wait if a command waits for the plan."""
        await asyncio.sleep(COALESCE_S)
        if not self.seen.is_set():
            await self._until(self.seen, SEEN_S)
            self.seen.set()
        now = asyncio.get_running_loop().time()
        if len(self.planned) == PLANS_MAX and self.planned[0] + PLANS_S > now:
            await self._until(self.urgent, self.planned[0] + PLANS_S - now)
        self.urgent.clear()
        self.planned = (*self.planned, asyncio.get_running_loop().time())[-PLANS_MAX:]

    async def _until(self, event: Flag, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
