"""What is remembered of the servers of a zone."""

from __future__ import annotations

from dnssecd.publish.watch import Judgement, Ledger, Sighting, WatchHooks


def test_signatures_are_reported_and_not_kept() -> None:
    seen = list[Judgement]()

    class Hooks(WatchHooks):
        def seen(self, judgement: Judgement) -> None:
            seen.append(judgement)

    ledger, look = Ledger(Hooks()), Sighting("z.", "ns1", 5, 1.0, True, signatures=frozenset({b"made"}))
    judgement = ledger.record(look)
    assert judgement.sighting is look
    assert seen == [judgement]
    (kept,) = ledger.last()
    assert (kept.serial, kept.at, kept.signatures) == (5, 1.0, None)
