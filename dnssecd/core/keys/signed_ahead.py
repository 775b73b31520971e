"""RRSIGs that an off-line KSK made ahead of time: what can be published with them, and until when.

The private key of an off-line KSK is not at the key service. At a ceremony it signs the DNSKEY, CDS and CDNSKEY RRsets
that the zone may need in a period to come. The RRSIGs are kept here as a supply: for each RRset those of each key, one
for each time slot. Which of the RRsets is published is still the planner's decision, by evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from dnssecd.core.dns.rrtypes import CDNSKEY, CDS, DNSKEY
from dnssecd.core.keys.keyset import Keyset, SigningKey, SigningView, signing_view
from dnssecd.replacing import replace

_HALF = 1 << 31
_CIRCLE = 1 << 32


class AheadSet(Struct, frozen=True):
    """One apex RRset with the RRSIGs made for it. ``rdatas`` in canonical order; ``rrsigs`` are RDATA."""

    rtype: int
    ttl: int
    rdatas: tuple[bytes, ...]
    rrsigs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignedAhead:
    """The supply of a zone. ``stores``: names of the key stores whose keys are off-line."""

    stores: frozenset[str]
    sets: tuple[AheadSet, ...] = ()
    _found: dict[tuple[int, tuple[bytes, ...]], tuple[AheadSet, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Index the sets; those with the same RDATA and different TTLs stay together."""
        for each in self.sets:
            place = (each.rtype, each.rdatas)
            self._found[place] = (*self._found.get(place, ()), each)

    def is_offline(self, key: SigningKey) -> bool:
        """Return whether the private key of ``key`` is off-line."""
        return key.keystore in self.stores

    def absent(self, keys: Iterable[SigningKey]) -> tuple[SigningKey, ...]:
        """Return those of ``keys`` that are off-line."""
        return tuple(key for key in keys if self.is_offline(key))

    def has(self, dnskey: bytes) -> bool:
        """Return whether a DNSKEY (RDATA) is in one of the DNSKEY RRsets."""
        return any(each.rtype == DNSKEY and dnskey in each.rdatas for each in self.sets)

    def best(
        self, rtype: int, rdatas: tuple[bytes, ...], keys: tuple[SigningKey, ...], now: int
    ) -> AheadSet | None:
        """Return the RRset with the RRSIGs to publish now: one of each key, the one that expires last.

        None where some key has no RRSIG that is valid now. Of several TTLs the one that is signed longest is taken.
        """
        found = [
            (_coverage(each, keys, now), chosen)
            for each in self._found.get((rtype, rdatas), ())
            if (chosen := _chosen(each, keys, now)) is not None
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def until(self, rtype: int, rdatas: tuple[bytes, ...], keys: tuple[SigningKey, ...], now: int) -> int:
        """Return until when (epoch s) the RRset can be published without a gap; 0 where it cannot be now."""
        return max((_coverage(each, keys, now) for each in self._found.get((rtype, rdatas), ())), default=0)

    def begins(
        self, rtype: int, rdatas: tuple[bytes, ...], keys: tuple[SigningKey, ...], now: int
    ) -> int | None:
        """Return when (epoch s, after ``now``) the RRset can be published; None: never, or it can be now."""
        starts = [_starts(each, keys, now) for each in self._found.get((rtype, rdatas), ()) if keys]
        return min((start for start in starts if start > now), default=None)


def dnskey_signers(view: SigningView, ahead: SignedAhead) -> tuple[SigningKey, ...]:
    """Return the off-line keys that sign the DNSKEY RRset."""
    return ahead.absent(view.dnskey_keys)


def dnskey_until(keyset: Keyset, ahead: SignedAhead, now: int) -> int | None:
    """Return until when (epoch s) the DNSKEY RRset of a key set is signed; None: no off-line key signs it."""
    view = signing_view(keyset, cds=False)
    keys = dnskey_signers(view, ahead)
    return ahead.until(DNSKEY, view.dnskey_rdatas, keys, now) if keys else None


def cds_until(keyset: Keyset, ahead: SignedAhead, now: int) -> int | None:
    """Return until when (epoch s) the CDS and CDNSKEY RRsets of a key set are signed; 0: not even now.

    None: there are none, or no off-line key signs them.
    """
    view = signing_view(keyset)
    keys = ahead.absent(view.cds_keys)
    if not keys or not view.cds:
        return None
    wanted = ((CDS, view.cds), (CDNSKEY, view.cdnskey))
    return min(ahead.until(rtype, rdatas, keys, now) for rtype, rdatas in wanted)


def supply_until(present: int, ahead: SignedAhead, now: int) -> int:
    """Return until when (epoch s) some DNSKEY RRset is signed without a gap, beginning with the present one.

    ``present``: until when that is signed. Rollovers lead from it to the others, which were asked for with a plan.
    """
    rrsigs = [rrsig for each in ahead.sets if each.rtype == DNSKEY for rrsig in each.rrsigs]
    spans = sorted((inception(rrsig, now), expiration(rrsig, now)) for rrsig in rrsigs)
    reach = present
    for start, stop in spans:
        if start < reach:
            reach = max(reach, stop)
    return reach


def offered(view: SigningView, ahead: SignedAhead, now: int) -> SigningView:
    """Return the view without CDS and CDNSKEY where the ceremony did not sign those.

    No CDS asks the parent for nothing (RFC 7344 §4.1); the DS is then handed over by other means.
    """
    keys = ahead.absent(view.cds_keys)
    if not keys or not (view.cds or view.cdnskey):
        return view
    wanted = ((CDS, view.cds), (CDNSKEY, view.cdnskey))
    if all(ahead.best(rtype, rdatas, keys, now) is not None for rtype, rdatas in wanted):
        return view
    return replace(view, cds=(), cdnskey=())


def merge(sets: Iterable[AheadSet]) -> tuple[AheadSet, ...]:
    """Return the sets with all RRSIGs of the same RRset together, each once."""
    merged: dict[tuple[int, int, tuple[bytes, ...]], dict[bytes, None]] = {}
    for each in sets:
        merged.setdefault((each.rtype, each.ttl, each.rdatas), {}).update(dict.fromkeys(each.rrsigs))
    return tuple(AheadSet(*place, tuple(rrsigs)) for place, rrsigs in merged.items())


def unexpired(sets: Iterable[AheadSet], now: int) -> tuple[AheadSet, ...]:
    """Return the sets with the RRSIGs that have not expired, and without the sets that have none."""
    kept = (
        replace(each, rrsigs=tuple(rrsig for rrsig in each.rrsigs if expiration(rrsig, now) > now))
        for each in merge(sets)
    )
    return tuple(each for each in kept if each.rrsigs)


def inception(rrsig: bytes, near: int) -> int:
    """Return the inception of RRSIG RDATA, epoch seconds (RFC 4034 §3.1.5)."""
    return _full(int.from_bytes(rrsig[12:16]), near)


def expiration(rrsig: bytes, near: int) -> int:
    """Return the expiration of RRSIG RDATA, epoch seconds (RFC 4034 §3.1.5)."""
    return _full(int.from_bytes(rrsig[8:12]), near)


def signer_mark(rrsig: bytes) -> tuple[int, int]:
    """Return algorithm and key tag that RRSIG RDATA states."""
    return rrsig[2], rrsig[16] << 8 | rrsig[17]


def _full(time: int, near: int) -> int:
    return near + ((time - near + _HALF) % _CIRCLE) - _HALF


def _by(each: AheadSet, key: SigningKey) -> list[bytes]:
    return [rrsig for rrsig in each.rrsigs if signer_mark(rrsig) == (key.algorithm, key.tag)]


def _valid(rrsigs: list[bytes], at: int) -> list[bytes]:
    return [rrsig for rrsig in rrsigs if inception(rrsig, at) <= at < expiration(rrsig, at)]


def _chosen(each: AheadSet, keys: tuple[SigningKey, ...], now: int) -> AheadSet | None:
    made = []
    for key in keys:
        valid = _valid(_by(each, key), now)
        if not valid:
            return None
        made.append(max(valid, key=lambda rrsig: expiration(rrsig, now)))
    return replace(each, rrsigs=tuple(made))


def _coverage(each: AheadSet, keys: tuple[SigningKey, ...], now: int) -> int:
    """Return until when all keys have a valid RRSIG without a gap; 0: not even now."""
    ends = [_end(_by(each, key), now) for key in keys]
    return min(ends, default=0)


def _end(rrsigs: list[bytes], now: int) -> int:
    spans = sorted((inception(rrsig, now), expiration(rrsig, now)) for rrsig in rrsigs)
    end = 0
    for start, stop in spans:
        if start <= max(now, end - 1) and stop > max(now, end):
            end = stop
    return end


def _starts(each: AheadSet, keys: tuple[SigningKey, ...], now: int) -> int:
    """Return from when on all keys have an RRSIG; 0: never."""
    firsts = [_first_after(each, key, now) for key in keys]
    return max(firsts) if all(firsts) else 0


def _first_after(each: AheadSet, key: SigningKey, now: int) -> int:
    """Return from when on after now the key has a valid RRSIG, now itself where it has one; 0: never."""
    rrsigs = _by(each, key)
    if _valid(rrsigs, now):
        return now
    return min((start for rrsig in rrsigs if (start := inception(rrsig, now)) > now), default=0)
