"""Rollovers in the daemon: engine, evidence, parents, events and commands, connected."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.status import ClockConfirmed, ConfirmClock
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.keys.other_signers import awaits_signers
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.commands.ceremony import CeremonyCommands
from dnssecd.daemon.commands.ds import DsCommands
from dnssecd.daemon.commands.forecast import ForecastCommands
from dnssecd.daemon.commands.foreign_keys import ForeignKeyCommands
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.parent.poll import ParentWatch
from dnssecd.daemon.rollover.backups import Backups
from dnssecd.daemon.rollover.ceremony_watch import CeremonyWatch
from dnssecd.daemon.rollover.clock_watch import EVENT, ClockWatch
from dnssecd.daemon.rollover.compromise import Emergency
from dnssecd.daemon.rollover.engine import Engine, RolloverListener, Rollovers
from dnssecd.daemon.rollover.held_by_nodes import HeldByNodes
from dnssecd.daemon.rollover.key_wanted import KeyWanted
from dnssecd.daemon.rollover.lone_node import LoneNode
from dnssecd.daemon.rollover.lost_keys import LostKeys
from dnssecd.daemon.rollover.overdue import Overdue
from dnssecd.daemon.rollover.zone_keys import awaits_ds
from dnssecd.daemon.server_reports import PeerReports, SecondaryHooks
from dnssecd.daemon.zones.key_holders import Holders, Nodes, Withdraw
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.work import ZoneJobs
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.pipeline.version.committed import Committed
from dnssecd.publish.notify_gap import Pace
from dnssecd.publish.parent import ParentAnswer
from dnssecd.publish.signers import SignerAnswer
from dnssecd.publish.watch import Judgement, Sighting
from dnssecd.replacing import replace
from dnssecd.store.event_log import Event


class EvidenceHooks(SecondaryHooks):
    """Reports on secondaries, sent to the rollover engine as well."""

    def __init__(
        self,
        metrics: Metrics,
        events: EventCore,
        peers: PeerReports,
        mailbox: Mailbox,
        stored: Callable[[str], int | None],
    ) -> None:
        super().__init__(metrics, events, peers, stored)
        self._seen = mailbox.seen

    def seen(self, judgement: Judgement) -> None:
        """Pass on a look."""
        super().seen(judgement)
        self._seen.send(judgement)


class RolloverService:
    """The daemon's part for keys and time. ``config`` gives the configuration in force.

    sweep_s: the interval between looks at a server that serves the published version.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        zones: Mapping[str, FrontZone],
        jobs: ZoneJobs,
        signer: AsyncSignerClient,
        events: EventCore,
        clock: Clock,
        schedule: Schedule,
        clock_watch: ClockWatch,
        sweep_s: Callable[[], float],
        mailbox: Mailbox,
        holders: Holders | None = None,
        withdraw: Withdraw | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self._zones, self._jobs = zones, jobs
        self.clock, self._sweep_s = clock_watch, sweep_s
        engine = Engine(
            config,
            signer,
            events,
            clock,
            schedule,
            jobs.rekey,
            self._resign,
            lambda: not self.clock.held(),
            lambda: self.clock.hidden_step_s,
            holders,
            withdraw,
            nodes or LoneNode(signer, clock),
        )
        self.rollovers = Rollovers(engine, self._parent_names)
        self.parents = ParentWatch(config, clock, schedule, self._answered, self._heard)
        self.overdue = Overdue(events, clock, self.rollovers.policy, mailbox.ds_overdue.send)
        self.emergency = Emergency(self.rollovers, events, zones)
        self._commands = RolloverCommands(zones, self.rollovers)
        self.ahead = ForecastCommands(zones, self.rollovers, self._commands, self.rollovers.engine.config)
        self.lost = LostKeys(self.rollovers, events, zones)
        self.rollovers.listeners += [_Shown(self.parents), self.overdue, self.emergency]
        self._backups = Backups(self.rollovers, events, zones, config, mailbox)
        self.rollovers.listeners += [
            self.lost,
            self._backups,
            HeldByNodes(events, clock),
            KeyWanted(events),
            CeremonyWatch(events, clock, config),
        ]
        self._ceremonies = CeremonyCommands(self.rollovers, self._commands, mailbox)
        mailbox.seen.subscribe(self._seen)
        mailbox.finished.subscribe(self.rollovers.committed)
        mailbox.clock_sure.subscribe(self._sure)
        mailbox.removed.subscribe(self.forget)

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        ds = DsCommands(self.rollovers, self.parents, self._commands)
        return [
            *self._commands.commands(),
            *ds.commands(),
            *self.ahead.commands(),
            *self._ceremonies.commands(),
            Command(ConfirmClock, self._confirm_clock),
            self.emergency.command(self._commands),
            *self.lost.commands(self._commands),
            *self._backups.commands(),
            *ForeignKeyCommands(self.rollovers, self._commands).commands(),
        ]

    def begin(self) -> None:
        """Judge the clock by recorded data; nothing is signed while it is in doubt."""
        self.clock.begin(max((zone.published_at or 0.0 for zone in self._zones.values()), default=0.0))

    async def run(self) -> None:
        """Plan for all served zones, then watch the clock until cancelled."""
        self.take_up()
        await self.clock.run()

    def take_up(self) -> None:
        """Request a plan for all zones."""
        for zone in self._zones.values():
            self.rollovers.committed(zone)

    def configure(self, changed: Iterable[str]) -> None:
        """Apply a new configuration that changes these zones."""
        for name in changed:
            self.rollovers.committed(self._zones[name])

    def details(self, event: Event) -> str:
        """Return more text for an alert: the recovery plan of a compromised key."""
        return self.emergency.details(event) or self.lost.details(event)

    def forget(self, zone: FrontZone) -> None:
        """Drop a removed zone."""
        self.rollovers.forget(zone)
        self.parents.forget(zone)

    async def close(self) -> None:
        """Stop everything."""
        self.ahead.close()
        await self.parents.close()
        await self.rollovers.close()
        self.clock.record()

    async def _confirm_clock(self, call: Call[ConfirmClock]) -> ClockConfirmed:
        """Answer ``clock.confirm``."""
        doubt = self.clock.suspect
        if not self.clock.confirm(call.caller.user):
            raise Refused(
                f"the time cannot be right: {doubt}", "set the clock of this host, then confirm again"
            )
        message = "the time is confirmed; signing continues" if doubt else "the time is not in doubt"
        return ClockConfirmed(changed=bool(doubt), doubt=doubt, message=message)

    def _resign(self, zone: FrontZone) -> None:
        self._jobs.request(zone, "resign")

    def _sure(self, stepped: bool) -> None:
        """Resume postponed work, because the time is right; after a clock step all waits restart."""
        for zone in self._zones.values():
            if stepped:
                self.rollovers.clock_stepped(zone)
            else:
                self.rollovers.committed(zone)
            if any(problem.event == EVENT for problem in zone.problems):
                zone.problems = ()
                for kind in ("load", "resign"):
                    self._jobs.request(zone, kind)

    def _seen(self, judgement: Judgement) -> None:
        sighting = judgement.sighting
        self.clock.seen(sighting)
        zone = self._zones.get(sighting.zone)
        if zone is None:
            return
        keys = self.rollovers.of(zone)
        pause = self._sweep_s() if judgement.state == "current" else Pace().look_last_s
        seen = judged(sighting, keys.committed)
        if keys.take(lambda evidence: evidence.sighted(seen, int(sighting.at + pause))):
            self.rollovers.ask(zone)
        if judgement.state == "current" and _is_last(zone, sighting.server):
            self.rollovers.all_seen(zone)

    def _answered(self, zone: FrontZone, answers: list[ParentAnswer], next_look: int) -> None:
        if zone.gone:
            return
        keys = self.rollovers.of(zone)
        keys.take(lambda evidence: [evidence.answered(answer, next_look) for answer in answers])
        self.rollovers.ask(zone)

    def _heard(self, zone: FrontZone, answers: list[SignerAnswer], next_look: int) -> None:
        if zone.gone:
            return
        keys = self.rollovers.of(zone)
        keys.take(lambda evidence: [evidence.heard(answer, next_look) for answer in answers])
        self.rollovers.ask(zone)

    def _parent_names(self, zone: FrontZone) -> tuple[str, ...]:
        """Return the parent's servers; while they cannot be found, those known before a restart."""
        evidence = self.rollovers.of(zone).evidence
        if zone.config.parent.none or zone.name == ".":
            return ()
        names = self.parents.servers(zone)
        if names is None:
            return tuple(evidence.parents) if evidence is not None else ()
        return names


def _is_last(zone: FrontZone, server: str) -> bool:
    """Tell whether no other server of a zone is being brought to the published version."""
    return zone.servers is None or not set(zone.servers.waiting_for()) - {server}


def judged(sighting: Sighting, known: Committed | None) -> Sighting:
    """Return a sighting as evidence: our serial with other signatures does not count as our version."""
    if (
        known is None
        or sighting.serial != known.serial
        or sighting.signatures in (None, frozenset(known.signatures))
    ):
        return sighting
    detail = f"serial {sighting.serial}, but its SOA has other signatures than ours"
    return replace(sighting, serial=None, detail=detail)


class _Shown(RolloverListener):
    """Updates the data for ``status``, and the pace of polls of the parent, after each plan."""

    def __init__(self, parents: ParentWatch) -> None:
        self._parents = parents

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        zone.blockers = None
        waiting = awaits_ds(keyset) or any(awaits_signers(blocker) for blocker in plan.blockers)
        self._parents.watch(zone, waiting=waiting)
        return None
