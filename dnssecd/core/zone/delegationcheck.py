"""Checks of delegations: name servers with an address, DS RRsets at a zone cut, name servers at a wildcard."""

from bisect import bisect_left
from collections.abc import Sequence

from dnssecd.core.dns import rrset as packed
from dnssecd.core.dns import rrtypes as t
from dnssecd.core.dns.names import ancestors, is_wildcard, key_to_text, owner_key, wildcard_key
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.zone.findings import Findings

ADDRESSES = frozenset({t.A, t.AAAA})
_LONE_DS = "a DS RRset at a name that is not delegated (RFC 4035 §2.4): BIND resolvers answer SERVFAIL for names below"


def check_delegations(
    rrsets: Sequence[RRset], origin: bytes, found: Findings, *, allow_missing_glue: bool = False
) -> None:
    """Check the NS and DS RRsets of content, which is ordered by (owner, type).

    It is an error if the address of a name server must be in this zone and is missing: BIND refuses the zone
    for such a server at the apex, kzonecheck for any. With ``allow_missing_glue`` it is a warning.
    """
    place = _Place(rrsets, origin, found, allow_missing_glue)
    for rrset in rrsets:
        owner, rtype = rrset[0], rrset[1]
        if rtype == t.NS:
            if is_wildcard(owner):
                found.warning("ns-at-wildcard", owner, rtype, "an NS RRset at a wildcard; BIND refuses it")
            place.check_targets(rrset)
        elif rtype == t.DS and owner and owner not in place.cuts:
            place.check_lone_ds(owner)


class _Place:
    """The content of the zone, with the standing of its names."""

    def __init__(
        self, rrsets: Sequence[RRset], origin: bytes, found: Findings, allow_missing_glue: bool
    ) -> None:
        self._rrsets, self._origin, self._found = rrsets, origin, found
        self._tell_missing = found.warning if allow_missing_glue else found.error
        self._addresses = {rrset[0] for rrset in rrsets if rrset[1] in ADDRESSES}
        self.cuts = {rrset[0] for rrset in rrsets if rrset[1] == t.NS and rrset[0]}
        self._dnames = {rrset[0] for rrset in rrsets if rrset[1] == t.DNAME}

    def check_lone_ds(self, owner: bytes) -> None:
        """Report a DS RRset without NS RRset: a warning where nothing is served."""
        tell = self._found.warning if self._is_hidden(owner) else self._found.error
        tell("ds-without-ns", owner, t.DS, _LONE_DS)

    def check_targets(self, rrset: RRset) -> None:
        """Report the name servers of an NS RRset that lack their address in this zone."""
        origin = self._origin
        for target in packed.unpack(rrset.rdata):
            key = key_inside(target, origin) if target.endswith(origin) else None
            if key is None or key in self._addresses:
                continue
            if rrset.owner and self._is_hidden(rrset.owner):
                return  # not served, so no resolver follows it
            # Below another zone cut the child zone must have the address.
            cut = next((name for name in (key, *ancestors(key)) if name in self.cuts), b"")
            if cut in (b"", rrset.owner) and not self._wildcard_answers(key):
                text = f"name server {key_to_text(key, origin)} has no address record in the zone"
                self._tell_missing("missing-glue", rrset.owner, t.NS, text)

    def _is_hidden(self, owner: bytes) -> bool:
        return any(above in self._dnames or (above and above in self.cuts) for above in ancestors(owner))

    def _wildcard_answers(self, key: bytes) -> bool:
        """Tell whether a wildcard gives an absent name an address (RFC 4592 §3.3.1)."""
        if self._exists(key):
            return False
        above = next(name for name in ancestors(key) if not name or self._exists(name))
        return wildcard_key(above) in self._addresses

    def _exists(self, key: bytes) -> bool:
        at = bisect_left(self._rrsets, (key,))
        return at < len(self._rrsets) and self._rrsets[at].owner.startswith(key)


def key_inside(name: bytes, origin: bytes) -> bytes | None:
    """Return the owner key of a lower-cased wire name, None outside the zone; a fast names.owner_key for NS targets."""
    parts = []
    position, cut = 0, len(name) - len(origin)
    while position < cut:
        end = position + name[position] + 1
        parts.append(name[position + 1 : end])
        position = end
    if position != cut:
        return None
    parts.reverse()
    key = b"\x00".join(parts) + b"\x00" if parts else b""
    if key.count(b"\x00") != len(parts) or b"\x01" in key:
        return owner_key(name, origin)
    return key
