"""The outcome of a load has the stored data of its version, read in the transaction that made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.pipeline.jobs import job
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.store.interface import ZoneStore
from tests.pipeline_zone import ZONE, PipelineZone, running_signer


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[PipelineZone]:
    with running_signer() as socket:
        made = PipelineZone(tmp_path, socket)
        yield made
        made.close()


def test_no_snapshot_is_taken_for_the_outcome(zone: PipelineZone, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[ZoneStore] = []
    read = job._stored

    def note(db: ZoneStore, spec: ZoneSpec) -> job.StoredVersion | None:
        taken.append(db)
        return read(db, spec)

    monkeypatch.setattr(job, "_stored", note)
    for text in (ZONE, ZONE + "new IN A 192.0.2.9\n"):
        outcome = zone.load(text)
        assert outcome.result == "published"
        assert taken == []
        stored = read(zone.db, zone.spec)
        assert stored is not None
        assert outcome.serial == stored.version.serial
        assert outcome.records == stored.version.records
        assert outcome.earliest_expiration == stored.earliest
        assert outcome.next_due == stored.earliest - outcome.refresh_s if stored.earliest else None
    again = zone.load(ZONE + "new IN A 192.0.2.9\n")
    assert again.result == "unchanged"
    assert (again.serial, again.next_due) == (outcome.serial, outcome.next_due)
