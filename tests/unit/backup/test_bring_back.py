"""The first version of a restored zone: above everything, signed anew where it has to be, verified as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.core.keys.keyset import signing_view
from dnssecd.core.verify import inline_checker, verify_zone
from dnssecd.core.zone.changeset import Change
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.restore import bring_back
from dnssecd.pipeline.version import state
from dnssecd.pipeline.version.verification import published_expectation
from tests.pipeline_zone import NOW, ZONE, PipelineZone, running_signer

A, DAY = 1, 86_400


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[PipelineZone]:
    """Published at serial 1 and marked as restored, with serial 7 known to be public."""
    with running_signer() as socket:
        made = PipelineZone(tmp_path, socket)
        assert made.load(ZONE).result == "published"
        with made.db.write() as transaction:
            restored = state.Restored(at=NOW, who="root", source="b.tar", floor=7)
            transaction.set_state(state.RESTORED, state.to_document(restored))
            transaction.commit_state()
        yield made
        made.close()


def brought_back(zone: PipelineZone, floor: int | None = None) -> Outcome:
    return bring_back(zone.db, zone.spec, zone.tools(), floor)


def held(zone: PipelineZone) -> bool:
    with zone.db.snapshot() as snapshot:
        return state.restored_from(snapshot.state(state.RESTORED)) is not None


@pytest.mark.parametrize(("floor", "serial"), [(None, 8), (3, 8), (20, 21), (2**32 - 1, 8)])
def test_its_serial_is_above_all_that_is_known(zone: PipelineZone, floor: int | None, serial: int) -> None:
    outcome = brought_back(zone, floor)
    assert (outcome.result, outcome.serial) == ("published", serial)
    assert not held(zone)
    assert brought_back(zone).result == "unchanged", "only once"
    assert zone.serial() == serial


def test_signatures_that_expired_meanwhile_are_renewed(zone: PipelineZone) -> None:
    zone.now += 100 * DAY
    assert brought_back(zone).result == "published"
    with zone.db.snapshot() as snapshot:
        keyset = state.keyset_from(snapshot.state(state.KEYSET))
        assert keyset is not None
        wanted = published_expectation(zone.spec, signing_view(keyset), snapshot.serial, zone.now)
        assert verify_zone(snapshot, wanted, 10, inline_checker) == []


def test_what_was_changed_in_the_back_up_is_not_published(zone: PipelineZone) -> None:
    with zone.db.write() as transaction:
        (old,) = [
            rrset for rrset in transaction.scan() if rrset.rtype == A and rrset.owner.startswith(b"www")
        ]
        forged = old._replace(rdata=old.rdata[:-1] + b"\x63")
        transaction.apply_content([Change(old.owner, A, old, forged)])
        transaction.commit_if(transaction.generation)
    outcome = brought_back(zone)
    assert outcome.result == "failed"
    assert outcome.problems[0].event == "verification-failed"
    assert "www.example." in outcome.problems[0].cause
    assert held(zone)
    assert zone.serial() == 1
