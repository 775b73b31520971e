"""Names that take a wildcard's address away from themselves: they exist, and have no address (RFC 4592 §2.2.2).

A TLSA record at ``_443._tcp.www`` makes ``www`` exist, so ``*`` no longer answers for it.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import AFTER_ALL, APEX, ancestors, is_wildcard, key_to_text, parent_key
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone.findings import Findings

#: Types by which a name leads to an address.
LEADING = frozenset({t.A, t.AAAA, t.CNAME})
_WILDCARD = b"*\x00"


def check_wildcards(rrsets: Sequence[RRset], origin: bytes, found: Findings) -> None:
    """Warn of names without address directly below a name whose wildcard has one; ``rrsets`` by (owner, type)."""
    wild = {owner[:-2] for owner, rtype, _, _ in rrsets if owner[-2:] == _WILDCARD and rtype in LEADING}
    if not wild:
        return
    occluder, last = AFTER_ALL, APEX
    for owner, group in groupby(rrsets, itemgetter(0)):
        types = {rrset[1] for rrset in group}
        if not owner.startswith(occluder):
            if (t.NS in types and owner) or t.DNAME in types:
                occluder = owner
            elif types.isdisjoint(LEADING) and can_hide(owner) and parent_key(owner) in wild:
                found.warning("wildcard-hidden", owner, t.A, hidden_text(owner, origin))
            for above in ancestors(owner):
                if last.startswith(above):
                    break
                if can_hide(above) and parent_key(above) in wild:
                    found.warning("wildcard-hidden", above, t.A, hidden_text(above, origin))
        last = owner


def can_hide(owner: bytes) -> bool:
    """Tell whether an address is looked for at a name: not at the apex, a wildcard, or a name such as ``_dmarc``."""
    return bool(owner) and not is_wildcard(owner) and owner[len(parent_key(owner))] != ord("_")


def hidden_text(owner: bytes, origin: bytes) -> str:
    """Return what is wrong with a name that hides the wildcard beside it."""
    wildcard = key_to_text(parent_key(owner) + _WILDCARD, origin)
    return f"it exists without an address, so {wildcard} gives none to it and to names below it"
