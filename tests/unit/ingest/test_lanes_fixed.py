"""Edges of the fast lane that the property test reaches too seldom."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.ingest.fastlane import FastLane
from dnssecd.ingest.limits import Limits
from dnssecd.ingest.reader import Reader
from tests.unit.ingest.zones import HEAD, ORIGIN

CASES = [
    "a A 192.0.2.2 extra",
    "a IN 60 IN A 192.0.2.2",
    "IN IN 60 IN A 192.0.2.2",
    "a CNAME x\n$ORIGIN sub\nb CNAME x\n$ORIGIN example.com.\nc CNAME x",
    "a A 192.0.2.2\n$ORIGIN sub\na A 192.0.2.3",
    "a A 192.0.2.2\n  5 A 192.0.2.3\n$ORIGIN example.org.\n  TXT x\nb TXT y\nc.example.com. TXT z",
    "www.example.org. A 192.0.2.2\n  TXT x\na A 192.0.2.2\n  TXT x",
    "a 5 A 192.0.2.2\nb A 192.0.2.3\n$TTL 7\nc A 192.0.2.4",
    "a TXT " + '"' + "x" * 255 + '"',
    "a TXT " + '"' + "x" * 256 + '"',
    "a TXT" + (' "' + "x" * 255 + '"') * 256,
    "a CAA 0 issue " + "x" * 400,
    'a CAA 0 issue "' + "x" * 400 + '"',
    "a RRSIG A 13 2 300 20260230000000 20260101000000 1 @ AAAA",
    "a RRSIG A 13 2 300 4294967296 0 1 @ AAAA",
    "a DNSKEY 256 3 253 AWEAAAA=",
    "a DNSKEY 256 3 253 AWE=",
    "a NSEC b",
    "a NSEC b A",
    "a.\tA 192.0.2.2",
    "a A\t192.0.2.2\t",
    "\ta A 192.0.2.2",
    "@\x0bA\x0c192.0.2.2",
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strip", [True, False])
def test_both_lanes_agree(tmp_path: Path, case: str, strip: bool) -> None:
    path = tmp_path / "example.zone"
    path.write_text(HEAD + case + "\n")
    results = []
    for use_fast_lane in (True, False):
        reader = Reader(ORIGIN, Limits(), strip, use_fast_lane=use_fast_lane)
        try:
            reader.read(path)
            error = ""
        except ZoneFileErrors as errors:
            error = str(errors)
        results.append((sorted(reader.rows), error, reader.stripped, reader.out_of_zone, reader.last_ttl))
    assert results[0] == results[1]


PLAIN = [
    "a A 192.0.2.2", "a 5 IN AAAA 2001:db8::1", "a in ns B.example.com.", "a CNAME @", "a IN 5 PTR .", "a DNAME x.y",
    "a MX 10 mail", "a SRV 0 5 443 x", "a DS 1 13 2 " + "ab" * 32, 'a TXT "x y" z', 'a CAA 0 issue "ca.example"',
    "_443._tcp.a TLSA 3 1 1 " + "cd" * 32, "a 1h A 192.0.2.2", "*.a A 192.0.2.2", "a.example.com. A 192.0.2.2",
    "a RRSIG A 13 3 300 20260101000000 20250101000000 1 @ AAAA", "a NSEC b A RRSIG", "@ DNSKEY 256 3 13 AAAA",
    "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_the_fast_lane_takes_plain_lines(text: str) -> None:
    """Else the speed is lost without a test noticing."""
    lane = FastLane(ORIGIN, [], {}, strip=False)
    declined, key, _ = lane.run(iter([(1, text.encode())]), None, 300, None)
    assert declined is None
    assert key is not None
