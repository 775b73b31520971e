"""Check this host's clock: after a jump, nothing is signed until a secondary or an operator confirms the time.

A jump is detected by comparison with the monotonic clock; at start, with the last recorded time (``clock`` in
state_dir). A secondary confirms the time if its TSIG carries about the same time; an operator confirms it
with ``dnssecd clock confirm``. Meanwhile the published versions are still served.

The file holds when it was written and when a secondary last agreed (epoch s). If a secondary agreed shortly
before a stop and one agrees after it, the clock did not step during the stop. The file also holds the boot id
and the monotonic clock: within one boot they show how long a stop was, so that a step during the stop is
detected.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from dnssecd.backoff import Backoff
from dnssecd.clock import Clock
from dnssecd.core.utc import about
from dnssecd.daemon.rollover.text import moment
from dnssecd.ops.events import EventCore
from dnssecd.publish.exchange import Peer
from dnssecd.publish.watch import Sighting, sight

LOOK_S = 1.0
#: A smaller jump is ignored: the margin of every wait covers it.
JUMP_MIN_S = 5.0
#: Smaller jumps add up, and the sum decreases at this rate: NTP corrects an undisciplined clock in small steps.
FORGOTTEN_S_PER_S = 1 / 3600
#: A time before this (2022-01-01) is wrong, because it is years before the first release. A clock without
#: battery starts earlier.
EARLIEST = 1_640_995_200
READ_S_MAX = 0.5
RECORD_S = 30.0
AGREES_S = 60.0
VOUCHED_FOR_S = 3600.0
ASK = Backoff(2.0, 60.0)
ASKED_MAX = 10
EVENT = "clock-step"
REMEDY = "check the time on this host (chronyc tracking), then: dnssecd clock confirm"

log = structlog.get_logger("dnssecd.clock")

Peers = Callable[[], Iterable[tuple[str, Peer]]]


class Recorded(msgspec.Struct, frozen=True):
    """The content of the file."""

    at: float
    vouched_at: float | None = None
    boot: str = ""
    monotonic: float = 0.0


class ClockWatch:
    """``suspect`` says why the time is in doubt, "" while it is not.

    peers: (zone, server) that share a TSIG key with dnssecd. on_sure: called when the doubt is over, with
    whether the clock may have stepped, so that earlier times are unreliable. unsettled: whether some part
    still uses times from before a step; while it does, no time is recorded, so that a restart doubts the
    clock again.
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
        #: The largest step forward (s) that may have happened unnoticed during the last stop.
        self.hidden_step_s = 0
        self._since = 0.0
        self._stepped = False
        self._vouched_at: float | None = None
        self._offset = clock.now() - clock.monotonic()
        #: The sum of small jumps since the time was last confirmed, and when it was computed.
        self._crept = 0.0
        self._reckoned = clock.monotonic()
        self._recorded = float("-inf")

    def begin(self, published_at: float) -> None:
        """Judge the time at start by the last recorded time, and by the last publication."""
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
        """Tell whether the monotonic clock shows that the time since then has simply passed."""
        step = now - last.at - (self._clock.monotonic() - last.monotonic)
        return (
            bool(self._boot) and last.boot == self._boot and abs(step) <= min(JUMP_MIN_S, self._tolerance_s)
        )

    def _hidden_step(self, last: Recorded, now: float) -> int:
        return int(min(max(0.0, now - last.at), self._tolerance_s))

    def look(self) -> None:
        """Compare the clocks; record the time at intervals."""
        before = self._clock.monotonic()
        offset = self._clock.now() - before
        if self._clock.monotonic() - before > READ_S_MAX:
            return  # the process was delayed between the two calls: the next look decides
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
        """Add a jump to the sum, which decreases with (monotonic) time; return the sum."""
        forgotten = FORGOTTEN_S_PER_S * (now - self._reckoned)
        self._reckoned = now
        left = max(0.0, abs(self._crept) - forgotten)
        self._crept = jump + (left if self._crept > 0 else -left)
        return self._crept

    def _impossible(self) -> bool:
        """Doubt a time that cannot be right; return whether this is one."""
        now = self._clock.now()
        impossible = now < EARLIEST
        if impossible and not self.suspect:
            self._doubt(f"it is {moment(now)}, which is before the first release of dnssecd", stepped=True)
        return impossible

    def held(self) -> str:
        """Compare the clocks; return why nothing may be signed now ("": it may)."""
        self.look()
        return self.suspect and f"the time is in doubt: {self.suspect}"

    def record(self) -> None:
        """Record the time, unless it is in doubt."""
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
        """Take a look at a secondary: its TSIG time, if it has one, agrees or not."""
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
        """Accept an operator's confirmation of the time; return False for a time that cannot be right."""
        if self._impossible():
            return False
        if self.suspect:
            log.info("the time is right", says=who)
            self._sure()
        return True

    async def run(self) -> None:
        """Compare the clocks until cancelled; while in doubt, query the peers."""
        times, asked = 0, float("-inf")
        while True:
            self.look()
            if not self.suspect:
                times = 0
            elif self._clock.monotonic() - asked >= ASK.delay_s(times + 1):
                times, asked = times + 1, self._clock.monotonic()
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
        """Return the recorded data; None if there is none (first start) or it is unreadable."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Recorded)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the last recorded time cannot be read", path=str(self._path), cause=str(error))
            return None
