"""The zone's own name servers in an update: one inside the zone keeps an address, as BIND has it for UPDATE too."""

from collections.abc import Sequence

from dnssecd.core.changeset import Change
from dnssecd.core.names import APEX, ancestors, is_subdomain, key_to_text, owner_key
from dnssecd.core.rrset import unpack
from dnssecd.core.rrtypes import AAAA, NS, A
from dnssecd.core.update_draft import Draft
from dnssecd.core.update_types import REFUSED, UpdateFailed, UpdatePolicy

_ADDRESSES = frozenset({A, AAAA})


def judge_servers(draft: Draft, changes: Sequence[Change], policy: UpdatePolicy, origin: bytes) -> None:
    """Raise UpdateFailed where a name server of the apex loses its last address, or is added without one.

    A name below a delegation is the child zone's affair.
    """
    if policy.allow_missing_glue:
        return
    lost = {change.owner for change in changes if change.new is None and change.rtype in _ADDRESSES}
    new = any(change.rtype == NS and not change.owner for change in changes)
    if not lost and not new:
        return
    before = draft.before(APEX).get(NS)
    held = set() if before is None else set(unpack(before.rdata))
    for server in draft.rdatas(APEX, NS):
        if not is_subdomain(server, origin):
            continue
        owner = owner_key(server, origin)
        if (owner in lost or server not in held) and not _has_address(draft, owner):
            text = f"the name server {key_to_text(owner, origin)} would have no address: add it in the same update"
            raise UpdateFailed(REFUSED, text, notable=True)


def _has_address(draft: Draft, owner: bytes) -> bool:
    """Tell whether a name has an address, or lies below a delegation."""
    if not _ADDRESSES.isdisjoint(draft.at(owner)):
        return True
    return any(name and NS in draft.at(name) for name in ancestors(owner))
