"""The names that an update changes: each read from the zone once, changed in place, and compared at the end."""

from dnssecd.core.dns.names import key_to_text, key_to_wire
from dnssecd.core.dns.rrset import SIGNED_OCTETS_MAX, RRset, pack, signed_octets, unpack
from dnssecd.core.dns.rrtypes import SINGLETON_TYPES, type_text
from dnssecd.core.update.types import REFUSED, UpdateFailed, UpdatePolicy, rrset_octets
from dnssecd.core.zone.changeset import Change
from dnssecd.core.zone.zoneview import ZoneView

WKS = 11

#: Address and protocol, the first octets, are the key of a WKS RR (RFC 2136 §3.4.2.2).
_WKS_KEY = slice(5)


class DraftSet:
    """An RRset being changed."""

    __slots__ = ("_services", "rdatas", "ttl")

    def __init__(self, ttl: int, packed: bytes) -> None:
        self.ttl = ttl
        self.rdatas = set(unpack(packed))
        self._services: dict[bytes, set[bytes]] | None = None

    def replace_service(self, rdata: bytes) -> None:
        """Take out the WKS RRs of the same key, before ``rdata`` is added; a message may hold thousands."""
        if self._services is None:
            self._services = {}
            for held in self.rdatas:
                self._services.setdefault(held[_WKS_KEY], set()).add(held)
        self.rdatas -= self._services.get(rdata[_WKS_KEY], set())
        self._services[rdata[_WKS_KEY]] = {rdata}


NameDraft = dict[int, RRset | DraftSet]


class Draft:
    """Content of a zone with one message's changes."""

    def __init__(self, view: ZoneView) -> None:
        self._view = view
        self._before: dict[bytes, dict[int, RRset]] = {}
        self._now: dict[bytes, NameDraft] = {}

    def at(self, owner: bytes) -> NameDraft:
        """Return the current RRsets at a name, by type; the caller must not change them."""
        found = self._now.get(owner)
        if found is None:
            self._before[owner] = {rrset.rtype: rrset for rrset in self._view.rrsets_at(owner)}
            found = self._now[owner] = dict(self._before[owner])
        return found

    def before(self, owner: bytes) -> dict[int, RRset]:
        """Return the RRsets at a name before the message, by type."""
        self.at(owner)
        return self._before[owner]

    def rdatas(self, owner: bytes, rtype: int) -> list[bytes]:
        """Return the current RDATA of an RRset, unordered; empty when there is none."""
        drafted = self._drafted(owner, rtype)
        return [] if drafted is None else list(drafted.rdatas)

    def add(self, owner: bytes, rtype: int, ttl: int, rdata: bytes) -> None:
        """Add an RR; its TTL becomes that of the RRset (RFC 2136 §3.4.2.2)."""
        drafted = self._drafted(owner, rtype)
        if drafted is None:
            drafted = self._now[owner][rtype] = DraftSet(ttl, b"")
        if rtype in SINGLETON_TYPES:
            drafted.rdatas.clear()
        elif rtype == WKS:
            drafted.replace_service(rdata)
        drafted.rdatas.add(rdata)
        drafted.ttl = ttl

    def delete_rrset(self, owner: bytes, rtype: int) -> None:
        """Delete an RRset, if it is there."""
        self.at(owner).pop(rtype, None)

    def delete_rr(self, owner: bytes, rtype: int, rdata: bytes) -> None:
        """Delete an RR, if it is there."""
        drafted = self._drafted(owner, rtype)
        if drafted is not None:
            drafted.rdatas.discard(rdata)
            if not drafted.rdatas:
                del self._now[owner][rtype]

    def has_additions(self, owner: bytes, rtype: int) -> bool:
        """Tell whether an RRset holds an RR that it did not hold before with the same TTL."""
        drafted, before = self.at(owner).get(rtype), self._before[owner].get(rtype)
        if not isinstance(drafted, DraftSet):
            return False
        if before is None or before.ttl != drafted.ttl:
            return True
        return not drafted.rdatas <= set(unpack(before.rdata))

    def has_touched(self, owner: bytes) -> bool:
        """Tell whether a name was looked at."""
        return owner in self._now

    def touched(self) -> list[bytes]:
        """Return the names looked at so far, in canonical order."""
        return sorted(self._now)

    def changes(self, policy: UpdatePolicy) -> tuple[list[Change], int]:
        """Return the net changes by (owner, type), and owner names added minus removed; raise UpdateFailed."""
        changes: list[Change] = []
        owners_delta = 0
        for owner in self.touched():
            before, now = self._before[owner], self._now[owner]
            owners_delta += bool(now) - bool(before)
            for rtype in sorted(before.keys() | now.keys()):
                old, new = before.get(rtype), self._made(owner, rtype, policy)
                if new != old:
                    changes.append(Change(owner, rtype, old, new))
            if len(now) > policy.types_per_name_max and len(now) > len(before):
                raise self._too_large(
                    owner,
                    f"{len(now)} types, at most {policy.types_per_name_max} (update_types_max) are allowed",
                )
        return changes, owners_delta

    def _drafted(self, owner: bytes, rtype: int) -> DraftSet | None:
        found = self.at(owner).get(rtype)
        if isinstance(found, RRset):
            found = self._now[owner][rtype] = DraftSet(found.ttl, found.rdata)
        return found

    def _made(self, owner: bytes, rtype: int, policy: UpdatePolicy) -> RRset | None:
        drafted = self._now[owner].get(rtype)
        if not isinstance(drafted, DraftSet):
            return drafted
        rrset = RRset(owner, rtype, drafted.ttl, pack(drafted.rdatas))
        rrs = len(drafted.rdatas)
        before = self._before[owner].get(rtype)
        if before is not None and len(rrset.rdata) <= len(before.rdata):
            return rrset  # a set that does not grow is not refused for its size
        self._check_size(rrset, rrs, policy)
        return rrset

    def _check_size(self, rrset: RRset, rrs: int, policy: UpdatePolicy) -> None:
        owner, what = rrset.owner, type_text(rrset.rtype)
        if rrs > policy.rrs_per_rrset_max:
            most = policy.rrs_per_rrset_max
            raise self._too_large(
                owner, f"{rrs} {what} records, at most {most} (update_records_max) are allowed"
            )
        if rrset_octets(rrset, rrs) > policy.rrset_octets_max:
            raise self._too_large(owner, f"{what} records, more than one message can hold")
        if len(rrset.rdata) + rrs * 263 < SIGNED_OCTETS_MAX - 273:
            return  # independent of the names
        origin = self._view.origin
        octets = signed_octets(rrset.rdata, rrs, len(key_to_wire(owner, origin)), len(origin))
        if octets > SIGNED_OCTETS_MAX:
            raise self._too_large(
                owner, f"{what} records of {octets} octets in signed form, which validators cannot check"
            )

    def _too_large(self, owner: bytes, what: str) -> UpdateFailed:
        return UpdateFailed(
            REFUSED, f"{key_to_text(owner, self._view.origin)} would have {what}", notable=True
        )
