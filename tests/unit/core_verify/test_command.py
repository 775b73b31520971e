"""``dnssecd verify``: arguments, output, exit codes, what the file itself has wrong."""

from __future__ import annotations

import json
from pathlib import Path

import dns.rdata
import pytest
from typer import Typer
from typer.testing import CliRunner

from dnssecd.cli import oneshot
from dnssecd.cli.verify import UsageError, parse_ds, parse_time
from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.verify import MemoryZoneView
from dnssecd.core.verify.keys import key_tag
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import KSK, NOW, ORIGIN, Naive


def to_text(view: MemoryZoneView) -> str:
    """A zone file of a view, printed by dnspython."""
    rows = [
        (s.owner, s.rtype, s.ttl, r) for s in [*view.scan(), *view.denial_scan()] for r in unpack(s.rdata)
    ]
    rows += [(s.owner, 46, s.ttl, r) for s in view.rrsig_scan() for r in unpack(s.rdata)]
    rows.sort(key=lambda row: row[1] != naive.SOA)
    lines = []
    for owner, rtype, ttl, rdata in rows:
        text = dns.rdata.from_wire("IN", rtype, rdata, 0, len(rdata)).to_text()
        lines.append(f"{key_to_text(owner, ORIGIN)} {ttl} IN TYPE{rtype} {text}\n")
    return "".join(lines)


@pytest.fixture
def zone_file(tmp_path: Path) -> Path:
    path = tmp_path / "example.signed"
    path.write_text(to_text(Naive(nsec3=True).sign(naive.example_content())))
    return path


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    app = Typer()
    oneshot.register(app)
    result = CliRunner().invoke(app, ["verify", *arguments])
    return result.exit_code, result.output


def test_a_good_zone(zone_file: Path) -> None:
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", str(NOW))
    assert (code, out.strip()) == (0, f"{zone_file}: zone example. verified")
    assert json.loads(invoke(str(zone_file), "--origin", "example", "--time", str(NOW), "--json")[1]) == {
        "ok": True,
        "rank": None,
        "violations": [],
    }


def test_every_violation_is_listed(zone_file: Path) -> None:
    zone_file.write_text(zone_file.read_text().replace("192.0.2.2", "192.0.2.7"))
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", str(NOW), "--json")
    assert code == 1
    result = json.loads(out)
    assert not result["ok"]
    (violation,) = result["violations"]
    assert (violation["code"], violation["owner"], violation["type"]) == ("rrsig-bad", "mail.example.", "A")
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", "20330101000000")
    assert code == 1
    assert "rrsig-expired" in out
    assert "bogus: mail.example. A: rrsig-expired" in out
    assert "ksk-missing" not in out, "the expired RRSIG of the KSK says it"


def test_ds_at_the_parent(zone_file: Path) -> None:
    import hashlib

    digest = hashlib.sha256(ORIGIN + KSK.rdata).hexdigest()
    tag = key_tag(KSK.rdata)
    common = (str(zone_file), "--origin", "example.", "--time", str(NOW))
    assert invoke(*common, "--ds", f"example. IN DS {tag} 15 2 {digest}")[0] == 0
    assert invoke(*common, "--ds", "1 15 2 00ff", "--ds", f"{tag} 15 2 {digest}")[0] == 0
    code, out = invoke(*common, "--ds", f"{tag} 15 2 {digest[:-2]}00")
    assert (code, "ds-mismatch" in out) == (1, True)
    code, out = invoke(*common, "--ds", f"{tag} 15 2 {digest}", "--ds", "4711 13 2 00ff")
    assert (code, "algorithm 13" in out) == (1, True), "a DS names an algorithm that nothing is signed with"


def test_zonemd_demanded(zone_file: Path) -> None:
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", str(NOW), "--zonemd")
    assert (code, "zonemd-missing" in out) == (1, True)


def test_what_merging_would_hide(zone_file: Path) -> None:
    text = zone_file.read_text()
    mail = [line for line in text.splitlines(keepends=True) if "192.0.2.2" in line]
    zone_file.write_text(text + mail[0] + "elsewhere. 60 IN A 192.0.2.1\n")
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", str(NOW))
    assert code == 0
    assert "advice: mail.example. A: duplicate-rr" in out
    assert "advice: elsewhere. -: out-of-zone" in out
    assert "zone example. verified, with 2 pieces of advice" in out
    zone_file.write_text(text.replace(mail[0], mail[0].replace(" 600 ", " 700 ")))
    code, out = invoke(str(zone_file), "--origin", "example.", "--time", str(NOW))
    assert (code, "violation: mail.example. A: rrset-ttl-unequal: TTLs 600 700" in out) == (4, True)


def test_a_file_that_is_not_a_zone_file(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("example. 60 IN SOA what\n")
    code, out = invoke(str(bad), "--origin", "example.")
    assert (code, f"{bad}:1" in out) == (1, True)
    assert invoke(str(tmp_path / "missing"), "--origin", "example.")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [("--time", "yesterday"), ("--time", "20261301000000"), ("--ds", "1 2 3"), ("--origin", "a..b")],
)
def test_wrong_arguments(zone_file: Path, arguments: tuple[str, str]) -> None:
    assert invoke(str(zone_file), "--origin", "example.", *arguments)[0] == 2


def test_times() -> None:
    assert parse_time("1700000000") == 1700000000
    assert parse_time("20231114221320") == 1700000000
    for text in ("", "-1", "١٢", "20230229000000", "9" * 15, "9" * 5000):
        with pytest.raises(UsageError):
            parse_time(text)


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "70000 13 2 00", "1 300 2 00", "1 13 2 xx", "a b c d"])
def test_ds_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ds(text)


def test_ds_in_any_of_its_forms() -> None:
    wanted = bytes.fromhex("00010d02aabb")
    assert parse_ds("1 13 2 aabb") == wanted
    assert parse_ds("example. 3600 IN DS 1 13 2 ( AA BB )") == wanted
