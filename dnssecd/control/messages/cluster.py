"""Nodes of a cluster, their secondaries, and owners of zones: ``node.list`` and others, ``zone.owner``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from dnssecd.control.messages.base import Answer, Message, Request, Seconds, Time, Zone

NodeName = Annotated[str, Meta(description="name of a node, as in [cluster.nodes]")]


class NodeRow(Answer, frozen=True, kw_only=True):
    """A node of the cluster."""

    name: NodeName
    state: Annotated[str, Meta(description='"running", "draining", "unfit", "away" or "never joined"')]
    here: Annotated[bool, Meta(description="the node that answers")]
    zones: Annotated[int, Meta(description="number of zones that it owns")]
    address: list[str]
    version: str = ""
    lease_seconds: Annotated[Seconds | None, Meta(description="seconds until its lease ends")] = None
    clock_offset_seconds: Annotated[
        Seconds | None, Meta(description="by how much the database's clock is ahead of its own")
    ] = None
    detail: Annotated[str, Meta(description="why it may not own zones, or what differs in its settings")] = ""


class NodeRows(Answer, frozen=True, kw_only=True):
    """All nodes."""

    nodes: list[NodeRow]


class ListNodes(Request[NodeRows], frozen=True, kw_only=True):
    """List the nodes of the cluster."""

    command: ClassVar[str] = "node.list"


class ClusterChanged(Answer, frozen=True, kw_only=True):
    """The change was made."""

    message: Message


class DrainNode(Request[ClusterChanged], frozen=True, kw_only=True):
    """Let the other nodes take over all zones of a node."""

    command: ClassVar[str] = "node.drain"
    changes: ClassVar[bool] = True

    node: NodeName


class ResumeNode(Request[ClusterChanged], frozen=True, kw_only=True):
    """Let a node own zones again."""

    command: ClassVar[str] = "node.resume"
    changes: ClassVar[bool] = True

    node: NodeName


class ZoneOnNode(Answer, frozen=True, kw_only=True):
    """How far a node is with a zone."""

    node: NodeName
    records_behind: Annotated[
        int | None, Meta(description="records of the log that it lacks; null: not known")
    ]
    detail: Annotated[
        str, Meta(description="why it does not apply the next record, or cannot take it over")
    ] = ""


class ZoneOwner(Answer, frozen=True, kw_only=True):
    """The owner of a zone, and how far all nodes are."""

    zone: Zone
    owner: Annotated[str, Meta(description='"": it has none yet')]
    epoch: int
    since: Time | None
    move_to: Annotated[str, Meta(description='the node that is to take it over, "" for none')]
    sequence: Annotated[int, Meta(description="the newest record of its log")]
    nodes: list[ZoneOnNode]


class ShowOwner(Request[ZoneOwner], frozen=True, kw_only=True):
    """Show who makes the versions of a zone, and how far each node is."""

    command: ClassVar[str] = "zone.owner"

    zone: Zone


class MoveZone(Request[ClusterChanged], frozen=True, kw_only=True):
    """Let a node take a zone over as soon as it has all of its log."""

    command: ClassVar[str] = "zone.move"
    changes: ClassVar[bool] = True

    zone: Zone
    node: NodeName


class SecondaryCheck(Answer, frozen=True, kw_only=True):
    """A secondary of a zone, as the node that answers sees it."""

    secondary: str
    notify: Annotated[
        str, Meta(description='the result of a NOTIFY from this node: "answered", "refused", …')
    ] = ""
    serial: Annotated[int | None, Meta(description="the serial that it serves")] = None
    problem: Annotated[str, Meta(description='what is wrong, "" for nothing')] = ""


class NodeCheck(Answer, frozen=True, kw_only=True):
    """A node, asked for a transfer as a secondary does."""

    node: NodeName
    address: str
    key: Annotated[str, Meta(description='the TSIG key of the secondary, "" without one')] = ""
    serial: Annotated[int | None, Meta(description="the serial that it serves")] = None
    problem: Annotated[str, Meta(description='what is wrong, "" for nothing')] = ""


class SecondaryChecks(Answer, frozen=True, kw_only=True):
    """Whether the secondaries of a zone can use all nodes."""

    zone: Zone
    serial: Annotated[int | None, Meta(description="the serial of this node")]
    ok: bool
    secondaries: list[SecondaryCheck]
    nodes: list[NodeCheck]


class CheckSecondaries(Request[SecondaryChecks], frozen=True, kw_only=True):
    """Send NOTIFY to the secondaries of a zone from this node, and ask all nodes for a transfer as they do."""

    command: ClassVar[str] = "node.secondaries"

    zone: Zone
