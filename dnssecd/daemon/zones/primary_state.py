"""The state of a zone's primaries, and the decisions from it; its only I/O is reading the zone's database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from zlib import crc32

from msgspec import Struct

from dnssecd.backoff import Backoff
from dnssecd.core.dns.names import APEX
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.core.dns.serial import compare, is_after
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.pipeline.jobs.transfer import TRANSFERRED
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.apex import soa_expire

REFRESH_MIN_S, REFRESH_MAX_S = 2, 7 * 86_400
RETRY_MIN_S, RETRY_MAX_S = 1, 3600
#: The intervals while there is no version, and so no SOA.
FIRST_RETRY = Backoff(2.0, 300.0)
JITTER_SHARE = 0.1


class Sight(Struct, frozen=True):
    """The last look at one primary: the serial it serves, when (epoch seconds), why there is none."""

    serial: int | None
    at: float
    detail: str = ""


class Held(Struct, frozen=True):
    """The held data: the primaries' serial (None: the content did not come from them), SOA timers (s)."""

    serial: int | None
    refresh_s: int
    retry_s: int
    expire_s: int


@dataclass(eq=False)
class Upstream:
    """A zone's primaries. ``fresh_at``: when one last confirmed the held version (epoch seconds).

    ``same``: the serial of the version's content (None: not from primaries), and a serial seen to have the
    same content. ``rejected``: by primary, its last rejected serial, and when.
    """

    fresh_at: float
    seen: dict[str, Sight] = field(default_factory=dict)
    failures: int = 0
    same: tuple[int | None, int] | None = None
    rejected: dict[str, tuple[int, float]] = field(default_factory=dict)

    def has_more_than(self, serial: int | None) -> bool:
        """Tell whether a primary was last seen to serve a later serial than ``serial``."""
        return serial is not None and any(
            sight.serial is not None and is_after(sight.serial, serial) for sight in self.seen.values()
        )

    def at_hand(self, held: Held | None) -> int | None:
        """Return the primaries' serial with the same content as the held version."""
        if held is None:
            return None
        return self.same[1] if self.same is not None and self.same[0] == held.serial else held.serial


def held_of(zone: FrontZone) -> Held | None:
    """Return the held data of a zone, None before its first version; raise StoreError or OSError."""
    if zone.serial is None:
        return None
    with zone.database.snapshot() as snapshot:
        version = state.from_document(snapshot.version, state.VersionState)
        soa = snapshot.rrset(APEX, SOA)
    if version is None or soa is None:
        return None
    refresh, retry = (int.from_bytes(soa.rdata[at : at + 4], "big") for at in (-16, -12))
    serial = version.input_serial if version.digest == TRANSFERRED else None
    return Held(serial, refresh, retry, soa_expire(soa))


def newest_first(seen: Iterable[tuple[str, int]]) -> list[str]:
    """Return primaries, given with their serials, by decreasing serial; equal ones keep their order."""

    def order(one: tuple[str, int], other: tuple[str, int]) -> int:
        return compare(other[1], one[1])

    return [name for name, _ in sorted(seen, key=cmp_to_key(order))]


def to_fetch_from(sights: Sequence[tuple[str, Sight]], serial: int | None) -> list[str]:
    """Return the primaries with a later serial than ``serial`` (None: any serial), the latest first."""
    return newest_first(
        (name, sight.serial)
        for name, sight in sights
        if sight.serial is not None and (serial is None or is_after(sight.serial, serial))
    )


def refresh_delay_s(zone: str, held: Held | None) -> float:
    """Return the seconds until the next poll after a success, reduced a little depending on the zone name."""
    if held is None:
        return FIRST_RETRY.longest_s
    share = crc32(zone.encode()) / 2**32
    return min(max(held.refresh_s, REFRESH_MIN_S), REFRESH_MAX_S) * (1 - JITTER_SHARE * share)


def retry_delay_s(held: Held | None, failures: int) -> float:
    """Return the seconds until the next attempt after a failure, the ``failures``-th in a row."""
    if held is None:
        return FIRST_RETRY.delay_s(failures)
    return min(max(held.retry_s, RETRY_MIN_S), RETRY_MAX_S)


def shown(seen: dict[str, Sight], protections: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the primaries for ``status``. protections: how transfers are protected, by name of the primary."""
    nothing = Sight(None, 0, "not queried yet")
    rows = [(name, seen.get(name, nothing), protection) for name, protection in protections.items()]
    return [
        {
            "name": name,
            "serial": sight.serial,
            "seen_at": sight.at or None,
            "detail": sight.detail,
            "protection": protection,
        }
        for name, sight, protection in rows
    ]
