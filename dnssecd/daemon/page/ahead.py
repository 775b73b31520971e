"""What comes in all zones, found in the background with a small share of one processor.

Zones whose keys are alike (``core/keys/shape.py``) share a forecast, so that ten thousand zones of a few policies are
known within a minute. A zone with a step soon then gets a forecast of its own, which has the exact times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from itertools import chain

import structlog
from msgspec import Struct

from dnssecd.clock import Clock
from dnssecd.control.command import Refused
from dnssecd.control.peer import Caller
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.shape import Shape, shape_of, shifted
from dnssecd.core.keys.simulate import SimEvent, Unwanted
from dnssecd.daemon.commands.forecast import Basis, ForecastCommands
from dnssecd.daemon.page.coming import HIGHLIGHTS, list_highlights
from dnssecd.daemon.rollover.engine import STORE_ERRORS
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.page.model import Coming
from dnssecd.replacing import replace

DAYS = 400
#: A forecast is made again after this time, or when the zone's keys change; one that failed, earlier.
LASTS_S = 86_400.0
FAILED_LASTS_S = 900.0
#: A forecast that takes longer is given up: commands and pages use the same thread.
LOOK_S = 10.0
#: Between two forecasts: this many times as long as the last one took, and at least PAUSE_S. While zones are without
#: any, a larger share of the processor is used.
PAUSE_SHARE, PAUSE_SHARE_FIRST = 20.0, 4.0
PAUSE_S = 0.02
#: Between two rounds; within one, other work runs after this many zones, for at least as long as they took.
ROUND_S = 5.0
ZONES_AT_ONCE = 25
#: A zone with a step within this time gets a forecast of its own, this many zones in a round.
SOON_S = 7 * 86_400
REFINED_MAX = 50
#: Entries of a zone: one with keys that last an hour has thousands.
ENTRIES_MAX = 60
#: Shared forecasts that are kept.
SHAPES_MAX = 2_000

#: It counts as a user of its own for the limits of forecasts.
CALLER = Caller(pid=0, uid=-2, gid=-1, roles=frozenset())

log = structlog.get_logger("dnssecd.page")


class _Known(Struct, frozen=True):
    """exact: it is the zone's own forecast."""

    keyset: Keyset | None
    until: float
    entries: tuple[Coming, ...]
    exact: bool


class _Shared(Struct, frozen=True):
    """The forecast of a zone, for others of the same shape."""

    shape: Shape
    events: tuple[SimEvent, ...]
    until: float


class ComingSteps:
    """The coming steps of all zones. Belongs to the event loop."""

    def __init__(self, zones: Mapping[str, FrontZone], forecasts: ForecastCommands, clock: Clock) -> None:
        self._zones, self._forecasts, self._clock = zones, forecasts, clock
        self._known: dict[FrontZone, _Known] = {}
        self._shared: dict[Hashable, _Shared] = {}
        self._sorted: list[Coming] | None = None
        self._changes = 0

    def list_all(self) -> tuple[list[Coming], int]:
        """Return what comes, earliest first, and of how many zones it is known."""
        self._drop_gone()
        if self._sorted is None:
            self._sorted = _in_order([known.entries for known in self._known.values()])
        return self._sorted, len(self._known)

    async def collect(self) -> tuple[list[Coming], int]:
        """Return the same; the entries are sorted in a thread, so that other work runs meanwhile."""
        self._drop_gone()
        if self._sorted is not None:
            return self._sorted, len(self._known)
        changes, number = self._changes, len(self._known)
        every = await asyncio.to_thread(_in_order, [known.entries for known in self._known.values()])
        if changes == self._changes:
            self._sorted = every
        return every, number

    def _drop_gone(self) -> None:
        for zone in [zone for zone in self._known if zone.gone]:
            self._keep(zone, None)

    async def run(self) -> None:
        """Look ahead until cancelled."""
        while True:
            await self._look_at_all()
            for zone in self._list_soon():
                started = self._clock.monotonic()
                self._keep(zone, await self._look(zone, share=False))
                await self._pause(PAUSE_SHARE, started)
            await asyncio.sleep(ROUND_S)

    async def _look_at_all(self) -> None:
        """Look at every zone whose steps are not known, or not any more."""
        began = self._clock.monotonic()
        for number, zone in enumerate(list(self._zones.values())):
            if number % ZONES_AT_ONCE == 0:
                await asyncio.sleep(self._clock.monotonic() - began)
                began = self._clock.monotonic()
            if self._is_due(zone):
                started, known = self._clock.monotonic(), await self._look(zone, share=True)
                self._keep(zone, known)
                if known.exact:
                    await self._pause(PAUSE_SHARE_FIRST, started)
                    began = self._clock.monotonic()

    async def _pause(self, share: float, started: float) -> None:
        await asyncio.sleep(max(PAUSE_S, share * (self._clock.monotonic() - started)))

    def _is_due(self, zone: FrontZone) -> bool:
        if zone.gone or zone.serial is None:
            return False
        keyset, known = _keyset_of(zone), self._known.get(zone)
        if known is None or self._clock.now() >= known.until:
            return True  # after a start its keys may not have been read yet: they are now
        if keyset is None or known.keyset is keyset:
            return False
        if known.keyset != keyset:
            return True
        self._known[zone] = replace(known, keyset=keyset)  # read again: the previous object may go
        return False

    def _list_soon(self) -> list[FrontZone]:
        """Return the zones with the next steps whose times are not exact yet."""
        until = self._clock.now() + SOON_S
        soon = [
            (known.entries[0].at, zone.name, zone)
            for zone, known in self._known.items()
            if not known.exact and known.entries and known.entries[0].at < until and not zone.gone
        ]
        return [zone for _, _, zone in sorted(soon)[:REFINED_MAX]]

    async def _look(self, zone: FrontZone, *, share: bool) -> _Known:
        """Return the steps of a zone; share: those of another zone of the same shape are good enough."""
        try:
            async with asyncio.timeout(LOOK_S):
                basis = await self._forecasts.basis(zone, tags=False)
                shape = shape_of(basis.approved, basis.policy, basis.assume, basis.start)
                shared = self._shared.get(shape.kind) if share else None
                if shared is not None and self._clock.now() < shared.until:
                    events = tuple(shifted(shared.events, shared.shape, shape, basis.start))
                    return self._note(zone, basis, events, exact=False)
                look = await self._forecasts.look_from(CALLER, zone.name, basis, DAYS)
        except (Refused, Unwanted, *STORE_ERRORS) as error:  # a TimeoutError is an OSError
            log.info("no forecast", zone=zone.name, cause=str(error) or f"it takes longer than {LOOK_S:g} s")
            return _Known(_keyset_of(zone), self._clock.now() + FAILED_LASTS_S, (), exact=True)
        events = tuple(event for event in look.ahead.events if event.event in HIGHLIGHTS)
        self._share(_Shared(shape, events, self._clock.now() + LASTS_S))
        return self._note(zone, basis, events, exact=True)

    def _note(self, zone: FrontZone, basis: Basis, events: tuple[SimEvent, ...], *, exact: bool) -> _Known:
        entries = tuple(list_highlights(zone.name, events, basis.hands)[:ENTRIES_MAX])
        return _Known(basis.keyset, self._clock.now() + LASTS_S, entries, exact)

    def _share(self, made: _Shared) -> None:
        """Keep a forecast for others; the oldest goes where there are too many."""
        self._shared.pop(made.shape.kind, None)
        if len(self._shared) >= SHAPES_MAX:
            del self._shared[next(iter(self._shared))]
        self._shared[made.shape.kind] = made

    def _keep(self, zone: FrontZone, known: _Known | None) -> None:
        if known is None or zone.gone:
            self._known.pop(zone, None)
        else:
            self._known[zone] = known
        self._sorted = None
        self._changes += 1


def _in_order(entries: Iterable[tuple[Coming, ...]]) -> list[Coming]:
    return sorted(chain.from_iterable(entries), key=lambda entry: (entry.at, entry.zone))


def _keyset_of(zone: FrontZone) -> Keyset | None:
    return None if zone.keys is None or zone.keys.committed is None else zone.keys.committed.keyset
