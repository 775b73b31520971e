"""Whether zones can be taken over: each node reports what prevents it; the owner reports zones that no node could take.

What concerns a whole node (its lease, a drain, its clock) stands in its row. What concerns a zone, as its keys, each
node stores beside how far it is in the log of the zone.
"""

from collections.abc import Callable, Mapping
from itertools import islice

from dnssecd.clock import Clock
from dnssecd.cluster import retention
from dnssecd.cluster.membership import NodeState
from dnssecd.cluster.retention import Progress
from dnssecd.daemon.cluster.followers import Followers
from dnssecd.daemon.cluster.link import ClusterLink
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.cluster_metrics import ClusterMetrics
from dnssecd.ops.events import EventCore

IMPOSSIBLE = "take-over-impossible"
#: Zones without successor are looked for at this interval, and reported when they had none for this time: the restart
#: of a node, and the first keys of a zone, take less.
LOOK_S, AFTER_S = 10.0, 60.0
#: Zones of a heartbeat whose hindrances are looked at.
AT_ONCE = 1000


class Successors:
    """Belongs to the event loop. why_not: why this node cannot take a zone over, for a reason of the zone."""

    def __init__(
        self,
        link: ClusterLink,
        zones: Mapping[str, FrontZone],
        followers: Followers,
        events: EventCore,
        clock: Clock,
        metrics: ClusterMetrics,
        why_not: Callable[[FrontZone], str],
    ) -> None:
        self._link, self._zones, self._followers, self._why_not = link, zones, followers, why_not
        self._events, self._clock, self._metrics = events, clock, metrics
        self._begin = 0
        self._looked_at: float | None = None

    async def report(self) -> None:
        """Store how far this node is in the logs, and what prevents a take-over. Raise ClusterError."""
        self._note_hindrances()
        progress, self._followers.progress = self._followers.progress, {}
        if not progress:
            return
        found = {
            zone: each._replace(why_not="" if zone.owned else self._why_not(zone))
            for zone, each in progress.items()
        }
        rows = {zone.name: each for zone, each in found.items()}
        try:
            await self._link.run(retention.report_applied, self._link.database, self._link.config.node, rows)
        except BaseException:
            self._followers.progress = {**progress, **self._followers.progress}
            raise
        for zone, each in found.items():
            if zone.cluster is not None:
                zone.cluster.hindrance = each.why_not

    def _note_hindrances(self) -> None:
        """Have what changed since the last report be reported, of some zones at a time."""
        if self._begin >= len(self._zones):
            self._begin = 0
        for zone in islice(self._zones.values(), self._begin, self._begin + AT_ONCE):
            room = zone.cluster
            if room is None or room.owned or room.applied is None or room.hindrance == self._why_not(zone):
                continue
            self._followers.progress.setdefault(zone, Progress(room.applied, room.refused))
        self._begin += AT_ONCE

    async def look(self, nodes: Mapping[str, NodeState]) -> None:
        """Report the zones of this node that no other node can take over. Raise ClusterError."""
        now, own = self._clock.monotonic(), self._link.config.node
        others = [name for name in self._link.config.nodes if name != own]
        if not others or (self._looked_at is not None and now - self._looked_at < LOOK_S):
            return
        self._looked_at = now
        found = await self._link.run(retention.without_successor, self._link.database, own, others)
        for zone in self._zones.values():
            room = zone.cluster
            if room is None:
                continue
            if not self._is_alone(zone.name, found):
                room.alone_since = None
            elif room.alone_since is None:
                room.alone_since = now
            room.alone = room.alone_since is not None and now - room.alone_since >= AFTER_S
            if room.alone:
                whys = found[zone.name]
                text = "; ".join(f"node {each} {_why(nodes.get(each), whys.get(each))}" for each in others)
                self._events.raise_event(IMPOSSIBLE, zone.name, text)
        for event in self._events.firing():
            if event.name == IMPOSSIBLE and not self._is_alone(event.zone, found):
                self._events.resolve(IMPOSSIBLE, event.zone)
        self._metrics.alone.set(
            sum(1 for zone in self._zones.values() if zone.cluster is not None and zone.cluster.alone)
        )

    def _is_alone(self, name: str, found: Mapping[str, object]) -> bool:
        zone = self._zones.get(name)
        return zone is not None and zone.owned and name in found


def _why(state: NodeState | None, of_zone: str | None) -> str:
    """Return why a node cannot take a zone over; of_zone: what it reported of the zone, None: nothing."""
    if state is None:
        return "never joined the cluster"
    if state.alive_s <= 0:
        return "is away"
    if state.draining:
        return "is draining"
    if state.unfit:
        return "may not make versions"
    if of_zone is None:
        return "does not have the zone"
    return f"cannot: {of_zone}" if of_zone else "was not ready a moment ago"
