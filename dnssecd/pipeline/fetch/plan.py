"""The plan of a transfer from primaries, and its result: plain data between daemon and fetcher."""

import msgspec

from dnssecd.publish.source import BY_ROUTE, Source
from dnssecd.publish.tls_client import TlsTarget


class FetchKey(msgspec.Struct, frozen=True):
    """A TSIG key: name and algorithm as text."""

    name: str
    algorithm: str
    secret: bytes

    def __repr__(self) -> str:
        return f"FetchKey({self.name!r})"


class FetchPeer(msgspec.Struct, frozen=True):
    """A primary: name in the configuration, IP address, port; TSIG key name and algorithm as text, if any.

    ``source``: the local addresses to connect from. ``others``: further keys, if it does not have this one. ``tls``:
    where and how to connect instead.
    """

    name: str
    host: str
    port: int
    key: str = ""
    algorithm: str = ""
    secret: bytes = b""
    source: Source = BY_ROUTE
    others: tuple[FetchKey, ...] = ()
    tls: TlsTarget | None = None

    @property
    def keys(self) -> tuple[FetchKey | None, ...]:
        """Return the keys to try, in order; None: the request is not signed."""
        if not self.key:
            return (None,)
        return FetchKey(self.key, self.algorithm, self.secret), *self.others

    def __repr__(self) -> str:
        return f"FetchPeer({self.name!r}, {self.host!r}, {self.port})"


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one transfer: seconds to connect, for each message, and in total; octets received.

    ``octets_per_s``: on average since it began, once it has run for ``rate_after_s``.
    """

    connect_s: float = 5.0
    idle_s: float = 30.0
    total_s: float = 3600.0
    octets: int = 4 << 30
    octets_per_s: int = 2_000
    rate_after_s: float = 60.0


class FetchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A zone to fetch from the first primary that provides it. ``base``: the serial held, for IXFR; None: AXFR.

    ``path``: the file for the messages, which is newly created with mode 0600. If IXFR fails, AXFR follows.
    """

    origin: bytes
    primaries: tuple[FetchPeer, ...]
    path: str
    base: int | None = None
    limits: FetchLimits = FetchLimits()


class Attempt(msgspec.Struct, frozen=True):
    """One try that failed: primary, ``axfr`` or ``ixfr``, why."""

    primary: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.primary} ({self.kind.upper()}): {self.reason}"


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """``result``: ``axfr`` or ``ixfr``, as requested; ``current``: the primary has no newer serial; ``failed``.

    ``whole``: the answer is the zone, not differences. ``octets``, ``messages``: what was received. ``key``: the TSIG
    key that was used; ``tls``: TLS was used; ``reused``: an open connection, or a resumed session.
    """

    result: str
    primary: str = ""
    whole: bool = True
    octets: int = 0
    messages: int = 0
    attempts: tuple[Attempt, ...] = ()
    key: str = ""
    tls: bool = False
    reused: bool = False
