"""How long a secondary is left alone after a NOTIFY (RFC 1996 §3.3: NOTIFYs are not to come too often).

A single version is announced at once. In a stream of versions each NOTIFY costs both sides a query, a connection and a
transfer, and the secondary a commit; with a longer gap one transfer brings several versions. But a sender that waits
until its version is at the secondary, and then makes the next one, must not be slowed down: it makes exactly one
version in each gap, however long the gap is. So a longer gap stays only while it sees several versions.
"""

#: This many gaps in a row with news are a stream.
STREAM_GAPS = 20
#: After each longer gap in vain, ten times as many are needed for the next one, up to STREAM_GAPS_MAX.
STREAM_GROWTH = 10
STREAM_GAPS_MAX = 20_000


class NotifyGap:
    """The gap for one server; ``seconds``: after the next NOTIFY."""

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s, self._longest_s = shortest_s, longest_s
        self._with_news = 0
        self._needed = STREAM_GAPS
        self.seconds = shortest_s

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
