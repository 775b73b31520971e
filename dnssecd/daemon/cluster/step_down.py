"""An owner that cannot sign gives its zones to a node that can: its token or its key service failed, or keys are lost.

Such a node is alive, so its lease does not end, and no other node takes its zones from it. It begins with what it knows
without asking: the state of its key service and its key stores, and zones whose last job or rollover step failed. Only
of those zones it proves the keys, and it gives a zone up only to a node that reported that it can take it over.

A zone that is to move is still this node's. So another node can be named without a pause when the first one fails, or
does not take the zone; the pause is for zones that came back.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

import structlog

from dnssecd.clock import Clock
from dnssecd.cluster import ownership, retention
from dnssecd.cluster.errors import ClusterError, DatabaseRefused
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.zones.rooms import ClusterRoom
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.cluster_metrics import ClusterMetrics

#: The zones are looked at in this interval, and sooner while some that cannot be signed were not proved yet.
LOOK_S, BACKLOG_S = 10.0, 1.0
#: A zone is given up when nothing could sign it for this time (or ``take_over_after``, if that is longer), seen in at
#: least this number of looks in a row: a token that restarts, or a single failure, moves nothing.
UNABLE_S, LOOKS_MIN = 30.0, 3
#: Zones of a look whose keys are proved, and of how many at the same time: a slow token must not fail by this.
AT_ONCE, PROOFS_AT_ONCE = 50, 8
#: This node gives a zone up once in this time. A node that could take it and has not for the other time is passed over.
PAUSE_S, UNTAKEN_S = 600.0, 30.0
#: Problems of a zone's last job that its keys may have caused.
HINTS = frozenset({"signing-failed", "key-missing"})

log = structlog.get_logger("dnssecd.cluster")


class StepDown:
    """Belongs to the event loop; ``run`` is a task of the node.

    why_unusable: why the keys in some key stores cannot be used now, as far as is known without asking, "" if nothing
    is known. prove: asks the key service; returns which key of a zone it cannot use, "" if it can use all.
    """

    def __init__(
        self,
        link: ClusterLink,
        zones: Mapping[str, FrontZone],
        why_unusable: Callable[[Iterable[str]], str],
        prove: Callable[[FrontZone], Awaitable[str]],
        clock: Clock,
        metrics: ClusterMetrics,
    ) -> None:
        self._link, self._zones, self._clock, self._metrics = link, zones, clock, metrics
        self._why_unusable, self._prove = why_unusable, prove
        self._others = [name for name in link.config.nodes if name != link.config.node]
        self._free = asyncio.Semaphore(PROOFS_AT_ONCE)
        self._unable_s = max(UNABLE_S, link.config.take_over_after)

    async def run(self) -> None:
        """Look after the zones of this node until cancelled."""
        while True:
            more = False
            try:
                more = await self.look()
            except DatabaseRefused as error:
                self._metrics.failures.labels("step down").inc()
                log.warning("zones that cannot be signed cannot be given up", cause=error.what)
            except ClusterError as error:  # the heartbeat reports it
                log.info("zones that cannot be signed are not given up now", cause=error.what)
            await asyncio.sleep(BACKLOG_S if more else LOOK_S)

    def why_not(self, zone: FrontZone) -> str:
        """Return why this node cannot sign a zone now, as far as is known without asking; "" if nothing is known."""
        stores = {wish.keystore for wish in zone.spec.keys}.difference(zone.spec.offline)
        return self._why_unusable(sorted(stores)) if stores else ""

    async def look(self) -> bool:
        """Give up what cannot be signed; return whether more zones are to be proved soon. Raise ClusterError."""
        now = self._clock.monotonic()
        due: list[tuple[float, int, FrontZone, ClusterRoom]] = []
        well: list[FrontZone] = []
        for number, (zone, room) in enumerate(self._owned()):
            if self.why_not(zone):
                _note_unable(room, now)
                wanted = self._is_unable(room, now)
            else:
                wanted = _may_lack_keys(zone)
                if not wanted:
                    _note_able(room)
                    well += [zone] if room.given_to else []
            if wanted and room.proved_at <= now - LOOK_S:
                due.append((room.proved_at, number, zone, room))
        chosen = [(zone, room) for _, _, zone, room in heapq.nsmallest(AT_ONCE, due)]
        whys = await asyncio.gather(*(self._try(zone, room) for zone, room in chosen))
        well += [zone for (zone, room), why in zip(chosen, whys, strict=True) if not why and room.given_to]
        if well:
            await self._keep(well)
        unable = {
            zone: why
            for (zone, room), why in zip(chosen, whys, strict=True)
            if why and zone.owned and not zone.gone and self._is_unable(room, now)
        }
        given = await self._give_up(unable, now) if unable else 0
        # Zones that no node can take, or whose keys are well, are no reason to hurry.
        moving = given > 0 or sum(1 for why in whys if why) > len(unable)
        return moving and len(due) > AT_ONCE

    def _owned(self) -> Iterator[tuple[FrontZone, ClusterRoom]]:
        """Yield the zones that this node has to sign; what was noted of the others is of another time."""
        for zone in self._zones.values():
            room = zone.cluster
            if room is not None and zone.owned and zone.serial is not None and not zone.gone:
                yield zone, room
            elif room is not None:
                _note_able(room)
                room.given_to = ""

    def _is_unable(self, room: ClusterRoom, now: float) -> bool:
        since = room.unable_since
        return since is not None and now - since >= self._unable_s and room.unable_looks >= LOOKS_MIN

    async def _try(self, zone: FrontZone, room: ClusterRoom) -> str:
        """Prove the keys of a zone; return which cannot be used, "" if all can."""
        async with self._free:
            now = room.proved_at = self._clock.monotonic()
            why = await self._prove(zone)
        if not why:
            _note_able(room)
        elif not self.why_not(zone):  # otherwise the look itself counted
            _note_unable(room, now)
        return why

    async def _give_up(self, unable: Mapping[FrontZone, str], now: float) -> int:
        """Let other nodes take zones over, each one that said that it can; return how many were given up."""
        rooms = {zone.name: zone.cluster for zone in unable if zone.cluster is not None}
        if not rooms or not self._others:
            return 0
        database, node = self._link.database, self._link.config.node
        able = await self._link.run(retention.able_nodes, database, list(rooms), self._others)
        moves = await self._link.run(ownership.moves, database, list(rooms))
        targets = {}
        for name, room in rooms.items():
            before = moves.get(name, "")
            target = ownership.preferred(name, _choice(room, before, able.get(name, []), now))
            if target:
                targets[name] = ownership.Target(target, before)
        given = await self._link.run(ownership.give_up, database, node, targets) if targets else []
        for zone, why in unable.items():
            if zone.name not in given or zone.cluster is None:
                continue
            room, target = zone.cluster, targets[zone.name].node
            room.given_up_at, room.given_to = self._clock.monotonic(), target
            # Its first report as a node that follows the zone then says that it cannot take it back.
            room.keys = why
            self._metrics.given_up.inc()
            log.warning(
                "this node cannot sign the zone and gives it up", zone=zone.name, node=target, cause=why
            )
        return len(given)

    async def _keep(self, zones: list[FrontZone]) -> None:
        """Withdraw moves that did not happen yet: this node can sign the zones again."""
        rooms = {zone.name: zone.cluster for zone in zones if zone.cluster is not None}
        given = {name: room.given_to for name, room in rooms.items()}
        kept = await self._link.run(ownership.withdraw, self._link.database, self._link.config.node, given)
        for room in rooms.values():
            room.given_to = ""
        for name in kept:
            log.info("this node can sign the zone again and keeps it", zone=name)


def _may_lack_keys(zone: FrontZone) -> bool:
    """Tell whether something failed that the keys of a zone may have caused."""
    rollover_fails = zone.keys is not None and zone.keys.failures > 0
    return rollover_fails or zone.signed_elsewhere or any(one.event in HINTS for one in zone.problems)


def _choice(room: ClusterRoom, before: str, able: list[str], now: float) -> list[str]:
    """Return the nodes of which one is to take a zone now; before: the node that is to take it already, "" for none."""
    since_s = now - room.given_up_at
    if not before:
        return able if since_s >= PAUSE_S else []
    if before not in able:
        return able
    if since_s >= PAUSE_S:  # another process of this node named it, or an operator: it has its time, too
        room.given_up_at = now
    return [node for node in able if node != before] if UNTAKEN_S <= since_s < PAUSE_S else []


def _note_unable(room: ClusterRoom, now: float) -> None:
    if room.unable_since is None:
        room.unable_since = now
    room.unable_looks += 1


def _note_able(room: ClusterRoom) -> None:
    room.unable_since, room.unable_looks = None, 0
