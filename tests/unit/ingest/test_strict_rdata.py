"""RDATA that a secondary would turn away is turned away at the door, in a zone file as in an update.

named-checkzone is the judge: what it refuses is refused here, and what it takes is taken.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.zonefile import parse_zone_file
from tests.peers.paths import program
from tests.unit.ingest.zones import HEAD, ORIGIN

REFUSED = [
    'NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:a@b!x" .',
    'NAPTR 1 1 "u" "E2U+sip" "abc" .',
    'NAPTR 1 1 "u" "E2U+sip" "!^.*(!sip:a@b!" .',
    'NAPTR 1 1 "u" "E2U+sip" "!^.*$!\\1!" .',
    "DNSKEY \\# 4 0100030d",
    "DNSKEY \\# 6 010003fd0161",
    "CDNSKEY \\# 4 0100030d",
    "KEY \\# 4 0100030d",
    "TYPE32768 \\# 4 00010d02",
    "X25 123",
    "X25 abcd",
    "NSAP \\# 0",
    "TYPE31 \\# 0",
    "TYPE34 \\# 3 016162",
    "CERT \\# 5 0001000101",
    "TYPE38 \\# 3 79ff00",
    "TYPE40 \\# 2 0101",
    "IPSECKEY \\# 3 010000",
    "TYPE57 \\# 5 0100030d01",
    "OPENPGPKEY \\# 0",
    "TYPE259 \\# 10 00000000000000000001",
    "WKS \\# 6 0a0000010600",
    "TYPE30 \\# 3 000000",
]
TAKEN = [
    'NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:a@b!i" .',
    'NAPTR 1 1 "s" "x" "" .',
    "KEY \\# 4 c100030d",
    "X25 3110",
    "CERT 1 1 1 AA==",
    "IPSECKEY 10 0 2 . AQID",
    "DHCID \\# 2 0001",
    "TYPE57 \\# 5 0000030d01",
    "WKS 10.0.0.1 6 25",
    "TYPE38 \\# 2 8000",
    "CDS 0 0 0 00",
]


def taken_by_bind(path: Path) -> bool:
    command = [program("named-checkzone"), "-i", "none", "-k", "ignore", "example.com.", str(path)]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.mark.parametrize(
    ("record", "good"),
    [*((record, False) for record in REFUSED), *((record, True) for record in TAKEN)],
)
def test_what_bind_refuses_is_refused(tmp_path: Path, record: str, good: bool) -> None:
    path = tmp_path / "zone"
    path.write_text(f"{HEAD}x {record}\n")
    try:
        parse_zone_file(path, ORIGIN)
        taken, told = True, ""
    except ZoneFileErrors as errors:
        taken, told = False, str(errors)
    assert taken == good, told
    assert taken_by_bind(path) == good
    if not good:
        assert ":" in told
        assert "bad " in told
