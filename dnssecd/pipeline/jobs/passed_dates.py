"""Until when the RRSIGs of a passed version serve: a stale one beside a good one ends nothing.

Validators overlook an RRSIG that has expired, or is by a key that is not in the zone, if there is a good one of the
same algorithm beside it, and so does the verifier. The earliest expiration of a version limits for how long
secondaries serve it (the EXPIRE option): taken from a stale RRSIG, it would have them stop at once.
"""

from dnssecd.core.dns.names import lower
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.signing.lifetimes import full_time
from dnssecd.core.verify.keys import ZoneKey

_FIXED_OCTETS = 18


class PassedDates:
    """Judges the RRSIGs of one version at one time (epoch seconds); ``dnskeys``: its DNSKEY RRset."""

    def __init__(self, origin: bytes, dnskeys: RRset | None, now: int) -> None:
        self._origin, self._now = origin, now
        keys = [] if dnskeys is None else [ZoneKey(rdata) for rdata in unpack(dnskeys.rdata)]
        self._marks = {(key.algorithm, key.tag) for key in keys if key.is_zone_key and not key.is_revoked}

    def until(self, covered: int, rrsigs: bytes) -> int:
        """Return when the first algorithm has no good RRSIG any more, of the packed RRSIGs over one RRset.

        Over the DNSKEY RRset every RRSIG counts: a DS may lead to any of its keys. So they do where none is good.
        """
        rdatas = unpack(rrsigs)
        ends: dict[int, int] = {}
        for rdata in rdatas if covered != DNSKEY else ():
            if self._is_good(rdata):
                ends[rdata[2]] = max(ends.get(rdata[2], 0), self._time(rdata, 8))
        return min(ends.values() or (self._time(rdata, 8) for rdata in rdatas))

    def _is_good(self, rdata: bytes) -> bool:
        signer = rdata[_FIXED_OCTETS : _FIXED_OCTETS + len(self._origin)]
        if len(rdata) <= _FIXED_OCTETS or lower(signer) != self._origin:
            return False
        if (rdata[2], int.from_bytes(rdata[16:18])) not in self._marks:
            return False
        return self._time(rdata, 12) <= self._now <= self._time(rdata, 8)

    def _time(self, rdata: bytes, at: int) -> int:
        return full_time(int.from_bytes(rdata[at : at + 4]), self._now)
