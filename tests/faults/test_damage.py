"""Damage between signing and commit: nothing is published, the fault is named, the version before stays."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import Rrsigs, pack, unpack
from dnssecd.pipeline.jobs import job as jobs
from dnssecd.pipeline.version.draft import Draft
from dnssecd.pipeline.version.verification import DraftVerifier
from dnssecd.store.errors import StaleVersion
from tests.pipeline_zone import ZONE, PipelineZone

Damage = Callable[[sqlite3.Connection], None]


@pytest.fixture(params=["nsec", "nsec3"])
def zone(request: pytest.FixtureRequest, tmp_path: Path, signer: str) -> Iterator[PipelineZone]:
    made = PipelineZone(tmp_path, signer, denial=request.param)
    assert made.load(ZONE).result == "published"
    yield made
    made.close()


def flip_a_bit(db: sqlite3.Connection) -> None:
    owner, rdata = db.execute("SELECT owner, rdata FROM rrsig WHERE owner = ?", (b"www\x00",)).fetchone()
    db.execute("UPDATE rrsig SET rdata = ? WHERE owner = ?", (rdata[:-1] + bytes([rdata[-1] ^ 1]), owner))


def drop_denial(db: sqlite3.Connection) -> None:
    (owner,) = db.execute("SELECT owner FROM denial ORDER BY owner LIMIT 1 OFFSET 2").fetchone()
    db.execute("DELETE FROM denial WHERE owner = ?", (owner,))
    db.execute("DELETE FROM rrsig WHERE owner = ? AND covered IN (47, 50)", (owner,))


def sign_glue(db: sqlite3.Connection) -> None:
    row = db.execute("SELECT ttl, rdata, expiration FROM rrsig WHERE owner = ?", (b"www\x00",)).fetchone()
    db.execute(
        "INSERT INTO rrsig (owner, covered, ttl, rdata, expiration) VALUES (?, 1, ?, ?, ?)",
        (b"sub\x00ns\x00", *row),
    )


def lower_the_serial(db: sqlite3.Connection) -> None:
    (rdata,) = db.execute("SELECT rdata FROM rrset WHERE owner = x'' AND rtype = 6").fetchone()
    db.execute(
        "UPDATE rrset SET rdata = ? WHERE owner = x'' AND rtype = 6", (rdata[:-20] + bytes(4) + rdata[-16:],)
    )


def change_content(db: sqlite3.Connection) -> None:
    db.execute("UPDATE rrset SET rdata = ? WHERE owner = ?", (pack([b"\xc0\x00\x02\x63"]), b"www\x00"))


def drop_rrsig(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM rrsig WHERE owner = ? AND covered = 1", (b"www\x00",))


def swap_dnskey(db: sqlite3.Connection) -> None:
    (rdata,) = db.execute("SELECT rdata FROM rrset WHERE owner = x'' AND rtype = 48").fetchone()
    keys = [key[:-1] + bytes([key[-1] ^ 1]) for key in unpack(rdata)]
    db.execute("UPDATE rrset SET rdata = ? WHERE owner = x'' AND rtype = 48", (pack(keys),))


DAMAGES: list[tuple[Damage, str]] = [
    (flip_a_bit, "rrsig-"),
    (drop_denial, "nsec"),
    (sign_glue, "ns.sub.example."),
    (lower_the_serial, "serial"),
    (change_content, "content-differs"),
    (drop_rrsig, "www.example. A"),
    (swap_dnskey, "DNSKEY"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
@pytest.mark.parametrize("first", [True, False], ids=["first-version", "next-version"])
def test_damaged_version_is_not_published(
    zone: PipelineZone,
    tmp_path: Path,
    signer: str,
    monkeypatch: pytest.MonkeyPatch,
    damage: Damage,
    named: str,
    first: bool,
) -> None:
    if first:
        home = tmp_path / "first"
        home.mkdir()
        zone = PipelineZone(home, signer, denial=zone.spec.denial)
    before = zone.serial()

    class Damaging(DraftVerifier):
        def __call__(self, draft: Draft):  # type: ignore[no-untyped-def]
            damage(draft.transaction._connection)
            # What was touched is told truthfully: the damage is to what was written, behind the planner's back.
            if draft.transaction.touched is not None:
                draft.transaction.touched |= {(b"www\x00", 1), (b"sub\x00ns\x00", 1)}
            return super().__call__(draft)

    monkeypatch.setattr(jobs, "DraftVerifier", Damaging)
    edited = ZONE.replace("192.0.2.2", "192.0.2.22") + "new IN A 192.0.2.9\n"
    outcome = zone.load(edited)
    assert outcome.result == "failed"
    assert outcome.problems[0].event == "verification-failed"
    assert any(named in line for line in outcome.violations), outcome.violations
    assert zone.serial() == before
    monkeypatch.undo()
    assert zone.load(edited).result == "published"
    zone.close()


def test_a_write_after_verification_voids_it(zone: PipelineZone, monkeypatch: pytest.MonkeyPatch) -> None:
    class Meddling(DraftVerifier):
        def __call__(self, draft: Draft):  # type: ignore[no-untyped-def]
            verdict = super().__call__(draft)
            sigs = draft.transaction.rrsigs(b"www\x00", 1)
            assert isinstance(sigs, Rrsigs)
            draft.transaction.delete_rrsigs([sigs])
            return verdict

    monkeypatch.setattr(jobs, "DraftVerifier", Meddling)
    before = zone.serial()
    with pytest.raises(Exception, match=r"written to after|redeem"):
        zone.load(ZONE.replace("192.0.2.2", "192.0.2.22"))
    assert zone.serial() == before


def test_state_is_committed_without_content_only(zone: PipelineZone) -> None:
    before = zone.serial()
    with zone.db.write() as transaction:
        sigs = transaction.rrsigs(b"www\x00", 1)
        assert sigs is not None
        transaction.delete_rrsigs([sigs])
        with pytest.raises(StaleVersion, match="verified"):
            transaction.commit_state()
    with zone.db.snapshot() as snapshot:
        assert snapshot.serial == before
        assert snapshot.rrsigs(b"www\x00", 1) is not None
