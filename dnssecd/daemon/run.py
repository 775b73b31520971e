"""The daemon's process: start the parts that ``wiring.py`` makes, run until stopped, end them."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd import __version__
from dnssecd.clock import Clock, SystemClock
from dnssecd.config.errors import ConfigErrors
from dnssecd.config.groups import check_groups, group_id
from dnssecd.config.model import Config
from dnssecd.control.messages.config import ConfigReloaded
from dnssecd.control.peer import Groups
from dnssecd.control.server import ControlServer
from dnssecd.daemon import heap
from dnssecd.daemon.commands.history import OURSELVES
from dnssecd.daemon.garbage import LongLived, keep_all
from dnssecd.daemon.hangups import Hangups
from dnssecd.daemon.state_dir import CannotStart
from dnssecd.daemon.watchdog import Watchdog
from dnssecd.daemon.wiring import Base, Control, Front, ZoneWork
from dnssecd.daemon.zones.databases import OPEN_MAX
from dnssecd.daemon.zones.reload import UNUSABLE
from dnssecd.daemon.zones.start_up import recall, report_changed
from dnssecd.daemon.zones.unconfigured import remember
from dnssecd.ingest.gc_pause import collection_paused
from dnssecd.ingest.watch import identity_now
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops.http_server import HttpServer
from dnssecd.ops.metrics_http import MetricsEndpoint
from dnssecd.procs.signals import on_signal
from dnssecd.publish import tls_client
from dnssecd.sdnotify import notify
from dnssecd.store.errors import StoreError

#: Seconds between queries to the secondaries of further zones after a start, beyond the first OPEN_MAX zones.
FOLLOW_PAUSE_S = 0.01

#: Python's switch interval, seconds: how long a committing thread and the event loop wait for each other at
#: most.
THREADS_SWITCH_S = 0.001

log = structlog.get_logger("dnssecd")


def _find_groups(config: Config) -> Groups:
    """Return the groups of the roles; CannotStart for one that this host does not have."""
    try:
        check_groups(config)
    except ConfigErrors as error:
        raise CannotStart(str(error.errors[0])) from None
    roles = config.roles
    return Groups(group_id(roles.viewer), group_id(roles.operator), group_id(roles.key_officer))


class Daemon:
    """All parts of the daemon's process. ``config`` must be checked already. May raise CannotStart."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._groups = _find_groups(config)
        self.base = Base(config, clock)
        self.work = ZoneWork(self.base)
        self.front = Front(self.base, self.work)
        self.control = Control(self.base, self.work, self.front)
        unheard = self.base.mailbox.unheard()
        assert not unheard, f"no part takes these signals: {unheard}"
        self.zones = self.base.zones
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._page_tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._hangups = Hangups(lambda: self.control.reloader.reload([]), self._note_reload)
        self._long_lived = LongLived()

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve the stored zones, then start work, until :meth:`stop` or a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(loop, number, self.stop)
        on_signal(loop, signal.SIGHUP, self._hangups.heard)
        self.base.metrics.daemon.build.labels(__version__).set(1)
        self.base.metrics.daemon.config_loaded.set(self.base.clock.now())
        self.base.schedule.start()
        self._long_lived.begin()
        if self.work.node is not None:
            await self.work.node.start()
        self._recall()
        self.work.rollovers.begin()
        self.front.updates.start()
        self.front.refusals.start()
        self.front.tls.look()
        await self.front.server.start()
        endpoint, page = self._metrics_endpoint(), self._start_page()
        socket = self.base.config.get().server.control_socket
        control = ControlServer(
            socket, self.control.commands, self._commanded, self.base.acts.record, self._groups
        )
        await control.start()
        self._ready()
        await self._take_up_work()
        await self._stopping.wait()
        notify("STOPPING=1")
        log.info("stopping")
        await control.stop()
        await self.control.keys.aclose()
        for listener in filter(None, (endpoint, page)):
            await asyncio.to_thread(listener.stop)

    def _recall(self) -> None:
        """Restore each zone's published state, so that it is served immediately."""
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
            self.work.primaries.expiry.recall(zone)
            self.work.outcomes.measure(zone)
        report_changed(events, changed)

    def _adopt_orphans(self) -> None:
        """Serve stored zones that are no longer configured, too; store how the others are served."""
        config, catalogue, events = self.base.config.get(), self.base.catalogue, self.base.events
        stored = catalogue.serving()
        for name, document in stored.items():
            orphan = self.base.table.put_orphan(config, document) if name not in self.zones else None
            if orphan is not None:
                cause = f"{name} is stored and served, but the configuration does not name it"
                events.raise_event("zone-not-configured", name, cause)
        for name in config.zones:
            events.resolve("zone-not-configured", name)
        for one in self.base.unusable:
            cause = f"{one.zone} was added while dnssecd ran, and cannot be configured now: {one.what}"
            events.raise_event(UNUSABLE, None, cause, subject=one.zone, remedy=one.remedy)
        for name in events.zones() - self.zones.keys():
            events.remove_zone(name)
        now = {n: remember(config, z, self.zones[n].spec) for n, z in config.zones.items()}
        catalogue.keep_serving({name: text for name, text in now.items() if stored.get(name) != text})

    async def _note_reload(self, result: ConfigReloaded) -> None:
        await self.base.acts.note("a signal", OURSELVES, "config reload", "SIGHUP", result.zones_changed)

    def _metrics_endpoint(self) -> MetricsEndpoint | None:
        config = self.base.config.get().metrics
        if config.listen is None:
            return None
        endpoint = MetricsEndpoint(
            config.listen,
            self.base.metrics.registry,
            self.front.monitor.health,
            lambda: (self.ready, "stored zones are served" if self.ready else "starting"),
            self.base.metrics.large(),
            config.names,
        )
        endpoint.start()
        return endpoint

    def _start_page(self) -> HttpServer | None:
        """Start the status page, if there is to be one. Its work is not needed to serve zones: it may fail alone."""
        config = self.base.config
        if config.get().status_page.listen is None:
            return None
        # Loaded only where there is a page: templates cost memory.
        from dnssecd.page.endpoint import StatusPage

        data = self.control.page
        page = StatusPage(
            lambda: config.get().status_page, data.source, self.base.metrics.daemon.page_requests
        )
        page.start()
        for work in (data.source.run(), data.coming.run()):
            self._page_tasks.append(asyncio.get_running_loop().create_task(work))
            self._page_tasks[-1].add_done_callback(_log_failure)
        return page

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
            listening_tls=[f"{host} port {port}" for host, port in self.front.server.tls_addresses],
            zones=len(self.zones),
            served=len(served),
        )

    async def _take_up_work(self) -> None:
        try:
            await self.base.signer.start()
        except SignerError as error:
            self.base.events.raise_event("signer-unreachable", None, str(error))
        background = [
            self.front.monitor.run(),
            Watchdog(self.base.pool).run(),
            self.front.status.run(),
            self.front.key_survey.run(),
            self.base.signer.watch(),
            self.front.guard.watch(),
            self.front.transfer_limits.watch(),
            self.front.tls.watch(),
            self.base.backups.run(),
            self.front.signalling.run(),
            self.work.sweep.run(),
            self.work.served_check.run(),
            self.work.anchors.run(),
            self.work.marks.run(),
            self.work.resting.run(),
            self.work.unreadable.run(),
            self.work.catalogs.run(),
            self.control.members.run(),
            self.front.alerts.run(),
            self.work.rollovers.run(),
            self._long_lived.run(),
            self._watch_files(),
            self._follow(),
        ]
        if self.work.node is not None:
            background.append(self.work.node.run())
        self._long_lived.visit_all()
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in background]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.work.rollovers.begin()
        self.work.catalogs.write_all()
        # Zones that are not served yet come first.
        for zone in sorted(self.zones.values(), key=lambda zone: zone.doubt is None):
            self.work.jobs.request(zone, "resign" if zone.orphan else "load")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the daemon when a background task fails: none of them may end before the daemon."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed; stopping", exc_info=task.exception())
            self.stop()

    async def _watch_files(self) -> None:
        watcher = self.base.watcher
        for zone in self.zones.values():
            if zone.config.file is not None:
                watcher.watch(zone, [identity_now(Path(zone.config.file))])
        async for changed in watcher.changes():
            for zone in changed:
                if not zone.gone:
                    self.work.imports.edited(zone)
                    self.work.jobs.request(zone, "load")

    async def _follow(self) -> None:
        """Query the secondaries of the stored zones, a limited number in a second."""
        publisher = self.work.publisher
        for number, zone in enumerate(list(self.zones.values())):
            if number >= OPEN_MAX:
                await asyncio.sleep(FOLLOW_PAUSE_S)
            if zone.serial is not None and not zone.gone and not publisher.followed(zone):
                publisher.publish(zone, resume=True)

    async def close(self) -> None:
        """Close all parts, in dependency order."""
        await self._hangups.close()
        self._long_lived.end()
        tasks = [*self._tasks, *self._page_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        base, work, front = self.base, self.work, self.front
        base.schedule.close()
        await work.rollovers.close()
        await work.ds.close()
        await work.notifier.close()
        await front.server.close()
        await tls_client.client().close()
        front.refusals.close()
        await front.updates.close()
        await work.primaries.close()
        await work.adoptions.close()
        await work.follow_ups.close()
        await work.jobs.close()
        await base.pool.close()
        await base.signer.close()
        if work.node is not None:
            await work.node.close()
        base.databases.close()
        if base.cluster is not None:
            base.cluster.close()
        work.marks.finish()
        base.catalogue.close()
        base.act_log.close()
        front.alerts.close()
        base.events.close()
        os.close(base.lock)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the status page shows old data: its work failed", exc_info=task.exception())


async def run(config: Config, clock: Clock) -> int:
    """Run a daemon; return the exit status."""
    daemon = Daemon(config, clock)
    try:
        await daemon.run()
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise CannotStart(named + (error.strerror or str(error))) from error
    finally:
        with collection_paused():  # the process ends: none visits the objects of all zones again
            await daemon.close()
    return 0


def main(config: Config) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; logging is set up already."""
    os.umask(0o077)
    heap.limit_arenas()
    sys.setswitchinterval(THREADS_SWITCH_S)
    for warning in config.warnings:
        log.warning("configuration", cause=str(warning))
    try:
        with suppress(KeyboardInterrupt):
            return asyncio.run(run(config, SystemClock()))
    except (CannotStart, StoreError) as error:
        log.error("cannot start", cause=str(error))
        return 1
    finally:
        keep_all()
    return 0
