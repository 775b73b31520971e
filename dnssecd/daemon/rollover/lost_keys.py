"""A private key is lost: the fastest safe way on as a plan with its cost, and an alert until nothing needs the key."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.rollovers import (
    KeysChanged,
    LostRecovery,
    RecoveryStep,
    ReportFound,
    ReportLoss,
)
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Key, Keyset, KeysetError
from dnssecd.core.keys.lost_plan import LostPlan, lost_plan
from dnssecd.core.keys.signed_ahead import expiration
from dnssecd.core.keys.types import Plan
from dnssecd.daemon.commands.rollover import RolloverCommands, key_of, own_key_of
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.rollover.compromise import DS_DELAY_S
from dnssecd.daemon.rollover.engine import STORE_ERRORS, RolloverListener, Rollovers
from dnssecd.daemon.rollover.recovery_plans import RecoveryPlans, step_lines
from dnssecd.daemon.rollover.spares import for_forecast
from dnssecd.daemon.rollover.text import moment
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.store.event_log import Event

EVENT = "key-lost"


class LostKeys(RolloverListener):
    """Takes the report of a lost key, and keeps the alert until its successor signs."""

    def __init__(self, rollovers: Rollovers, events: EventCore, zones: Mapping[str, FrontZone]) -> None:
        self._rollovers, self._plans = rollovers, RecoveryPlans(EVENT, events, zones)

    def commands(self, zones: RolloverCommands) -> list[Command[Any]]:
        """Return the commands ``key.lost`` and ``key.found``."""

        async def lose(call: Call[ReportLoss]) -> LostRecovery:
            return await self._lose(zones, call)

        async def find(call: Call[ReportFound]) -> KeysChanged:
            return await self._find(zones, call)

        return [Command(ReportLoss, lose), Command(ReportFound, find)]

    def details(self, event: Event) -> str:
        """Return the plan that goes with an alert ("" for other events). For a thread."""
        return self._plans.details(event)

    def planned(self, zone: FrontZone, keyset: Keyset, plan: Plan, evidence: Evidence) -> float | None:
        """Keep the alert of each lost key that still signs; have a plan ready for it."""
        signing = [key for key in keyset.keys if key.lost and _signs(key)]
        self._plans.keep(zone, signing, lambda key: self._later(zone, key, keyset, evidence))
        return None

    def _later(self, zone: FrontZone, key: Key, keyset: Keyset, evidence: Evidence) -> Callable[[], str]:
        return lambda: plan_text(zone.name, key, self._plan(zone, key, keyset, evidence), begun=True)

    def _plan(self, zone: FrontZone, key: Key, keyset: Keyset, evidence: Evidence) -> LostPlan:
        policy, now = self._rollovers.policy(zone), int(self._rollovers.engine.clock.now())
        assume = forecast.assumptions(zone, evidence, policy, DS_DELAY_S)
        return lost_plan(keyset, policy, assume, now, key.ref, expires_at(zone, key, now))

    async def _lose(self, zones: RolloverCommands, call: Call[ReportLoss]) -> LostRecovery:
        zone, tag = zones.zone(call.request.zone), call.request.key_tag
        known = await zones.known(zone)
        try:
            key = own_key_of(known.keyset, tag)
        except KeysetError as error:
            raise Refused(str(error), f"dnssecd key list {zone.name}") from None
        if key.keystore in zone.spec.offline:
            raise Refused(
                f"KSK {tag} is off-line: what it signed in advance stays in use until it ends",
                "docs/operations.md, ceremony with an off-line KSK: the KSK is lost",
            )
        keys = self._rollovers.of(zone)
        gathered = keys.gathered(zone, self._rollovers.parents(zone), clock_sure=True)
        policy, signer = self._rollovers.policy(zone), self._rollovers.engine.signer
        evidence, _ = await for_forecast(signer, zone, known, policy, gathered)
        try:
            way_out = await asyncio.to_thread(self._plan, zone, key, known.keyset, evidence)
        except STORE_ERRORS as error:
            raise Refused(str(error), "see disk space and permissions") from None
        begin = call.request.begin
        text = plan_text(zone.name, key, way_out, begun=begin)
        if begin:
            await self._begin(zones, zone, key, way_out, text, call.caller.user)
        return LostRecovery(
            zone=zone.name,
            key_tag=tag,
            over_at=way_out.over_at,
            expires_at=way_out.expires_at,
            in_time=way_out.in_time,
            begun=begin,
            text=text,
            costs=list(way_out.costs),
            steps=[RecoveryStep(at=step.at, who=step.who, text=step.text) for step in way_out.steps],
        )

    async def _begin(
        self, zones: RolloverCommands, zone: FrontZone, key: Key, way_out: LostPlan, text: str, who: str
    ) -> None:
        if _signs(key):
            cause = f"{key.role.value} {key.tag} was reported lost by {who}; {_over(way_out)}"
            self._plans.begin(zone, key, cause, text)
        what = f"key {key.tag} ({key.role.value}) reported lost"
        await zones.change(zone, lambda keyset: commands.lost(keyset, key.ref), what, who)

    async def _find(self, zones: RolloverCommands, call: Call[ReportFound]) -> KeysChanged:
        tag = call.request.key_tag
        what = f"key {tag} is found again"
        return await zones.carry_out(
            call, lambda keyset: commands.found(keyset, key_of(keyset, tag).ref), what
        )


def expires_at(zone: FrontZone, key: Key, now: int) -> int | None:
    """Return when (epoch s) the first signature expires that only this key renews; for a thread."""
    if key.zrrsig.visible:
        return None if zone.earliest_expiration is None else int(zone.earliest_expiration)
    with zone.database.snapshot() as snapshot:
        held = snapshot.rrsigs(APEX, DNSKEY)
    return None if held is None else min(expiration(rdata, now) for rdata in unpack(held.rdata))


def plan_text(zone: str, key: Key, way_out: LostPlan, *, begun: bool) -> str:
    """Return the plan as people read it at night."""
    lines = [
        f"Recovery plan: the private key of {key.role.value} {way_out.tag} of {zone} is lost",
        "",
        f"When it is over: {_over(way_out)}.",
        "(If the parent changes the DS within a day of being asked, and nothing else holds it up.)",
    ]
    if way_out.costs:
        lines += ["", "What it costs:", *(f"* {cost}" for cost in way_out.costs)]
    lines += ["", "What people do:", *step_lines(way_out.steps, people=True)]
    lines += ["", "What dnssecd does automatically, as soon as it is safe:"]
    lines += step_lines(way_out.steps, people=False)
    lines += [
        "",
        f"Progress: dnssecd explain {zone}" if begun else f"Begin: dnssecd key lost {zone} {key.tag} --do",
    ]
    return "\n".join(lines) + "\n"


def _over(way_out: LostPlan) -> str:
    limit = (
        ""
        if way_out.expires_at is None
        else f" (the first signature expires at {moment(way_out.expires_at)})"
    )
    if way_out.over_at is None:
        return f"no end is in sight{limit}"
    return f"nothing needs the key from {moment(way_out.over_at)}{limit}"


def _signs(key: Key) -> bool:
    return key.krrsig.visible or key.zrrsig.visible
