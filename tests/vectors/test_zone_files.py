"""Published zone files against the verdicts in expected.toml, and both against BIND's and Knot's checkers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rdata import canonical
from dnssecd.core.dns.rdata_oddities import ODD_TYPES, oddity
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.zone.zonecheck import check
from dnssecd.ingest.collect import gather
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.export import owner_text, rrset_lines
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.reader import Reader
from dnssecd.ingest.zonefile import parse_zone_file
from tests.peers.paths import program
from tests.unit.ingest.test_master_file import BAD, GOOD
from tests.unit.ingest.zones import HEAD, ORIGIN

LIMITS = Limits(errors=1000)
EXPECTED: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("expected.toml").read_text())["file"]
NOT_ZONES = ("LICENSE", "COPYRIGHT")
each_file = pytest.mark.parametrize("case", EXPECTED, ids=lambda case: case["path"])

#: Where BIND judges a case of the syntax tables otherwise, and why we do not follow it.
BIND_DIFFERS = {
    "DS at the apex is ignored": "BIND refuses the zone; Knot loads it",
    "TTL too large": "BIND takes 0 and warns; we refuse: a TTL of 0 is not what was meant",
    "$GENERATE too many": "BIND makes them all",
    "quoted owner": "BIND takes the quotes for part of the name",
}


def place(case: dict[str, Any], shared: Path, directory: Path) -> Path:
    """Put a vector with what it needs into a directory of its own."""
    path = directory / Path(case["path"]).name
    path.write_bytes((shared / "vectors" / case["path"]).read_bytes() + case.get("append", "").encode())
    for name, source in case.get("includes", {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "vectors" / source, directory / name)
    return path


def test_every_vector_has_a_verdict(shared: Path) -> None:
    files = {
        f"{directory}/{path.name}"
        for directory in ("master-file", "rr-types", "svcb")
        for path in (shared / "vectors" / directory).iterdir()
        if not path.name.startswith(NOT_ZONES) and path.suffix != ".cmp"
    }
    assert {case["path"] for case in EXPECTED} == files
    assert all(case["reason"] and case["verdict"] in ("good", "bad") for case in EXPECTED)


@each_file
def test_verdict(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    path = place(case, shared, tmp_path)
    found: list[tuple[int, str, str]] = []
    try:
        zone = parse_zone_file(path, text_to_wire(case["origin"]), LIMITS)
    except ZoneFileErrors as error:
        found = [(fault.line, fault.cause, Path(fault.file).name) for fault in error.errors]
    else:
        found = [(0, finding.detail, path.name) for finding in check(zone.rrsets, zone.origin).errors]
    expected = [(line, cause, (*rest, path.name)[0]) for line, cause, *rest in case.get("errors", [])]
    assert bool(expected) == (case["verdict"] == "bad")
    assert [(line, file) for line, _, file in found] == [(line, file) for line, _, file in expected]
    for (_, cause, _), (_, beginning, _) in zip(found, expected, strict=True):
        assert cause.replace(f"{tmp_path}/", "").startswith(beginning)


def good_part(path: Path, origin: bytes) -> list[RRset]:
    """Return the RRsets of all records that are good."""
    reader = Reader(origin, LIMITS, strip=True)
    with contextlib.suppress(ZoneFileErrors):
        reader.read(path)
    return gather(reader.rows).rrsets


@each_file
def test_what_is_good_survives_round_trips(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    """Through dnspython's text form, and through our export."""
    origin = text_to_wire(case["origin"])
    rrsets = good_part(place(case, shared, tmp_path), origin)
    for rrset in rrsets:
        for rdata in unpack(rrset.rdata):
            if rrset.rtype in ODD_TYPES and oddity(rrset.rtype, rrset.rdata):
                continue  # dnspython has no form for it; our export has
            kind = dns.rdatatype.RdataType.make(rrset.rtype)
            text = dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata)).to_text()
            again = dns.rdata.from_text(dns.rdataclass.IN, kind, text, dns.name.root, relativize=False)
            assert canonical(rrset.rtype, again.to_wire() or b"") == rdata, text
    exported = tmp_path / "exported"
    lines = [
        rrset_lines(owner_text(rrset.owner, origin), rrset.rtype, rrset.ttl, rrset.rdata) for rrset in rrsets
    ]
    exported.write_text("".join(lines))
    assert good_part(exported, origin) == rrsets


def test_svcb_presentation_and_wire_form_are_the_same(shared: Path) -> None:
    """RFC 9460 appendix D, RFC 9540, RFC 9953 …: all but the unregistered oots."""
    origin = text_to_wire("test-vectors.")
    vectors = shared / "vectors" / "svcb"
    presentation = good_part(vectors / "svcb.test-vectors-pf.zone", origin)
    wire = good_part(vectors / "svcb.test-vectors-wf.zone", origin)
    assert presentation == [rrset for rrset in wire if not rrset.owner.startswith(b"oots-")]
    assert len(presentation) == 32


def checkzone(directory: Path, origin: str, name: str) -> subprocess.CompletedProcess[str]:
    command = [program("named-compilezone"), "-i", "none", "-k", "ignore", "-m", "ignore", "-o", "compiled"]
    return subprocess.run(
        [*command, origin, name],
        cwd=directory,
        capture_output=True,
        encoding="latin-1",
        timeout=30,
        check=False,
    )


@pytest.mark.integration
@each_file
def test_bind_says_what_is_written(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    path = place(case, shared, tmp_path)
    result = checkzone(tmp_path, case["origin"], path.name)
    assert ("bad" if result.returncode else "good") == case["bind"], result.stdout


@pytest.mark.integration
@each_file
def test_knot_says_what_is_written(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    path = place(case, shared, tmp_path)
    command = [program("kzonecheck"), "-o", case["origin"], path.name]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert ("bad" if result.returncode else "good") == case["knot"], result.stdout


@pytest.mark.integration
@pytest.mark.parametrize("case", [case for case in (*GOOD, *BAD) if case not in BIND_DIFFERS])
def test_bind_reads_the_same(case: str, tmp_path: Path) -> None:
    """Every case of the syntax tables: the same records from BIND's compiled form, or refused by both."""
    text = (GOOD.get(case) or BAD[case])[0]
    path = tmp_path / "example.zone"
    path.write_bytes(HEAD.encode() + (text if isinstance(text, bytes) else text.encode()))
    result = checkzone(tmp_path, "example.com", path.name)
    if case in BAD:
        assert result.returncode, result.stdout
        return
    assert result.returncode == 0, result.stdout
    ours, theirs = parse_zone_file(path, ORIGIN), parse_zone_file(tmp_path / "compiled", ORIGIN)
    assert ours.rrsets == theirs.rrsets


def test_zonemd_vectors_are_read(shared: Path) -> None:
    """All that is to be verified, whatever comes of it; digests of the wrong length and other classes are not.

    Nor is a NULL record without RDATA (15), which Knot as a secondary takes for malformed.
    """
    refused = set()
    for path in sorted((shared / "vectors" / "zonemd").glob("*/*.zone")):
        config = dict(
            line.split("=", 1) for line in (path.parent / "config").read_text().splitlines() if "=" in line
        )
        try:
            parse_zone_file(path, text_to_wire(config["origin"]), strip=False)
        except ZoneFileErrors:
            assert config["expected_result"] == "failure" or path.parent.name == "15-no-rdata", path
            refused.add(path.parent.name[:2])
    assert refused == {"15", "31", "32", "80"}
