"""The composition root: make the parts of the daemon, each with everything that it needs; start nothing.

Parts are made in dependency order. Messages to a later part go through the mailbox, which is made first.
Nothing is assigned to a part after its construction.
"""

from collections.abc import Callable

from dnssecd.clock import Clock, boot_id
from dnssecd.config.added import with_added
from dnssecd.config.model import Config
from dnssecd.control.command import CommandTable
from dnssecd.daemon import fd_limit
from dnssecd.daemon.alerting import AlertEngine
from dnssecd.daemon.anchors.publisher import AnchorPublisher
from dnssecd.daemon.backup_watch import BackupWatch
from dnssecd.daemon.cluster.optional import (
    admin_of,
    forwarder,
    keys_of,
    lease_runs,
    link_of,
    log_of,
    node_of,
    shares_of,
)
from dnssecd.daemon.commands.alerts import AlertCommands
from dnssecd.daemon.commands.anchors import AnchorCommands
from dnssecd.daemon.commands.audit import AuditCommand
from dnssecd.daemon.commands.cluster import ClusterCommands
from dnssecd.daemon.commands.ds_show import DsShow
from dnssecd.daemon.commands.history import Acts
from dnssecd.daemon.commands.key import DEADLINE_S, KeyCommands
from dnssecd.daemon.commands.key_list import KeyList, read_keyset
from dnssecd.daemon.commands.keystore import KeyStoreCommands
from dnssecd.daemon.commands.migrate import Adoptions
from dnssecd.daemon.commands.sizes import SizeCommands
from dnssecd.daemon.commands.status import StatusCommand, ZoneStates
from dnssecd.daemon.commands.zone import ZoneCommands
from dnssecd.daemon.commands.zone_import import Imports
from dnssecd.daemon.commands.zone_reload import ZoneReload
from dnssecd.daemon.commands.zone_review import ZoneReview
from dnssecd.daemon.key_service import SignerLink, place_of
from dnssecd.daemon.key_usage import KeyUsage
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.manager_status import ManagerStatus
from dnssecd.daemon.notify_sender import NotifySender
from dnssecd.daemon.page.ahead import ComingSteps
from dnssecd.daemon.page.surveys import Surveys
from dnssecd.daemon.page.zone_views import ZoneViews
from dnssecd.daemon.parent.listeners import DsService
from dnssecd.daemon.refusals import Refusals
from dnssecd.daemon.rollover.clock_watch import ClockWatch
from dnssecd.daemon.rollover.key_survey import KeySurveyor
from dnssecd.daemon.rollover.listeners import EvidenceHooks, RolloverService
from dnssecd.daemon.server_reports import PeerReports, ServerHooks
from dnssecd.daemon.state_dir import open_events, own_state_dir
from dnssecd.daemon.tls_identity import TlsIdentity
from dnssecd.daemon.tls_reports import TlsReports
from dnssecd.daemon.watchdog import WatchedPool
from dnssecd.daemon.zones import restore_removed
from dnssecd.daemon.zones.added_records import AddedRecords
from dnssecd.daemon.zones.added_zones import AddedZones
from dnssecd.daemon.zones.after_publication import FollowUps
from dnssecd.daemon.zones.catalog_maker import CatalogMaker
from dnssecd.daemon.zones.catalog_members import CatalogMembers
from dnssecd.daemon.zones.config_in_force import ConfigInForce
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.departure import Departures
from dnssecd.daemon.zones.gates import Gates
from dnssecd.daemon.zones.health_checks import Guard
from dnssecd.daemon.zones.job_runner import JobRunner, log_death, today
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.marks import MarkKeeper
from dnssecd.daemon.zones.new_config import NewConfig
from dnssecd.daemon.zones.outcomes import Outcomes
from dnssecd.daemon.zones.permits import Permits
from dnssecd.daemon.zones.primaries import Primaries
from dnssecd.daemon.zones.publisher import Publisher
from dnssecd.daemon.zones.reload import Reloader
from dnssecd.daemon.zones.resting import Resting
from dnssecd.daemon.zones.reverify import Sweep
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.served_check import ServedCheck
from dnssecd.daemon.zones.signalling import Signalling
from dnssecd.daemon.zones.table import ZoneTable
from dnssecd.daemon.zones.transfer_limits import TransferLimits
from dnssecd.daemon.zones.unreadable import UnreadableZones
from dnssecd.daemon.zones.update_notes import UpdateNotes
from dnssecd.daemon.zones.updates import Updates
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ingest.watch import ZoneWatcher
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.ops.looplag import LoopMonitor
from dnssecd.ops.metrics import Metrics
from dnssecd.publish import xfrout
from dnssecd.publish.notify import Notifier
from dnssecd.server.listener import DnsServer
from dnssecd.store.catalogue import Catalogue
from dnssecd.store.operator_log import ActLog


class Base:
    """The base of all other parts: state directory, metrics and events, zones, key service, gates."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.clock = clock
        self.mailbox = Mailbox()
        state_dir = config.server.state_dir
        self.lock = own_state_dir(state_dir)
        self.events = open_events(state_dir, clock)
        self.metrics = Metrics(self.events)
        self.catalogue = Catalogue(state_dir / "catalogue.sqlite")
        self.added = AddedRecords(self.catalogue)
        whole, self.unusable = with_added(config, self.added.all())
        self.config = ConfigInForce(whole)
        self.act_log = ActLog(state_dir / "acts.sqlite")
        self.cluster = link_of(config)
        self.databases = Databases[FrontZone](fd_limit.allow_databases(), log_of)
        self.schedule = Schedule(clock)
        self.backups = BackupWatch(self.config.get, self.schedule, self.events, self.metrics.backup, clock)
        self.peers = KnownPeers(whole)
        self.key_usage = KeyUsage(clock.now)
        self.tls_reports = TlsReports(
            self.events, self.peers, self.metrics.server.tls_handshakes, clock.monotonic, self.mailbox
        )
        self.peer_reports = PeerReports(self.tls_reports, self.key_usage)
        self.watcher = ZoneWatcher[FrontZone]()
        room = None if self.cluster is None else self.cluster.room
        self.table = ZoneTable(place_of(config), self.databases, whole, room)
        self.zones = self.table.by_name
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
        self.pool = WatchedPool(log_death, self.gates.why_job_stopped)

    @property
    def shares(self) -> tuple[Callable[[], None], ...]:
        """What lets other processes read the daemon's own databases again after the disk was full."""
        return self.events.share, self.catalogue.share, self.act_log.share


class Jobs:
    """The parts that make versions of zones, and bring them to the secondaries."""

    def __init__(self, base: Base) -> None:
        self.hooks = EvidenceHooks(
            base.metrics, base.events, base.peer_reports, base.mailbox, base.table.stored_serial
        )
        self.notifier = Notifier(base.clock.now, NotifySender(base.clock.now), self.hooks, self.hooks)
        self.publisher = Publisher(base.table.by_origin, self.notifier, base.events, base.mailbox)
        self.outcomes = Outcomes(
            base.zones,
            base.events,
            base.metrics,
            base.catalogue,
            base.clock,
            base.schedule,
            base.mailbox,
        )
        place = None if base.cluster is None else base.cluster.place
        self.runner = JobRunner(base.pool, base.clock, place, base.mailbox)
        self.shares = shares_of(
            base.cluster, base.config.get, base.zones, base.signer.client, base.metrics.cluster
        )
        permits = Permits(
            base.config.get,
            self.runner,
            self.outcomes,
            base.signer.client,
            base.events,
            base.metrics,
            base.clock,
            base.mailbox,
            None if self.shares is None else self.shares.holders,
        )
        self.jobs = ZoneJobs(
            base.config.get,
            self.runner,
            self.outcomes,
            permits,
            base.events,
            base.metrics,
            base.clock,
            base.schedule,
            base.watcher,
            base.mailbox,
        )
        self.node = node_of(
            base.cluster,
            base.config.get,
            base.zones,
            self.runner,
            self.outcomes,
            base.signer,
            base.events,
            base.clock,
            base.mailbox,
            base.metrics.cluster,
            self.shares,
        )


class ZoneWork(Jobs):
    """All parts that work on zones."""

    def __init__(self, base: Base) -> None:
        super().__init__(base)
        self.primaries = Primaries(
            self.jobs,
            base.events,
            base.metrics,
            base.clock,
            base.schedule,
            base.config.get().server.state_dir,
            base.gates,
            base.peer_reports,
            base.mailbox,
        )
        self.imports = Imports(base.zones, self.jobs, base.events)
        self.adoptions = Adoptions(base.zones, self.jobs, base.config.get, base.clock)
        self.rollovers = RolloverService(
            base.config.get,
            base.zones,
            self.jobs,
            base.signer.client,
            base.events,
            base.clock,
            base.schedule,
            base.clock_watch,
            lambda: self.notifier.sweep_s,
            base.mailbox,
            None if self.shares is None else self.shares.holders,
            None if self.shares is None else self.shares.withdraw,
            keys_of(self.node),
        )
        self.ds = DsService(
            base.config.get,
            base.zones,
            base.events,
            base.clock,
            base.acts,
            lambda channel, result: base.metrics.peers.ds_ways.labels(channel, result).inc(),
            self.rollovers.rollovers.listeners,
            base.mailbox,
            lease_runs(base.cluster, base.clock),
        )
        self.marks = MarkKeeper(base.zones, base.databases, base.catalogue, base.mailbox)
        self.unreadable = UnreadableZones(base.databases, base.events)
        self.resting = Resting(base.databases, base.pool, base.shares)
        self.sweep = Sweep(base.zones, self.jobs, base.clock)
        self.catalogs = CatalogMaker(
            base.config, base.zones, self.jobs, base.events, base.clock, base.mailbox
        )
        self.follow_ups = FollowUps(self.runner, base.events, base.clock, base.mailbox)
        self.anchors = AnchorPublisher(
            base.config.get,
            base.events,
            base.metrics.anchors,
            base.clock,
            self.rollovers.rollovers.listeners,
            base.mailbox,
            lease_runs(base.cluster, base.clock),
        )
        self.served_check = ServedCheck(base.zones, self.rollovers.parents.look, base.events, base.clock)


class Front:
    """The parts that answer requests of servers, clients and operators."""

    def __init__(self, base: Base, work: ZoneWork) -> None:
        config = base.config.get()
        self.refusals = Refusals(
            base.metrics.server, base.events, base.peers, base.table, base.mailbox, base.clock.monotonic
        )
        self.tls = TlsIdentity(
            base.config.get, base.events, base.clock, base.metrics.server.tls_expiration, base.mailbox
        )
        noted = base.metrics.server.updates_noted
        self.updates = Updates(
            base.clock,
            base.signer.place,
            work.jobs.updated,
            today,
            lambda rcode: base.metrics.server.updates.labels(rcode).inc(),
            base.gates,
            base.signer.settled,
            self.refusals.refused,
            UpdateNotes(
                base.zones, base.events, lambda event: noted.labels(event).inc(), base.clock.monotonic
            ),
            base.mailbox,
        )
        self.server = self._make_server(base, work)
        self.signalling = Signalling(base.zones, self.updates.handle, base.clock, base.mailbox)
        self.alerts = AlertEngine(
            config,
            base.events,
            base.clock,
            base.metrics.alerts,
            base.zones,
            base.schedule,
            base.signer.state,
            details=lambda event: work.rollovers.details(event) or work.ds.details(event),
        )
        self.monitor = LoopMonitor(base.metrics.daemon.loop_lag.observe)
        self.guard = Guard(base.zones, base.events, base.metrics, base.clock, config.server.state_dir)
        self.transfer_limits = TransferLimits(
            self.server.slots,
            self.server.drains,
            base.events,
            base.metrics.server,
            base.clock,
            config.server.state_dir,
        )
        self.status = ManagerStatus(base.zones)
        self.key_survey = KeySurveyor(base.zones, base.metrics, base.clock)

    def _make_server(self, base: Base, work: ZoneWork) -> DnsServer:
        config = base.config.get()
        forward = forwarder(base.cluster, base.config.tsig_keys, base.clock, base.metrics.server.forwarded)
        return DnsServer(
            [(address.host, address.port) for address in config.server.listen],
            base.table.by_origin.get,
            base.config.tsig_keys,
            xfrout,
            base.clock.now,
            ServerHooks(
                base.metrics, self.refusals, base.tls_reports, base.key_usage, work.publisher.fetched
            ),
            on_notify=forward(work.primaries.on_notify),
            on_update=forward(self.updates.handle),
            known=base.peers.knows,
            tls_listen=[(address.host, address.port) for address in config.server.tls],
            tls_context=self.tls.context,
        )


class PageData:
    """The data of the status page."""

    def __init__(self, base: Base, work: ZoneWork, status: StatusCommand, states: ZoneStates) -> None:
        self.coming = ComingSteps(base.zones, work.rollovers.ahead, base.clock)
        self.source = Surveys(
            status,
            ZoneViews(base.zones, states, work.rollovers.ahead, base.acts.of, base.clock),
            self.coming,
            base.config.get,
            lambda: base.signer.last,
            base.clock,
        )


class ZoneChanges:
    """The parts with which zones come, change and go while the daemon runs."""

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
            base.zones,
            base.peers,
            front.refusals,
            front.alerts,
            work.rollovers,
            work.publisher,
            base.mailbox,
            base.backups,
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
            base.added,
        )
        self.added = AddedZones(base.added, self.reloader, base.table, base.events, base.clock)
        looks = base.metrics.daemon.catalog_looks
        self.members = CatalogMembers(
            base.zones,
            self.added,
            base.events,
            base.clock,
            base.mailbox,
            lambda result: looks.labels(result).inc(),
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
                self.added,
            )
        )


class Control(ZoneChanges):
    """The parts behind the control socket."""

    def __init__(self, base: Base, work: ZoneWork, front: Front) -> None:
        super().__init__(base, work, front)
        #: A connection to the key service for commands.
        self.keys = AsyncSignerClient(base.signer.place.path, DEADLINE_S, owners=base.signer.place.owners)
        self._states = ZoneStates(base.events, base.clock)
        self._reload = ZoneReload(base.zones, work.jobs, work.primaries)
        self._status = self._make_status(base, front)
        self.commands = self._register(base, work, front)
        self.page = PageData(base, work, self._status, self._states)

    def _make_status(self, base: Base, front: Front) -> StatusCommand:
        return StatusCommand(
            base.zones,
            self._states,
            base.events,
            base.clock,
            base.signer.state,
            front.alerts.status,
            base.clock_watch.held,
            lambda: base.key_usage.of(base.config.get()),
        )

    def _register(self, base: Base, work: ZoneWork, front: Front) -> CommandTable:
        """Return all commands of the control socket, noun by noun."""
        ds_show = DsShow(
            base.zones, read_keyset, work.ds.automation.progress, work.rollovers.ahead, base.clock
        )
        return CommandTable(
            self._status.commands(),
            ZoneCommands(base.zones, self._states, work.jobs, base.clock, base.acts.of).commands(),
            self._reload.commands(),
            ZoneReview(base.zones, self._reload, base.events).commands(),
            work.imports.commands(),
            self.removed.commands(),
            self.added.commands(),
            KeyList(base.zones).commands(),
            KeyCommands(base.zones, self.keys).commands(),
            KeyStoreCommands(base.zones, self.keys).commands(),
            work.rollovers.commands(),
            ds_show.commands(),
            SizeCommands(base.zones).commands(),
            AnchorCommands(base.zones, work.anchors, base.config.get, base.clock).commands(),
            work.adoptions.commands(),
            AuditCommand(
                base.config.get,
                base.zones,
                self.keys,
                base.signer,
                base.events,
                base.clock,
            ).commands(),
            AlertCommands(base.zones, base.events).commands(),
            ClusterCommands(admin_of(work.node, base.zones), base.zones).commands(),
            front.alerts.commands(),
            self.reloader.commands(),
        )
