"""The largest TTL that a cached copy may have, after the TTL was lowered.

Copies with the old TTL can be fetched until the last secondary serves the version that lowered it, and held for
that TTL more.
"""

from dnssecd.core.dns.serial import is_after
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Keyset, TtlMemory
from dnssecd.replacing import replace


def remember_ttls(keyset: Keyset, evidence: Evidence, now: int, margin: int) -> Keyset:
    """Return the key set with the TTLs of ``evidence`` noted.  Pure; every plan calls it."""
    behind, all_at = _behind(keyset, evidence, keyset.ttl_dnskey.lowered), _latest(evidence, now)
    dnskey = _noted(
        keyset.ttl_dnskey, evidence.ttl_dnskey, evidence.serial, None if behind else all_at, now, margin
    )
    behind = _behind(keyset, evidence, keyset.ttl_zone.lowered)
    zone = _noted(
        keyset.ttl_zone, evidence.ttl_zone, evidence.serial, None if behind else all_at, now, margin
    )
    ds, seen = keyset.ttl_ds, [sight.ttl for sight in evidence.parents if sight.ds is not None]
    if seen:  # a parent that was not seen has not lowered its TTL
        ds = _noted(keyset.ttl_ds, max(seen), evidence.serial or 0, now, now, margin)
    if (dnskey, zone, ds) == (keyset.ttl_dnskey, keyset.ttl_zone, keyset.ttl_ds):
        return keyset
    return replace(keyset, ttl_dnskey=dnskey, ttl_zone=zone, ttl_ds=ds)


def remembered(memory: TtlMemory, observed: int, now: int, margin: int) -> int:
    """Return the largest TTL (s) that a copy held at ``now`` may have.  Pure."""
    if memory.gone is not None and now > memory.gone + memory.largest + margin:
        return observed
    return max(observed, memory.largest)


def _noted(
    memory: TtlMemory, observed: int, serial: int | None, all_seen: int | None, now: int, margin: int
) -> TtlMemory:
    if observed >= remembered(memory, observed, now, margin):
        return memory if memory == TtlMemory(observed) else TtlMemory(observed)
    if memory.lowered is None:
        return replace(memory, lowered=serial)
    if memory.gone is None and all_seen is not None:
        return replace(memory, gone=all_seen)
    return memory


def _behind(keyset: Keyset, evidence: Evidence, lowered: int | None) -> bool:
    if lowered is None:
        return True
    return any(
        sight.serial is None or sight.at < keyset.trust_after or is_after(lowered, sight.serial)
        for sight in evidence.secondaries
    )


def _latest(evidence: Evidence, now: int) -> int:
    return max((sight.at for sight in evidence.secondaries), default=now)
