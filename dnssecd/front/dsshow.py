"""The answer of `ds.show`: the hand-over as text, as data and as lines (shape: dnssecd.ops.control)."""

from typing import Any

from dnssecd.core import handover_forms as forms
from dnssecd.core.handover import Change, Handover, Task, handover_of
from dnssecd.core.handover_text import Progress, request_text
from dnssecd.core.keyset import Keyset, ds_rdata
from dnssecd.front.zone import FrontZone


def ds_document(
    zone: FrontZone, keyset: Keyset | None, progress: Progress | None, now: float
) -> dict[str, Any]:
    """Return what `ds.show` answers. progress: what DS automation knows, None where it knows nothing yet."""
    parent = zone.config.parent
    if keyset is None:
        text = f"{zone.name} has not been published yet, so it has no keys.\n"
        return {"zone": zone.name, "ds": [], "dnskey": [], "cds": [], "at_parent": None, "text": text}
    handover = handover_of(zone.name, keyset)
    if progress is None:
        asked = handover.task is not Task.NOTHING
        progress = Progress(cds=zone.spec.cds and asked, polled=not parent.none)
    shown = handover.having(Change.ADD, Change.KEEP, Change.LATER)
    answer = {
        "zone": zone.name,
        "task": handover.task.value,
        "ds": [_row(handover, key.rdata, digest) for key in shown for digest in forms.DIGESTS],
        "dnskey": forms.dnskey_lines(handover, shown),
        "cds": forms.cds_lines(handover),
        "dsset": forms.dsset_lines(handover),
        "epp": {"ds": "\n".join(forms.epp_ds(handover)), "key": "\n".join(forms.epp_key(handover))},
        "handover": forms.document(handover),
        "at_parent": _at_parent(progress),
        "text": request_text(handover, progress, now),
    }
    return answer


def _row(handover: Handover, dnskey: bytes, digest_type: int) -> dict[str, Any]:
    rdata = ds_rdata(handover.apex, dnskey, digest_type)
    return {
        "tag": int.from_bytes(rdata[:2]),
        "algorithm": rdata[2],
        "digest_type": digest_type,
        "digest": rdata[4:].hex().upper(),
        "text": f"{handover.zone} IN DS {forms.ds_text(rdata)}",
    }


def _at_parent(progress: Progress) -> list[str] | None:
    """One line for each server that answered; None while nobody was asked."""
    lines = [
        f"{sight.server}: {' '.join(map(str, sight.tags)) or 'none'}"
        for sight in progress.seen
        if sight.tags is not None
    ]
    return lines if progress.seen else None
