"""Signatures made anew: level, soonest to expire first, the SOA always, and nothing that is not due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import SOA
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.version import draft as version
from tests.pipeline_zone import NOW, ZONE, PipelineZone

HOUR, DAY = 3_600, 86_400
HOSTS = ZONE + "".join(f"host{n} IN A 192.0.2.{n % 250}\n" for n in range(400))
Place = tuple[bytes, int]


@pytest.fixture
def zone(tmp_path: Path, signer: str) -> Iterator[PipelineZone]:
    made = PipelineZone(tmp_path, signer)
    assert made.load(HOSTS).result == "published"
    yield made
    made.close()


def rrsigs(zone: PipelineZone) -> dict[Place, tuple[bytes, int]]:
    """Each RRset's RRSIGs, and when the first of them expires."""
    with zone.db.snapshot() as snapshot:
        return {(row.owner, row.covered): (row.rdata, expiration(row.rdata)) for row in snapshot.rrsig_scan()}


def expiration(packed: bytes) -> int:
    return min(int.from_bytes(rdata[8:12]) for rdata in unpack(packed))


def renewed_signatures(
    before: dict[Place, tuple[bytes, int]], after: dict[Place, tuple[bytes, int]]
) -> set[Place]:
    return {place for place, (rdata, _) in after.items() if before[place][0] != rdata}


def refresh_s(outcome: Outcome) -> int:
    assert outcome.earliest_expiration is not None
    assert outcome.next_due is not None
    return outcome.earliest_expiration - outcome.next_due


def keep_signed(zone: PipelineZone, until: int) -> Counter[int]:
    """Sign again whenever something has been due for an hour; signatures made, by day."""
    made = Counter[int]()
    outcome = zone.resign()
    while True:
        made[(zone.now - NOW) // DAY] += outcome.signatures
        assert outcome.next_due is not None
        zone.now = max(zone.now + HOUR, outcome.next_due + HOUR)
        if zone.now > until:
            return made
        outcome = zone.resign()
        assert outcome.result == "published"


def test_after_a_first_signing_the_rate_is_level_for_good(zone: PipelineZone) -> None:
    """A zone signed in one go does not come due in one go, nor a month later."""
    made = keep_signed(zone, NOW + 90 * DAY)
    weeks = [sum(made[day] for day in range(start, start + 7)) for start in range(7, 84, 7)]
    mean = sum(weeks) / len(weeks)
    assert max(weeks) <= 1.5 * mean, weeks
    assert min(weeks) >= mean / 2, weeks


def test_only_what_is_due_is_signed_again_and_the_soa(zone: PipelineZone) -> None:
    before = rrsigs(zone)
    due = zone.resign()
    assert (due.result, due.signatures) == ("unchanged", 0)
    assert due.next_due is not None
    zone.now = due.next_due + DAY
    wanted = {place for place, (_, ends) in before.items() if ends <= zone.now + refresh_s(due)}
    assert 0 < len(wanted) < len(before) / 4
    renewed = zone.resign()
    assert renewed_signatures(before, rrsigs(zone)) == wanted | {(b"", SOA)}
    assert renewed.signatures == len(wanted | {(b"", SOA)})


def test_the_soa_is_never_skipped(zone: PipelineZone) -> None:
    """Each version has another serial and a signature over it made for that version; it outlasts the others."""
    serials = [zone.serial()]
    for _ in range(40):
        outcome = zone.resign()
        assert outcome.next_due is not None
        zone.now = outcome.next_due + HOUR
        if zone.resign().result == "published":
            serials.append(zone.serial())
            sigs = rrsigs(zone)
            inception = int.from_bytes(sigs[b"", SOA][0][2:][12:16])
            assert inception == zone.now + zone.spec.inception_offset_s
            assert sigs[b"", SOA][1] > zone.now + 29 * DAY
    assert len(serials) > 20
    assert all(after == (before or 0) + 1 for before, after in pairwise(serials))


def test_after_an_outage_the_soonest_to_expire_comes_first(
    zone: PipelineZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No version is unduly large; what is left over has more time than anything that was made."""
    monkeypatch.setattr(version, "DUE_MAX", 12)
    due = zone.resign()
    assert due.next_due is not None
    zone.now = due.next_due + refresh_s(due) - 2 * HOUR
    for _ in range(3):
        before = rrsigs(zone)
        overdue = sorted(ends for _, ends in before.values() if ends <= zone.now + refresh_s(due))
        assert len(overdue) > 12
        outcome = zone.resign()
        made = renewed_signatures(before, rrsigs(zone)) - {(b"", SOA)}
        assert outcome.signatures <= 13
        assert max(before[place][1] for place in made) <= overdue[12]
        assert outcome.next_due is not None
        assert outcome.next_due < zone.now, "the rest is asked for at once"


def test_what_has_expired_in_an_outage_is_made_at_once_and_comes_due_spread(
    zone: PipelineZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No version leaves an expired RRSIG in the zone; that they were made together shows no more a month later."""
    monkeypatch.setattr(version, "DUE_MAX", 60)
    due = zone.resign()
    assert due.earliest_expiration is not None
    zone.now = due.earliest_expiration + 12 * DAY
    before = rrsigs(zone)
    expired = {place for place, (_, ends) in before.items() if ends <= zone.now}
    assert len(expired) > 200
    assert zone.resign().result == "published"
    after = rrsigs(zone)
    assert min(ends for _, ends in after.values()) > zone.now
    assert expired <= renewed_signatures(before, after)
    begin = zone.now
    days = Counter((after[place][1] - begin) // DAY for place in expired)
    assert max(days.values()) < len(expired) / 5, days
