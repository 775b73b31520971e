"""Chain links around changed names: each NSEC or NSEC3 RR looked at must point to its successor in the version.

A sorted, closed chain stays sorted and closed if every RR that was written, and every RR before an added or
removed name, has the right successor: so only those are checked. Whether a name must be in the chain is
judged name by name.
"""

from abc import ABC, abstractmethod

from dnssecd.core.dns import names, rrtypes
from dnssecd.core.dns.names import key_to_text, key_to_wire, lower
from dnssecd.core.dns.rrset import RRset
from dnssecd.core.verify.expectation import DenialExpectation
from dnssecd.core.verify.name import DenialNeed
from dnssecd.core.verify.nsec import bitmap_difference
from dnssecd.core.verify.nsec3 import (
    HASH_SIZE,
    OPT_OUT,
    decode_nsec3,
    hash_of_owner,
    name_hash,
    owner_of_hash,
)
from dnssecd.core.verify.violations import Report
from dnssecd.core.verify.walk import Standing
from dnssecd.core.verify.wire import Malformed, Nsec3, bitmap, name_end, split
from dnssecd.core.zone.zoneview import ZoneView


class ChainLinks(ABC):
    """Judges the chain around names given one by one."""

    rtype: int

    def __init__(self, report: Report, old: ZoneView, new: ZoneView) -> None:
        self.report, self.old, self.new = report, old, new
        self._linked: set[bytes] = set()
        #: Owners of further denial RRs to judge.
        self.neighbours: set[bytes] = set()

    @abstractmethod
    def visit(
        self, owner: bytes, wire: bytes, standing: Standing, need: DenialNeed | None, explained: bool
    ) -> None:
        """Judge denial for one name; ``need`` is what it must have, None for a name without data of the zone.

        explained: the unsigned difference affects the name; otherwise only a derived RR at the name was
        written.
        """

    @abstractmethod
    def next_is(self, rrset: RRset, successor: bytes) -> bool:
        """Tell whether ``rrset`` points to the denial RR with owner key ``successor``."""

    def finish(self) -> None:  # noqa: B027 - most chains have nothing left to judge
        """Run the checks that need all names."""

    def link(self, place: bytes) -> None:
        """Check the pointers of the RR at ``place`` and of the one before it."""
        if place in self._linked:
            return
        self._linked.add(place)
        own = self.new.denial(place)
        after = self.new.denial_from(place + b"\0") or self.new.denial_from(b"")
        before = self.new.denial_before(place) or self.new.denial_last()
        if own is not None and after is not None:
            self._check(own, after.owner)
        target = own or after
        if before is not None and target is not None:
            self._check(before, target.owner)
            if before != self.old.denial(before.owner):
                self.neighbours.add(before.owner)

    def _check(self, rrset: RRset, successor: bytes) -> None:
        if rrset.rtype != self.rtype:
            return
        try:
            right = self.next_is(rrset, successor)
        except Malformed as error:
            self.report.add("rdata-malformed", rrset.owner, rrset.rtype, str(error))
            return
        if not right:
            code = "nsec3-next" if self.rtype == rrtypes.NSEC3 else "nsec-next"
            detail = f"does not point to {key_to_text(successor, self.report.origin)}"
            self.report.add(code, rrset.owner, rrset.rtype, detail)


class NsecLinks(ChainLinks):
    """NSEC: the place of a name in the chain is the name itself."""

    rtype = rrtypes.NSEC

    def visit(
        self, owner: bytes, wire: bytes, standing: Standing, need: DenialNeed | None, explained: bool
    ) -> None:
        """Judge the NSEC RR of one name and the links around it."""
        self.link(owner)
        nsec = self.new.denial(owner)
        if nsec is None or nsec.rtype != rrtypes.NSEC:
            if need is not None:
                self.report.add("nsec-missing", owner, rrtypes.NSEC, "has no NSEC RR")
            return
        if need is None:
            if standing is not Standing.OCCLUDED:
                self.report.add("nsec-extra", owner, rrtypes.NSEC, "no other data at the name")
            return
        try:
            rdatas = split(nsec.rdata)
            found = rdatas[0][name_end(rdatas[0], 0) :]
        except Malformed as error:
            self.report.add("rdata-malformed", owner, rrtypes.NSEC, str(error))
            return
        if len(rdatas) > 1:
            self.report.add("rrset-multiple", owner, rrtypes.NSEC, f"{len(rdatas)} NSEC RRs")
        expected = bitmap(need.types)
        if found != expected:
            self.report.add("bitmap-wrong", owner, rrtypes.NSEC, bitmap_difference(found, expected))

    def next_is(self, rrset: RRset, successor: bytes) -> bool:
        """Compare the next domain name field."""
        rdata = split(rrset.rdata)[0]
        return lower(rdata[: name_end(rdata, 0)]) == key_to_wire(successor, self.report.origin)


class Nsec3Links(ChainLinks):
    """NSEC3: the place of a name is its hash; empty non-terminals have one, and opt-out may leave names out."""

    rtype = rrtypes.NSEC3

    def __init__(self, report: Report, old: ZoneView, new: ZoneView, parameters: DenialExpectation) -> None:
        super().__init__(report, old, new)
        self._parameters = parameters
        self._explained: set[bytes] = set()
        self._empty_without: list[bytes] = []
        self._secure: set[bytes] = set()

    def visit(
        self, owner: bytes, wire: bytes, standing: Standing, need: DenialNeed | None, explained: bool
    ) -> None:
        """Judge the NSEC3 RR of one name and the links around it."""
        if not explained:
            if owner not in self._explained:
                self._unchanged_but_next(owner)
            return
        place = self._place(owner)
        self._explained.add(place)
        self.link(place)
        if place != owner:
            self.neighbours.add(place)
        nsec3 = self._decode(place)
        if need is not None and (not need.optional or nsec3 is not None):
            self._secure.update(names.ancestors(owner))
        empty = need is None and standing is not Standing.OCCLUDED and self._has_names_below(owner)
        if need is None and not empty:
            if nsec3 is not None:
                self.report.add("nsec3-extra", place, rrtypes.NSEC3, "belongs to no name of the zone")
        elif nsec3 is not None:
            expected = bitmap(need.types) if need is not None else b""
            if nsec3.bitmap != expected:
                detail = bitmap_difference(nsec3.bitmap, expected)
                self.report.add("bitmap-wrong", place, rrtypes.NSEC3, detail)
        elif need is not None:
            self._absent(owner, place, need.optional)
        else:
            self._empty_without.append(owner)

    def _place(self, owner: bytes) -> bytes:
        wire = key_to_wire(owner, self.report.origin)
        return owner_of_hash(name_hash(wire, self._parameters.iterations, self._parameters.salt))

    def _has_names_below(self, owner: bytes) -> bool:
        stop = names.subtree_end(owner) if owner else None
        return self.new.first_owner(owner, stop) is not None

    def _decode(self, place: bytes) -> Nsec3 | None:
        rrset = self.new.denial(place)
        if rrset is None or rrset.rtype != rrtypes.NSEC3:
            return None
        return decode_nsec3(self.report, rrset, self._parameters)

    def _absent(self, owner: bytes, place: bytes, optional: bool) -> None:
        """Judge a name of the zone that has no NSEC3 RR."""
        if not optional:
            self.report.add("nsec3-missing", owner, rrtypes.NSEC3, "has no NSEC3 RR")
            return
        covering = self.new.denial_before(place) or self.new.denial_last()
        try:
            flags = 0 if covering is None else Nsec3(split(covering.rdata)[0]).flags
        except Malformed:
            flags = 0
        if not flags & OPT_OUT:
            code = "nsec3-missing" if self._parameters.opt_out is False else "nsec3-opt-out"
            self.report.add(code, owner, rrtypes.NSEC3, "has no NSEC3 RR and no opt-out span covers it")

    def finish(self) -> None:
        """Judge the empty non-terminals without NSEC3 RR."""
        for owner in self._empty_without:
            place = self._place(owner)
            self._absent(owner, place, not self._secure_below(owner, place))

    def _secure_below(self, owner: bytes, place: bytes) -> bool:
        """Tell whether an empty non-terminal has a name below that opt-out must not leave out.

        If it had no NSEC3 RR before either, nothing below it was secure then, so only affected names matter.
        """
        if owner in self._secure:
            return True
        if self.old.denial(place) is None and self._existed_empty(owner):
            return False
        cut = b""
        for rrset in self.new.scan(owner, names.subtree_end(owner)):
            if cut and rrset.owner.startswith(cut):
                if rrset.owner == cut and rrset.rtype == rrtypes.DS:
                    return True
            elif rrset.rtype == rrtypes.NS:
                cut = rrset.owner
                if self.new.denial(self._place(cut)) is not None:
                    return True  # not left out by opt-out, so the names above are not either (RFC 5155 §7.1)
            elif self.new.rrset(rrset.owner, rrtypes.NS) is None:
                return True
        return False

    def _existed_empty(self, owner: bytes) -> bool:
        return self.old.first_owner(owner, names.subtree_end(owner)) is not None and not self.old.rrsets_at(
            owner
        )

    def _unchanged_but_next(self, place: bytes) -> None:
        """Judge an NSEC3 RR that no affected name explains: only its successor may have changed."""
        before, after = self.old.denial(place), self.new.denial(place)
        if before is None and after is None:
            return
        self.link(place)
        if after is None:
            if before is not None and before.rtype == rrtypes.NSEC3:
                self.report.add(
                    "nsec3-missing", place, rrtypes.NSEC3, "NSEC3 RR removed, but its name was not"
                )
            return
        if before is None or after.rtype != rrtypes.NSEC3:
            self.report.add("nsec3-extra", place, rrtypes.NSEC3, "belongs to no name that changed")
            return
        found = decode_nsec3(self.report, after, self._parameters)
        try:
            was = Nsec3(split(before.rdata)[0])
        except Malformed:
            return
        if found is not None and found.bitmap != was.bitmap:
            detail = bitmap_difference(found.bitmap, was.bitmap)
            self.report.add("bitmap-wrong", place, rrtypes.NSEC3, detail)
        if found is not None and found.flags != was.flags:
            self.report.add("nsec3-flags", place, rrtypes.NSEC3, f"flags changed to {found.flags}")

    def next_is(self, rrset: RRset, successor: bytes) -> bool:
        """Compare the next hashed owner name field."""
        digest = hash_of_owner(successor)
        found = Nsec3(split(rrset.rdata)[0]).next_hash
        return len(found) == HASH_SIZE and found == digest
