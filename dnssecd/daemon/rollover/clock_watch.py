"""Is this machine's time right? After a jump of the clock nothing new is signed until somebody vouches for it.

A jump is seen beside the monotonic clock; at start, beside the time recorded last (`clock` in state_dir). The time is
vouched for by a secondary whose TSIG carries about the same time, or by an operator (`dnssecd clock confirm`).
Meanwhile what was published is served on.

The file holds when it was written and when a secondary last agreed (epoch s). Where one agreed shortly before a stop
and one agrees after it, the clock did not step, however long the stop was. It also holds the boot and the monotonic
clock: within one boot they tell how long a stop was, so that a step cannot hide in it.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from dnssecd.clock import Clock
from dnssecd.daemon.rollover.text import moment
from dnssecd.durations import about
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.publish.watch import Sighting, sight

LOOK_S = 1.0
#: A jump by less is none: the margin of every wait covers it.
JUMP_MIN_S = 5.0
#: Smaller jumps add up, and are forgotten at this rate: what an undisciplined clock is off, NTP puts right in steps.
FORGOTTEN_S_PER_S = 1 / 3600
#: No time before this (2022-01-01) can be right: it is years before the first release. A dead clock begins earlier.
EARLIEST = 1_640_995_200
READ_S_MAX = 0.5
RECORD_S = 30.0
AGREES_S = 60.0
VOUCHED_FOR_S = 3600.0
ASK_FIRST_S = 2.0
ASK_LAST_S = 60.0
ASKED_MAX = 10
EVENT = "clock-step"
REMEDY = "check the time on this host (chronyc tracking), then: dnssecd clock confirm"

log = structlog.get_logger("dnssecd.clock")

Peers = Callable[[], Iterable[tuple[str, Peer]]]


class Recorded(msgspec.Struct, frozen=True):
    """What the file holds."""

    at: float
    vouched_at: float | None = None
    boot: str = ""
    monotonic: float = 0.0


class ClockWatch:
    """``suspect`` says why the time is in doubt, "" while it is not.

    peers: (zone, server) that share a TSIG key with us; on_sure: told when doubt is over, and whether the clock
    may have stepped, so that times from before cannot be relied on. unsettled: whether something still goes by times
    from before a step; until it does not, no time is recorded, so that a restart finds the clock in doubt again.
    """

    def __init__(
        self,
        clock: Clock,
        path: Path,
        tolerance_s: int,
        events: EventCore,
        peers: Peers,
        on_sure: Callable[[bool], None],
        unsettled: Callable[[], bool],
        boot: str = "",
    ) -> None:
        self._clock, self._path, self._tolerance_s = clock, path, tolerance_s
        self._events, self._peers, self._on_sure = events, peers, on_sure
        self._agrees_s = min(AGREES_S, tolerance_s + 2)
        self.suspect = ""
        self._unsettled = unsettled
        self._boot = boot
        #: What a step forward that went unnoticed while we were stopped can have been (s).
        self.hidden_step_s = 0
        self._since = 0.0
        self._stepped = False
        self._vouched_at: float | None = None
        self._offset = clock.now() - clock.monotonic()
        #: What small jumps have added up to since the time was last vouched for, and when that was reckoned.
        self._crept = 0.0
        self._reckoned = clock.monotonic()
        self._recorded = float("-inf")

    def begin(self, published_at: float) -> None:
        """Judge the time at start by what was recorded last, and by when anything was last published."""
        now = self._clock.now()
        last = self._read()
        if self._impossible():
            return
        if now < published_at - self._tolerance_s:
            last = Recorded(max(published_at, last.at if last else 0.0))
        counted_on = last is not None and self._counted_on(last, now)
        self.hidden_step_s = 0 if last is None or counted_on else self._hidden_step(last, now)
        if last is None:
            self._events.resolve(EVENT)
        elif not counted_on and not -self._tolerance_s <= now - last.at <= self._tolerance_s:
            vouched = last.vouched_at is not None and 0 <= last.at - last.vouched_at <= VOUCHED_FOR_S
            way = "later" if now > last.at else "earlier"
            self._doubt(
                f"it is {moment(now)}, {about(abs(now - last.at))} {way} than when dnssecd last ran",
                stepped=not vouched or now < last.at,
            )
        else:
            self._vouched_at = last.vouched_at
            self._events.resolve(EVENT)

    def _counted_on(self, last: Recorded, now: float) -> bool:
        """Tell whether the monotonic clock shows that just time has passed since, however much."""
        step = now - last.at - (self._clock.monotonic() - last.monotonic)
        return (
            bool(self._boot) and last.boot == self._boot and abs(step) <= min(JUMP_MIN_S, self._tolerance_s)
        )

    def _hidden_step(self, last: Recorded, now: float) -> int:
        return int(min(max(0.0, now - last.at), self._tolerance_s))

    def look(self) -> None:
        """Compare the clocks; record the time now and then."""
        before = self._clock.monotonic()
        offset = self._clock.now() - before
        if self._clock.monotonic() - before > READ_S_MAX:
            return  # we were held up between the two: the next look will tell
        jump, self._offset = offset - self._offset, offset
        crept = self._creep(jump, before)
        limit = min(JUMP_MIN_S, self._tolerance_s)
        if abs(jump) > limit or abs(crept) > limit:
            far = jump if abs(jump) > limit else crept
            way = "forward" if far > 0 else "back"
            how = f"jumped {way} by {about(abs(far))}"
            if abs(jump) <= limit:
                how = f"moved {way} by {about(abs(far))} in small jumps"
            self._crept = 0.0
            self._doubt(f"the clock {how}, to {moment(self._clock.now())}", stepped=True)
        self._impossible()
        if not self.suspect and self._clock.monotonic() - self._recorded >= RECORD_S:
            self.record()

    def _creep(self, jump: float, now: float) -> float:
        """Add a jump to those before, some of which are forgotten by now (monotonic); return what they come to."""
        forgotten = FORGOTTEN_S_PER_S * (now - self._reckoned)
        self._reckoned = now
        left = max(0.0, abs(self._crept) - forgotten)
        self._crept = jump + (left if self._crept > 0 else -left)
        return self._crept

    def _impossible(self) -> bool:
        """Doubt a time that cannot be right; tell whether it is one."""
        now = self._clock.now()
        impossible = now < EARLIEST
        if impossible and not self.suspect:
            self._doubt(f"it is {moment(now)}, when there was no dnssecd", stepped=True)
        return impossible

    def held(self) -> str:
        """Look, and say why nothing may be signed now ("": it may)."""
        self.look()
        return self.suspect and f"the time is in doubt: {self.suspect}"

    def record(self) -> None:
        """Write the time down, unless it is in doubt."""
        if self.suspect or self._unsettled():
            return
        self._recorded = self._clock.monotonic()
        body = msgspec.json.encode(
            Recorded(self._clock.now(), self._vouched_at, self._boot, self._clock.monotonic())
        )
        temporary = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(body)
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning("the time cannot be recorded", path=str(self._path), cause=str(error))

    def seen(self, sighting: Sighting) -> None:
        """Take in a look at a secondary: its TSIG time, if it has one, agrees or not."""
        theirs = sighting.tsig_time
        if theirs is None or sighting.at < self._since or abs(theirs - sighting.at) > self._agrees_s:
            return
        if self._impossible():
            return
        self._vouched_at = self._clock.now()
        self._crept = 0.0
        if self.suspect:
            log.info("the time is right", says=sighting.server, time=moment(theirs))
            self._sure()

    def confirm(self, who: str) -> bool:
        """Take an operator's word that the time is right now; False for a time that cannot be."""
        if self._impossible():
            return False
        if self.suspect:
            log.info("the time is right", says=who)
            self._sure()
        return True

    async def run(self) -> None:
        """Look for ever; while in doubt ask those who might know."""
        pause, asked = ASK_FIRST_S, float("-inf")
        while True:
            self.look()
            if not self.suspect:
                pause = ASK_FIRST_S
            elif self._clock.monotonic() - asked >= pause:
                pause, asked = min(2 * pause, ASK_LAST_S), self._clock.monotonic()
                await self._ask()
            await asyncio.sleep(LOOK_S)

    async def _ask(self) -> None:
        peers = {(peer.host, peer.port): (zone, peer) for zone, peer in self._peers() if peer.key is not None}
        chosen = list(peers.values())[:ASKED_MAX]
        for sighting in await asyncio.gather(*(sight(zone, peer, self._clock.now) for zone, peer in chosen)):
            self.seen(sighting)

    def _doubt(self, why: str, *, stepped: bool) -> None:
        self._stepped = stepped or (bool(self.suspect) and self._stepped)
        self.suspect = why
        self._since = self._clock.now()
        self._vouched_at = None
        self._events.raise_event(EVENT, None, why, remedy=REMEDY)

    def _sure(self) -> None:
        stepped, self.suspect, self._stepped = self._stepped, "", False
        self._events.resolve(EVENT)
        self._on_sure(stepped)
        self.record()

    def _read(self) -> Recorded | None:
        """Return what was recorded; None where there is nothing (a first start) or nothing readable."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Recorded)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the time recorded last cannot be read", path=str(self._path), cause=str(error))
            return None
