"""The alert engine in a process of its own, to be killed: python -m tests.integration.alert_child CONFIG [EVENT…].

EVENT: zone names, for each of which ds-missing fires as soon as the process runs. Settling is cut short.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import MappingProxyType

from prometheus_client import CollectorRegistry

from dnssecd.backoff import Backoff
from dnssecd.clock import SystemClock
from dnssecd.config import load
from dnssecd.control.command import CommandTable
from dnssecd.control.server import ControlServer
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.ops import log
from dnssecd.ops.alerts import delivery as delivery_loop
from dnssecd.ops.alerts import grouping, lifecycle
from dnssecd.ops.alerts.metrics import AlertMetrics
from dnssecd.ops.events import EventCore


async def main(config_path: Path, zones: list[str]) -> None:
    lifecycle.SETTLE_S = MappingProxyType({"critical": 0.05, "error": 0.05, "warning": 0.05})
    grouping.GAP_S, grouping.PER_HOUR_MAX = 0.05, 10_000
    delivery_loop.RETRY = Backoff(0.2, 0.2)
    config, clock = load(config_path), SystemClock()
    config.server.state_dir.mkdir(exist_ok=True)
    log.setup()
    events = EventCore(config.server.state_dir / "events.sqlite", clock)
    schedule = Schedule(clock)
    schedule.start()
    alerts = AlertEngine(
        config,
        events,
        clock,
        AlertMetrics(CollectorRegistry()),
        {},
        schedule,
        lambda: {"mode": "child", "state": "ok"},
    )
    control = ControlServer(config.server.control_socket, CommandTable(alerts.commands()))
    await control.start()
    for zone in zones:
        events.raise_event("ds-missing", zone, f"no server of the parent has a DS of {zone}")
    events.flush()
    await alerts.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
