"""Which signatures of a version were verified with the previous version, as the same octets.

Only cryptography may be left out for them: whether an RRSIG verifies depends on its RDATA, on the RRset and on the keys
with its tag, and on nothing else. Everything else (times, denial, which sets must be signed) is judged again.

A stored version of another signer may have findings that harm no validator, so not each of its RRSIGs was checked. One
counts as verified if the whole verification of that version must have done its cryptography: the RRset was not glue or
occluded, and the RRSIG was in its period at that time. The keys must be the same: with another DNSKEY RRset, another
key with the same tag may have been the one that verified it. And they must have been usable at that time: a library
that learned their algorithm since has verified nothing yet (``checked_keys``).
"""

from hashlib import sha256

from dnssecd.core.dns import rrtypes
from dnssecd.core.dns.names import AFTER_ALL
from dnssecd.core.dns.rrset import RRset, Rrsigs
from dnssecd.core.verify.keys import ZoneKey
from dnssecd.core.verify.walk import (
    AUTHORITATIVE,
    DELEGATION,
    OCCLUDED,
    CutWalker,
    NameGroup,
    Standing,
    groups,
    rdatas_at,
)
from dnssecd.core.verify.wire import Malformed, split
from dnssecd.core.zone.zoneview import ZoneView

_END = NameGroup(AFTER_ALL, [], [], [])
_DENIAL = frozenset({rrtypes.NSEC, rrtypes.NSEC3})
_HALF, _MASK = 1 << 31, (1 << 32) - 1


def same_keys(old: ZoneView, new: ZoneView) -> frozenset[bytes]:
    """Return the RDATAs of the DNSKEY RRset if both versions have the same, otherwise none."""
    before, after = rdatas_at(old, rrtypes.DNSKEY), rdatas_at(new, rrtypes.DNSKEY)
    return frozenset(after) if before == after else frozenset()


def checked_keys(view: ZoneView) -> str:
    """Return a mark of the keys of a version whose signatures are verified here: those with a usable algorithm."""
    keys = sorted(
        key.rdata for key in map(ZoneKey, rdatas_at(view, rrtypes.DNSKEY)) if key.verify is not None
    )
    return sha256(b"".join(len(rdata).to_bytes(2, "big") + rdata for rdata in keys)).hexdigest()[:32]


class Unchanged:
    """Walks over a verified version beside a walk over the next one (``signatures.Known``).

    It takes sets in canonical order of their owners; a set that comes later than that does not count as verified.
    """

    def __init__(self, old: ZoneView, verified_at: int) -> None:
        """verified_at: the time (epoch seconds) for which the whole of *old* was verified."""
        self._groups = groups(old)
        self._walker = CutWalker()
        self._at = verified_at & _MASK
        self._group, self._standing = _END, AUTHORITATIVE
        self._next()

    def __call__(self, rrset: RRset, sigs: Rrsigs) -> bool:
        """Tell whether the signatures over a set were verified, as the same octets."""
        owner = rrset[0]
        while self._group[0] < owner:
            self._next()
        if self._group[0] != owner:
            return False
        _, content, denial, rrsigs = self._group
        found = denial if rrset[1] in _DENIAL else content
        return (
            rrset in found and sigs in rrsigs and _judged(rrset[1], self._standing) and self._in_period(sigs)
        )

    def _next(self) -> None:
        self._group = group = next(self._groups, _END)
        if group[1]:
            self._standing = self._walker.step(group[0], tuple([rrset[1] for rrset in group[1]]))
        elif group is not _END:
            self._standing = self._walker.peek(group[0], group[2])

    def _in_period(self, sigs: Rrsigs) -> bool:
        try:
            rdatas = split(sigs.rdata)
        except Malformed:
            return False
        return all(self._covers(rdata) for rdata in rdatas)

    def _covers(self, rdata: bytes) -> bool:
        if len(rdata) < 20:
            return False
        expiration, inception = int.from_bytes(rdata[8:12], "big"), int.from_bytes(rdata[12:16], "big")
        return (expiration - self._at) & _MASK < _HALF and (self._at - inception) & _MASK < _HALF


def _judged(rtype: int, standing: Standing) -> bool:
    """Tell whether the signatures over a set of a type are judged at a name (see ``NameJudge``)."""
    if rtype == rrtypes.NSEC3:
        return True
    if rtype == rrtypes.NSEC:
        return standing is not OCCLUDED
    return standing is AUTHORITATIVE or (standing is DELEGATION and rtype == rrtypes.DS)
