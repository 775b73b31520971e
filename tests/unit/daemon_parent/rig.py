"""DS automation on a fake clock, its ways told how to fare."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from dnssecd.clock import FakeClock
from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset, ds_rdata
from dnssecd.core.parent.handover import Handover
from dnssecd.daemon.parent.automation import DsAutomation
from dnssecd.daemon.parent.channels import Doer, Parent
from dnssecd.daemon.parent.room import DsRoom
from dnssecd.ops.ds_hook import HookRunner
from dnssecd.ops.events import EventCore
from dnssecd.publish.dsync import Notified
from dnssecd.publish.exchange import Peer
from tests.unit.core_parent.keysets import APEX, NOW, ZONE, key

PUSHED = Parent(push=Peer("parent", "192.0.2.1"))
HOOKED = Parent(hook=("/usr/local/bin/registrar",), cds=False)
SCANNED = Parent()
BY_HAND = Parent(cds=False)
NO_ENDPOINT = Notified(False, True, "the parent has no DSYNC record for CDS")
TAKEN = Notified(True, True, "acknowledged by scanner.example.")


@dataclass
class FakeDoer(Doer):
    """Fares as told, and keeps what it was asked to do."""

    pushes: list[Handover] = field(default_factory=list)
    hooks: list[Handover] = field(default_factory=list)
    notifies: list[Handover] = field(default_factory=list)
    push_ok: bool = True
    hook_ok: bool = True
    notified: Notified = NO_ENDPOINT
    fault: Exception | None = None

    async def push(self, handover: Handover, parent: Parent) -> tuple[bool, str]:
        self.pushes.append(handover)
        if self.fault is not None:
            raise self.fault
        return self.push_ok, "took the update" if self.push_ok else "REFUSED"

    async def hook(self, handover: Handover, parent: Parent) -> tuple[bool, str]:
        self.hooks.append(handover)
        return self.hook_ok, "ended well" if self.hook_ok else "ended with status 1: no credit"

    async def notify(self, handover: Handover, parent: Parent) -> Notified:
        self.notifies.append(handover)
        return self.notified


@dataclass
class ZoneWithDs:
    """The zone, as far as DS automation knows it."""

    name: str = ZONE
    ds: DsRoom | None = None


class Rig:
    """One zone."""

    def __init__(self, home: Path) -> None:
        self.clock = FakeClock(NOW + 10)
        self.events = EventCore(home / "events.sqlite", self.clock)
        self.doer = FakeDoer.__new__(FakeDoer)
        FakeDoer.__init__(self.doer)
        Doer.__init__(self.doer, HookRunner())
        self.counted: list[tuple[str, str]] = []
        self.may_act = True
        self.past: list[tuple[str, str, str]] = []
        self.automation = DsAutomation(
            self.events,
            self.clock,
            count=lambda way, result: self.counted.append((way, result)),
            history=lambda *row: self.past.append(row),
            may_act=lambda zone: self.may_act,
            doer=self.doer,
        )
        self.sights: tuple[ParentSight, ...] = ()
        self.zone = ZoneWithDs()

    async def wanted(self, keyset: Keyset, parent: Parent = SCANNED, *, public: bool = True) -> None:
        self.automation.ds_wanted(self.zone, keyset, parent, public=public)
        await settle()

    async def seen(self, *numbers: int | None, at: float | None = None) -> None:
        """One server with the DS of these keys (None: it does not answer)."""
        await self.sighted({"ns1": numbers}, at)

    async def sighted(self, servers: dict[str, tuple[int | None, ...]], at: float | None = None) -> None:
        moment = int(self.clock.now() if at is None else at)
        self.sights = tuple(
            ParentSight(name)
            if None in numbers
            else ParentSight(
                name, tuple(ds_rdata(APEX, key(n).rdata) for n in numbers if n is not None), 300, moment
            )
            for name, numbers in servers.items()
        )
        self.automation.ds_seen(self.zone, self.sights)
        await settle()

    async def later(self, seconds: float) -> None:
        """Time passes, and the wiring says again what it last said."""
        self.clock.advance(seconds)
        self.automation.ds_seen(self.zone, self.sights)
        await settle()

    def firing(self) -> dict[tuple[str, str], str]:
        """(name, subject) → severity of what fires."""
        return {(event.name, event.subject): event.severity for event in self.events.firing(ZONE)}

    async def close(self) -> None:
        await self.automation.close()
        self.events.close()


async def settle() -> None:
    """Let what is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)
