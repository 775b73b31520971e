"""The composition root of the front process: builds the parts, wires them, runs until told to stop."""

import asyncio
import gc
import os
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path

import structlog

from dnssecd import __version__
from dnssecd.clock import Clock, SystemClock
from dnssecd.config.diff import diff
from dnssecd.config.model import Config
from dnssecd.control.server import Command, ControlServer, Refused
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.daemon import fd_limit as descriptors
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.commands.ds_show import DsShow
from dnssecd.daemon.commands.history import OURSELVES, Acts
from dnssecd.daemon.commands.key import KeyCommands
from dnssecd.daemon.commands.migrate import Adoptions
from dnssecd.daemon.commands.table import Commands, stored_keyset
from dnssecd.daemon.commands.zone_import import Imports
from dnssecd.daemon.key_service import SignerLink
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.manager_status import ManagerStatus
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.daemon.parent.listeners import DsOffice
from dnssecd.daemon.refusals import Refusals
from dnssecd.daemon.rollover.listeners import EvidenceHooks, RolloverOffice
from dnssecd.daemon.server_reports import ServerHooks
from dnssecd.daemon.watchdog import Watchdog, WatchedPool
from dnssecd.daemon.zones import restore_removed, specs
from dnssecd.daemon.zones.databases import OPEN_MAX, Databases
from dnssecd.daemon.zones.departure import Departures, Forget
from dnssecd.daemon.zones.health_checks import Guard
from dnssecd.daemon.zones.marks import MarkKeeper
from dnssecd.daemon.zones.primaries import Primaries
from dnssecd.daemon.zones.primaries_reload import PrimariesReload
from dnssecd.daemon.zones.reload import Reloader
from dnssecd.daemon.zones.reverify import Sweep
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.start_up import recall, report_changed
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.unconfigured import remember
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.updates import Updates
from dnssecd.daemon.zones.work import Parts, ZoneJobs, today
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ingest.watch import ZoneWatcher, identity_now
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.ops import log as log_setup
from dnssecd.ops.alerts.store import AlertSchemaError
from dnssecd.ops.event_store import EventSchemaError
from dnssecd.ops.events import EventCore
from dnssecd.ops.looplag import LoopMonitor
from dnssecd.ops.metrics import Metrics
from dnssecd.ops.metrics_http import MetricsEndpoint
from dnssecd.pipeline.version.apex import soa_rdata
from dnssecd.publish import xfrout
from dnssecd.publish.notify import Goal, Notifier
from dnssecd.publish.watch import Ledger
from dnssecd.sdnotify import notify
from dnssecd.server.listener import DnsServer
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.errors import StoreError
from dnssecd.store.operator_log import ActLog
from dnssecd.store.statedir import StateInUse, may_use, own, tighten

#: Beyond the first few, the secondaries of so many zones a second are asked what they serve after a start: 100.
FOLLOW_PAUSE_S = 0.01

#: A thread that commits hands over to the event loop, and gets back from it, after at most this long.
THREADS_SWITCH_S = 0.001

log = structlog.get_logger("dnssecd")


class CannotStart(Exception):
    """The daemon cannot run; the message says what is in the way and whose it is to move."""


class Daemon:
    """Everything that runs in the front process. ``config`` was checked as a whole before."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        state_dir = config.server.state_dir
        self._lock = _own(state_dir)
        open_to_others = tighten(state_dir)
        self.events = EventCore(state_dir / "events.sqlite", clock)
        if open_to_others:
            self.events.raise_event("keystore-mode-fixed", None, open_to_others, subject=str(state_dir))
        self.metrics = Metrics(self.events)
        self.metrics.daemon.build.labels(__version__).set(1)
        self.metrics.daemon.config_loaded.set(clock.now())
        self.catalogue = Catalogue(state_dir / "catalogue.sqlite")
        self.act_log = ActLog(state_dir / "acts.sqlite")
        self.databases = Databases(_databases_max())
        self.signer = SignerLink(config, self.events, self.metrics, clock)
        self.schedule = Schedule(clock)
        hooks = EvidenceHooks(self.metrics, self.events)
        self.notifier = Notifier(Ledger(hooks), clock.now, NotifySender(clock.now), hooks)
        self.watcher = ZoneWatcher()
        self.pool = WatchedPool(_worker_died)
        self.table = ZoneTable(self.signer.socket, self.databases)
        self.zones = self.table.by_name
        for zone in config.zones.values():
            self.table.put(config, zone)
        self.acts = Acts(self.act_log, self.zones, self.events, clock)
        self.jobs = ZoneJobs(
            config,
            Parts(
                self.pool,
                self.signer.client,
                self.events,
                self.metrics,
                self.catalogue,
                clock,
                self.schedule,
                self.watcher,
                self.publish,
            ),
        )
        self.primaries = Primaries(self.jobs, self.events, self.metrics, clock, self.schedule, state_dir)
        self.primaries.doubt = lambda: self.rollovers.clock.held()
        self.primaries.on_expiry = self._expiry
        self.imports = Imports(self.zones, self.jobs, self.events)
        self.adoptions = Adoptions(self.zones, self.jobs, lambda: self.config, self.pool.lock, clock)
        self.signer.recovered = lambda: self.jobs.retry_failed(self.zones)
        self.signer.needed_by = self.table.needed_by
        self.rollovers = RolloverOffice(
            lambda: self.config,
            self.zones,
            self.jobs,
            self.signer.client,
            self.events,
            clock,
            self.schedule,
            self.pool,
            hooks,
        )
        self.ds = DsOffice(
            lambda: self.config,
            self.zones,
            self.events,
            clock,
            self.acts,
            lambda way, result: self.metrics.peers.ds_ways.labels(way, result).inc(),
        )
        self.rollovers.sweep_s = lambda: self.notifier.sweep_s
        self.rollovers.rollovers.listeners.append(self.ds)
        self.rollovers.overdue.on_ds = lambda zone: self.ds.automation.ds_overdue(zone.name)
        self.updates = Updates(
            clock,
            str(self.signer.socket),
            self.pool.lock,
            self.jobs.updated,
            today,
            lambda rcode: self.metrics.server.updates.labels(rcode).inc(),
        )
        self.updates.held = lambda: self.rollovers.clock.held() or self.signer.held()
        self.updates.news = self._notify
        self.updates.notes = UpdateNotes(
            self.events, lambda event: self.metrics.server.updates_noted.labels(event).inc(), clock.monotonic
        )
        self.updates.settled = self.signer.settled
        self._tsig = specs.tsig_keys(config)
        self.peers = KnownPeers(config)
        self.refusals = Refusals(self.metrics.server, self.events, self.peers, clock.monotonic)
        self.updates.refused = self.refusals.refused
        self.server = DnsServer(
            [(address.host, address.port) for address in config.server.listen],
            self.table.by_origin.get,
            lambda: self._tsig,
            xfrout,
            clock.now,
            ServerHooks(self.metrics, self.refusals),
            on_notify=self.primaries.on_notify,
            on_update=self.updates.handle,
            known=self.peers.knows,
        )
        departures = Departures(self.table, self.databases, self.pool, clock, self._rooms())
        self.reloader = Reloader(
            config,
            self.table,
            self.jobs,
            self.signer,
            self.events,
            self.metrics,
            self.catalogue,
            clock,
            self._applied,
            departures,
        )
        self.removed = restore_removed.RemovedZones(
            restore_removed.Parts(
                lambda: self.config,
                self.table,
                self.jobs,
                departures,
                self.events,
                self.catalogue,
                clock,
                self.signer.client,
                self.reloader.turn,
            )
        )
        self.alerts = AlertEngine(
            config,
            self.events,
            clock,
            self.metrics.alerts,
            self.zones,
            self.schedule,
            self.signer.state,
            details=lambda event: self.rollovers.details(event) or self.ds.automation.details(event),
        )
        self.monitor = LoopMonitor(self.metrics.daemon.loop_lag.observe)
        self.guard = Guard(self.zones, self.events, self.metrics, clock, state_dir)
        self.marks = MarkKeeper(self.zones, self.table.by_origin, self.databases, self.catalogue)
        self.jobs.on_remembered = self.marks.note
        self.jobs.on_withheld = lambda zone: self.notifier.withdraw(zone.name)
        self.sweep = Sweep(self.zones, self.jobs, clock)
        self.status = ManagerStatus(self.zones)
        self.ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def _rooms(self) -> tuple[Forget, ...]:
        """What is to be done for a zone to be forgotten: by each part of the daemon that keeps something of it."""
        return (
            lambda zone: self.notifier.withdraw(zone.name),
            self.jobs.forget,
            self.primaries.forget,
            self.updates.forget,
            self.rollovers.forget,
            self.ds.forget,
            lambda zone: self.events.remove_zone(zone.name),
            lambda zone: self.metrics.forget_zone(zone.name),
            lambda zone: self.catalogue.remove(zone.name),
        )

    async def run(self) -> None:
        """Serve the stored zones, then take up work, until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        self.schedule.start()
        self._recall()
        self.rollovers.begin()
        self.updates.start()
        await self.server.start()
        endpoint = self._metrics_endpoint()
        keys = KeyCommands(self.zones, str(self.signer.socket))
        control = ControlServer(
            self.config.server.control_socket, self.commands(keys), self._commanded, self.acts.record
        )
        await control.start()
        self._ready()
        await self._take_up_work()
        await self._stopping.wait()
        notify("STOPPING=1")
        log.info("stopping")
        await control.stop()
        await keys.close()
        if endpoint is not None:
            await asyncio.to_thread(endpoint.stop)

    def commands(self, keys: KeyCommands) -> dict[str, Command]:
        """Return all commands of the control socket."""
        commands = Commands(
            self.zones,
            self.jobs,
            self.events,
            self.notifier,
            self.clock,
            self.signer.state,
            self.alerts.status,
        )
        commands.acts_of = self.acts.of
        table = {**commands.table(), **self.reloader.table(), **self.alerts.commands(), **keys.table()}
        commands.clock_doubt = self.rollovers.clock.held
        table |= self.rollovers.commands()
        table |= DsShow(
            self.zones, stored_keyset, self.ds.automation.progress, self.rollovers.ahead, self.clock
        ).table()
        table |= self.imports.table() | self.adoptions.table() | self.removed.table()
        table |= PrimariesReload(self.zones, self.primaries, commands.zone_reload).table()
        return table

    def _recall(self) -> None:
        """Know again what was published before, so that it is served at once."""
        self._adopt_orphans()
        entries = self.catalogue.entries()
        exact = len(self.zones) <= OPEN_MAX
        changed = []
        for zone in self.zones.values():
            try:
                if recall(zone, entries.get(zone.name), exact=exact):
                    changed.append(zone)
            except (StoreError, sqlite3.Error, OSError) as error:
                self.events.raise_event("store-failed", zone.name, f"{zone.spec.database}: {error}")
                continue
            self.primaries.recall(zone)
            self.jobs.measure(zone)
        report_changed(self.events, changed)

    def _adopt_orphans(self) -> None:
        """Serve on stored zones that the configuration has lost; note how the others are served."""
        stored = self.catalogue.serving()
        for name, document in stored.items():
            orphan = self.table.put_orphan(self.config, document) if name not in self.zones else None
            if orphan is not None:
                cause = f"{name} is stored and served, but the configuration does not name it"
                self.events.raise_event("zone-not-configured", name, cause)
        for name in self.config.zones:
            self.events.resolve("zone-not-configured", name)
        for name in self.events.zones() - self.zones.keys():
            self.events.remove_zone(name)
        now = {n: remember(self.config, z, self.zones[n].spec) for n, z in self.config.zones.items()}
        self.catalogue.put_serving({name: text for name, text in now.items() if stored.get(name) != text})

    def _applied(self, config: Config) -> None:
        """Take up a new configuration; its zones have been put into the table already."""
        found = diff(self.config, config)
        self.config = config
        self._tsig = specs.tsig_keys(config)
        self.peers.configure(config)
        self.refusals.forget()
        self.alerts.configure(config)
        self.rollovers.configure((*found.added, *found.changed))
        log_setup.setup(config.log.format, config.log.level)
        for zone in self.zones.values():
            if zone.serial is not None and not self._followed(zone):
                self.publish(zone)

    def _followed(self, zone: FrontZone) -> bool:
        return self.notifier.follows(zone.name, zone.secondaries, zone.watched)

    def _hangup(self) -> None:
        """SIGHUP: reload the configuration; what is wrong with it is told by event and log."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloading = task

    async def _reload(self) -> None:
        try:
            result = await self.reloader.reload([])
            log.info("configuration reloaded", changes=len(result["changes"]))
            await self.acts.note("a signal", OURSELVES, "config reload", "SIGHUP", result["zones_changed"])
        except Refused as refused:
            log.error("configuration not applied", cause=refused.what, remedy=refused.remedy)
        notify("READY=1")

    def _metrics_endpoint(self) -> MetricsEndpoint | None:
        listen = self.config.metrics.listen
        if listen is None:
            return None
        endpoint = MetricsEndpoint(
            listen,
            self.metrics.registry,
            self.monitor.health,
            lambda: (self.ready, "stored zones are served" if self.ready else "starting"),
            self.metrics.large(),
        )
        endpoint.start()
        return endpoint

    def _commanded(self, command: str, result: str) -> None:
        self.metrics.daemon.control.labels(command, result).inc()

    def _ready(self) -> None:
        self.ready = True
        served = [zone for zone in self.zones.values() if zone.serial is not None]
        self.status.ready()
        log.info(
            "ready",
            version=__version__,
            listening=[f"{host} port {port}" for host, port in self.server.addresses],
            zones=len(self.zones),
            served=len(served),
        )

    async def _take_up_work(self) -> None:
        try:
            await self.signer.start()
        except SignerError as error:
            self.events.raise_event("signer-unreachable", None, str(error))
        background = (
            self.monitor.run(),
            Watchdog(self.pool).run(),
            self.status.run(),
            self.signer.watch(),
            self.guard.watch(),
            self.sweep.run(),
            self.marks.run(),
            self.alerts.run(),
            self.rollovers.run(),
            self._watch_files(),
            self._follow(),
        )
        # What is here now stays: it need not be looked through whenever garbage is collected.
        gc.collect()
        gc.freeze()
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in background]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.rollovers.begin()
        # Zones that are not served yet go first.
        for zone in sorted(self.zones.values(), key=lambda zone: zone.doubt is None):
            if zone.orphan:
                self.jobs.request(zone, "resign")
            else:
                self.jobs.request(zone, "load")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A background task never ends by itself; when one does, the daemon ends rather than limp on."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed; stopping", exc_info=task.exception())
            self._stopping.set()

    async def _watch_files(self) -> None:
        for zone in self.zones.values():
            if zone.config.file is not None:
                self.watcher.watch(zone.name, [identity_now(zone.config.file)])
        async for names in self.watcher.changes():
            for name in names & self.zones.keys():
                self.imports.edited(self.zones[name])
                self.jobs.request(self.zones[name], "load")

    async def _follow(self) -> None:
        """Look where the secondaries of the stored zones are; of many zones not all at once."""
        for number, zone in enumerate(list(self.zones.values())):
            if number >= OPEN_MAX:
                await asyncio.sleep(FOLLOW_PAUSE_S)
            if zone.serial is not None and not zone.gone and not self._followed(zone):
                self.publish(zone, resume=True)

    def _expiry(self, zone: FrontZone) -> None:
        """A zone has expired, or is served again."""
        if zone.gone:
            return
        if zone.expired:
            self.notifier.withdraw(zone.name)
        elif zone.serial is not None:
            self.publish(zone)

    def publish(self, zone: FrontZone, *, resume: bool = False) -> None:
        """Tell the secondaries of the version that is served, and follow them until they have it.

        resume: it was published before this start; those that have it are not told.
        """
        if zone.expired or zone.gone:
            return
        try:
            with zone.database.snapshot() as snapshot:
                soa = snapshot.rrset(APEX, SOA)
                serial = snapshot.serial
        except (StoreError, sqlite3.Error, OSError) as error:
            self.events.raise_event("store-failed", zone.name, f"{zone.spec.database}: {error}")
            return
        assert soa is not None
        self._notify(zone, serial, soa, resume=resume)

    def _notify(self, zone: FrontZone, serial: int, soa: RRset, *, resume: bool = False) -> None:
        self.notifier.published(
            zone.name,
            Goal(serial, soa_rdata(soa), soa.ttl),
            zone.secondaries,
            zone.watched,
            resume=resume,
        )

    async def close(self) -> None:
        """End everything, in the order in which things lean on one another."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.schedule.close()
        await self.rollovers.close()
        await self.ds.close()
        await self.notifier.close()
        await self.server.close()
        self.refusals.close()
        await self.updates.close()
        await self.primaries.close()
        await self.adoptions.close()
        await self.jobs.close()
        await self.pool.close()
        await self.signer.close()
        self.databases.close()
        self.marks.finish()
        self.catalogue.close()
        self.act_log.close()
        self.alerts.close()
        self.events.close()
        os.close(self._lock)


def _own(state_dir: Path) -> int:
    """Make the state directory and take the lock on it; CannotStart when another daemon, or a restore, has it."""
    try:
        if not may_use(state_dir):
            raise CannotStart(f"state_dir {state_dir} belongs to another user; chown it to the daemon's")
        return own(state_dir)
    except StateInUse as error:
        raise CannotStart(f"{error}; one daemon to a state_dir") from error
    except OSError as error:
        raise CannotStart(f"state_dir {state_dir} cannot be used: {error.strerror}") from error


def _databases_max() -> int:
    files = descriptors.allow_many()
    trouble = descriptors.shortage(files)
    if trouble:
        log.warning("few files may be open", cause=trouble)
    return descriptors.databases_max(files)


def _worker_died(zone: str, why: str) -> None:
    log.error("zone worker died", zone=zone, cause=why)


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
    """Run the front in the foreground until SIGTERM or SIGINT; logging is set up already."""
    os.umask(0o077)
    sys.setswitchinterval(THREADS_SWITCH_S)
    for warning in config.warnings:
        log.warning("configuration", cause=str(warning))
    try:
        with suppress(KeyboardInterrupt):
            return asyncio.run(run(config, SystemClock()))
    except (CannotStart, StoreError, EventSchemaError, AlertSchemaError, sqlite3.Error) as error:
        log.error("cannot start", cause=str(error))
        return 1
    return 0
