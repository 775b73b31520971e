"""A zone's data on its DS: the request that is followed, the channels used, the DS seen at the parent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from dnssecd.core.keys.evidence import ParentSight
from dnssecd.core.keys.keyset import Keyset
from dnssecd.core.parent.handover import Handover
from dnssecd.daemon.parent import judge as dsjudge
from dnssecd.daemon.parent.channels import Parent, Way
from dnssecd.flag import Flag


@dataclass(eq=False, slots=True)
class DsRoom:
    """The data of one zone; ``handover`` is the request that is followed while ``task`` runs."""

    parent: Parent
    keyset: Keyset
    handover: Handover
    ways: dict[str, Way] = field(default_factory=dict)
    seen: tuple[ParentSight, ...] = ()
    public: bool = True
    closing: str = ""
    overdue: bool = False
    raised: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    news: Flag = field(default_factory=Flag)

    @property
    def reached(self) -> bool:
        """Tell whether every parent server was seen, since the request, to have exactly the wanted DS."""
        return dsjudge.reached(self.handover, self.seen)

    def stop(self) -> None:
        """Stop following the request."""
        if self.task is not None:
            self.task.cancel()
            self.task = None


class DsZone(Protocol):
    """A zone with its DS data. ``ds``: None before the first plan."""

    ds: DsRoom | None

    @property
    def name(self) -> str:
        """Return the zone's name, text, absolute."""
