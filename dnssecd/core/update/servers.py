"""Checks of name servers and zone cuts in an update, the same as for other inputs (core.changecheck)."""

from collections.abc import Sequence

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrtypes import AAAA, DNAME, NS, A, type_text
from dnssecd.core.update.types import REFUSED, UpdateFailed, UpdatePolicy
from dnssecd.core.zone.changecheck import check_changes
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.overlay import Overlay
from dnssecd.core.zone.zoneview import ZoneView

_ADDRESSES = frozenset({A, AAAA})
#: Changes of other types are not checked here.
SERVER_TYPES = _ADDRESSES | {NS, DNAME}


def judge_servers(view: ZoneView, changes: Sequence[Change], policy: UpdatePolicy) -> None:
    """Raise UpdateFailed if a change to delegations or to addresses of name servers makes the zone invalid.

    view: the zone before the message; changes: the net difference. An error that existed before does not
    count.
    """
    if not any(map(_concerns_servers, changes)):
        return
    after = Overlay(view)
    after.apply(changes)
    found = check_changes(after, changes, allow_missing_glue=policy.allow_missing_glue).errors
    if not found:
        return
    before = Overlay(view)
    known = set(check_changes(before, changes, allow_missing_glue=policy.allow_missing_glue).errors)
    for finding in found:
        if finding not in known:
            name, rtype = key_to_text(finding.owner, view.origin), type_text(finding.rtype)
            remedy = "; add it first, or in the same update" if finding.code == "missing-glue" else ""
            raise UpdateFailed(REFUSED, f"{name} {rtype}: {finding.detail}{remedy}", notable=True)


def _concerns_servers(change: Change) -> bool:
    """Tell whether a change adds or removes a zone cut, names other servers, or removes addresses."""
    if change.rtype in (NS, DNAME):
        return True
    return change.new is None and change.rtype in _ADDRESSES
