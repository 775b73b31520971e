"""The composition root: makes the parts of the daemon, each with all that it needs. It starts nothing.

Parts are made in the order in which they need each other. What would need a later part goes through the mailbox, which
is made first. Nothing is assigned to a part after it was made.
"""

import structlog

from dnssecd import __version__
from dnssecd.clock import Clock, boot_id
from dnssecd.config.model import Config
from dnssecd.control.command import CommandTable
from dnssecd.daemon import fd_limit
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.commands.alerts import AlertCommands
from dnssecd.daemon.commands.ds_show import DsShow
from dnssecd.daemon.commands.history import Acts
from dnssecd.daemon.commands.key import DEADLINE_S, KeyCommands
from dnssecd.daemon.commands.key_list import KeyList, read_keyset
from dnssecd.daemon.commands.keystore import KeyStoreCommands
from dnssecd.daemon.commands.migrate import Adoptions
from dnssecd.daemon.commands.status import StatusCommand, ZoneStates
from dnssecd.daemon.commands.zone import ZoneCommands
from dnssecd.daemon.commands.zone_import import Imports
from dnssecd.daemon.commands.zone_reload import ZoneReload
from dnssecd.daemon.key_service import SignerLink, socket_of
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.manager_status import ManagerStatus
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.daemon.parent.listeners import DsOffice
from dnssecd.daemon.refusals import Refusals
from dnssecd.daemon.rollover.clock_watch import ClockWatch
from dnssecd.daemon.rollover.listeners import EvidenceHooks, RolloverOffice
from dnssecd.daemon.server_reports import ServerHooks
from dnssecd.daemon.state_dir import own_state_dir
from dnssecd.daemon.watchdog import WatchedPool
from dnssecd.daemon.zones import restore_removed
from dnssecd.daemon.zones.config_in_force import ConfigInForce
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.departure import Departures
from dnssecd.daemon.zones.gates import Gates
from dnssecd.daemon.zones.health_checks import Guard
from dnssecd.daemon.zones.job_runner import JobRunner, today
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.marks import MarkKeeper
from dnssecd.daemon.zones.new_config import NewConfig
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.permits import Permits
from dnssecd.daemon.zones.primaries import Primaries
from dnssecd.daemon.zones.publisher import Publisher
from dnssecd.daemon.zones.reload import Reloader
from dnssecd.daemon.zones.reverify import Sweep
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.updates import Updates
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.ingest.watch import ZoneWatcher
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.ops.events import EventCore
from dnssecd.ops.looplag import LoopMonitor
from dnssecd.ops.metrics import Metrics
from dnssecd.publish import xfrout
from dnssecd.publish.notify import Notifier
from dnssecd.publish.watch import Ledger
from dnssecd.server.listener import DnsServer
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.operator_log import ActLog
from dnssecd.store.statedir import tighten

log = structlog.get_logger("dnssecd")


class Base:
    """What everything stands on: the state directory, books, zones, the key service, and the gates."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.clock = clock
        self.mailbox = Mailbox()
        self.config = ConfigInForce(config)
        state_dir = config.server.state_dir
        self.lock = own_state_dir(state_dir)
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
        self.schedule = Schedule(clock)
        self.watcher = ZoneWatcher()
        self.table = ZoneTable(socket_of(config), self.databases)
        self.zones = self.table.by_name
        for zone in config.zones.values():
            self.table.put(config, zone)
        self.acts = Acts(self.act_log, self.zones, self.events, clock)
        self.signer = SignerLink(
            config,
            self.events,
            self.metrics,
            clock,
            self.mailbox.key_service_recovered.send,
            self.table.needed_by,
        )
        self.clock_watch = ClockWatch(
            clock,
            state_dir / "clock",
            config.server.clock_tolerance,
            self.events,
            self.table.asked_servers,
            self.mailbox.clock_sure.send,
            self.table.any_stepped,
            boot_id(),
        )
        self.gates = Gates(self.clock_watch.held, self.signer.held)
        self.pool = WatchedPool(_worker_died, self.gates.why_job_stopped)


class ZoneWork:
    """The parts that work on zones."""

    def __init__(self, base: Base) -> None:
        self.hooks = EvidenceHooks(base.metrics, base.events, base.mailbox)
        self.notifier = Notifier(Ledger(self.hooks), base.clock.now, NotifySender(base.clock.now), self.hooks)
        self.publisher = Publisher(self.notifier, base.events, base.mailbox)
        self.outcomes = Outcomes(
            base.zones,
            base.events,
            base.metrics,
            base.catalogue,
            base.clock,
            base.schedule,
            base.mailbox,
        )
        runner = JobRunner(base.pool, base.clock)
        permits = Permits(
            base.config.get,
            runner,
            self.outcomes,
            base.signer.client,
            base.events,
            base.metrics,
            base.clock,
            base.mailbox,
        )
        self.jobs = ZoneJobs(
            base.config.get,
            runner,
            self.outcomes,
            permits,
            base.events,
            base.metrics,
            base.clock,
            base.schedule,
            base.watcher,
            base.mailbox,
        )
        self.primaries = Primaries(
            self.jobs,
            base.events,
            base.metrics,
            base.clock,
            base.schedule,
            base.config.get().server.state_dir,
            base.gates,
            base.mailbox,
        )
        self.imports = Imports(base.zones, self.jobs, base.events)
        self.adoptions = Adoptions(base.zones, self.jobs, base.config.get, base.pool.lock, base.clock)
        self.rollovers = RolloverOffice(
            base.config.get,
            base.zones,
            self.jobs,
            base.signer.client,
            base.events,
            base.clock,
            base.schedule,
            base.pool,
            base.clock_watch,
            lambda: self.notifier.sweep_s,
            base.mailbox,
        )
        self.ds = DsOffice(
            base.config.get,
            base.zones,
            base.events,
            base.clock,
            base.acts,
            lambda channel, result: base.metrics.peers.ds_ways.labels(channel, result).inc(),
            self.rollovers.rollovers.listeners,
            base.mailbox,
        )
        self.marks = MarkKeeper(
            base.zones, base.table.by_origin, base.databases, base.catalogue, base.mailbox
        )
        self.sweep = Sweep(base.zones, self.jobs, base.clock)


class Front:
    """The parts that answer others: servers, clients, operators."""

    def __init__(self, base: Base, work: ZoneWork) -> None:
        config = base.config.get()
        self.peers = KnownPeers(config)
        self.refusals = Refusals(base.metrics.server, base.events, self.peers, base.clock.monotonic)
        noted = base.metrics.server.updates_noted
        self.updates = Updates(
            base.clock,
            str(base.signer.socket),
            base.pool.lock,
            work.jobs.updated,
            today,
            lambda rcode: base.metrics.server.updates.labels(rcode).inc(),
            base.gates,
            base.signer.settled,
            self.refusals.refused,
            UpdateNotes(base.events, lambda event: noted.labels(event).inc(), base.clock.monotonic),
            base.mailbox,
        )
        self.server = DnsServer(
            [(address.host, address.port) for address in config.server.listen],
            base.table.by_origin.get,
            base.config.tsig_keys,
            xfrout,
            base.clock.now,
            ServerHooks(base.metrics, self.refusals),
            on_notify=work.primaries.on_notify,
            on_update=self.updates.handle,
            known=self.peers.knows,
        )
        self.alerts = AlertEngine(
            config,
            base.events,
            base.clock,
            base.metrics.alerts,
            base.zones,
            base.schedule,
            base.signer.state,
            details=lambda event: work.rollovers.details(event) or work.ds.automation.details(event),
        )
        self.monitor = LoopMonitor(base.metrics.daemon.loop_lag.observe)
        self.guard = Guard(base.zones, base.events, base.metrics, base.clock, config.server.state_dir)
        self.status = ManagerStatus(base.zones)


class Control:
    """The parts behind the control socket."""

    def __init__(self, base: Base, work: ZoneWork, front: Front) -> None:
        departures = Departures(
            base.table,
            base.databases,
            base.pool,
            base.clock,
            base.events,
            base.metrics,
            base.catalogue,
            base.mailbox,
        )
        new_config = NewConfig(
            base.zones, front.peers, front.refusals, front.alerts, work.rollovers, work.publisher
        )
        self.reloader = Reloader(
            base.config,
            base.table,
            work.jobs,
            base.signer,
            base.events,
            base.metrics,
            base.catalogue,
            base.clock,
            new_config.take_up,
            departures,
        )
        self.removed = restore_removed.RemovedZones(
            restore_removed.Parts(
                base.config.get,
                base.table,
                work.jobs,
                departures,
                base.events,
                base.catalogue,
                base.clock,
                base.signer.client,
                self.reloader.turn,
            )
        )
        #: A connection to the key service for commands.
        self.keys = AsyncSignerClient(str(base.signer.socket), DEADLINE_S)
        self.commands = self._register(base, work, front)

    def _register(self, base: Base, work: ZoneWork, front: Front) -> CommandTable:
        """Return all commands of the control socket, noun by noun."""
        states = ZoneStates(base.events, work.notifier, base.clock)
        status = StatusCommand(
            base.zones,
            states,
            base.events,
            base.clock,
            base.signer.state,
            front.alerts.status,
            base.clock_watch.held,
        )
        ds_show = DsShow(
            base.zones, read_keyset, work.ds.automation.progress, work.rollovers.ahead, base.clock
        )
        return CommandTable(
            status.commands(),
            ZoneCommands(base.zones, states, work.jobs, base.clock, base.acts.of).commands(),
            ZoneReload(base.zones, work.jobs, work.primaries).commands(),
            work.imports.commands(),
            self.removed.commands(),
            KeyList(base.zones).commands(),
            KeyCommands(base.zones, self.keys).commands(),
            KeyStoreCommands(base.zones, self.keys).commands(),
            work.rollovers.commands(),
            ds_show.commands(),
            work.adoptions.commands(),
            AlertCommands(base.zones, base.events).commands(),
            front.alerts.commands(),
            self.reloader.commands(),
        )


def _databases_max() -> int:
    files = fd_limit.allow_many()
    trouble = fd_limit.shortage(files)
    if trouble:
        log.warning("few files may be open", cause=trouble)
    return fd_limit.databases_max(files)


def _worker_died(zone: str, why: str) -> None:
    log.error("zone worker died", zone=zone, cause=why)
