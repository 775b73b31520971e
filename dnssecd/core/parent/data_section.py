"""The data part of a handover's text: every form under its title; what is copied in one piece is not broken."""

from dnssecd.core.keys.keyset import DIGEST_SHA256, DIGEST_SHA384
from dnssecd.core.parent.forms import (
    cds_lines,
    dnskey_lines,
    ds_lines,
    dsset_lines,
    epp_ds,
    epp_key,
    form_ds,
    form_key,
    json_lines,
)
from dnssecd.core.parent.handover import Change, Handover, Task

WIDTH = 72
_LABEL = 17


def data_lines(handover: Handover) -> list[str]:
    """Everything to be copied from, below a line: nothing of a key whose DS must not be handed over yet."""
    shown = [*handover.having(Change.ADD), *handover.having(Change.KEEP)]
    removed = handover.having(Change.REMOVE)
    if not shown and not removed:
        return []
    lines = ["", "-" * WIDTH, *_fields(handover)]
    if shown:
        lines += _block("DS, SHA-256", ds_lines(handover, shown, DIGEST_SHA256))
        lines += _block(
            "DS, SHA-384 (instead, where it is asked for)", ds_lines(handover, shown, DIGEST_SHA384)
        )
        lines += _block("DNSKEY", dnskey_lines(handover, shown))
    if removed:
        both = ds_lines(handover, removed)
        lines += _block("To be removed (whichever digests the parent has)", both)
    lines += _block("CDS and CDNSKEY", cds_lines(handover))
    lines += _block("BIND dsset file", dsset_lines(handover))
    if handover.task is not Task.NOTHING:
        lines += _block("EPP, DS data (RFC 5910)", epp_ds(handover))
        lines += _block("EPP, key data (RFC 5910)", epp_key(handover))
    return lines + _block("JSON", json_lines(handover))


def _fields(handover: Handover) -> list[str]:
    words = {
        Change.ADD: "Add",
        Change.KEEP: "Keep",
        Change.REMOVE: "Remove",
    }
    lines = ["For registrar web forms"]
    for change, word in words.items():
        for key in handover.having(change):
            lines += ["", f"  {word}: {key.role.upper()} {key.tag}"]
            lines += [_row(*row) for row in form_ds(handover, key)]
            if change is not Change.REMOVE:
                lines += ["    where the form takes the key instead:"]
                lines += [_row(*row) for row in form_key(key)]
    return lines if handover.keys else []


def _row(name: str, value: str) -> str:
    return f"    {name:{_LABEL}}{value}"


def _block(title: str, lines: list[str]) -> list[str]:
    return ["", title, *lines] if lines else []
