"""Authenticated denial of existence: the NSEC or NSEC3 chain of a zone and its repair (RFC 4034 §4, RFC 5155 §7.1).

A chain is a circle of *positions*: owner keys for NSEC, 20-octet hashes for NSEC3; both sort as bytes in
chain order. Each position has a type bitmap. :func:`denial_changes` gives the difference between the chain in
the old version and the one the new content needs. The same rules apply to a walk over a span and to a look-up
of one name.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from msgspec import Struct

from dnssecd.core.dns.names import APEX, key_to_wire, parent_key, subtree_end
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import NSEC, NSEC3, RRSIG, SOA
from dnssecd.core.signing.nsec3hash import hash_to_owner, hashes_to_owners, nsec3_hash, owner_to_hash
from dnssecd.core.signing.regions import Regions
from dnssecd.core.zone.changeset import Change, diff
from dnssecd.core.zone.zonecut import (
    AUTHORITATIVE,
    DELEGATION,
    OCCLUDED,
    NameContent,
    NameContents,
    is_secure_delegation,
    signed_rrsets,
    standing_scan,
)
from dnssecd.core.zone.zoneview import ZoneView

NSEC3_SHA1 = 1
FLAG_OPT_OUT = 1

#: With more positions than this to look up, the chain is compared as a whole.
LOCAL_POSITIONS_MAX = 20_000


#: Takes names, and owner keys of the chain.
ReadAhead = Callable[[Iterable[bytes], Iterable[bytes]], object]


class DenialParameters(Struct, frozen=True, gc=False):
    """The denial of existence of a zone: ``nsec`` or ``nsec3``; the defaults are those of RFC 9276."""

    kind: str = "nsec3"
    opt_out: bool = False
    iterations: int = 0
    salt: bytes = b""

    @property
    def is_nsec3(self) -> bool:
        """Whether the chain is of NSEC3 RRs."""
        return self.kind == "nsec3"

    def nsec3param_rdata(self) -> bytes:
        """Return the NSEC3PARAM RDATA; its flags are zero with any flags of the chain (RFC 5155 §4.1.2)."""
        return (
            bytes((NSEC3_SHA1, 0)) + self.iterations.to_bytes(2, "big") + bytes((len(self.salt),)) + self.salt
        )


def denial_ttl(soa: RRset) -> int:
    """Return the TTL of NSEC and NSEC3 RRs: min(SOA MINIMUM, SOA TTL) (RFC 9077 §3)."""
    return min(int.from_bytes(soa.rdata[-4:], "big"), soa.ttl)


@lru_cache(maxsize=4096)
def type_bitmap(types: tuple[int, ...]) -> bytes:
    """Return the type bit maps field for RR types in ascending order (RFC 4034 §4.1.2)."""
    out = bytearray()
    window, bits = -1, bytearray()
    for rtype in (*types, 1 << 16):
        if rtype >> 8 != window:
            if bits:
                out += bytes((window, len(bits))) + bits
            window, bits = rtype >> 8, bytearray()
        octet = rtype >> 3 & 31
        bits.extend(b"\x00" * (octet + 1 - len(bits)))
        bits[octet] |= 0x80 >> (rtype & 7)
    return bytes(out)


class _NameBitmaps:
    """The bitmaps of names by their types: even a large zone has few different ones."""

    def __init__(self, parameters: DenialParameters) -> None:
        self._parameters = parameters
        self._authoritative: dict[tuple[int, ...], bytes | None] = {}
        self._delegations: dict[tuple[int, ...], bytes | None] = {}

    def of(self, content: NameContent) -> bytes | None:
        """Return the bitmap of a name with content, or None when it has no place in the chain."""
        _, rrsets, standing = content
        if standing is OCCLUDED:
            return None
        made = self._delegations if standing is DELEGATION else self._authoritative
        types = tuple([rrset[1] for rrset in rrsets])
        try:
            return made[types]
        except KeyError:
            bitmap = made[types] = _name_bitmap(content, self._parameters)
            return bitmap


def _name_bitmap(content: NameContent, parameters: DenialParameters) -> bytes | None:
    """Return the bitmap of a name that is not occluded, or None when it has no place in the chain."""
    _, rrsets, standing = content
    types = [rrset.rtype for rrset in rrsets]
    if standing is DELEGATION:
        secure = is_secure_delegation(rrsets)
        if not secure and parameters.opt_out:
            return None
        types = [rtype for rtype in types if rtype in (2, 43)]
    if not parameters.is_nsec3:
        types += (RRSIG, NSEC)
    elif signed_rrsets(content):
        types.append(RRSIG)
    types.sort()
    return type_bitmap(tuple(types))


def chain_members(
    view: ZoneView, start: bytes, stop: bytes, parameters: DenialParameters
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, bitmap) of the chain's names with start <= name < stop, in canonical name order.

    With NSEC3 the empty non-terminals in the span are among them (RFC 5155 §7.1), each directly before the
    first name that makes it one. With opt-out, an empty non-terminal that exists only because of insecure
    delegations is left out.
    """
    previous = None
    bitmap_of = _NameBitmaps(parameters).of
    is_nsec3 = parameters.is_nsec3
    for content in standing_scan(view, start, stop):
        bitmap = bitmap_of(content)
        if bitmap is None:
            continue
        owner = content[0]
        if is_nsec3 and owner.count(b"\x00") > 1:
            yield from _empty_between(previous, owner, start)
        yield owner, bitmap
        previous = owner


def _empty_between(previous: bytes | None, owner: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the empty non-terminals above ``owner`` that no earlier chain member is at or below."""
    missing = []
    parent = parent_key(owner)
    while parent > start or (parent == start and parent != APEX):
        if previous is not None and previous.startswith(parent):
            break
        missing.append(parent)
        parent = parent_key(parent)
    for name in reversed(missing):
        yield name, b""


def _bitmap_at(view: ZoneView, content: NameContent, parameters: DenialParameters) -> bytes | None:
    """Return the bitmap of one name, or None when it has no place in the chain."""
    name = content[0]
    if content[1]:
        return None if content[2] is OCCLUDED else _name_bitmap(content, parameters)
    if not parameters.is_nsec3 or content[2] is not AUTHORITATIVE:
        return None
    if not parameters.opt_out:
        return None if view.first_owner(name, subtree_end(name)) is None else b""
    below = chain_members(view, name, subtree_end(name), parameters)
    return None if next(below, None) is None else b""


class Chain:
    """Positions and RRsets of one chain: the base class of what differs between NSEC and NSEC3."""

    def __init__(self, origin: bytes, parameters: DenialParameters, ttl: int) -> None:
        self._origin = origin
        self._is_nsec3, self._iterations, self._salt = (
            parameters.is_nsec3,
            parameters.iterations,
            parameters.salt,
        )
        self._ttl = ttl
        flags = FLAG_OPT_OUT if parameters.opt_out else 0
        self._head = bytes((NSEC3_SHA1, flags)) + parameters.nsec3param_rdata()[2:] + b"\x14"

    def position(self, name: bytes) -> bytes:
        """Return the position of a name."""
        if not self._is_nsec3:
            return name
        return nsec3_hash(key_to_wire(name, self._origin), self._iterations, self._salt)

    def owner(self, position: bytes) -> bytes:
        """Return the owner key of the RRset at a position."""
        return hash_to_owner(position) if self._is_nsec3 else position

    def position_of_owner(self, owner: bytes) -> bytes:
        """Return the position of a chain RRset's owner key."""
        return owner_to_hash(owner) if self._is_nsec3 else owner

    def rrset(self, position: bytes, following: bytes, bitmap: bytes) -> RRset:
        """Return the RRset at ``position`` that points to ``following``."""
        if self._is_nsec3:
            return self._nsec3(hash_to_owner(position), following, bitmap)
        rdata = key_to_wire(following, self._origin) + bitmap
        return RRset(position, NSEC, self._ttl, len(rdata).to_bytes(2, "big") + rdata)

    def _nsec3(self, owner: bytes, following: bytes, bitmap: bytes) -> RRset:
        rdata = self._head + following + bitmap
        return RRset(owner, NSEC3, self._ttl, len(rdata).to_bytes(2, "big") + rdata)

    def circle(self, members: Iterator[tuple[bytes, bytes]]) -> Iterator[RRset]:
        """Yield the RRsets of a whole chain in its order, from (name, bitmap) in canonical order of the names."""
        if self._is_nsec3:
            placed = sorted([(self.position(name), bitmap) for name, bitmap in members])
            positions = [position for position, _ in placed]
            following = [*positions[1:], *positions[:1]]
            bitmaps = [bitmap for _, bitmap in placed]
            return map(self._nsec3, hashes_to_owners(positions), following, bitmaps)
        return self._nsec_circle(members)

    def _nsec_circle(self, members: Iterator[tuple[bytes, bytes]]) -> Iterator[RRset]:
        first = held = next(members, None)
        if first is None or held is None:
            return
        for member in members:
            yield self.rrset(held[0], member[0], held[1])
            held = member
        yield self.rrset(held[0], first[0], held[1])

    def bitmap(self, rrset: RRset) -> bytes:
        """Return the type bitmap of one of this chain's RRsets."""
        if self._is_nsec3:
            return rrset.rdata[2 + len(self._head) + 20 :]
        position = 2
        while length := rrset.rdata[position]:
            position += length + 1
        return rrset.rdata[position + 1 :]

    def belongs(self, rrset: RRset) -> bool:
        """Tell whether an RRset has this chain's type, TTL and parameters."""
        if rrset.ttl != self._ttl or (rrset.rtype == NSEC3) != self._is_nsec3:
            return False
        return not self._is_nsec3 or rrset.rdata.startswith(self._head, 2)


@lru_cache(maxsize=1024)
def apex_link(origin: bytes, parameters: DenialParameters) -> bytes:
    """Return the owner key of the apex's NSEC or NSEC3 RRset."""
    chain = Chain(origin, parameters, 0)
    return chain.owner(chain.position(APEX))


def whole_chain(view: ZoneView, chain: Chain, parameters: DenialParameters) -> Iterator[RRset]:
    """Return the chain that the content of ``view`` needs, in chain order."""
    return chain.circle(chain_members(view, APEX, subtree_end(APEX), parameters))


def denial_changes(
    old: ZoneView,
    new: ZoneView,
    regions: Regions,
    parameters: DenialParameters,
    read_ahead: ReadAhead | None = None,
) -> Iterator[Change]:
    """Yield the changes of the denial chain that the content of ``new`` needs.

    ``new`` has the new content (with the apex RRsets that the signer adds) but still the chain of ``old``, or none.
    The chain is rebuilt if its kind, parameters or TTL differ from those in ``old``. read_ahead: takes the owner keys
    of the links that are looked up in ``old``, with their neighbours.
    """
    soa = new.rrset(APEX, SOA)
    assert soa is not None, "content without an SOA RRset never gets this far"
    chain = Chain(new.origin, parameters, denial_ttl(soa))
    standing = old.denial_from(APEX)
    if not regions.whole and standing is not None and chain.belongs(standing):
        wanted = _wanted(old, new, regions, parameters, chain)
        if len(wanted) <= LOCAL_POSITIONS_MAX:
            if read_ahead is not None:
                read_ahead((), [chain.owner(position) for position in wanted])
            yield from _local_changes(old, wanted, chain)
            return
    yield from diff(old.denial_scan(), whole_chain(new, chain, parameters))


def _wanted(
    old: ZoneView, new: ZoneView, regions: Regions, parameters: DenialParameters, chain: Chain
) -> dict[bytes, bytes | None]:
    """Return position -> bitmap (None: no place in the chain) of every name in the regions."""
    wanted: dict[bytes, bytes | None] = {}
    for start, stop in regions.spans:
        for name, _ in chain_members(old, start, stop, parameters):
            wanted[chain.position(name)] = None
        for name, bitmap in chain_members(new, start, stop, parameters):
            wanted[chain.position(name)] = bitmap
        # The top of a span that lost its content may still be an empty non-terminal; the walk does not see it.
        wanted.setdefault(chain.position(start), None)
    contents = NameContents(new)
    for name in regions.names:
        wanted[chain.position(name)] = _bitmap_at(new, contents.at(name), parameters)
    return wanted


class _Neighbours:
    """Finds what comes before and after a position in the new chain: the old one less ``removed`` plus ``inserted``."""

    def __init__(self, old: ZoneView, chain: Chain, inserted: list[bytes], removed: set[bytes]) -> None:
        self._old, self._chain, self._inserted, self._removed = old, chain, inserted, removed

    def before(self, position: bytes) -> bytes | None:
        """Return the position before ``position``, around the circle; None when the chain is empty."""
        index = bisect_left(self._inserted, position)
        inserted = self._inserted[index - 1] if index else None
        kept = self._kept(self._old.denial_before(self._chain.owner(position)))
        if inserted is None and kept is None:
            last = self._kept(self._old.denial_last())
            return max((p for p in (last, *self._inserted[-1:]) if p is not None), default=None)
        return max(p for p in (inserted, kept) if p is not None)

    def _kept(self, rrset: RRset | None) -> bytes | None:
        while rrset is not None:
            position = self._chain.position_of_owner(rrset.owner)
            if position not in self._removed:
                return position
            rrset = self._old.denial_before(rrset.owner)
        return None

    def after(self, position: bytes) -> bytes:
        """Return the position after ``position``, around the circle (itself in a chain of one)."""
        following = [p for p in (self._inserted_from(position), self._kept_from(position)) if p is not None]
        if following:
            return min(following)
        first = self._first_kept(self._old.denial_from(b""))
        return min(p for p in (first, *self._inserted[:1], position) if p is not None)

    def _inserted_from(self, position: bytes) -> bytes | None:
        index = bisect_left(self._inserted, position + b"\x00")
        return self._inserted[index] if index < len(self._inserted) else None

    def _kept_from(self, position: bytes) -> bytes | None:
        return self._first_kept(self._old.denial_from(self._chain.owner(position) + b"\x00"))

    def _first_kept(self, rrset: RRset | None) -> bytes | None:
        while rrset is not None:
            position = self._chain.position_of_owner(rrset.owner)
            if position not in self._removed:
                return position
            rrset = self._old.denial_from(rrset.owner + b"\x00")
        return None


def _local_changes(old: ZoneView, wanted: dict[bytes, bytes | None], chain: Chain) -> Iterator[Change]:
    """Yield the changes that correct the positions in ``wanted`` and their neighbours."""
    present = {position: old.denial(chain.owner(position)) for position in wanted}
    inserted = sorted(p for p, bitmap in wanted.items() if bitmap is not None and present[p] is None)
    removed = {p for p, bitmap in wanted.items() if bitmap is None and present[p] is not None}
    neighbours = _Neighbours(old, chain, inserted, removed)
    rewrite = {
        p for p, bitmap in wanted.items() if bitmap is not None and _differs(chain, present[p], bitmap)
    }
    for position in (*inserted, *removed):
        before = neighbours.before(position)
        if before is not None:
            rewrite.add(before)
    for position in sorted(rewrite | removed):
        found = present[position] if position in present else old.denial(chain.owner(position))
        if position in removed:
            assert found is not None
            yield Change(found.owner, found.rtype, found, None)
            continue
        bitmap = wanted.get(position)
        if bitmap is None:
            assert found is not None
            bitmap = chain.bitmap(found)
        rrset = chain.rrset(position, neighbours.after(position), bitmap)
        if rrset != found:
            yield Change(rrset.owner, rrset.rtype, found, rrset)


def _differs(chain: Chain, present: RRset | None, bitmap: bytes) -> bool:
    return present is None or chain.bitmap(present) != bitmap
