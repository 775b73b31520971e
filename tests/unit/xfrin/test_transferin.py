"""Transfers as a zone worker takes them: the whole zone, differences, what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dnssecd.core.dns.rrset import RRset
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES
from dnssecd.ingest.xfrin import TransferLimits
from dnssecd.pipeline.jobs.input import ImportJob, TransferJob
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.transfer import take_transfer
from dnssecd.pipeline.jobs.zone_import import import_file
from tests.pipeline_zone import PipelineZone
from tests.unit.xfrin.streams import (
    AXFR,
    CDS,
    CNAME,
    DNSKEY,
    IXFR,
    NS_RR,
    ORIGIN,
    RR,
    RRSIG,
    TXT,
    ZONEMD,
    a,
    message,
    name,
    soa,
)  # fmt: skip

WWW = a("www", 1)


class Upstream(PipelineZone):
    """A zone that is fed with answers."""

    def take(
        self,
        rrs: Sequence[RR] | bytes,
        base: int | None = None,
        limits: TransferLimits | None = None,
        **more: bool,
    ) -> Outcome:
        if not isinstance(rrs, bytes):
            pieces = [rrs[i : i + 500] for i in range(0, len(rrs), 500)]
            wires = [message(piece, AXFR if base is None else IXFR) for piece in pieces]
            rrs = b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires)
        path = self.home / "spool"
        path.write_bytes(rrs)
        job = TransferJob(path=str(path), primary="up", base=base, **more)  # type: ignore[arg-type]
        return take_transfer(self.db, self.spec, job, self.tools(), limits)

    def axfr(self, serial: int, *rrs: RR, **more: bool) -> Outcome:
        return self.take([soa(serial), NS_RR, *rrs, soa(serial)], **more)

    def ixfr(self, old: int, new: int, deleted: Sequence[RR], added: Sequence[RR]) -> Outcome:
        return self.take([soa(new), soa(old), *deleted, soa(new), *added, soa(new)], old)

    def content(self) -> list[RRset]:
        with self.db.snapshot() as snapshot:
            return [
                r for r in snapshot.scan() if r.rtype != 6 and (r.owner or r.rtype not in APEX_DERIVED_TYPES)
            ]

    def owners(self) -> tuple[int, int]:
        """As counted along, and as there are."""
        with self.db.snapshot() as snapshot:
            assert snapshot.version is not None
            return snapshot.version["owners"], len({rrset.owner for rrset in snapshot.scan()})


@pytest.fixture
def zone(signer: str, tmp_path: Path) -> Iterator[Upstream]:
    zone = Upstream(tmp_path, signer)
    yield zone
    zone.close()


def event(outcome: Outcome) -> str:
    return outcome.problems[0].event if outcome.problems else outcome.result


def test_first_load_then_ixfr_then_the_same_by_axfr(zone: Upstream) -> None:
    first = zone.axfr(7, WWW, a("x", 2))
    assert (first.result, first.serial, first.input_serial) == ("published", 7, 7)
    second = zone.ixfr(7, 8, [a("x", 2)], [a("y.new", 3), a("www", 9)])
    assert (second.result, second.serial, second.input_serial) == ("published", 8, 8)
    assert second.changed_rrsets == 4  # with the SOA
    counted, there = zone.owners()
    assert counted == there == 3
    by_ixfr = zone.content()
    again = zone.axfr(8, WWW, a("www", 9), a("y.new", 3))
    assert again.result == "unchanged"
    assert zone.content() == by_ixfr


def test_several_sequences_in_one_ixfr(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    outcome = zone.take(
        [soa(9), soa(7), WWW, soa(8), a("www", 2), soa(8), a("www", 2), soa(9), a("www", 3), soa(9)], 7
    )
    assert (outcome.result, outcome.serial) == ("published", 9)
    assert zone.content()[-1].rdata == b"\x00\x04\xc0\x00\x02\x03"


def test_ttl_change_by_ixfr(zone: Upstream) -> None:
    zone.axfr(7, WWW, a("www", 2))
    outcome = zone.ixfr(7, 8, [WWW, a("www", 2)], [a("www", 1, 60), a("www", 2, 60)])
    assert outcome.result == "published"
    assert zone.content()[-1].ttl == 60


DOES_NOT_FIT = {
    "deletes what is missing": ([a("www", 5)], []),
    "deletes from a name that is missing": ([a("nix", 5)], []),
    "deletes with another TTL": ([a("www", 1, 60)], []),
    "adds what is there": ([], [WWW]),
    "adds with another TTL": ([], [a("www", 5, 60)]),
}


@pytest.mark.parametrize("difference", DOES_NOT_FIT.values(), ids=DOES_NOT_FIT.keys())
def test_ixfr_that_does_not_fit(zone: Upstream, difference: tuple[list[RR], list[RR]]) -> None:
    zone.axfr(7, WWW)
    outcome = zone.ixfr(7, 8, *difference)
    assert (outcome.result, event(outcome)) == ("failed", "ixfr-unusable")
    assert (zone.serial(), len(zone.content())) == (7, 2)


def test_ixfr_from_another_soa(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    rrs = [soa(8), soa(7, minimum=1), soa(8), a("x", 2), soa(8)]
    assert event(zone.take(rrs, 7)) == "ixfr-unusable"


def test_ixfr_on_content_that_did_not_come_from_a_primary(zone: Upstream) -> None:
    zone.load("$TTL 300\n@ IN SOA ns host 7 60 30 600 300\n@ IN NS ns\nwww IN A 192.0.2.1\n")
    assert event(zone.ixfr(7, 8, [], [a("x", 2)])) == "ixfr-unusable"


def test_ixfr_of_signatures_only_changes_nothing(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    zone.now += 20 * 86_400
    zone.resign()  # ours is beyond the primary's serial now
    before = zone.serial()
    rrsig = RR(name("www"), RRSIG, b"junk")
    outcome = zone.ixfr(7, 8, [rrsig, RR(ORIGIN, DNSKEY, b"old")], [rrsig, RR(ORIGIN, CDS, b"new")])
    assert (outcome.result, outcome.input_serial, outcome.signatures, outcome.stripped) == (
        "unchanged",
        8,
        0,
        4,
    )
    assert zone.serial() == before
    # With a ZONEMD the whole zone is fetched: what it covers was left out of what is held.
    assert event(zone.ixfr(8, 9, [], [RR(ORIGIN, ZONEMD, b"new")])) == "ixfr-unusable"


def test_what_no_signer_could_publish(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    alias = RR(name("www"), CNAME, name("x"))
    assert event(zone.axfr(8, WWW, alias)) == "input-error"
    assert event(zone.ixfr(7, 8, [], [alias])) == "input-error"
    assert event(zone.ixfr(7, 8, [NS_RR], [])) == "input-error"
    assert event(zone.axfr(8, a("www", 1, 40 * 86_400))) == "ttl-rejected"
    assert event(zone.ixfr(7, 8, [], [a("new", 1, 40 * 86_400)])) == "ttl-rejected"
    assert (zone.serial(), len(zone.content())) == (7, 2)


def test_serial_going_back(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    back = zone.axfr(6, WWW, a("x", 1))
    assert (back.result, event(back), zone.serial()) == ("rejected", "input-error", 7)
    meant = zone.axfr(6, WWW, a("x", 1), replace=True)
    assert (meant.result, meant.serial, meant.input_serial) == ("published", 8, 6)


def test_delta_guard(zone: Upstream) -> None:
    zone.axfr(7, *(a(f"n{i}", 1) for i in range(60)))
    assert event(zone.axfr(8, WWW)) == "delta-guard"
    assert event(zone.ixfr(7, 8, [a(f"n{i}", 1) for i in range(60)], [])) == "delta-guard"
    assert zone.axfr(8, WWW, replace=True).result == "published"


def test_crowds(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    types = [RR(name("www"), 1000 + number, b"x") for number in range(300)]
    outcome = zone.axfr(8, *types)
    assert event(outcome) == "input-error"
    assert "types" in outcome.problems[0].cause
    assert event(zone.ixfr(7, 8, [], types)) == "input-error"
    strings = [RR(name("www"), TXT, b"\x02" + number.to_bytes(2, "big")) for number in range(11_000)]
    assert event(zone.axfr(8, *strings)) == "input-error"
    assert event(zone.take([soa(8), NS_RR, *types, soa(8)], limits=TransferLimits(100))) == "transfer-broken"


def test_broken_streams(zone: Upstream) -> None:
    zone.axfr(7, WWW)
    assert event(zone.take([soa(8), NS_RR, WWW])) == "transfer-broken"
    assert event(zone.take([soa(8), soa(7), WWW], 7)) == "ixfr-unusable"
    assert event(zone.take(b"\x00")) == "transfer-broken"
    assert event(zone.take(b"")) == "transfer-broken"
    assert event(zone.take(b"\x00\x05abcde")) == "transfer-broken"
    assert zone.serial() == 7


def test_signed_input_is_as_unsigned(zone: Upstream) -> None:
    signed = [RR(ORIGIN, DNSKEY, b""), RR(name("www"), RRSIG, b""), RR(ORIGIN, CDS, b"")]
    assert zone.axfr(7, WWW, *signed).stripped == 3
    assert zone.axfr(7, WWW).result == "unchanged"


def test_import(zone: Upstream) -> None:
    text = "$TTL 300\n@ IN SOA ns host 7 60 30 600 300\n@ IN NS ns.other.\nwww IN A 192.0.2.1\nx IN A 192.0.2.2\n"
    zone.load(text)

    def imported(text: str, *, merge: bool, accept: bool = False) -> Outcome:
        zone.file.write_text(text)
        job = ImportJob(path=str(zone.file), merge=merge, accept_change=accept)
        return import_file(zone.db, zone.spec, job, zone.tools())

    head = "$TTL 300\n@ IN SOA ns host 9 60 30 600 300\n@ IN NS ns.other.\n"
    merged = imported(head + "www IN A 192.0.2.9\ny IN A 192.0.2.3\n", merge=True)
    assert (merged.result, merged.serial) == ("published", 9)
    assert [(r.owner, r.rdata[-1]) for r in zone.content() if r.owner] == [
        (b"www\x00", 9),
        (b"x\x00", 2),
        (b"y\x00", 3),
    ]
    assert event(imported(head + "x IN CNAME www\n", merge=True)) == "input-error"
    assert event(imported(head + "x IN A 1.2.3", merge=True)) == "input-error"
    replaced = imported(head + "z IN A 192.0.2.1\n", merge=False)
    assert (replaced.result, replaced.serial) == ("published", 10)
    assert [r.owner for r in zone.content() if r.owner] == [b"z\x00"]
    many = head + "".join(f"n{i} IN A 192.0.2.1\n" for i in range(60))
    imported(many, merge=False)
    held = imported(text, merge=False)
    assert event(held) == "delta-guard"
    assert "--replace --accept-change" in held.problems[0].remedy
    assert imported(text, merge=False, accept=True).result == "published"
