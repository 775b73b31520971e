"""Commands about roll-overs (docs/operations.md)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

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
from dnssecd.core.keys.types import Gate
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.rollover import text as text
from dnssecd.daemon.rollover.engine import STORE_ERRORS, Rollovers
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.durations import about
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.keychange import KeyChange, Note

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
        """Return the zone with a name; Refused."""
        return zone_of(self._zones, name)

    async def explain(self, call: Call[Explain]) -> Explanation:
        """Answer ``explain``: the state of every key, what is awaited from whom, the answer seen, the next look."""
        zone = self.zone(call.request.zone)
        now = self._rollovers.engine.clock.now()
        keys = self._rollovers.of(zone)
        lines = [_headline(zone)]
        lines += [f"waits: {blocker}" for blocker in zone.blockers if zone.serial is None]
        lines += [f"waits: {problem.cause}\n  remedy: {problem.remedy}" for problem in zone.problems]
        waiting: list[Wait] = []
        if zone.serial is None:
            waiting = [_first(blocker) for blocker in zone.blockers]
        elif keys.plan is not None:
            keyset = keys.plan.keyset
            lines += text.states(keyset)
            lines += text.waits(zone.name, keys.plan.blockers, keyset, now) or ["nothing is awaited"]
            waiting = [text.waiting(blocker, keyset) for blocker in text.in_order(keys.plan.blockers)]
        if keys.trouble:
            lines.append(f"the last step was put off: {keys.trouble}")
        wakes = [
            at for at, name in self._rollovers.engine.schedule.next_wakes() if name.endswith(f" {zone.name}")
        ]
        next_wake = min(wakes, default=zone.next_due)
        if waiting and next_wake is not None:
            lines.append(
                f"next look at the zone: {text.moment(next_wake)}, in {about(max(0.0, next_wake - now))}"
            )
        return Explanation(zone=zone.name, text="\n".join(lines), waiting=waiting, next_wake=next_wake)

    async def roll_over(self, call: Call[RollOver]) -> KeysChanged:
        """Answer ``key.rollover``: a successor for the key in use in a role."""
        role = Role(call.request.role)
        zone = self.zone(call.request.zone)

        def begin(keyset: Keyset) -> Keyset:
            after = commands.roll_over(keyset, role)
            under_way = _under_way(zone.name, keyset, role)
            if under_way is not None:
                raise under_way
            return after

        return await self._change(call, begin, f"roll-over of the {role.value} asked for")

    async def retire(self, call: Call[RetireKey]) -> KeysChanged:
        """Answer ``key.retire``: a key leaves as soon as it safely can."""
        tag = call.request.key_tag
        return await self._change(
            call, lambda keyset: commands.retire(keyset, key_of(keyset, tag).ref), f"key {tag} is to retire"
        )

    async def revoke(self, call: Call[RevokeKey]) -> KeysChanged:
        """Answer ``key.revoke``: a KSK leaves with the REVOKE bit (RFC 5011)."""
        tag = call.request.key_tag
        return await self._change(
            call,
            lambda keyset: commands.revoke(keyset, key_of(keyset, tag).ref),
            f"key {tag} is to be revoked",
        )

    async def approve(self, call: Call[ApproveStep]) -> KeysChanged:
        """Answer ``key.approve``: let a step happen that waits for a person."""
        zone = self.zone(call.request.zone)
        plan = self._rollovers.of(zone).plan
        open_steps = [b for b in plan.blockers if b.gate is Gate.APPROVAL and b.token] if plan else []
        wanted = call.request.step
        chosen = [b for b in open_steps if wanted in (None, b.token)]
        if not open_steps:
            raise Refused(
                f"nothing of {zone.name} waits for approval",
                f"dnssecd explain {zone.name} tells what it waits for, if for anything",
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
        return await self._change(call, lambda keyset: commands.approve(keyset, token), f"approved: {token}")

    async def _change(self, call: Call[Any], change: Callable[[Keyset], Keyset], what: str) -> KeysChanged:
        zone = self.zone(call.request.zone)
        await self.change(zone, change, what, call.caller.user)
        keys = self._rollovers.of(zone)
        blockers = keys.plan.blockers if keys.plan is not None else ()
        keyset = keys.plan.keyset if keys.plan is not None else None
        waiting = [text.waiting(each, keyset) for each in text.in_order(blockers)] if keyset else []
        return KeysChanged(zone=zone.name, message=f"{zone.name}: {what}", waiting=waiting)

    async def known(self, zone: FrontZone) -> Committed:
        """Return what is published of a zone; Refused."""
        try:
            known = await self._known(zone)
        except STORE_ERRORS as error:
            raise Refused(str(error), "see disk space and permissions") from None
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
        """Apply what a person asked for to the stored key set, and have the planner asked; Refused."""
        keys = self._rollovers.of(zone)
        async with keys.turn:
            known = await self.known(zone)
            try:
                after = change(known.keyset)
                await self._rollovers.store(
                    zone, keys, KeyChange(known.keyset, after, (Note(what, "", who),))
                )
            except KeysetError as error:
                raise Refused(str(error), f"dnssecd key list {zone.name}") from None
            except STORE_ERRORS as error:
                raise Refused(str(error), "see disk space and permissions") from None
            keys.not_before = 0.0
        if keys.stale:
            raise Refused(f"{zone.name} was changed at the same moment", "do it again")
        await self.planned(zone)

    async def planned(self, zone: FrontZone) -> None:
        """Have the planner asked, and wait for its answer, but not for ever."""
        task = self._rollovers.ask(zone, urgent=True)
        await asyncio.wait([task], timeout=PLAN_WAIT_S)


def _first(blocker: str) -> Wait:
    return Wait(step="publish", gate="safety", rule=blocker, missing=[], next_look=None)


def _headline(zone: FrontZone) -> str:
    what = "waiting for its first version" if zone.serial is None else f"serial {zone.serial} is served"
    return f"{zone.name}: {what}"


def _under_way(zone: str, keyset: Keyset, role: Role) -> Refused | None:
    """Tell why a roll-over is not begun a second time: each time would give the successor a successor."""
    mine = [key for key in keyset.keys if key.role is role and not key.revoked]
    present = [key for key in mine if key.goal is Goal.PRESENT]
    leaving = [
        key for key in mine if key.goal is Goal.ABSENT and any(key.record(rec).visible for rec in key.records)
    ]
    if present[-1].roll:
        return Refused(
            f"{zone}: a roll-over of the {role.value} was asked for already",
            f"dnssecd explain {zone} tells why it waits",
        )
    if not leaving:
        return None
    old, new = leaving[-1].tag, present[-1].tag
    return Refused(
        f"{zone}: the {role.value} is being rolled over already: {old} leaves, {new} takes over",
        f"dnssecd explain {zone} tells how far it is; "
        f"if {new} is to go, too: dnssecd key retire {zone} --key-tag {new}",
    )


def key_of(keyset: Keyset, tag: int) -> Key:
    """Return the key with a tag; KeysetError. Tags are unique among a zone's keys."""
    found = [key for key in keyset.keys if key.tag == tag]
    if not found:
        tags = ", ".join(f"{key.tag} ({key.role.value})" for key in keyset.keys)
        raise KeysetError(f"the zone has no key with tag {tag}; it has {tags}")
    return found[-1]
