"""What operators see and change of the cluster, from this node. Methods block: call them in a thread."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from dnssecd.cluster import membership, ownership, retention
from dnssecd.control.messages.cluster import NodeRow, NodeRows, SecondaryChecks, ZoneOnNode, ZoneOwner
from dnssecd.daemon.cluster.node import ClusterNode
from dnssecd.daemon.cluster.secondaries_check import check_secondaries
from dnssecd.daemon.zones.zone import FrontZone

T = TypeVar("T")


class ClusterAdmin:
    """Reads and changes the database's rows; raise ClusterError."""

    def __init__(self, node: ClusterNode, zones: Mapping[str, FrontZone]) -> None:
        self._node, self._zones = node, zones
        self._database = node.link.database

    def list_nodes(self) -> NodeRows:
        """Return all nodes: those of the configuration, and others that have joined."""
        joined = {state.name: state for state in membership.list_nodes(self._database)}
        owned: dict[str, int] = {}
        for owner in ownership.owners(self._database).values():
            owned[owner.node] = owned.get(owner.node, 0) + 1
        configured = self._node.link.config.nodes
        rows = []
        for name in sorted({*configured, *joined}):
            state = joined.get(name)
            here = name == self._node.link.config.node
            if state is None:
                address = [str(each) for each in configured[name].address]
                rows.append(NodeRow(name=name, state="never joined", here=here, zones=0, address=address))
                continue
            rows.append(
                NodeRow(
                    name=name,
                    state=_word(state),
                    here=here,
                    zones=owned.get(name, 0),
                    address=state.address,
                    version=state.version,
                    lease_seconds=round(state.alive_s, 1),
                    clock_offset_seconds=round(state.clock_offset_s, 3),
                    detail=state.unfit or self._node.comparison.difference(name),
                )
            )
        return NodeRows(nodes=rows)

    def set_draining(self, node: str, draining: bool) -> str:
        """Drain a node or end that; return what was done, for people."""
        membership.set_draining(self._database, node, draining)
        if draining:
            return f"the zones of node {node} are taken over by the others within seconds (dnssecd node list)"
        return f"node {node} may own zones again"

    def owner(self, zone: FrontZone) -> ZoneOwner:
        """Return the owner of a zone."""
        owner = ownership.owner_of(self._database, zone.name)
        head = self._node.link.log.heads_of([zone.name]).get(zone.name, 0)
        progress = retention.progress_of(self._database, zone.name)
        states = {state.name: state for state in membership.list_nodes(self._database)}
        rows = []
        for name in sorted({*self._node.link.config.nodes, *progress}):
            how = progress.get(name)
            behind = None if how is None else max(0, head - how.sequence)
            if owner is not None and name == owner.node:
                behind = 0
            detail = ("" if how is None else how.refused) or _hindrance(states.get(name))
            here = name == self._node.link.config.node
            if owner is None or owner.node != name:
                stored = "" if how is None else how.why_not
                detail = detail or (self._node.why_not(zone) if here else stored)
            elif here:
                detail = detail or self._node.why_unable(zone)
            rows.append(ZoneOnNode(node=name, records_behind=behind, detail=detail))
        return ZoneOwner(
            zone=zone.name,
            owner="" if owner is None else owner.node,
            epoch=0 if owner is None else owner.epoch,
            since=None if owner is None else owner.since,
            move_to="" if owner is None else owner.move_to,
            sequence=head,
            nodes=rows,
        )

    async def run(self, work: Callable[["ClusterAdmin"], T]) -> T:
        """Run work of this class in a thread of the cluster."""
        return await self._node.link.run(work, self)

    async def check_secondaries(self, zone: FrontZone) -> SecondaryChecks:
        """Check whether the secondaries of a zone can use all nodes. Raise StoreError, OSError."""
        return await check_secondaries(zone, self._node.link.config.nodes, self._node.now)

    def move(self, zone: FrontZone, node: str) -> str:
        """Let a node take a zone over; return what was done, for people."""
        owner = ownership.move(self._database, zone.name, node)
        if owner.node == node:
            return f"node {node} owns {zone.name} already"
        return f"node {node} takes {zone.name} over from node {owner.node} (dnssecd zone owner {zone.name})"


def _hindrance(state: membership.NodeState | None) -> str:
    """Return why a node makes no versions of any zone now, "" if it can."""
    if state is None:
        return "it never joined the cluster"
    if state.alive_s <= 0:
        return "it is away"
    return "it is draining" if state.draining else state.unfit


def _word(state: membership.NodeState) -> str:
    if state.alive_s <= 0:
        return "away"
    if state.draining:
        return "draining"
    return "unfit" if state.unfit else "running"
