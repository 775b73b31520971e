"""``dnssecd verify`` as the judge of other signers' zones: what peers refuse is bogus, what they take is no failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnssecd.core.verify import MemoryZoneView
from tests.oneshot import dnssecd
from tests.peers.tools import Result, dnssec_verify, kzonecheck, ldns_verify_zone
from tests.unit.core_verify import naive, test_chains, test_delegation
from tests.unit.core_verify.naive import KSK, Naive
from tests.unit.core_verify.test_command import to_text
from tests.unit.core_verify.test_delegation import DELETE_CDS, REVOKED, SECOND, ZSK, ds

pytestmark = pytest.mark.integration

Peer = Callable[[Path, str], Result]


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zones are signed now: dnssec-verify knows no other time."""
    for module in (naive, test_chains, test_delegation):
        monkeypatch.setattr(module, "NOW", int(time.time()))
    monkeypatch.setattr(Naive, "__init__", _now_init(Naive.__init__))


def _now_init(init: Callable[..., None]) -> Callable[..., None]:
    def made(self: Naive, **options: Any) -> None:
        now = int(time.time())
        init(self, **{"inception": now - 3600, "expiration": now + 30 * 86400, **options})

    return made


def written(tmp_path: Path, view: MemoryZoneView) -> Path:
    path = tmp_path / "zone"
    path.write_text(to_text(view))
    return path


def judged(path: Path, *options: str) -> tuple[int, set[tuple[str, str]]]:
    ended = dnssecd("--json", "verify", str(path), "--origin", "example.", *options)
    found = ended.json
    assert found["ok"] == (ended.status == 0)
    return ended.status, {(one["code"], one["rank"]) for one in found["violations"]}


def ds_text(rdata: bytes) -> str:
    return f"{int.from_bytes(rdata[:2], 'big')} {rdata[2]} {rdata[3]} {rdata[4:].hex()}"


def test_a_zone_whose_only_sep_key_is_revoked(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone(keys=(REVOKED, ZSK), signing=(REVOKED,)))
    assert not dnssec_verify(path, "example.").ok
    assert judged(path)[0] == 1
    status, found = judged(path, "--ds", ds_text(ds(REVOKED)))
    assert (status, ("ds-mismatch", "bogus") in found) == (1, True)


def test_a_sha1_ds_hides_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone())
    good, bad = ds_text(ds(KSK, 1)), ds_text(ds(KSK, 2, bad=True))
    assert judged(path, "--ds", good, "--ds", bad) == (1, {("ds-mismatch", "bogus")})
    assert judged(path, "--ds", good, "--ds", ds_text(ds(KSK))) == (0, set())


def test_a_ds_that_no_validator_can_use_makes_the_zone_insecure(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone())
    assert judged(path, "--ds", ds_text(ds(KSK, 99))) == (0, {("ds-insecure", "advice")})
    assert (
        "insecure" in dnssecd("verify", str(path), "--origin", "example.", "--ds", ds_text(ds(KSK, 99))).out
    )


@pytest.mark.parametrize(
    ("cds", "cdnskey"),
    [
        ([ds(KSK)], [KSK.rdata, SECOND.rdata]),
        ([ds(KSK), ds(SECOND)], [KSK.rdata]),
        ([DELETE_CDS], [KSK.rdata]),
        ([bytes(4) + b"\1"], []),
        ([], [b"\0\0\3\0\4"]),
        ([ds(ZSK)], []),
        ([ds(SECOND)], []),
    ],
)
def test_cds_and_cdnskey_that_knot_refuses(tmp_path: Path, cds: list[bytes], cdnskey: list[bytes]) -> None:
    path = written(tmp_path, test_delegation.zone((KSK, SECOND, ZSK), (KSK,), cds, cdnskey))
    assert not kzonecheck(path, "example.").ok
    assert judged(path)[0] == 1


def test_nsec_ttls_from_before_rfc_9077(tmp_path: Path) -> None:
    content = naive.example_content()
    content[b"", naive.SOA] = (3600, frozenset({naive.soa(1, minimum=7200)}))
    view = Naive().sign(content)
    denial = [rrset._replace(ttl=7200) for rrset in view.denial_scan()]
    rrsigs = {sigs[:2]: sigs for sigs in view.rrsig_scan()}
    rrsigs |= {rrset[:2]: test_chains.signed(rrset) for rrset in denial}
    path = written(tmp_path, MemoryZoneView(naive.ORIGIN, view.scan(), denial, rrsigs.values()))
    for peer in (dnssec_verify, ldns_verify_zone, kzonecheck):
        taken = peer(path, "example.")
        assert taken.ok, taken
    assert judged(path) == (0, {("denial-ttl", "advice")})


def test_violations_alone_have_an_exit_status_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone())
    path.write_text(
        path.read_text()
        .replace("192.0.2.3", "192.0.2.3\n", 1)
        .replace(" 600 IN TYPE1 192.0.2.2", " 700 IN TYPE1 192.0.2.2")
    )
    assert judged(path) == (4, {("rrset-ttl-unequal", "violation")})


@pytest.mark.parametrize("second", [True, False])
def test_two_nsec3_chains(tmp_path: Path, second: bool) -> None:
    params = list(test_chains.PARAMS.values())[: 1 + second]
    every = test_chains.every
    view = test_chains.zone((test_chains.FIRST, every), (test_chains.SECOND, every), params=params)
    path = written(tmp_path, view)
    if second:
        assert dnssec_verify(path, "example.").ok
    assert judged(path) == (0, set() if second else {("nsec3-chain-unused", "advice")})


def test_the_apex_nsec_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, test_chains.zone((Naive(), test_chains.but(b""))))
    assert not dnssec_verify(path, "example.").ok
    assert judged(path) == (1, {("nsec-missing", "bogus")})


def test_an_empty_non_terminal_above_a_delegation_with_nsec3(tmp_path: Path) -> None:
    path = written(tmp_path, test_chains.opt_out_zone(delegation=True, ent=False))
    assert not kzonecheck(path, "example.").ok
    assert judged(path) == (4, {("nsec3-ent-missing", "violation")})


def test_one_key_without_sep_flag(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone(keys=(ZSK,), signing=(ZSK,)))
    assert dnssec_verify(path, "example.", csk=True).ok
    assert judged(path) == (0, set())


def test_json_is_one_document(tmp_path: Path) -> None:
    path = written(tmp_path, test_delegation.zone(signing=(ZSK,)))
    ended = dnssecd("--json", "verify", str(path), "--origin", "example.")
    assert json.loads(ended.out)["rank"] == "bogus"
