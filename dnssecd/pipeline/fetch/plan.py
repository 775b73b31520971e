"""What a transfer from primaries is asked for, and what came of it: plain data between front and fetcher."""

import msgspec

from dnssecd.publish.source import BY_ROUTE, Source


class FetchPeer(msgspec.Struct, frozen=True):
    """A primary: name in the configuration, IP address, port; TSIG key name and algorithm as text, if any.

    ``source``: the local addresses to connect from.
    """

    name: str
    host: str
    port: int
    key: str = ""
    algorithm: str = ""
    secret: bytes = b""
    source: Source = BY_ROUTE

    def __repr__(self) -> str:
        return f"FetchPeer({self.name!r}, {self.host!r}, {self.port})"


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one transfer. Seconds: to connect, until the next message is whole, and in all; octets received.

    ``octets_per_s``: on average since it began, once it has run for ``rate_after_s``.
    """

    connect_s: float = 5.0
    idle_s: float = 30.0
    total_s: float = 3600.0
    octets: int = 4 << 30
    octets_per_s: int = 2_000
    rate_after_s: float = 60.0


class FetchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A zone wanted from the first primary that gives it. ``base``: the serial held, for IXFR; None: AXFR.

    ``path``: where the messages go, a file that is created again with mode 0600. AXFR follows where IXFR fails.
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
    """``result``: ``axfr`` or ``ixfr``, as was asked for; ``current``: the primary has nothing newer; ``failed``.

    ``whole``: the answer is the zone, not differences. ``octets``, ``messages``: what was received.
    """

    result: str
    primary: str = ""
    whole: bool = True
    octets: int = 0
    messages: int = 0
    attempts: tuple[Attempt, ...] = ()
