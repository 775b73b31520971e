"""Commands about rollovers (docs/operations.md)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.rollovers import (
    ApproveStep,
    Explain,
    Explanation,
    KeysChanged,
    RetireKey,
    RevokeKey,
    RollOver,
    Wait,
)
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.keyset import Key, Keyset, KeysetError
from dnssecd.core.keys.keystate import Goal, Role
from dnssecd.core.keys.lost import shows, unsignable
from dnssecd.core.keys.simulate import simulate
from dnssecd.core.keys.summary import summarize
from dnssecd.core.keys.types import Gate
from dnssecd.core.utc import about
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.rollover import text as text
from dnssecd.daemon.rollover.engine import STORE_ERRORS, PutOff, Rollovers
from dnssecd.daemon.rollover.spares import for_forecast
from dnssecd.daemon.rollover.zone_keys import ZoneKeys
from dnssecd.daemon.zones import outlook
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.keychange import KeyChange, Note
from dnssecd.replacing import replace

PLAN_WAIT_S = 30.0


class RolloverCommands:
    """The handlers; one instance per daemon."""

    def __init__(self, zones: Mapping[str, FrontZone], rollovers: Rollovers) -> None:
        self._zones, self._rollovers = zones, rollovers

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(Explain, self.explain),
            Command(RollOver, self.roll_over),
            Command(RetireKey, self.retire),
            Command(RevokeKey, self.revoke),
            Command(ApproveStep, self.approve),
        ]

    def zone(self, name: str) -> FrontZone:
        """Return the zone with a name; raise Refused."""
        return zone_of(self._zones, name)

    def _signed_zone(self, name: str) -> FrontZone:
        """Return the zone with a name; raise Refused, also for a zone that has its keys elsewhere."""
        zone = self.zone(name)
        if zone.spec.verify_only:
            raise Refused(
                f"{zone.name} is not signed here: signing is verify-only",
                "change its keys where it is signed",
            )
        return zone

    async def explain(self, call: Call[Explain]) -> Explanation:
        """Answer ``explain``: three plain lines; with ``rules`` every key, the awaited evidence, the last answers."""
        zone = self.zone(call.request.zone)
        now = self._rollovers.engine.clock.now()
        keys = self._rollovers.of(zone)
        waiting: list[Wait] = []
        if zone.serial is None:
            waiting = [_first(blocker) for blocker in outlook.blockers(zone)]
        elif keys.plan is not None:
            blockers = text.in_order(keys.plan.blockers)
            waiting = [text.waiting(blocker, keys.plan.keyset) for blocker in blockers]
        wakes = [wake.at for wake in zone.wakes]
        next_wake = min(wakes, default=zone.next_due)
        lines = outlook.plain_lines(zone, now)
        if call.request.rules:
            lines = _all_lines(zone, keys, now)
            if waiting and next_wake is not None:
                left = about(max(0.0, next_wake - now))
                lines.append(f"next look at the zone: {text.moment(next_wake)}, in {left}")
        return Explanation(zone=zone.name, text="\n".join(lines), waiting=waiting, next_wake=next_wake)

    async def roll_over(self, call: Call[RollOver]) -> KeysChanged:
        """Answer ``key.rollover``: replace the key in use in a role."""
        role = Role(call.request.role)
        zone = self._signed_zone(call.request.zone)

        def begin(keyset: Keyset) -> Keyset:
            after = commands.roll_over(keyset, role)
            under_way = _under_way(zone.name, keyset, role)
            if under_way is not None:
                raise under_way
            return after

        done = await self.carry_out(call, begin, f"rollover of the {role.value} requested")
        return msgspec.structs.replace(done, summary=await self._summarize(zone, role))

    async def _summarize(self, zone: FrontZone, role: Role) -> str:
        """Return when a rollover will be done, and when a person has to act; "" if that is not known."""
        keys = self._rollovers.of(zone)
        if zone.frozen or keys.committed is None or keys.evidence is None:
            return ""
        keyset = replace(keys.committed.keyset, held=())
        old = {
            key.tag
            for key in keyset.keys
            if key.role is role and (key.roll or key.goal is Goal.ABSENT) and not key.revoked
        }
        start = int(self._rollovers.engine.clock.now())
        gathered = keys.gathered(zone, self._rollovers.parents(zone), clock_sure=True)
        policy, _ = forecast.ahead_of_people(self._rollovers.policy(zone))
        evidence, _ = await for_forecast(
            self._rollovers.engine.signer, zone, keys.committed, policy, gathered
        )
        assume = forecast.assumptions(zone, evidence, policy, forecast.DS_DELAY_S)
        ahead = await asyncio.to_thread(
            simulate, keyset, policy, assume, start, start + forecast.AHEAD_DAYS * forecast.DAY_S
        )
        mine = [event for event in ahead.events if event.role == role.value]
        return summarize(mine, outlook.hands_of(zone), old)

    async def retire(self, call: Call[RetireKey]) -> KeysChanged:
        """Answer ``key.retire``: retire a key as soon as it is safe."""
        tag = call.request.key_tag
        return await self.carry_out(
            call,
            lambda keyset: commands.retire(keyset, key_of(keyset, tag).ref),
            f"key {tag} will be retired",
        )

    async def revoke(self, call: Call[RevokeKey]) -> KeysChanged:
        """Answer ``key.revoke``: retire a KSK with the REVOKE bit (RFC 5011)."""
        tag = call.request.key_tag
        return await self.carry_out(
            call,
            lambda keyset: commands.revoke(keyset, key_of(keyset, tag).ref),
            f"key {tag} will be revoked",
        )

    async def approve(self, call: Call[ApproveStep]) -> KeysChanged:
        """Answer ``key.approve``: approve a step that waits for an operator."""
        zone = self._signed_zone(call.request.zone)
        plan = self._rollovers.of(zone).plan
        open_steps = [b for b in plan.blockers if b.gate is Gate.APPROVAL and b.token] if plan else []
        wanted = call.request.step
        chosen = [b for b in open_steps if wanted in (None, b.token)]
        if not open_steps:
            raise Refused(
                f"no step of {zone.name} waits for approval",
                f"dnssecd explain {zone.name} shows what it waits for",
            )
        if not chosen:
            known = ", ".join(b.token for b in open_steps)
            raise Refused(
                f"no step {wanted} of {zone.name} waits for approval; what waits: {known}",
                "name one of these with --step",
            )
        if len(chosen) > 1:
            tokens = ", ".join(b.token for b in chosen)
            raise Refused(f"several steps wait for approval: {tokens}", "name one with --step", exit=2)
        token = chosen[0].token
        return await self.carry_out(
            call, lambda keyset: commands.approve(keyset, token), f"approved: {token}"
        )

    async def carry_out(self, call: Call[Any], change: Callable[[Keyset], Keyset], what: str) -> KeysChanged:
        """Apply what a person asked for, and return what waits then; Refused."""
        zone = self._signed_zone(call.request.zone)
        await self.change(zone, change, what, call.caller.user)
        keys = self._rollovers.of(zone)
        blockers = keys.plan.blockers if keys.plan is not None else ()
        keyset = keys.plan.keyset if keys.plan is not None else None
        waiting = [text.waiting(each, keyset) for each in text.in_order(blockers)] if keyset else []
        return KeysChanged(zone=zone.name, message=f"{zone.name}: {what}", waiting=waiting)

    async def known(self, zone: FrontZone) -> Committed:
        """Return the published version of a zone; raise Refused."""
        try:
            known = await self._known(zone)
        except STORE_ERRORS as error:
            raise Refused(str(error), "check disk space and permissions") from None
        if known is None:
            raise Refused(
                f"{zone.name} has not been published yet, so it has no keys", f"dnssecd explain {zone.name}"
            )
        return known

    async def _known(self, zone: FrontZone) -> Committed | None:
        if zone.serial is None:
            return None
        return await self._rollovers.of(zone).known(zone, self._rollovers.engine.clock.now())

    async def change(self, zone: FrontZone, change: Callable[[Keyset], Keyset], what: str, who: str) -> None:
        """Apply an operator's request to the stored key set, then request a plan; raise Refused."""
        keys = self._rollovers.of(zone)
        async with keys.turn:
            known = await self.known(zone)
            try:
                after = change(known.keyset)
                done = await self._put(zone, keys, KeyChange(known.keyset, after, (Note(what, "", who),)))
            except PutOff as error:
                raise Refused(str(error), f"dnssecd explain {zone.name}") from None
            except KeysetError as error:
                raise Refused(str(error), f"dnssecd key list {zone.name}") from None
            except STORE_ERRORS as error:
                raise Refused(str(error), "check disk space and permissions") from None
            keys.not_before = 0.0
        if not done:
            raise Refused(f"{zone.name} was changed at the same time", "repeat the command")
        await self.planned(zone)

    async def _put(self, zone: FrontZone, keys: ZoneKeys, change: KeyChange) -> bool:
        """Store a key set, with a version where it shows in the zone (a lost KSK signs no CDS); return success."""
        lost = any(key.lost for key in (*change.before.keys, *change.after.keys))
        if lost and shows(change.before, change.after) and not unsignable(change.before, change.after):
            await self._rollovers.publish(zone, keys, change)
            known = await keys.known(zone, self._rollovers.engine.clock.now())
            return known is not None and _reports(known.keyset) == _reports(change.after)
        await self._rollovers.store(zone, keys, change)
        return not keys.stale

    async def planned(self, zone: FrontZone) -> None:
        """Request a plan, and wait for it for a limited time."""
        task = self._rollovers.ask(zone, urgent=True)
        await asyncio.wait([task], timeout=PLAN_WAIT_S)


def _reports(keyset: Keyset) -> list[tuple[str, bool]]:
    return [(key.ref, key.lost) for key in keyset.keys]


def _all_lines(zone: FrontZone, keys: ZoneKeys, now: float) -> list[str]:
    """Return the lines of ``explain --rules``."""
    lines = [_headline(zone)]
    lines += [f"waits: {blocker}" for blocker in outlook.blockers(zone)] if zone.serial is None else []
    lines += [f"waits: {problem.cause}\n  remedy: {problem.remedy}" for problem in zone.problems]
    if zone.serial is not None and keys.plan is not None:
        keyset = keys.plan.keyset
        lines += text.states(keyset)
        lines += text.signed_ahead(keys.present_until, keys.signed_until, now)
        lines += text.waits(zone.name, keys.plan.blockers, keyset, now) or ["no step is waiting"]
    if keys.trouble:
        lines.append(f"the last step was postponed: {keys.trouble}")
    return lines


def _first(blocker: str) -> Wait:
    return Wait(step="publish", gate="safety", rule=blocker, missing=[], next_look=None)


def _headline(zone: FrontZone) -> str:
    what = "waiting for its first version" if zone.serial is None else f"serial {zone.serial} is served"
    return f"{zone.name}: {what}"


def _under_way(zone: str, keyset: Keyset, role: Role) -> Refused | None:
    """Return why a rollover is not started twice: the second one would replace the successor."""
    mine = [key for key in keyset.keys if key.role is role and not key.revoked]
    present = [key for key in mine if key.goal is Goal.PRESENT]
    leaving = [
        key for key in mine if key.goal is Goal.ABSENT and any(key.record(rec).visible for rec in key.records)
    ]
    if present[-1].roll:
        return Refused(
            f"{zone}: a rollover of the {role.value} was already requested",
            f"dnssecd explain {zone} shows why it waits",
        )
    if not leaving:
        return None
    old, new = leaving[-1].tag, present[-1].tag
    return Refused(
        f"{zone}: a rollover of the {role.value} is already in progress: {new} replaces {old}",
        f"dnssecd explain {zone} shows its progress; to replace {new}, too: dnssecd key retire {zone} "
        f"--key-tag {new}",
    )


def key_of(keyset: Keyset, tag: int) -> Key:
    """Return the key with a tag; raise KeysetError. Tags are unique among a zone's keys."""
    found = [key for key in keyset.keys if key.tag == tag]
    if not found:
        tags = ", ".join(f"{key.tag} ({key.role.value})" for key in keyset.keys)
        raise KeysetError(f"the zone has no key with tag {tag}; it has {tags}")
    return found[-1]


def own_key_of(keyset: Keyset, tag: int) -> Key:
    """Return the key with a tag whose private key is ours; raise KeysetError."""
    key = key_of(keyset, tag)
    if key.of_node:
        raise KeysetError(
            f"key tag {tag} is of {key.signer}, which replaces it: `dnssecd key retire` asks for that"
        )
    if key.foreign:
        raise KeysetError(
            f"key tag {tag} is of signer {key.signer}, who replaces it; use `dnssecd key remove-foreign`"
        )
    return key
