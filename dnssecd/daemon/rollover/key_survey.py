"""Counts of keys, rollovers, hand-overs of DS and parents, for the metrics.

They are made once a minute, or more rarely where there are very many zones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dnssecd.clock import Clock
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.keystate import Goal
from dnssecd.core.keys.label import label
from dnssecd.core.parent.handover import Task
from dnssecd.daemon.parent.room import DsRoom
from dnssecd.daemon.zones import outlook
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.key_metrics import KeySurvey
from dnssecd.ops.metrics import Metrics

PERIOD_S = 60.0
#: Surveys take at most this share of the time: with 10,000 zones they are rarer.
SHARE = 0.001
#: After this many zones, other tasks run.
AT_ONCE = 50


class KeySurveyor:
    """Looks at all zones. Belongs to the event loop."""

    def __init__(self, zones: Mapping[str, FrontZone], metrics: Metrics, clock: Clock) -> None:
        self._zones, self._metrics, self._clock = zones, metrics, clock

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.look()
            await asyncio.sleep(max(PERIOD_S, (self._clock.monotonic() - started) / SHARE))

    async def look(self) -> None:
        """Look once."""
        survey = KeySurvey()
        for number, zone in enumerate(list(self._zones.values())):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            if not zone.gone:
                self._count(survey, zone)
        self._metrics.key_counts.take(survey)

    def _count(self, survey: KeySurvey, zone: FrontZone) -> None:
        now = self._clock.now()
        security = outlook.security(zone)
        survey.security[security.word.value] += 1
        tasks = outlook.person_tasks(zone, security)
        survey.for_person += any(at is None or at <= now for _, _, at, _ in tasks)
        if zone.ds is None or zone.serial is None:
            return
        _count_keys(survey, zone.ds.keyset)
        _count_handover(survey, zone.name, zone.ds, now)
        self._measure(zone, zone.ds)

    def _measure(self, zone: FrontZone, known: DsRoom) -> None:
        metrics = self._metrics.keys
        plan = None if zone.keys is None else zone.keys.plan
        if plan is not None and plan.next_wake is not None:
            metrics.next_step.labels(zone.name).set(plan.next_wake)
        answered = [sight for sight in known.seen if sight.ds is not None]
        if answered:
            metrics.parent_seen.labels(zone.name).set(min(sight.at for sight in answered))
            metrics.parent_ds.labels(zone.name).set(min(len(sight.ds or ()) for sight in answered))


def _count_keys(survey: KeySurvey, keyset: Keyset) -> None:
    for key in keyset.keys:
        survey.keys[key.role.value, str(key.algorithm), label(key)] += 1
        if key.goal is Goal.ABSENT and any(key.record(rec).visible for rec in key.records):
            survey.rollovers[key.role.value] += 1


def _count_handover(survey: KeySurvey, zone: str, known: DsRoom, now: float) -> None:
    asked = known.handover
    if known.parent.alone or asked.task is Task.NOTHING or known.reached:
        return
    survey.handovers["late" if asked.due_at and asked.due_at <= now else "waiting"] += 1
    if asked.due_at:
        survey.handover_due.append((zone, asked.due_at))
