"""Check that difference sequences of the journal lead to a version (RFC 1995 §4).

A secondary that follows by IXFR applies the sequence without seeing the zone: an RR too many or too few would stay with
it, unnoticed. A node that got a version from another one checks this before it serves the sequence.
"""

from collections.abc import Iterable

from dnssecd.core.dns.names import BadName, key_to_wire, owner_key
from dnssecd.core.dns.rrset import RRset, Rrsigs, unpack
from dnssecd.core.dns.rrtypes import CLASS_IN, NSEC, NSEC3, RRSIG, SOA
from dnssecd.core.zone.zoneview import ZoneView

#: Octets of type, class, TTL and RDLENGTH (RFC 1035 §3.2.1).
_FIXED_OCTETS = 10
_LABEL_OCTETS_MAX = 63


class NoRRs(ValueError):
    """The octets are not a list of uncompressed RRs."""


def split_rrs(octets: bytes) -> list[bytes]:
    """Return the RRs in a chunk of the journal, each in uncompressed wire form. Raise NoRRs."""
    found = []
    position, end = 0, len(octets)
    while position < end:
        start = position
        while position < end and octets[position]:
            if octets[position] > _LABEL_OCTETS_MAX:
                raise NoRRs(f"a compressed or unknown label at octet {position}")
            position += 1 + octets[position]
        fixed = position + 1 + _FIXED_OCTETS
        if fixed > end:
            raise NoRRs(f"an RR that is cut short at octet {start}")
        position = fixed + int.from_bytes(octets[fixed - 2 : fixed])
        if position > end:
            raise NoRRs(f"an RR that is cut short at octet {start}")
        found.append(octets[start:position])
    return found


def rrs_of(origin: bytes, wire_type: int, rrset: RRset | Rrsigs | None) -> set[bytes]:
    """Return the RRs of an RRset in uncompressed wire form; ``wire_type``: RRSIG for signatures."""
    if rrset is None:
        return set()
    head = (
        key_to_wire(rrset.owner, origin)
        + wire_type.to_bytes(2)
        + CLASS_IN.to_bytes(2)
        + rrset.ttl.to_bytes(4)
    )
    return {head + len(rdata).to_bytes(2) + rdata for rdata in unpack(rrset.rdata)}


def judge_difference(
    old: ZoneView,
    new: ZoneView,
    changed: Iterable[tuple[bytes, int]],
    touched: Iterable[tuple[bytes, int]],
    removed: Iterable[bytes],
    added: Iterable[bytes],
) -> str:
    """Return what is wrong with a difference sequence, "" for nothing.

    changed: (owner, type) of content that may differ; touched: (owner, type) of denial RRsets and (owner, type covered)
    of RRSIGs. removed, added: the RRs of the sequence, without the SOAs. Everything outside the places must be equal.
    """
    gone: set[bytes] = set()
    come: set[bytes] = set()
    for before, after in _pairs(old, new, changed, touched):
        gone |= before - after
        come |= after - before
    for wanted, found, what in ((gone, list(removed), "deletes"), (come, list(added), "adds")):
        if len(set(found)) != len(found):
            return f"it {what} an RR twice"
        if wanted != set(found):
            return f"it {what} {len(set(found) - wanted)} RRs too many and {len(wanted - set(found))} too few"
    return ""


def _pairs(
    old: ZoneView, new: ZoneView, changed: Iterable[tuple[bytes, int]], touched: Iterable[tuple[bytes, int]]
) -> Iterable[tuple[set[bytes], set[bytes]]]:
    origin = new.origin
    for owner, rtype in changed:
        if owner or rtype != SOA:
            yield (
                rrs_of(origin, rtype, old.rrset(owner, rtype)),
                rrs_of(origin, rtype, new.rrset(owner, rtype)),
            )
    for owner, covered in touched:
        yield (
            rrs_of(origin, RRSIG, old.rrsigs(owner, covered)),
            rrs_of(origin, RRSIG, new.rrsigs(owner, covered)),
        )
    for owner in {owner for owner, _ in touched}:
        before, after = old.denial(owner), new.denial(owner)
        if before != after:
            yield (
                rrs_of(origin, before.rtype if before else 0, before),
                rrs_of(origin, after.rtype if after else 0, after),
            )


class StepsBack:
    """Judges difference sequences from the newest to the oldest: each must fit the version that it leads to.

    It tells what cannot have happened: a sequence that adds an RR which its version lacks, or deletes one that it still
    has. Nothing is known of the versions before; memory is needed for the RRs of all sequences.
    """

    def __init__(self, newest: ZoneView) -> None:
        self._newest = newest
        #: Whether an RR was in the version that was reached, where that differs from the newest one.
        self._was: dict[bytes, bool] = {}

    def judge(self, removed: Iterable[bytes], added: Iterable[bytes]) -> str:
        """Return what is wrong with the next older sequence, "" for nothing."""
        removed, added = list(removed), list(added)
        if len({*removed, *added}) != len(removed) + len(added):
            return "it has an RR twice"
        try:
            if not all(map(self._has, added)):
                return "it adds an RR that the version does not have"
            if any(map(self._has, removed)):
                return "it deletes an RR that the version still has"
        except (BadName, IndexError):
            return "it has an RR that is not of the zone"
        self._was.update(dict.fromkeys(added, False))
        self._was.update(dict.fromkeys(removed, True))
        return ""

    def _has(self, rr: bytes) -> bool:
        known = self._was.get(rr)
        return _in_version(self._newest, rr) if known is None else known


def _in_version(view: ZoneView, rr: bytes) -> bool:
    """Tell whether a version has an RR. Raise BadName, IndexError."""
    end = 0
    while rr[end]:
        end += 1 + rr[end]
    owner, rtype = owner_key(rr[: end + 1], view.origin), int.from_bytes(rr[end + 1 : end + 3])
    held: RRset | Rrsigs | None
    if rtype == RRSIG:
        covered = end + 1 + _FIXED_OCTETS
        held = view.rrsigs(owner, int.from_bytes(rr[covered : covered + 2]))
    elif rtype in (NSEC, NSEC3):
        held = view.denial(owner)
        if held is not None and held.rtype != rtype:
            return False
    else:
        held = view.rrset(owner, rtype)
    return rr in rrs_of(view.origin, rtype, held)
