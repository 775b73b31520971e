"""The alert engine in the daemon: what it is told of the zones, and its commands."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from dnssecd import __version__
from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.alerts import TestAlerts, TrialResult, TrialResults
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.alerts.digest import Facts
from dnssecd.ops.alerts.engine import Engine
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.alerts.outbox import open_office
from dnssecd.ops.alerts.trial import Result, try_ways
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

TEST_TIMEOUT_S = 100.0
COMING_MAX = 10

Coming = tuple[float, str, str]  # when (epoch seconds), zone, what

_WAKES = {"resign": "signatures are renewed", "load": "the input is read again"}


class AlertEngine:
    """Tells people. Made before anything can go wrong, so that nothing goes untold; run() once the loop runs."""

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
        """details: more text for an event's mail (what to hand to the parent); called from a thread.

        coming: what the digest announces, soonest first (default: the schedule's next wake-ups).
        """
        self._clock, self._zones, self._schedule = clock, zones, schedule
        self._signer_state = signer_state
        self._coming = coming if coming is not None else self._wakes
        self._since = clock.now()
        self._host = socket.gethostname()
        self.engine = Engine(
            config.server.state_dir / "alerts.sqlite",
            events,
            clock,
            metrics,
            open_office(config.alerts, self._host, __version__),
            deadline=self._deadline,
            details=details,
            facts=self._facts,
        )

    async def run(self) -> None:
        """Work until cancelled: one of the daemon's background tasks."""
        await self.engine.run()

    def configure(self, config: Config) -> None:
        """Take over a reloaded configuration."""
        self.engine.use(open_office(config.alerts, self._host, __version__))

    def close(self) -> None:
        """Close the database, after run() has ended and before the event core closes."""
        self.engine.close()

    def commands(self) -> list[Command[Any]]:
        """Return the command ``alerts.test``."""
        return [Command(TestAlerts, self.test, timeout=TEST_TIMEOUT_S)]

    async def status(self) -> list[dict[str, Any]]:
        """For ``status``: how each way of delivery fares."""
        return await asyncio.to_thread(self.engine.status)

    async def test(self, call: Call[TestAlerts]) -> TrialResults:
        """Answer ``alerts.test``."""
        office = self.engine.office
        if not office.ways:
            raise Refused(
                "nobody is told of alerts: no way is configured", "add [alerts.mail] to the configuration"
            )
        done: list[Result] = []

        async def told(result: Result) -> None:
            done.append(result)
            text = f"{result.way} {'delivered' if result.ok else 'failed'}"
            await call.progress(len(done), None, text)

        results = await try_ways(office, self._clock, call.caller.user, told)
        for result in results:
            if result.ok:
                self.engine.works(result.way)
        return TrialResults(results=msgspec.convert(results, list[TrialResult], from_attributes=True))

    def _deadline(self, event: Event) -> float | None:
        """When the harm is done: the zone's first RRSIG expires."""
        zone = self._zones.get(event.zone)
        return None if zone is None or event.name != "runway-low" else zone.earliest_expiration

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
        for when, name in self._schedule.next_wakes()[:COMING_MAX]:
            what, _, zone = name.partition(" ")
            found.append((when, zone, _WAKES.get(what, what)))
        return found
