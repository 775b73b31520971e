"""The pace of NOTIFYs and looks, and how long a secondary is left alone after a NOTIFY.

NOTIFYs are not to come too often (RFC 1996 §3.3). A single version is announced at once. In a stream of versions each
NOTIFY costs both sides a query, a connection and a transfer, and the secondary a commit; with a longer gap one transfer
brings several versions. But a sender that waits until its version is at the secondary, and then makes the next one,
must not be slowed down:

* a version that was asked for after the secondary had fetched all that was announced is announced at once: there was
  nothing to collect, and its client does not ask for versions faster than the secondary takes them;
* where no fetch is seen (the secondary transfers from another address), such a sender makes exactly one version in
  each gap, however long the gap is. So a longer gap stays only while it sees several versions.
"""

from msgspec import Struct

from dnssecd.core.dns.serial import is_after

#: This many gaps in a row with news are a stream.
STREAM_GAPS = 20
#: After each longer gap in vain, ten times as many are needed for the next one, up to STREAM_GAPS_MAX.
STREAM_GROWTH = 10
STREAM_GAPS_MAX = 20_000


class Pace(Struct, frozen=True):
    """Intervals in seconds; each doubles from the first to the last."""

    look_first_s: float = 0.04
    look_last_s: float = 60.0
    #: While versions follow one another faster than this, a server is queried at this interval.
    look_stream_s: float = 1.0
    notify_first_s: float = 2.0
    notify_last_s: float = 300.0
    #: How long one round of queries to all servers takes when nothing happens (it finds, for example,
    #: decreased serials).
    sweep_s: float = 300.0
    #: At most this many idle queries a second, so a round over very many servers takes longer. Zones share
    #: servers: a server that is down is found by the query for the first of its zones.
    sweep_looks_per_s: float = 2.0
    #: At least this long between two NOTIFYs to one secondary for one zone, however fast versions follow.
    gap_s: float = 0.01
    #: And this long while a stream of versions lasts (see NotifyGap).
    gap_stream_s: float = 0.05


class NotifyGap:
    """The gap for one server; ``seconds``: after the next NOTIFY."""

    __slots__ = (
        "_announced",
        "_fetched_at",
        "_longest_s",
        "_needed",
        "_shortest_s",
        "_with_news",
        "seconds",
    )

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s, self._longest_s = shortest_s, longest_s
        self._with_news = 0
        self._needed = STREAM_GAPS
        self._announced: int | None = None
        self._fetched_at: float | None = None
        self.seconds = shortest_s

    def announced(self, serial: int) -> None:
        """Note that the server is sent a NOTIFY for a serial."""
        self._announced, self._fetched_at = serial, None

    def fetched(self, serial: int, at: float) -> None:
        """Note that the server was sent the version with a serial; ``at``: monotonic, seconds."""
        if self._announced is not None and self._fetched_at is None and not is_after(self._announced, serial):
            self._fetched_at = at

    def is_over_for(self, asked_at: float | None) -> bool:
        """Tell whether a version asked for at this time (None: not known) is announced without a gap."""
        return asked_at is not None and self._fetched_at is not None and asked_at >= self._fetched_at

    def cut_short(self) -> None:
        """Note that a gap ended because of such a version: this is no stream."""
        self.seconds, self._with_news = self._shortest_s, 0

    def ended(self, versions: int) -> None:
        """Note how many versions came since the last NOTIFY was sent, at the end of its gap."""
        if self.seconds > self._shortest_s:
            if versions < 2:
                self.seconds, self._with_news = self._shortest_s, 0
                self._needed = min(self._needed * STREAM_GROWTH, STREAM_GAPS_MAX)
            else:
                self._needed = STREAM_GAPS
            return
        self._with_news = self._with_news + 1 if versions else 0
        if self._with_news >= self._needed:
            self.seconds = self._longest_s
