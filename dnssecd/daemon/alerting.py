"""The alert engine in the daemon: its knowledge of zones, and its commands."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.alerts import TestAlerts, TrialResult, TrialResults
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.alerts.certificates import LOOK_S, look_at_certificates
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.engine import Engine
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.alerts.outbox import open_outbox
from dnssecd.ops.alerts.trial import Result, try_channels
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

TEST_TIMEOUT_S = 100.0
COMING_MAX = 10

Coming = tuple[float, str, str]  # when (epoch seconds), zone, what

_WAKES = {
    "resign": "signatures are renewed",
    "load": "the input is read again",
    "backup-check": "the newest backup is checked",
}


class AlertEngine:
    """Sends alerts. It is made first, so that every later failure is reported; call run() when the loop runs."""

    def __init__(
        self,
        config: Config,
        events: EventCore,
        clock: Clock,
        metrics: AlertMetrics,
        zones: Mapping[str, FrontZone],
        schedule: Schedule,
        signer_state: Callable[[], dict[str, str]],
        *,
        details: Callable[[Event], str] = lambda event: "",
        coming: Callable[[], Sequence[Coming]] | None = None,
    ) -> None:
        """Take the interfaces.

        details: more text for an event's mail (the DS to hand over); called from a thread. coming: future
        steps for the digest, soonest first (default: the schedule's next wake-ups).
        """
        self._clock, self._zones, self._schedule = clock, zones, schedule
        self._signer_state, self._events = signer_state, events
        self._look_now = asyncio.Event()
        self._coming = coming if coming is not None else self._wakes
        self._since = clock.now()
        self._host = socket.gethostname()
        self.engine = Engine(
            config.server.state_dir / "alerts.sqlite",
            events,
            clock,
            metrics,
            open_outbox(config.alerts, self._host, __version__),
            deadline=self._deadline,
            details=details,
            valid_until=self._valid_until,
            facts=self._facts,
        )

    async def run(self) -> None:
        """Run until cancelled, as one of the daemon's background tasks."""
        await asyncio.gather(self.engine.run(), self._watch_certificates())

    async def _watch_certificates(self) -> None:
        while True:
            self._look_now.clear()
            mail = self.engine.outbox.config.mail
            await asyncio.to_thread(look_at_certificates, mail, self._events, self._clock.now())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()

    def configure(self, config: Config) -> None:
        """Apply a reloaded configuration."""
        self.engine.use(open_outbox(config.alerts, self._host, __version__))
        self._look_now.set()

    def close(self) -> None:
        """Close the database, after run() has ended and before the event core closes."""
        self.engine.close()

    def commands(self) -> list[Command[Any]]:
        """Return the command ``alerts.test``."""
        return [Command(TestAlerts, self.test, timeout=TEST_TIMEOUT_S)]

    async def status(self) -> list[dict[str, Any]]:
        """Return the state of each channel, for ``status``."""
        return await asyncio.to_thread(self.engine.status)

    async def test(self, call: Call[TestAlerts]) -> TrialResults:
        """Answer ``alerts.test``."""
        outbox = self.engine.outbox
        if not outbox.channels:
            raise Refused("no channel for alerts is configured", "add [alerts.mail] to the configuration")
        done: list[Result] = []

        async def told(result: Result) -> None:
            done.append(result)
            text = f"{result.way} {'delivered' if result.ok else 'failed'}"
            await call.progress(len(done), None, text)

        results = await try_channels(outbox, self._clock, call.caller.user, told)
        for result in results:
            if result.ok:
                self.engine.works(result.way)
        return TrialResults(results=msgspec.convert(results, list[TrialResult], from_attributes=True))

    def _deadline(self, event: Event) -> float | None:
        """Return when harm begins: the expiration of the zone's first RRSIG."""
        zone = self._zones.get(event.zone)
        return None if zone is None or event.name != "runway-low" else zone.earliest_expiration

    def _valid_until(self, name: str) -> float | None:
        """Return when the first RRSIG of a zone expires if nothing is done."""
        zone = self._zones.get(name)
        return None if zone is None or zone.serial is None else zone.earliest_expiration

    def _facts(self) -> Facts:
        zones = list(self._zones.values())
        served = [zone for zone in zones if zone.serial is not None]
        now = self._clock.now()
        runways = [(left, zone.name) for zone in served if (left := zone.runway_s(now)) is not None]
        signer = self._signer_state()
        return Facts(
            served=len(served),
            waiting=len(zones) - len(served),
            runway=min(runways, default=None),
            coming=self._coming()[:COMING_MAX],
            since=self._since,
            signer=f"{signer.get('state', 'unknown')} ({signer.get('mode', '')})",
        )

    def _wakes(self) -> list[Coming]:
        found = []
        for when, what, zone in self._schedule.next_wakes()[:COMING_MAX]:
            found.append((when, zone, _WAKES.get(what, what)))
        return found
