"""Notes on names in an update that are probably mistakes; core.zone.namecheck warns of them in other inputs."""

from collections.abc import Iterable, Iterator

from dnssecd.core.dns.names import ancestors, key_to_text, parent_key, subtree_end
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import type_text
from dnssecd.core.update.draft import Draft
from dnssecd.core.update.structure import Cuts
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.namecheck import EIGHT_BIT, TARGET_AT, target_oddity
from dnssecd.core.zone.wildcardcheck import LEADING, can_hide, hidden_text
from dnssecd.core.zone.zoneview import ZoneView


def note_names(view: ZoneView, draft: Draft, changes: Iterable[Change], cuts: Cuts) -> Iterator[str]:
    """Yield notes on odd targets, names with octets over 127, and names that hide a wildcard's address.

    view: the zone before the message; draft: after it; changes: the net difference.
    """
    last = None
    for owner, rtype, old, new in changes:
        if new is not None and rtype in TARGET_AT and (odd := _new_oddity(new, old, view.origin)):
            yield f"{key_to_text(owner, view.origin)} {type_text(rtype)}: {odd}"
        if owner == last:
            continue
        last = owner
        if not draft.before(owner):
            if not owner.isascii():
                yield f"{key_to_text(owner, view.origin)}: {EIGHT_BIT}"
            yield from _hidden_by_new(view, draft, owner, cuts)
        elif new is None and rtype in LEADING and _hidden_now(view, draft, owner, cuts):
            yield f"{key_to_text(owner, view.origin)}: {hidden_text(owner, view.origin)}"


def _new_oddity(new: RRset, old: RRset | None, origin: bytes) -> str:
    odd = target_oddity(new.rtype, new.rdata, origin)
    return "" if odd and old is not None and odd == target_oddity(old.rtype, old.rdata, origin) else odd


def _hidden_by_new(view: ZoneView, draft: Draft, owner: bytes, cuts: Cuts) -> Iterator[str]:
    """Yield a note for each name that begins to exist with a new owner and has no address."""
    for name in (owner, *ancestors(owner)):
        if not can_hide(name) or not cuts.wildcard_leads(parent_key(name)):
            continue
        if draft.has_touched(name) and not LEADING.isdisjoint(draft.at(name)):
            continue
        if view.first_owner(name, subtree_end(name)) is None:
            yield f"{key_to_text(name, view.origin)}: {hidden_text(name, view.origin)}"


def _hidden_now(view: ZoneView, draft: Draft, owner: bytes, cuts: Cuts) -> bool:
    """Tell whether a name that lost an address has none, still exists, and hides a wildcard."""
    types = draft.at(owner)
    if not can_hide(owner) or not LEADING.isdisjoint(types) or not cuts.wildcard_leads(parent_key(owner)):
        return False
    below = view.first_owner(owner + b"\x00", subtree_end(owner))
    return bool(types) or (below is not None and not (draft.has_touched(below) and not draft.at(below)))
