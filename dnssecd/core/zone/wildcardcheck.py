"""Names that hide a wildcard's address: they exist and have no address themselves (RFC 4592 §2.2.2).

A TLSA record at ``_443._tcp.www`` makes ``www`` exist, so ``*`` no longer answers for it.
"""

from collections.abc import Iterator, Sequence

from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import AFTER_ALL, APEX, is_wildcard, key_to_text, parent_key
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone.findings import Findings

#: Types by which a name leads to an address.
LEADING = frozenset({t.A, t.AAAA, t.CNAME})
_WILDCARD = b"*\x00"


def check_wildcards(rrsets: Sequence[RRset], origin: bytes, found: Findings) -> None:
    """Warn of names without address directly below a name whose wildcard has one; ``rrsets`` by (owner, type)."""
    wild = {rrset[0][:-2] for rrset in rrsets if rrset[1] in LEADING and rrset[0].endswith(_WILDCARD)}
    if not wild:
        return
    names = [name for name in _without_address(rrsets) if can_hide(name) and parent_key(name) in wild]
    for name in names:
        found.warning("wildcard-hidden", name, t.A, hidden_text(name, origin))


def _without_address(rrsets: Sequence[RRset]) -> Iterator[bytes]:
    """Yield the names, empty non-terminals included, that lead to no address and are not at or below a cut or DNAME."""
    occluder, last, answers = AFTER_ALL, APEX, True
    for owner, rtype, _, _ in rrsets:
        if owner != last:
            if not answers:
                yield last
            answers = owner.startswith(occluder)
            if not answers and not last.startswith(above := parent_key(owner)):
                yield from _new_names(above, last)
            last = owner
        if rtype in LEADING:
            answers = True
        elif rtype == t.DNAME or (rtype == t.NS and owner):
            answers = True
            if not owner.startswith(occluder):
                occluder = owner
    if not answers:
        yield last


def _new_names(key: bytes, last: bytes) -> Iterator[bytes]:
    """Yield a name and those above it that do not exist by ``last``, the owner before."""
    while not last.startswith(key):
        yield key
        key = parent_key(key)


def can_hide(owner: bytes) -> bool:
    """Tell whether an address is looked for at a name: not at the apex, a wildcard, or a name such as ``_dmarc``."""
    return bool(owner) and not is_wildcard(owner) and owner[len(parent_key(owner))] != ord("_")


def hidden_text(owner: bytes, origin: bytes) -> str:
    """Return the message for a name that hides the wildcard beside it."""
    wildcard = key_to_text(parent_key(owner) + _WILDCARD, origin)
    return f"it exists without an address, so {wildcard} gives none to it and to names below it"
