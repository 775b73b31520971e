"""The roll-over engine on a fake clock with a real store, pipeline and key service; no network, no workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from dnssecd.clock import FakeClock
from dnssecd.config.load import parse
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.verify import inline_checker
from dnssecd.daemon.commands.rollover import RolloverCommands
from dnssecd.daemon.rollover.engine import Engine, Rollovers
from dnssecd.daemon.zones import specs
from dnssecd.daemon.zones.databases import Databases
from dnssecd.daemon.zones.machine import State
from dnssecd.daemon.zones.schedule import NextWake
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient, SignerClient
from dnssecd.ops.events import EventCore
from dnssecd.pipeline.jobs.job import Tools
from dnssecd.pipeline.jobs.load import load_file
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.rekey import pending_removals, rekey
from dnssecd.pipeline.jobs.resign import resign
from dnssecd.pipeline.version.keychange import REMOVALS, KeyChange
from dnssecd.publish.watch import Sighting
from tests.commands import give_named
from tests.pipeline_zone import DATE, NOW, ZONE

_NUMBERS = count()
RESIGN_S = 3_600

CONFIG = """
[server]
state_dir = "{home}/state"
control_socket = "{home}/control.sock"
[keystore.local]
type = "software"
[secondary.ns1]
address = "127.0.0.1:5399"
[policy.default]
{policy}
[zone."{name}"]
file = "zone"
secondaries = ["ns1"]
parent = "none"
"""


class FakeSchedule:
    """Wakes nobody; keeps what was asked."""

    def __init__(self) -> None:
        self.wakes: dict[str, tuple[float, Callable[[Any], None]]] = {}

    def wake(self, zone: Any, what: str, when: float, action: Callable[[Any], None]) -> None:
        self.wakes[f"{what} {zone.name}"] = when, action
        self._drop(zone, what)
        zone.wakes = (*zone.wakes, SimpleNamespace(at=when, what=what))

    def forget(self, zone: Any, what: str) -> None:
        self.wakes.pop(f"{what} {zone.name}", None)
        self._drop(zone, what)

    @staticmethod
    def _drop(zone: Any, what: str) -> None:
        zone.wakes = tuple(wake for wake in getattr(zone, "wakes", ()) if wake.what != what)

    def next_wakes(self) -> list[NextWake]:
        return sorted(NextWake(when, *name.split(" ")) for name, (when, _) in self.wakes.items())


class Rig:
    """One zone, published and an island of trust; the clock moves when told."""

    def __init__(self, home: Path, socket: str, policy: str = "") -> None:
        self.home, self.policy = home, policy
        self.name = f"z{next(_NUMBERS)}.example."  # rigs share a key service
        self.clock = FakeClock(NOW)
        self.config = self._config()
        self.events = EventCore(home / "events.sqlite", self.clock)
        self.signer = AsyncSignerClient(socket, owners=None)
        self.blocking = SignerClient(socket, owners=None)
        self.schedule = FakeSchedule()
        (home / "zones").mkdir()
        self.zone = self._zone(socket)
        self.outcome: Outcome | None = None  # what the next rekey is to end in, instead of being done
        self.rekeys = 0
        self.resigns = 0
        self.clock_sure = True
        (home / "zone").write_text(ZONE)
        done = load_file(self.zone.database, self.zone.spec, home / "zone", self.tools())
        assert done.result == "published", done.problems
        self.zone.serial, self.zone.state = done.serial, State.SERVED
        self.rollovers = self._rollovers()

    def _config(self) -> Any:
        return parse(
            CONFIG.format(home=self.home, policy=self.policy, name=self.name), self.home / "config.toml"
        )

    def _zone(self, socket: str) -> FrontZone:
        zone = self.config.zones[self.name]
        spec = specs.zone_spec(self.config, zone, socket, None)
        spec = msgspec.structs.replace(spec, database=str(self.home / "zones" / "example.sqlite"))
        peers = [specs.peer(self.config, server) for server in self.config.secondaries_of(self.name)]
        access = specs.access(zone, self.config.secondaries_of(self.name), self.config)
        return FrontZone(zone, spec, access, peers, peers, Databases())

    def _rollovers(self) -> Rollovers:
        return Rollovers(
            Engine(
                lambda: self.config,
                self.signer,
                self.events,
                self.clock,
                self.schedule,  # type: ignore[arg-type]
                self._rekey,
                self._resign,
                lambda: self.clock_sure,
                lambda: 0,
            ),
            lambda name: (),
        )

    def tools(self) -> Tools:
        return Tools(self.blocking, inline_checker, int(self.clock.now()), DATE, self.clock.monotonic)

    async def _rekey(self, zone: FrontZone, change: KeyChange) -> Outcome:
        self.rekeys += 1
        if self.outcome is not None:
            return self.outcome
        done = await asyncio.to_thread(rekey, zone.database, zone.spec, change, self.tools())
        zone.serial = done.serial
        return done

    def _resign(self, zone: FrontZone) -> None:
        self.resigns += 1
        self._renew()

    def _renew(self) -> None:
        """Sign again what is due."""
        done = resign(self.zone.database, self.zone.spec, self.tools())
        assert done.result in ("published", "unchanged"), done.problems
        self.zone.serial = done.serial
        self.rollovers.of(self.zone).stale = True

    def configure(self, policy: str) -> None:
        """Another policy, as after a reload."""
        self.policy = policy
        self.config = self._config()
        before = self.zone.spec
        made = self._zone(before.signer_socket)
        self.zone.config, self.zone.spec = made.config, made.spec

    async def plan(self, seconds: float = 0.0, *, followed: bool = True) -> None:
        """Let time pass, the secondary follow (if it does), and have the planner asked."""
        self.clock.advance(seconds)
        if seconds >= RESIGN_S:
            self._renew()
        evidence = self.rollovers.of(self.zone).evidence
        if followed and evidence is not None:
            sighting = Sighting(self.name, "ns1", self.zone.serial, self.clock.now(), True)
            evidence.sighted(sighting, int(self.clock.now()) + 60)
        await self.rollovers.ask(self.zone, urgent=True)

    async def settle(self, days: int = 1) -> None:
        """Time passes until the first keys have settled."""
        for _ in range(days * 4):
            await self.plan(21_600)

    def keyset(self) -> Keyset:
        committed = self.rollovers.of(self.zone).committed
        assert committed is not None
        return committed.keyset

    def restart(self) -> None:
        """A new process: all that was in memory is gone."""
        self.zone.keys = self.zone.planning = self.zone.recovery = None
        self.rollovers = self._rollovers()

    def firing(self) -> set[str]:
        return {event.name for event in self.events.firing()}

    def history(self) -> list[str]:
        with self.zone.database.snapshot() as snapshot:
            return [str(entry["what"]) for entry in snapshot.history(1000)]

    def removals(self) -> list[str]:
        """Private keys that are still to be destroyed."""
        with self.zone.database.snapshot() as snapshot:
            return pending_removals(snapshot.state(REMOVALS))

    async def command(self, name: str, **args: Any) -> Any:
        """Answer a command as the control socket would."""
        commands = RolloverCommands({self.name: self.zone}, self.rollovers)
        return await give_named(commands.commands(), name, zone=self.name, **args)

    async def close(self) -> None:
        await self.rollovers.close()
        await self.signer.aclose()
        self.blocking.close()
        self.zone.databases.close()
        self.events.close()
        with suppress(OSError):
            (self.home / "zone").unlink()
