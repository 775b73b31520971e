"""The command ``ds.show``: the handover of DS as text, as data and as lines."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dnssecd.clock import Clock
from dnssecd.control.command import Call, Command
from dnssecd.control.messages.ds import (
    DsHandover,
    DsRecord,
    EppText,
    HandoverDocument,
    LaterKey,
    ShowDs,
)
from dnssecd.core.keys.keyset import Keyset, ds_rdata
from dnssecd.core.parent import forms as forms
from dnssecd.core.parent.handover import Change, Handover, Task, handover_of
from dnssecd.core.parent.text import Progress, request_text
from dnssecd.daemon.commands.common import zone_of
from dnssecd.daemon.commands.forecast import ForecastCommands
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.replacing import replace


class DsShow:
    """The handler; one instance per daemon.

    keyset: a zone's keys, None before its first publication. progress: the state of DS automation for a zone.
    """

    def __init__(
        self,
        zones: Mapping[str, FrontZone],
        keyset: Callable[[FrontZone], Keyset | None],
        progress: Callable[[FrontZone], Progress | None],
        ahead: ForecastCommands,
        clock: Clock,
    ) -> None:
        self._zones, self._keyset, self._progress = zones, keyset, progress
        self._ahead, self._clock = ahead, clock

    def commands(self) -> list[Command[Any]]:
        """Return the command."""
        return [Command(ShowDs, self.show)]

    async def show(self, call: Call[ShowDs]) -> DsHandover:
        """Answer ``ds.show``: the DS for the parent in every form, and the keys that are not ready yet."""
        zone = zone_of(self._zones, call.request.zone)
        keyset = self._keyset(zone)
        if keyset is None:
            text = f"{zone.name} has not been published yet, so it has no keys.\n"
            return DsHandover(zone=zone.name, ds=[], dnskey=[], cds=[], at_parent=None, text=text)
        handover = handover_of(zone.name, keyset)
        waits = handover.having(Change.LATER) and zone.serial is not None
        ready = await self._ahead.ds_ready_at(zone) if waits else {}
        return describe_handover(zone, handover, self._progress(zone), ready, self._clock.now())


def describe_handover(
    zone: FrontZone, handover: Handover, progress: Progress | None, ready: Mapping[int, int], now: float
) -> DsHandover:
    """Return the answer of ``ds.show``.

    progress: the state of DS automation, None if it has none yet. ready: when the DS of a key can be handed
    over (epoch s), by key tag. No form contains the DS of a key before that time.
    """
    parent = zone.config.parent
    if progress is None:
        asked = handover.task is not Task.NOTHING
        progress = Progress(cds=zone.spec.cds and asked, polled=not parent.none)
    later = [
        LaterKey(tag=key.tag, role=key.role, ready_at=ready.get(key.tag))
        for key in handover.having(Change.LATER)
    ]
    progress = replace(progress, ready_at=tuple(ready.items()))
    return DsHandover(
        zone=zone.name,
        task=handover.task.value,
        ds=[_describe_ds(handover, key.rdata, digest) for key in handover.wanted for digest in forms.DIGESTS],
        later=later,
        dnskey=forms.dnskey_lines(handover, handover.wanted),
        cds=forms.cds_lines(handover),
        dsset=forms.dsset_lines(handover),
        epp=EppText(ds="\n".join(forms.epp_ds(handover)), key="\n".join(forms.epp_key(handover))),
        handover=msgspec.convert(forms.document(handover), HandoverDocument),
        at_parent=_describe_parent(progress),
        text=request_text(handover, progress, now),
    )


def _describe_ds(handover: Handover, dnskey: bytes, digest_type: int) -> DsRecord:
    rdata = ds_rdata(handover.apex, dnskey, digest_type)
    return DsRecord(
        tag=int.from_bytes(rdata[:2]),
        algorithm=rdata[2],
        digest_type=digest_type,
        digest=rdata[4:].hex().upper(),
        text=f"{handover.zone} IN DS {forms.ds_text(rdata)}",
    )


def _describe_parent(progress: Progress) -> list[str] | None:
    """Return one line for each server that answered; None while no server was queried."""
    lines = [
        f"{sight.server}: {' '.join(map(str, sight.tags)) or 'none'}"
        for sight in progress.seen
        if sight.tags is not None
    ]
    return lines if progress.seen else None
