"""The daemon's process: starts the parts (``wiring.py`` makes them), runs until it is to stop, ends them."""

import asyncio
import gc
import os
import signal
import sys
import time
from contextlib import suppress

import structlog

from dnssecd import __version__
from dnssecd.clock import Clock, SystemClock
from dnssecd.config.model import Config
from dnssecd.control.command import Refused
from dnssecd.control.server import ControlServer
from dnssecd.daemon.commands.history import OURSELVES
from dnssecd.daemon.state_dir import CannotStart
from dnssecd.daemon.watchdog import Watchdog
from dnssecd.daemon.wiring import Base, Control, Front, ZoneWork
from dnssecd.daemon.zones.databases import OPEN_MAX
from dnssecd.daemon.zones.start_up import recall, report_changed
from dnssecd.daemon.zones.unconfigured import remember
from dnssecd.ingest.watch import identity_now
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.metrics_http import MetricsEndpoint
from dnssecd.sdnotify import notify
from dnssecd.store.errors import StoreError

#: Beyond the first few, the secondaries of so many zones a second are asked what they serve after a start: 100.
FOLLOW_PAUSE_S = 0.01

#: A thread that commits hands over to the event loop, and gets back from it, after at most this long.
THREADS_SWITCH_S = 0.001

log = structlog.get_logger("dnssecd")


class Daemon:
    """Everything that runs in the daemon's process. ``config`` was checked as a whole before. CannotStart."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.base = Base(config, clock)
        self.work = ZoneWork(self.base)
        self.front = Front(self.base, self.work)
        self.control = Control(self.base, self.work, self.front)
        unheard = self.base.mailbox.unheard()
        assert not unheard, f"no part takes these signals: {unheard}"
        self.zones = self.base.zones
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Have :meth:`run` end."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve the stored zones, then take up work, until :meth:`stop` or a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        self.base.schedule.start()
        self._recall()
        self.work.rollovers.begin()
        self.front.updates.start()
        await self.front.server.start()
        endpoint = self._metrics_endpoint()
        socket = self.base.config.get().server.control_socket
        control = ControlServer(socket, self.control.commands, self._commanded, self.base.acts.record)
        await control.start()
        self._ready()
        await self._take_up_work()
        await self._stopping.wait()
        notify("STOPPING=1")
        log.info("stopping")
        await control.stop()
        await self.control.keys.aclose()
        if endpoint is not None:
            await asyncio.to_thread(endpoint.stop)

    def _recall(self) -> None:
        """Know again what was published before, so that it is served at once."""
        self._adopt_orphans()
        events, entries = self.base.events, self.base.catalogue.entries()
        exact = len(self.zones) <= OPEN_MAX
        changed = []
        for zone in self.zones.values():
            try:
                if recall(zone, entries.get(zone.name), exact=exact):
                    changed.append(zone)
            except (StoreError, OSError) as error:
                events.raise_event("store-failed", zone.name, str(error))
                continue
            self.work.primaries.recall(zone)
            self.work.outcomes.measure(zone)
        report_changed(events, changed)

    def _adopt_orphans(self) -> None:
        """Serve stored zones that the configuration has lost, too; note how the others are served."""
        config, catalogue, events = self.base.config.get(), self.base.catalogue, self.base.events
        stored = catalogue.serving()
        for name, document in stored.items():
            orphan = self.base.table.put_orphan(config, document) if name not in self.zones else None
            if orphan is not None:
                cause = f"{name} is stored and served, but the configuration does not name it"
                events.raise_event("zone-not-configured", name, cause)
        for name in config.zones:
            events.resolve("zone-not-configured", name)
        for name in events.zones() - self.zones.keys():
            events.remove_zone(name)
        now = {n: remember(config, z, self.zones[n].spec) for n, z in config.zones.items()}
        catalogue.put_serving({name: text for name, text in now.items() if stored.get(name) != text})

    def _hangup(self) -> None:
        """SIGHUP: reload the configuration; what is wrong with it is reported by event and log."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloading = task

    async def _reload(self) -> None:
        try:
            result = await self.control.reloader.reload([])
            log.info("configuration reloaded", changes=len(result.changes))
            await self.base.acts.note("a signal", OURSELVES, "config reload", "SIGHUP", result.zones_changed)
        except Refused as refused:
            log.error("configuration not applied", cause=refused.what, remedy=refused.remedy)
        notify("READY=1")

    def _metrics_endpoint(self) -> MetricsEndpoint | None:
        listen = self.base.config.get().metrics.listen
        if listen is None:
            return None
        endpoint = MetricsEndpoint(
            listen,
            self.base.metrics.registry,
            self.front.monitor.health,
            lambda: (self.ready, "stored zones are served" if self.ready else "starting"),
            self.base.metrics.large(),
        )
        endpoint.start()
        return endpoint

    def _commanded(self, command: str, result: str) -> None:
        self.base.metrics.daemon.control.labels(command, result).inc()

    def _ready(self) -> None:
        self.ready = True
        served = [zone for zone in self.zones.values() if zone.serial is not None]
        self.front.status.ready()
        log.info(
            "ready",
            version=__version__,
            listening=[f"{host} port {port}" for host, port in self.front.server.addresses],
            zones=len(self.zones),
            served=len(served),
        )

    async def _take_up_work(self) -> None:
        try:
            await self.base.signer.start()
        except SignerError as error:
            self.base.events.raise_event("signer-unreachable", None, str(error))
        background = (
            self.front.monitor.run(),
            Watchdog(self.base.pool).run(),
            self.front.status.run(),
            self.base.signer.watch(),
            self.front.guard.watch(),
            self.work.sweep.run(),
            self.work.marks.run(),
            self.front.alerts.run(),
            self.work.rollovers.run(),
            self._watch_files(),
            self._follow(),
        )
        # What is here now stays: it need not be looked through whenever garbage is collected.
        gc.collect()
        gc.freeze()
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in background]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.work.rollovers.begin()
        # Zones that are not served yet go first.
        for zone in sorted(self.zones.values(), key=lambda zone: zone.doubt is None):
            self.work.jobs.request(zone, "resign" if zone.orphan else "load")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A background task never ends by itself; when one does, the daemon ends rather than limp on."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed; stopping", exc_info=task.exception())
            self.stop()

    async def _watch_files(self) -> None:
        watcher = self.base.watcher
        for zone in self.zones.values():
            if zone.config.file is not None:
                watcher.watch(zone.name, [identity_now(zone.config.file)])
        async for names in watcher.changes():
            for name in names & self.zones.keys():
                self.work.imports.edited(self.zones[name])
                self.work.jobs.request(self.zones[name], "load")

    async def _follow(self) -> None:
        """Look where the secondaries of the stored zones are; of many zones not all at once."""
        publisher = self.work.publisher
        for number, zone in enumerate(list(self.zones.values())):
            if number >= OPEN_MAX:
                await asyncio.sleep(FOLLOW_PAUSE_S)
            if zone.serial is not None and not zone.gone and not publisher.followed(zone):
                publisher.publish(zone, resume=True)

    async def close(self) -> None:
        """End everything: each part before those that it needs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        base, work, front = self.base, self.work, self.front
        base.schedule.close()
        await work.rollovers.close()
        await work.ds.close()
        await work.notifier.close()
        await front.server.close()
        front.refusals.close()
        await front.updates.close()
        await work.primaries.close()
        await work.adoptions.close()
        await work.jobs.close()
        await base.pool.close()
        await base.signer.close()
        base.databases.close()
        work.marks.finish()
        base.catalogue.close()
        base.act_log.close()
        front.alerts.close()
        base.events.close()
        os.close(base.lock)


async def run(config: Config, clock: Clock) -> int:
    """Run a daemon; return the exit status."""
    daemon = Daemon(config, clock)
    try:
        await daemon.run()
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise CannotStart(named + (error.strerror or str(error))) from error
    finally:
        await daemon.close()
    return 0


def main(config: Config) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; logging is set up already."""
    os.umask(0o077)
    sys.setswitchinterval(THREADS_SWITCH_S)
    for warning in config.warnings:
        log.warning("configuration", cause=str(warning))
    try:
        with suppress(KeyboardInterrupt):
            return asyncio.run(run(config, SystemClock()))
    except (CannotStart, StoreError) as error:
        log.error("cannot start", cause=str(error))
        return 1
    return 0
