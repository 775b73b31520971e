"""A compromised key: the fastest safe recovery, its effects, and the tasks of operators meanwhile."""

import asyncio
from collections.abc import Callable, Mapping

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.rollovers import Recovery, RecoveryStep, ReportCompromise
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Key, Keyset, KeysetError
from dnssecd.core.keys.keystate import Rec, Role, State
from dnssecd.core.keys.recovery import RecoveryPlan, recovery_plan
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.commands.rollover import RolloverCommands, key_of, own_key_of
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.rollover.engine import RolloverListener, Rollovers
from dnssecd.daemon.rollover.recovery_plans import RecoveryPlans, step_lines
from dnssecd.daemon.rollover.spares import for_forecast
from dnssecd.daemon.rollover.text import moment
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

EVENT = "key-compromised"
DS_DELAY_S = 86_400


class Emergency(RolloverListener):
    """Takes the report of a compromised key; its alert fires until no validator can trust the key any more."""

    def __init__(self, rollovers: Rollovers, events: EventCore, zones: Mapping[str, FrontZone]) -> None:
        self._rollovers, self._plans = rollovers, RecoveryPlans(EVENT, events, zones)

    def command(self, zones: RolloverCommands) -> Command[ReportCompromise]:
        """Return the command ``key.compromised``."""

        async def report(call: Call[ReportCompromise]) -> Recovery:
            return await self._report(zones, call)

        return Command(ReportCompromise, report)

    def details(self, event: Event) -> str:
        """Return the recovery plan that goes with an alert ("" for other events). For a thread."""
        return self._plans.details(event)

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Resolve the alert of every key that no validator can trust any more; prepare a plan for the others."""
        trusted = [key for key in keyset.keys if key.compromised and is_trusted(key)]
        self._plans.keep(zone, trusted, lambda key: self._later(zone, key, keyset, evidence))
        return None

    def _later(self, zone: FrontZone, key: Key, keyset: Keyset, evidence: Evidence) -> Callable[[], str]:
        policy, now = self._rollovers.policy(zone), int(self._rollovers.engine.clock.now())
        assume = forecast.assumptions(zone, evidence, policy, DS_DELAY_S)
        return lambda: plan_text(zone.name, key, recovery_plan(keyset, policy, assume, now, key.ref))

    async def _report(self, zones: RolloverCommands, call: Call[ReportCompromise]) -> Recovery:
        zone, tag = zones.zone(call.request.zone), call.request.key_tag
        known = await zones.known(zone)
        try:
            key = key_of(known.keyset, tag)
            key = key if key.of_node else own_key_of(known.keyset, tag)
        except KeysetError as error:
            raise Refused(str(error), f"dnssecd key list {zone.name}") from None
        gathered = self._rollovers.of(zone).gathered(zone, self._rollovers.parents(zone), clock_sure=True)
        policy = self._rollovers.policy(zone)
        evidence, _ = await for_forecast(self._rollovers.engine.signer, zone, known, policy, gathered)
        assume = forecast.assumptions(zone, evidence, policy, DS_DELAY_S)
        now = int(self._rollovers.engine.clock.now())
        way_out = await asyncio.to_thread(recovery_plan, known.keyset, policy, assume, now, key.ref)
        text = plan_text(zone.name, key, way_out)
        who = call.caller.user
        if is_trusted(key):
            cause = f"{key.role.value} {tag} was reported compromised by {who}; {_safe(way_out)}"
            self._plans.begin(zone, key, cause, text)
        what = f"key {tag} ({key.role.value}) reported compromised"
        await zones.change(zone, lambda keyset: commands.compromised(keyset, key.ref), what, who)
        return Recovery(
            zone=zone.name,
            key_tag=tag,
            safe_at=way_out.safe_at,
            text=text,
            costs=list(way_out.costs),
            steps=[RecoveryStep(at=step.at, who=step.who, text=step.text) for step in way_out.steps],
        )


def is_trusted(key: Key) -> bool:
    """Tell whether some validator may still trust signatures of the key."""
    record = key.record(Rec.DNSKEY if key.role is Role.ZSK else Rec.DS)
    return record.state is not State.HIDDEN


def plan_text(zone: str, key: Key, way_out: RecoveryPlan) -> str:
    """Return the recovery plan as text."""
    lines = [
        f"Recovery plan: {key.role.value} {way_out.tag} of {zone} is compromised",
        "",
        f"End: {_safe(way_out)}.",
        "(This assumes that the parent changes the DS within a day of the request, and that there is no "
        "other obstacle.)",
        "",
        "Effects:",
        *(f"* {cost}" for cost in way_out.costs),
        "",
        "What you do:",
        *step_lines(way_out.steps, people=True),
        "",
        "What dnssecd does automatically, as soon as it is safe:",
        *step_lines(way_out.steps, people=False),
        "",
        f"Progress: dnssecd explain {zone}",
    ]
    return "\n".join(lines) + "\n"


def _safe(way_out: RecoveryPlan) -> str:
    if way_out.safe_at is None:
        return "the end depends on when the parent changes the DS"
    return f"no validator trusts it from {moment(way_out.safe_at)}"
