"""When signatures begin and end, and when they are renewed: inception, validity, refresh, jitter."""

from zlib import crc32

from msgspec import Struct

DAY_S = 86_400

#: When one version signs more than this share of the zone, expirations are spread over the whole validity.
SPREAD_SHARE = 0.05


class Lifetimes(Struct, frozen=True):
    """All in seconds: validity of an RRSIG, its inception before signing, renewal before expiration."""

    validity_s: int
    inception_offset_s: int
    refresh_s: int
    jitter_s: int


class Window(Struct, frozen=True):
    """Inception and the range of expirations of one version's signatures, epoch seconds."""

    inception: int
    expiration_min: int
    expiration_max: int

    def expiration(self, owner: bytes, rtype: int) -> int:
        """Return the expiration for one RRset: the same in every run, different between RRsets."""
        span = self.expiration_max - self.expiration_min
        if span <= 0:
            return self.expiration_max
        return self.expiration_max - crc32(owner + rtype.to_bytes(4, "big")) * span // 0x1_0000_0000


def signing_window(lifetimes: Lifetimes, now: int, *, spread: bool) -> Window:
    """Return the window for signatures made at ``now``.

    Expiration is now + validity less up to jitter; with ``spread`` anything from now + refresh + 1 day, so that
    a whole zone signed at once does not come due at once.
    """
    latest = now + lifetimes.validity_s
    earliest = latest - lifetimes.jitter_s
    if spread:
        earliest = min(earliest, now + lifetimes.refresh_s + DAY_S)
    earliest = max(earliest, now + lifetimes.refresh_s + 1)
    return Window(now + lifetimes.inception_offset_s, min(earliest, latest), latest)


def refresh_s(configured: int | None, validity_s: int, soa_expire: int, largest_ttl: int) -> tuple[int, bool]:
    """Return how long before expiration RRSIGs are renewed, and whether the automatic value was capped.

    Automatic (None): min(SOA expire + largest TTL + 1 day, validity / 2). A secondary without contact serves
    its copy until SOA expire, and caches keep its answers for one more TTL. RRSIGs must be valid for all of
    that time.
    """
    if configured is not None:
        return configured, False
    wanted = soa_expire + largest_ttl + DAY_S
    return min(wanted, validity_s // 2), wanted > validity_s // 2


def full_time(field: int, near: int) -> int:
    """Return the epoch second that a 32-bit RRSIG time field means, nearest to ``near`` (RFC 4034 §3.1.5)."""
    return near + ((field - near + (1 << 31)) % (1 << 32)) - (1 << 31)
