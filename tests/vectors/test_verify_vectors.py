"""The verifier against published vectors: RFC 5155 app. A, RFC 8976 and its test cases, RFC 8080 §6."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dnssecd.cli.signedfile import SignedFile, read_signed_file
from dnssecd.cli.verify import parse_ds
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack
from dnssecd.core.verify import (
    DenialExpectation,
    Expectation,
    MemoryZoneView,
    Violation,
    verify_zone,
    violation,
)
from dnssecd.core.verify.keys import ZoneKey, ds_matches
from dnssecd.core.verify.nsec3 import name_hash, owner_of_hash
from dnssecd.ingest.errors import ZoneFileErrors
from tests.peers.paths import shared_dir

RFC5155_TIME = 1_262_304_000
_SHARED = shared_dir()
ZONEMD_CASES = sorted((_SHARED / "vectors/zonemd").glob("*/config")) if _SHARED else []


def judge(read: SignedFile, now: int, **more: object) -> list[Violation]:
    """What the verifier says of a file that was read."""
    expectation = Expectation(read.view.origin, now, mixed_ttls=read.mixed_ttls, **more)  # type: ignore[arg-type]
    return read.findings + verify_zone(read.view, expectation)


class TestRfc5155:
    """The signed zone of appendix A: NSEC3 with salt, 12 iterations and opt-out, RSA/SHA-1 keys of 512 bits."""

    @pytest.fixture
    def zone(self, shared: Path) -> SignedFile:
        return read_signed_file(shared / "vectors/rfc5155/example.signed.zone", text_to_wire("example."))

    def test_is_verified(self, zone: SignedFile) -> None:
        denial = DenialExpectation("nsec3", 12, bytes.fromhex("aabbccdd"), opt_out=True)
        assert judge(zone, RFC5155_TIME) == []
        assert judge(zone, RFC5155_TIME, denial=denial) == []

    @pytest.mark.parametrize(
        ("denial", "code"),
        [
            (DenialExpectation("nsec"), "denial-mixed"),
            (DenialExpectation("nsec3"), "nsec3-parameters"),
            (DenialExpectation("nsec3", 12, bytes.fromhex("aabbccdd"), opt_out=False), "nsec3-flags"),
        ],
    )
    def test_is_not_what_else_was_planned(
        self, zone: SignedFile, denial: DenialExpectation, code: str
    ) -> None:
        assert code in {found.code for found in judge(zone, RFC5155_TIME, denial=denial)}

    @pytest.mark.parametrize(
        ("owner", "digest"),
        [
            ("example.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("*.w.example.", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
            ("x.y.w.example.", "2vptu5timamqttgl4luu9kg21e0aor3s"),
        ],
    )
    def test_hashes(self, owner: str, digest: str) -> None:
        found = name_hash(text_to_wire(owner), 12, bytes.fromhex("aabbccdd"))
        assert owner_of_hash(found) == digest.encode() + b"\0"


@pytest.mark.parametrize("config", ZONEMD_CASES, ids=lambda config: config.parent.name)
def test_zonemd(config: Path) -> None:
    """The verdict on ZONEMD is the one the test case states; the zones are unsigned or signed long ago."""
    wanted = dict(line.split("=", 1) for line in config.read_text().split() if "=" in line)
    try:
        read = read_signed_file(config.parent / wanted["zonefile"], text_to_wire(wanted["origin"]))
        found = [
            v for v in judge(read, 0, zonemd=True) if v.type == "ZONEMD" and not v.code.startswith("rrsig")
        ]
    except ZoneFileErrors as failed:
        found = [violation("zone-file", "", "", str(failed))]
    if config.parent.name == "15-no-rdata":
        # A NULL without RDATA ends every transfer to BIND and Knot, so it is refused before any digest is looked at.
        assert [v.code for v in found] == ["zone-file"]
        assert "bad NULL RDATA" in found[0].detail
        return
    assert ("failure" if found else "success") == wanted["expected_result"], found


RFC8080 = [
    (
        "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        "3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
        "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    ),
    (
        "257 3 16 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA",
        "9713 16 2 6ccf18d5bc5d7fc2fceb1d59d17321402f2aa8d368048db93dd811f5cb2b19c7",
        "3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+Gj7FSvOKxE"
        "/07+4RQvE581N3Aj/JtIyaiYVdnYtyMWbSNyGEY2213WKsJlwEA",
    ),
]


@pytest.mark.parametrize(("dnskey", "ds", "signature"), RFC8080)
def test_rfc8080_signatures(dnskey: str, ds: str, signature: str) -> None:
    """The MX RRset of RFC 8080 §6 verifies with the key given there, and not once it is changed."""
    origin = text_to_wire("example.com.")
    flags, protocol, algorithm, public = dnskey.split()
    key = int(flags).to_bytes(2, "big") + bytes((int(protocol), int(algorithm))) + base64.b64decode(public)
    assert ds_matches(parse_ds(ds), origin, key)
    head = b"\x00\x0f" + bytes((int(algorithm), 2)) + (3600).to_bytes(4, "big")
    head += (1440021600).to_bytes(4, "big") + (1438207200).to_bytes(4, "big")
    head += ZoneKey(key).tag.to_bytes(2, "big") + origin
    sigs = Rrsigs(b"", 15, 3600, pack([head + base64.b64decode(signature)]))
    for preference, codes in ((10, set()), (11, {"rrsig-bad"})):
        mail = pack([preference.to_bytes(2, "big") + text_to_wire("mail.example.com.")])
        content = [RRset(b"", 48, 3600, pack([key])), RRset(b"", 15, 3600, mail)]
        view = MemoryZoneView(origin, content, [], [sigs])
        found = verify_zone(view, Expectation(origin, 1439000000))
        assert {v.code for v in found if v.type == "MX"} == codes


@pytest.mark.parametrize("name", ["015+03613", "015+35217", "016+09713", "016+38353"])
def test_rfc8080_keys(name: str, shared: Path) -> None:
    """The key tag is the one in the file name, and the public key loads."""
    text = (shared / f"vectors/eddsa-rfc8080/Xexample.com.+{name}.key").read_text()
    line = next(line for line in text.splitlines() if not line.startswith(";"))
    fields = line.split("DNSKEY")[1].split()
    rdata = int(fields[0]).to_bytes(2, "big") + bytes((int(fields[1]), int(fields[2])))
    key = ZoneKey(rdata + base64.b64decode("".join(fields[3:])))
    assert (key.algorithm, key.tag) == (int(name[:3]), int(name[4:]))
    assert key.verify is not None
