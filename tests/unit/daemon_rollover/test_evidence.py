"""What is remembered of secondaries and parents, and what of it outlives a restart."""

from __future__ import annotations

from pathlib import Path

from dnssecd.core.keys.evidence import Confirmation, KeyBackup
from dnssecd.daemon.rollover.evidence import (
    REWRITE_S,
    SERIAL_REWRITE_S,
    ZoneEvidence,
    ds_rdata,
    read_evidence,
    write_evidence,
)
from dnssecd.publish.parent import DsRecord, ParentAnswer
from dnssecd.publish.signers import SignerAnswer
from dnssecd.publish.watch import Sighting
from dnssecd.store.zonedb import ZoneDatabase

DS = DsRecord(4711, 13, 2, bytes(32))


def sighting(serial: int | None, at: float, detail: str = "") -> Sighting:
    return Sighting("z.", "ns1", serial, at, serial is not None, detail)


def test_silence_does_not_take_back_an_answer() -> None:
    evidence = ZoneEvidence()
    assert evidence.sighted(sighting(5, 100.0), 160)
    assert evidence.sighted(sighting(None, 200.0, "no answer in time"), 260)
    (sight,) = evidence.of_secondaries(["ns1"])
    assert (sight.serial, sight.at, sight.answer, sight.next_look) == (5, 100, "no answer in time", 260)
    assert evidence.sighted(sighting(5, 300.0), 360)
    (sight,) = evidence.of_secondaries(["ns1"])
    assert (sight.at, sight.answer) == (300, "")


def test_the_same_answer_is_no_news() -> None:
    evidence = ZoneEvidence()
    evidence.sighted(sighting(5, 100.0), 160)
    assert not evidence.sighted(sighting(5, 200.0), 260)
    answer = ParentAnswer("p", (DS,), 60, 100.0)
    assert evidence.answered(answer, 160)
    assert not evidence.answered(answer, 260)
    assert evidence.answered(ParentAnswer("p", (DS,), 61, 300.0), 360), "another TTL"


def test_servers_that_were_never_asked_are_named() -> None:
    evidence = ZoneEvidence()
    assert [sight.answer for sight in evidence.of_secondaries(["a", "b"])] == ["not queried yet"] * 2
    assert evidence.of_parents(["p"])[0].ds is None


def test_an_authoritative_none_is_an_answer() -> None:
    evidence = ZoneEvidence()
    evidence.answered(ParentAnswer("p", (), 0, 100.0), 160)
    assert evidence.of_parents(["p"])[0].ds == ()


def test_it_outlives_a_restart(tmp_path: Path) -> None:
    database = ZoneDatabase(tmp_path / "z.sqlite", b"\1z\0")
    evidence = ZoneEvidence()
    evidence.sighted(sighting(5, 100.0), 160)
    evidence.sighted(Sighting("z.", "never", None, 100.0, False, "refused"), 160)
    evidence.answered(ParentAnswer("p", (DS,), 60, 100.0), 160)
    evidence.confirm(Confirmation("k", True, 100, "alice"))
    rows = evidence.to_write()
    write_evidence(database, rows)
    evidence.written(rows)
    assert evidence.to_write() == []
    again = read_evidence(database, 200.0)
    assert again.secondaries["ns1"].serial == 5
    assert "never" not in again.secondaries
    assert again.parents["p"].ds == (ds_rdata(DS),)
    assert again.confirmations == evidence.confirmations
    assert again.to_write() == []
    assert read_evidence(database, 99.0).secondaries == {}, "dated by a clock that was wrong"
    database.close()


def test_times_alone_are_written_once_an_hour() -> None:
    evidence = ZoneEvidence()
    evidence.sighted(sighting(5, 100.0), 160)
    evidence.written(evidence.to_write())
    evidence.sighted(sighting(5, 100.0 + REWRITE_S - 1), 160)
    assert evidence.to_write() == []
    evidence.sighted(sighting(5, 100.0 + REWRITE_S), 160)
    assert len(evidence.to_write()) == 1


def test_after_a_clock_step_no_evidence_is_accepted() -> None:
    evidence = ZoneEvidence()
    evidence.sighted(sighting(5, 100.0), 160)
    evidence.confirm(Confirmation("k", True, 100, "alice"))
    evidence.doubt_all()
    assert evidence.of_secondaries(["ns1"])[0].serial is None
    assert not evidence.confirmations


def test_a_serial_that_changes_with_every_update_is_written_now_and_then(tmp_path: Path) -> None:
    """A stream of updates costs no write per version; the first change after a rest is written at once."""
    database = ZoneDatabase(tmp_path / "z.sqlite", b"\1z\0")
    evidence = ZoneEvidence()
    writes = []
    for at in range(2 * SERIAL_REWRITE_S + 2):
        evidence.sighted(sighting(at + 1, float(at)), at + 60)
        if rows := evidence.to_write():
            write_evidence(database, rows)
            evidence.written(rows)
            writes.append(at)
    assert writes == [0, SERIAL_REWRITE_S, 2 * SERIAL_REWRITE_S]
    evidence.answered(ParentAnswer("p", (DS,), 60, 70.0), 160)
    assert [row[0] for row in evidence.to_write()] == ["parent"], "what the parent says is written at once"
    database.close()


def test_a_key_at_another_signer_counts_from_when_it_is_there_without_a_gap(tmp_path: Path) -> None:
    evidence = ZoneEvidence()
    for at, keys in ((100.0, (b"a",)), (200.0, (b"a", b"b")), (300.0, (b"b",)), (400.0, (b"a", b"b"))):
        evidence.heard(SignerAnswer("s", "other", keys, 60 if at < 300 else 30, at), int(at) + 60)
    evidence.heard(SignerAnswer("s", "other", None, 0, 500.0, "no answer in time"), 560)
    ((sight), (never)) = evidence.of_signers([("other", "s"), ("other", "t")])
    assert dict(sight.dnskeys or ()) == {b"a": 400, b"b": 200}
    assert (sight.ttl, sight.at, sight.answer) == (60, 400, "no answer in time"), "the largest TTL seen"
    assert never.dnskeys is None
    database = ZoneDatabase(tmp_path / "z.sqlite", b"\1z\0")
    evidence.answered(ParentAnswer("p", (DS,), 60, 100.0, ns=("ns.",), ns_ttl=9), 160)
    write_evidence(database, evidence.to_write())
    again = read_evidence(database, 1_000.0)
    assert again.signers["s"].dnskeys == sight.dnskeys
    assert (again.parents["p"].ns, again.parents["p"].ns_ttl) == (("ns.",), 9)
    database.close()


def test_new_evidence_of_one_zone_is_none_of_another() -> None:
    one, other = ZoneEvidence(), ZoneEvidence()
    one.sighted(sighting(5, 100.0), 160)
    one.answered(ParentAnswer("p", (DS,), 60, 100.0), 160)
    one.heard(SignerAnswer("s", "other", (b"key",), 60, 100.0), 160)
    one.confirm(Confirmation("k", True, 100, "alice"))
    one.saved(KeyBackup("k", 100, "tape"))
    assert other == ZoneEvidence()
    assert {row[0] for row in one.to_write()} == {"secondary", "parent", "signer", "confirmation", "backup"}


def test_what_is_stored_in_another_order_is_no_news(tmp_path: Path) -> None:
    database = ZoneDatabase(tmp_path / "z.sqlite", b"\1z\0")
    evidence = ZoneEvidence()
    evidence.answered(ParentAnswer("p", (DS,), 60, 100.0), 160)
    ((source, subject, value, at),) = evidence.to_write()
    write_evidence(database, [(source, subject, dict(reversed(value.items())), at)])
    assert read_evidence(database, 200.0).to_write() == []
    evidence.written([(source, subject, dict(reversed(value.items())), at)])
    assert evidence.to_write() == []
    evidence.answered(ParentAnswer("p", (), 60, 101.0), 160)
    assert [row[2]["ds"] for row in evidence.to_write()] == [[]]
