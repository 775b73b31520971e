"""Commands on the nodes of a cluster, and on the owners of zones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dnssecd.control.command import Call, Command, Refused
from dnssecd.control.messages.cluster import (
    CheckSecondaries,
    ClusterChanged,
    DrainNode,
    ListNodes,
    MoveZone,
    NodeRows,
    ResumeNode,
    SecondaryChecks,
    ShowOwner,
    ZoneOwner,
)
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.zones.zone import FrontZone

if TYPE_CHECKING:
    from dnssecd.daemon.cluster.admin import ClusterAdmin

T = TypeVar("T")


class ClusterCommands:
    """The handlers. admin: None on a single host, where they refuse."""

    def __init__(self, admin: ClusterAdmin | None, zones: Mapping[str, FrontZone]) -> None:
        self._admin, self._zones = admin, zones

    def commands(self) -> list[Command[Any]]:
        """Return the commands."""
        return [
            Command(ListNodes, self.list_nodes),
            Command(DrainNode, self.drain),
            Command(ResumeNode, self.resume),
            Command(ShowOwner, self.owner),
            Command(MoveZone, self.move),
            Command(CheckSecondaries, self.check_secondaries),
        ]

    async def list_nodes(self, call: Call[ListNodes]) -> NodeRows:
        """Answer ``node.list``."""
        return await self._do(lambda admin: admin.list_nodes())

    async def drain(self, call: Call[DrainNode]) -> ClusterChanged:
        """Answer ``node.drain``."""
        return await self._draining(call.request.node, True)

    async def resume(self, call: Call[ResumeNode]) -> ClusterChanged:
        """Answer ``node.resume``."""
        return await self._draining(call.request.node, False)

    async def owner(self, call: Call[ShowOwner]) -> ZoneOwner:
        """Answer ``zone.owner``."""
        zone = zone_of(self._zones, call.request.zone)
        return await self._do(lambda admin: admin.owner(zone))

    async def move(self, call: Call[MoveZone]) -> ClusterChanged:
        """Answer ``zone.move``."""
        zone = zone_of(self._zones, call.request.zone)
        return ClusterChanged(message=await self._do(lambda admin: admin.move(zone, call.request.node)))

    async def check_secondaries(self, call: Call[CheckSecondaries]) -> SecondaryChecks:
        """Answer ``node.secondaries``."""
        zone = zone_of(self._zones, call.request.zone)
        if self._admin is None:
            raise _no_node()
        return await self._admin.check_secondaries(zone)

    async def _draining(self, node: str, draining: bool) -> ClusterChanged:
        return ClusterChanged(message=await self._do(lambda admin: admin.set_draining(node, draining)))

    async def _do(self, work: Callable[[ClusterAdmin], T]) -> T:
        if self._admin is None:
            raise _no_node()
        from dnssecd.cluster.errors import ClusterError

        try:
            return await self._admin.run(work)
        except ClusterError as error:
            raise Refused(error.what, error.remedy) from None


def _no_node() -> Refused:
    return Refused("this dnssecd is no node of a cluster", "see [cluster] in the configuration (docs/ha.md)")
