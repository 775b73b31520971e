"""Each fault of content that the verifier knows, by each way in: the input's fault, never ``verification-failed``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dnssecd.core.dns.message import FormError
from dnssecd.core.dns.names import APEX, owner_key, text_to_wire, wire_to_text
from dnssecd.core.dns.rrset import RRset, pack, unpack
from dnssecd.core.update.types import NOERROR, NOTZONE, REFUSED, UpdatePolicy
from dnssecd.core.verify.violations import CODES
from dnssecd.pipeline.jobs.input import ImportJob, TransferJob
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.restore import bring_back
from dnssecd.pipeline.jobs.transfer import take_transfer
from dnssecd.pipeline.jobs.update import commit_updates
from dnssecd.pipeline.jobs.verify_published import verify_published
from dnssecd.pipeline.jobs.zone_import import import_file
from dnssecd.pipeline.version import state
from dnssecd.server.update_message import parse_update
from tests.pipeline_zone import PipelineZone
from tests.unit.core_update import build
from tests.unit.core_update.build import EVERYTHING
from tests.unit.xfrin.streams import AXFR, IXFR, NS_RR, ORIGIN, RR, a, message, name, soa

NS, CNAME, SOA, TXT, DNAME, DS, DNSKEY = 2, 5, 6, 16, 39, 43, 48
LONG = ".".join(["x" * 60] * 3 + ["y" * 40])
ADDRESSES = [RR(name(LONG), 1, bytes((10, 0, number // 250, number % 250))) for number in range(300)]
SUB = RR(name("sub"), NS, text_to_wire("ns.other."))
HIDDEN_DS = RR(name("k.sub"), DS, b"\x00\x01\x0d\x02" + bytes(32))
HIDDEN_KEY = RR(name("k.sub"), DNSKEY, b"\x01\x00\x03\x0f" + bytes(32))
MX_RR = RR(name("m"), 15, b"\x00\x0a" + name("www"))


@dataclass(frozen=True)
class Case:
    """What a good zone holds besides its apex, and the difference that makes it bad; what the file cannot say."""

    code: str
    held: tuple[RR, ...] = ()
    deleted: tuple[RR, ...] = ()
    added: tuple[RR, ...] = ()
    without: frozenset[str] = frozenset()
    #: Refused, taken with the record as it stands, or taken without it ("").
    verdict: str = "refused"


WWW = a("www", 1)


def own(rtype: int, rdata: bytes, owner: str = "") -> tuple[RR, ...]:
    return (RR(name(owner) if owner else ORIGIN, rtype, rdata),)


CASES = [
    Case("apex-missing", deleted=(NS_RR,)),
    Case("cname-and-other-data", (WWW,), (), (RR(name("www"), CNAME, name("x")),)),
    Case("cname-multiple", (), (), (RR(name("x"), CNAME, name("y")), RR(name("x"), CNAME, name("z")))),
    Case("cname-multiple", (), (), (RR(name("x"), DNAME, name("y")), RR(name("x"), DNAME, name("z")))),
    Case("dnskey-not-apex", (), (), (RR(name("x"), DNSKEY, HIDDEN_KEY.rdata),)),
    Case("dnskey-not-apex", (SUB, HIDDEN_KEY), (SUB,), ()),
    Case("dnskey-not-apex", (), (), (soa(1, name("x")),)),
    Case("ds-without-ns", (), (), (RR(name("x"), DS, HIDDEN_DS.rdata),)),
    Case("ds-without-ns", (SUB, HIDDEN_DS), (SUB,), ()),
    Case("ds-without-ns", (SUB, RR(name("sub"), DS, HIDDEN_DS.rdata)), (SUB,), ()),
    Case("ds-without-ns", (RR(name("d"), DNAME, name("x")), RR(name("k.d"), DS, HIDDEN_DS.rdata)),
         (RR(name("d"), DNAME, name("x")),), ()),
    Case("rdata-malformed", (), (), (RR(name("x"), 1, bytes(5)),)),
    Case("rdata-malformed", (), (), (RR(name("x"), NS, b"\x07exam"),)),
    Case("rdata-malformed", (), (), (RR(name("x"), 35, b"\x00\x01\x00\x01\x01u"),)),
    Case("rrset-too-large", (), (), tuple(ADDRESSES)),
    Case("rrset-too-large", tuple(ADDRESSES[:200]), (), tuple(ADDRESSES[200:])),
    Case("rrset-multiple", (), (), (soa(5),), frozenset({"axfr", "ixfr", "update"})),
    Case("ttl-too-large", (), (), (a("x", 1, 2**31),), verdict="transfers"),
    Case("out-of-zone", (), (), (RR(text_to_wire("www.other."), 1, bytes(4)),), verdict=""),
    Case("class-wrong", (), (), (RR(name("x"), 1, bytes(4), 300, 3),)),
    Case("duplicate-rr", (), (), (WWW, WWW), frozenset({"ixfr"}), "taken"),
    Case("rrset-ttl-unequal", (), (), (WWW, a("www", 2, 60)), frozenset({"ixfr"}), "taken"),
    Case("occluded-signed", (SUB, MX_RR), (), (RR(name("x.sub"), TXT, b"\x01x"),), verdict="taken"),
    Case("rrset-order", (), (), (a("x", 9), a("x", 1)), verdict="taken"),
    *(Case(code, (WWW,), (), records, verdict="") for code, records in {
        "dnskey-unexpected": own(DNSKEY, HIDDEN_KEY.rdata),
        "dnskey-malformed": own(DNSKEY, b"\x01\x00\x03\x0f\x00"),
        "cds-mismatch": own(59, HIDDEN_DS.rdata),
        "cds-delete-mixed": own(59, bytes(5)),
        "cdnskey-mismatch": own(60, HIDDEN_KEY.rdata),
        "nsec3param-extra": own(51, bytes(5)),
        "zonemd-mismatch": own(63, bytes(4) + b"\x01\x01" + bytes(48)),
        "nsec-extra": own(47, name("www") + b"\x00\x01\x40", "www"),
        "nsec3-extra": own(50, b"\x01\x00\x00\x00\x00\x14" + bytes(20), "0" * 32),
        "rrsig-dangling": own(46, b"\x00\x10\x0d\x02" + bytes(14) + ORIGIN + bytes(64), "www"),
    }.items()),
]  # fmt: skip

#: Codes that content cannot cause: they are about what the signer makes, its serial and keys, or the times.
NOT_CONTENT = {
    "algorithm-missing", "algorithm-unsupported", "bitmap-wrong", "cds-alone", "cds-cdnskey-differ", "cds-continuity",
    "cds-delete-form", "cds-signer", "content-differs", "denial-mixed", "denial-ttl", "dnskey-missing", "ds-insecure",
    "ds-mismatch", "key-tag-collision", "ksk-missing", "limit-reached", "nsec-missing", "nsec-next",
    "nsec3-chain-unused", "nsec3-ent-missing", "nsec3-flags", "nsec3-missing", "nsec3-next", "nsec3-opt-out",
    "nsec3-owner", "nsec3-parameters", "nsec3param-ignored", "nsec3param-missing", "occluded-nsec", "rrset-unsigned",
    "rrsig-bad", "rrsig-expired", "rrsig-key-unusable", "rrsig-labels", "rrsig-malformed", "rrsig-not-yet-valid",
    "rrsig-original-ttl", "rrsig-over-rrsig", "rrsig-period", "rrsig-signer", "rrsig-ttl", "rrsig-unknown-key",
    "rrsig-validity-short", "serial-not-forward", "serial-unexpected", "soa-malformed", "unsigned-zone-signed",
    "delegation-signed", "zone-file", "zonemd-missing", "zonemd-repeated", "zonemd-serial",
}  # fmt: skip


def test_each_code_is_a_case_or_no_matter_of_content() -> None:
    covered = {case.code for case in CASES}
    assert covered | NOT_CONTENT == set(CODES)
    assert not covered & NOT_CONTENT


class Way(PipelineZone):
    """A zone that is given content by one way or another."""

    def base(self, case: Case) -> list[RR]:
        return [NS_RR, *case.held]

    def bad(self, case: Case) -> list[RR]:
        return [rr for rr in self.base(case) if rr not in case.deleted] + list(case.added)

    def file_of(self, serial: int, rrs: Sequence[RR]) -> None:
        lines = [_line(rr) for rr in (soa(serial), *rrs)]
        self.file.write_text("$TTL 300\n" + "".join(lines))

    def by_file(self, serial: int, rrs: Sequence[RR]) -> Outcome:
        self.file_of(serial, rrs)
        return self.load(self.file.read_text(), accept_change=True)

    def by_import(self, serial: int, rrs: Sequence[RR]) -> Outcome:
        self.file_of(serial, rrs)
        job = ImportJob(path=str(self.file), merge=False, accept_change=True)
        return import_file(self.db, self.spec, job, self.tools())

    def transfer(self, rrs: Sequence[RR], base: int | None) -> Outcome:
        pieces = [rrs[at : at + 100] for at in range(0, len(rrs), 100)]
        wires = [message(piece, AXFR if base is None else IXFR) for piece in pieces]
        (self.home / "spool").write_bytes(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))
        job = TransferJob(path=str(self.home / "spool"), primary="up", base=base)
        return take_transfer(self.db, self.spec, job, self.tools())

    def by_axfr(self, serial: int, rrs: Sequence[RR]) -> Outcome:
        return self.transfer([soa(serial), *rrs, soa(serial)], None)

    def by_ixfr(self, case: Case) -> Outcome:
        return self.transfer([soa(8), soa(7), *case.deleted, soa(8), *case.added, soa(8)], 7)

    def by_update(self, case: Case) -> tuple[int, Outcome]:
        deletions = [build.RR(rr.owner, rr.rtype, build.NONE, 0, rr.rdata) for rr in case.deleted]
        additions = [build.RR(rr.owner, rr.rtype, rr.rclass, rr.ttl, rr.rdata) for rr in case.added]
        updates = parse_update(build.message([*deletions, *additions]))
        policy = UpdatePolicy(EVERYTHING)
        committed = commit_updates(self.db, self.spec, [(updates, policy)], self.tools())
        return committed.answers[0].rcode, committed.outcome

    def by_restore(self, rrs: Sequence[RR]) -> Outcome:
        """As if an older version had published it: written past all checks."""
        with closing(sqlite3.connect(self.spec.database)) as connection, connection:
            connection.execute("DELETE FROM rrset WHERE owner <> x''")
            rows = _sets([rr for rr in rrs if rr.owner != ORIGIN])
            connection.executemany("INSERT INTO rrset VALUES (?, ?, ?, ?)", rows)
        with self.db.write() as transaction:
            restored = state.Restored(at=self.now, who="op", source="b", floor=7)
            transaction.set_state(state.RESTORED, state.to_document(restored))
            transaction.commit_state()
        return bring_back(self.db, self.spec, self.tools(), None)


def _line(rr: RR) -> str:
    rclass = {1: "IN", 3: "CH"}[rr.rclass]
    return f"{wire_to_text(rr.owner)} {rr.ttl} {rclass} TYPE{rr.rtype} \\# {len(rr.rdata)} {rr.rdata.hex()}\n"


def _sets(rrs: Sequence[RR]) -> list[RRset]:
    sets: dict[tuple[bytes, int], list[RR]] = {}
    for rr in rrs:
        sets.setdefault((owner_key(rr.owner, ORIGIN), rr.rtype), []).append(rr)
    return [RRset(*place, group[0].ttl, pack([rr.rdata for rr in group])) for place, group in sets.items()]


def judge(zone: Way, outcome: Outcome) -> str:
    """``refused``, or what became of it; and whatever is published is good."""
    events = [problem.event for problem in outcome.problems]
    assert "verification-failed" not in events, outcome.problems
    assert set(events) <= {"input-error", "ttl-rejected", "transfer-broken", "ixfr-unusable"}, (
        outcome.problems
    )
    swept = verify_published(zone.db, zone.spec, zone.tools())
    assert not swept.problems, swept.problems
    return "refused" if events else "taken"


WAYS = [
    pytest.param(case, way, id=f"{case.code}-{number}-{way}")
    for number, case in enumerate(CASES)
    for way in ("file", "import", "axfr", "ixfr", "update")
    if way not in case.without
]


@pytest.mark.parametrize(("case", "way"), WAYS)
def test_the_fault_is_the_input_s(signer: str, tmp_path: Path, case: Case, way: str) -> None:
    zone = Way(tmp_path, signer)
    try:
        assert zone.by_axfr(7, zone.base(case)).result == "published"
        if way == "update":
            try:
                rcode, outcome = zone.by_update(case)
            except FormError:
                return  # a client whose message is malformed is told so at once
            assert rcode in (NOERROR, REFUSED, NOTZONE), rcode
            judge(zone, outcome)
            return
        if way == "ixfr":
            verdict = judge(zone, zone.by_ixfr(case))
        else:
            verdict = judge(zone, getattr(zone, f"by_{way}")(8, zone.bad(case)))
        refused = case.verdict == "refused" or (case.verdict == "transfers" and way in ("file", "import"))
        refused |= case.code == "zonemd-mismatch" and way in (
            "file",
            "axfr",
            "ixfr",
        )  # input_zonemd = "check"
        assert verdict == ("refused" if refused else "taken")
        if verdict == "taken" and case.verdict == "":
            with zone.db.snapshot() as snapshot:
                held = {(r.owner, rdata) for r in snapshot.scan() for rdata in unpack(r.rdata)}
            assert not {(APEX, rr.rdata) for rr in case.added} & held
    finally:
        zone.close()


RESTORED = [
    case for case in CASES if case.code in ("rrset-too-large", "ds-without-ns", "cname-and-other-data")
]


@pytest.mark.parametrize("case", RESTORED, ids=lambda case: f"{case.code}-{CASES.index(case)}")
def test_so_is_that_of_a_back_up(signer: str, tmp_path: Path, case: Case) -> None:
    zone = Way(tmp_path, signer)
    try:
        assert zone.by_axfr(7, zone.base(case)).result == "published"
        outcome = zone.by_restore(zone.bad(case))
        assert [problem.event for problem in outcome.problems] == ["input-error"], outcome.problems
        assert "the restored zone has errors" in outcome.problems[0].cause
    finally:
        zone.close()


SERVICE = RR(name("_443._tcp.www"), TXT, b"\x01x")
WILDCARD = a("*", 1)
UNLIKELY = [
    (Case("hidden", (WILDCARD,), (), (SERVICE,)), "www.example. A: it exists without an address"),
    (Case("hidden", (WWW, SERVICE, WILDCARD), (WWW,), ()), "www.example. A: it exists without an address"),
    (Case("address", (), (), (RR(name("m"), 15, b"\x00\x0a" + name("192.0.2.1")),)), "is an address"),
    (Case("dot", (), (), (RR(name("m"), CNAME, name("www.example")),)), "repeats the zone's name"),
    (Case("octets", (), (), (a("m\\195\\188ller", 1),)), "octets over 127"),
]


@pytest.mark.parametrize("way", ["file", "import", "axfr", "ixfr", "update"])
@pytest.mark.parametrize(("case", "says"), UNLIKELY, ids=lambda value: getattr(value, "code", ""))
def test_what_is_hardly_meant_is_warned_of(
    signer: str, tmp_path: Path, case: Case, says: str, way: str
) -> None:
    zone = Way(tmp_path, signer)
    try:
        assert zone.by_axfr(7, zone.base(case)).result == "published"
        if way == "update":
            rcode, outcome = zone.by_update(case)
            assert rcode == NOERROR
            return
        outcome = zone.by_ixfr(case) if way == "ixfr" else getattr(zone, f"by_{way}")(8, zone.bad(case))
        assert outcome.result == "published"
        assert any(says in warning.cause for warning in outcome.warnings), outcome.warnings
    finally:
        zone.close()


def test_many_of_a_kind_are_few_warnings(signer: str, tmp_path: Path) -> None:
    zone = Way(tmp_path, signer)
    hidden = [RR(name(f"_t.w{number}"), TXT, b"\x01x") for number in range(300)]
    try:
        outcome = zone.by_axfr(7, [NS_RR, WILDCARD, *hidden])
        causes = [warning.cause for warning in outcome.warnings if "gives none to it" in warning.cause]
        assert len(causes) == 5
        assert causes[-1].endswith("(and 295 more like it)")
    finally:
        zone.close()
