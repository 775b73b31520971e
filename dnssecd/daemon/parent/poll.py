"""Poll the parents' servers for their DS: every address of every server, over TCP, no more often than needed.

The servers are configured, or found by the resolver and looked up again every hour. While a DS is expected to
appear or disappear, polls are frequent, otherwise rare. The total number of polls is bounded.
"""

import asyncio
from collections.abc import Callable
from zlib import crc32

import structlog

from dnssecd.clock import Clock
from dnssecd.config.model import Config
from dnssecd.daemon.zones.rooms import ParentRoom
from dnssecd.daemon.zones.schedule import Schedule
from dnssecd.daemon.zones.zone import FrontZone, ZoneGone
from dnssecd.publish.exchange import Peer
from dnssecd.publish.parent import (
    ParentAnswer,
    ParentUnknown,
    ask_delegation,
    ask_ds,
    find_parent_servers,
    resolver,
)
from dnssecd.publish.signers import SignerAnswer, ask_dnskeys

ZONES_AT_ONCE = 16
ADDRESSES_MAX = 64
FIND_AGAIN_S = 3600.0
LOOK_WAITING_S = (1.0, 300.0)
LOOK_IDLE_S = (5.0, 6 * 3600.0)
SPREAD_S = 600.0
#: While changes are expected for very many zones, at most this many zones are polled in a second.
LOOKS_PER_S = 10.0

log = structlog.get_logger("dnssecd.parents")

#: zone, the answers of its parent's servers, when they are polled next (epoch s).
OnAnswers = Callable[[FrontZone, list[ParentAnswer], int], None]
#: zone, the answers of the servers of its other signers, when they are polled next (epoch s).
OnSigners = Callable[[FrontZone, list[SignerAnswer], int], None]


class ParentWatch:
    """Watches the parents of all zones that have one. Methods belong to the event loop."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        schedule: Schedule,
        on_answers: OnAnswers,
        on_signers: OnSigners,
    ) -> None:
        self._config, self._clock, self._schedule = config, clock, schedule
        self._on_answers, self._on_signers = on_answers, on_signers
        self._waits = 0
        self._free = asyncio.Semaphore(ZONES_AT_ONCE)
        self._tasks: set[asyncio.Task[object]] = set()

    def servers(self, zone: FrontZone) -> tuple[str, ...] | None:
        """Return the names of the polled addresses; None while they are not known."""
        if zone.config.parent.servers:
            return tuple(str(address) for address in zone.config.parent.servers)
        servers = None if zone.parent is None else zone.parent.servers
        return None if servers is None else tuple(server.name for server in servers)

    def trouble(self, zone: FrontZone) -> str:
        """Return why the parent's servers are not known; "" if they are."""
        return "" if zone.parent is None else zone.parent.trouble

    def watch(self, zone: FrontZone, *, waiting: bool) -> None:
        """Poll a zone's parent; ``waiting``: a change is expected there."""
        if zone.gone:
            return
        if zone.config.parent.none or zone.name == ".":
            self.forget(zone)
            return
        parent = _room(zone)
        changed, parent.waiting = parent.waiting is not waiting, waiting
        if changed:
            self._waits += 1 if waiting else -1
        if parent.next_look is None:
            spread = 0.0 if waiting else crc32(zone.name.encode()) % 1000 / 1000 * SPREAD_S
            self._plan(zone, parent, min(spread, self._interval(zone, parent)))
        elif changed and waiting:
            self._plan(zone, parent, 0.0)

    def forget(self, zone: FrontZone) -> None:
        """Stop polling."""
        parent, zone.parent = zone.parent, None
        if parent is not None and parent.waiting:
            self._waits -= 1
        self._schedule.forget(zone, "parent")

    async def look(self, zone: FrontZone) -> list[ParentAnswer]:
        """Poll all servers now; raise ParentUnknown if they cannot be found, or ZoneGone."""
        zone.check()
        parent = _room(zone)
        await self._look_at_signers(zone, parent)
        async with parent.looking, self._free:
            servers = await self._servers(zone, parent)
            answers = await asyncio.gather(*(self._ask(zone, server) for server in servers[:ADDRESSES_MAX]))
        zone.check()
        next_look = self._clock.now() + self._interval(zone, parent)
        self._on_answers(zone, answers, int(next_look))
        return answers

    async def _ask(self, zone: FrontZone, server: Peer) -> ParentAnswer:
        """Ask for the DS; where other signers sign the zone, for the delegation's NS as well."""
        if zone.config.other_signers:
            return await ask_delegation(zone.name, server, self._clock.now)
        return await ask_ds(zone.name, server, self._clock.now, tcp=True)

    async def _look_at_signers(self, zone: FrontZone, parent: ParentRoom) -> None:
        asked = [
            (signer.name, Peer(str(address), address.host, address.port))
            for signer in zone.config.other_signers
            for address in signer.servers
        ]
        if not asked:
            return
        async with self._free:
            answers = await asyncio.gather(
                *(ask_dnskeys(zone.name, signer, server, self._clock.now) for signer, server in asked)
            )
        if not zone.gone:
            self._on_signers(zone, answers, int(self._clock.now() + self._interval(zone, parent)))

    async def close(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _plan(self, zone: FrontZone, parent: ParentRoom, delay: float) -> None:
        parent.next_look = self._clock.now() + delay
        self._schedule.wake(zone, "parent", parent.next_look, self._due)

    def _due(self, zone: FrontZone) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(self._look_again(zone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_again(self, zone: FrontZone) -> None:
        parent = zone.parent
        if parent is None:
            return
        try:
            await self.look(zone)
        except ZoneGone:
            return
        except ParentUnknown as error:
            if zone.gone:
                return
            if str(error) != parent.trouble:
                log.warning("parent not found", zone=zone.name, cause=str(error))
            parent.trouble = str(error)
            self._on_answers(zone, [], int(self._clock.now() + self._interval(zone, parent)))
        finally:
            if zone.parent is parent:
                self._plan(zone, parent, self._interval(zone, parent))

    async def _servers(self, zone: FrontZone, parent: ParentRoom) -> list[Peer]:
        configured = zone.config.parent.servers
        if configured:
            parent.trouble = ""
            return [Peer(str(address), address.host, address.port) for address in configured]
        old = parent.servers is None or self._clock.monotonic() > parent.found_at + FIND_AGAIN_S
        if old:
            asking = [(address.host, address.port) for address in self._config().server.resolver]
            try:
                parent.servers = await find_parent_servers(zone.name, resolver(asking))
                parent.found_at, parent.trouble = self._clock.monotonic(), ""
            except ParentUnknown as error:
                if parent.servers is None:
                    raise
                parent.trouble = str(error)
        return parent.servers or []

    def _interval(self, zone: FrontZone, parent: ParentRoom) -> float:
        policy = self._config().policies[zone.config.policy]
        shortest, longest = LOOK_WAITING_S if parent.waiting else LOOK_IDLE_S
        wanted = policy.parent_ds_ttl / 4
        if parent.waiting:
            wanted = min(wanted, policy.parent_propagation_delay / 4)
            shortest, longest = (
                max(shortest, self._waits / LOOKS_PER_S),
                max(longest, self._waits / LOOKS_PER_S),
            )
        return min(max(wanted, shortest), longest)


def _room(zone: FrontZone) -> ParentRoom:
    if zone.parent is None:
        zone.parent = ParentRoom()
    return zone.parent
