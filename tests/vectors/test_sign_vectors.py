"""Published zones and keys signed here: RFC 8080 §6, RFC 5155 appendix A, RFC 8976 appendix A, and zone files of
BIND, NSD and validns, good and bad."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.dnssectypes
import dns.name
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from dnssecd.cli.signedfile import read_signed_file
from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, unpack
from dnssecd.core.dns.rrtypes import APEX_DERIVED_TYPES, NSEC3PARAM, SOA, ZONEMD
from dnssecd.core.signing.denial import Chain, DenialParameters, denial_changes
from dnssecd.core.signing.nsec3hash import owner_to_hash
from dnssecd.core.signing.regions import WHOLE_ZONE, Regions, regions_of
from dnssecd.core.signing.zonemd import zone_digest, zonemd_rdata
from dnssecd.core.verify import MemoryZoneView
from dnssecd.core.zone.changeset import diff
from dnssecd.ingest.limits import DEFAULT_LIMITS
from dnssecd.ingest.zonefile import parse_zone_file
from dnssecd.signer.algorithms import ALGORITHMS, signer
from tests.oneshot import dnssecd, shared_key_service, violations
from tests.peers.paths import shared_dir
from tests.peers.tools import dnssec_verify, kzonecheck
from tests.vectors.test_zone_files import EXPECTED, place

_SHARED = shared_dir()


@pytest.fixture(scope="module", autouse=True)
def key_service() -> Iterator[None]:
    """One key service for all."""
    with shared_key_service():
        yield


# RFC 8080 §6: the signatures are deterministic

MX_RRSIGS = {
    "015+03613": "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    "015+35217": "zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
    "016+09713": "3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+Gj7FSvOKx"
    "E/07+4RQvE581N3Aj/JtIyaiYVdnYtyMWbSNyGEY2213WKsJlwEA",
    "016+38353": "E1/oLjSGIbmLny/4fcgM1z4oL6aqo+izT3urCyHyvEp4Sp8Syg1eI+lJ57CSnZqjJP41O/9l4m0AsQ4f7qI1gVnML8vWWiyW2KXh"
    "T9kuAICUSxv5OWbf81Rq7Yu60npabODB0QFPb/rkW3kUZmQ0YQUA",
}


@pytest.mark.parametrize(
    ("key", "denial"), [*zip(MX_RRSIGS, ("nsec", "nsec3", "nsec", "nsec3"), strict=True)]
)
def test_rfc8080(key: str, denial: str, shared: Path, tmp_path: Path) -> None:
    vectors = shared / "vectors/eddsa-rfc8080"
    for suffix in ("key", "private"):
        shutil.copy(vectors / f"Xexample.com.+{key}.{suffix}", tmp_path / f"Kexample.com.+{key}.{suffix}")
    kind = "ed25519" if key.startswith("015") else "ed448"
    signed = tmp_path / "signed"
    ended = dnssecd(
        "sign", vectors / f"{kind}.example.com.zone", "--origin", "example.com", "-o", signed, "--denial", denial,
        "--key", tmp_path / f"Kexample.com.+{key}", "--inception", "1438207200", "--expiration", "1440021600",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    (line,) = [line for line in signed.read_text().splitlines() if "\tRRSIG\tMX " in line]
    algorithm, tag = int(key[:3]), int(key[4:])
    head = f"MX {algorithm} 2 3600 20150819220000 20150729220000 {tag} example.com."
    assert line.split("\t")[4] == f"{head} {MX_RRSIGS[key]}"
    assert violations(signed, "example.com.", time=1_439_000_000) == []


# RFC 6979: ECDSA without random numbers

RFC6979 = {
    "A.2.5, P-256, SHA-256": (
        13,
        0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721,
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    "A.2.6, P-384, SHA-384": (
        14,
        0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5,
        "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46"
        "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
    ),
}


@pytest.mark.parametrize("case", RFC6979)
def test_rfc6979(case: str) -> None:
    number, secret, signature = RFC6979[case]
    algorithm = ALGORITHMS[number]
    assert algorithm.curve is not None
    private = ec.derive_private_key(secret, algorithm.curve)
    assert signer(algorithm, private, deterministic=True)(b"sample") == bytes.fromhex(signature)


# RFC 5155 appendix A: salt aabbccdd, 12 iterations, opt-out

RFC5155 = DenialParameters("nsec3", opt_out=True, iterations=12, salt=bytes.fromhex("aabbccdd"))
EXAMPLE = text_to_wire("example.")


def test_rfc5155_chain(shared: Path) -> None:
    """The content of the signed zone gives its chain: at one go, and by way of the other zone beside it."""
    vectors = shared / "vectors/rfc5155"
    signed = read_signed_file(vectors / "example.signed.zone", EXAMPLE).view
    published, content = list(signed.denial_scan()), list(signed.scan())
    assert len(published) == 12
    parameters = signed.rrset(b"", NSEC3PARAM)
    assert parameters is not None
    assert unpack(parameters.rdata) == [RFC5155.nsec3param_rdata()]
    assert chain_of(nothing(), content, WHOLE_ZONE) == published

    apex = [r for r in content if not r.owner and r.rtype in (*APEX_DERIVED_TYPES, SOA)]
    parsed = parse_zone_file(vectors / "example.unsigned.zone", EXAMPLE)
    other = sorted([*apex, *(r for r in parsed.rrsets if r.owner or r.rtype != SOA)])
    before = MemoryZoneView(EXAMPLE, other, chain_of(nothing(), other, WHOLE_ZONE), ())
    assert len(list(before.denial_scan())) == 20
    assert chain_of(before, content, regions_of(diff(other, content))) == published


def nothing() -> MemoryZoneView:
    """The version before the first."""
    return MemoryZoneView(EXAMPLE, (), (), ())


def chain_of(before: MemoryZoneView, content: list[RRset], regions: Regions) -> list[RRset]:
    """The chain after the changes that ``content`` needs."""
    chain = {rrset.owner: rrset for rrset in before.denial_scan()}
    after = MemoryZoneView(EXAMPLE, content, list(chain.values()), ())
    for change in denial_changes(before, after, regions, RFC5155):
        assert chain.pop(change.owner, None) == change.old
        if change.new is not None:
            chain[change.owner] = change.new
    return [chain[owner] for owner in sorted(chain)]


def test_rfc5155_zone_by_command(shared: Path, tmp_path: Path) -> None:
    """As RFC 9276 has it: no salt, no iterations; dnspython hashes the names."""
    signed = tmp_path / "signed"
    zone = shared / "vectors/rfc5155/example.unsigned.zone"
    ended = dnssecd("sign", zone, "--origin", "example", "-o", signed, "--opt-out")
    assert ended.status == 0, ended.err
    assert violations(signed, "example.") == []
    names = {"@", "a", "ai", "ns1", "ns2", "w", "*.w", "x.w", "y.w", "x.y.w", "xx"}
    names |= {"to-apex", "*.to-apex", "to-nxdomain", "*.to-nxdomain"}
    names |= {"z", "z.z", "nsec-deleg.z.z", "a.nsec-deleg.z.z", "c.nsec-deleg.z.z"}
    hashes = {
        dns.dnssec.nsec3_hash(dns.name.from_text(name, dns.name.from_text("example.")), None, 0, 1)
        .lower()
        .encode()
        for name in names
    }
    view = read_signed_file(signed, EXAMPLE).view
    assert {rrset.owner.rstrip(b"\x00") for rrset in view.denial_scan()} == hashes


def test_hashes_are_dnspythons() -> None:
    for name in (
        "example.",
        "a.example.",
        r"\000.\001.\200.example.",
        "*.w.example.",
        f"{'x' * 63}.example.",
    ):
        for salt, iterations in ((b"", 0), (b"\xaa\xbb", 1), (bytes(255), 150)):
            parameters = DenialParameters("nsec3", iterations=iterations, salt=salt)
            chain = Chain(EXAMPLE, parameters, 60)
            position = chain.position(owner_key(text_to_wire(name), EXAMPLE))
            theirs = dns.dnssec.nsec3_hash(
                name, salt.hex() or None, iterations, dns.dnssectypes.NSEC3Hash.SHA1
            )
            assert chain.owner(position) == theirs.lower().encode() + b"\x00"
            assert owner_to_hash(chain.owner(position)) == position


# RFC 8976 and its test cases

SHA384_SIMPLE = bytes((1, 1))
ZONEMD_CASES = sorted((_SHARED / "vectors/zonemd").glob("*/config")) if _SHARED else []


def settings(config: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in config.read_text().split() if "=" in line)


#: Good zones without an SHA-384 digest of the SIMPLE scheme, whose RRs have TTLs of their own, or with a NULL without
#: RDATA, which BIND and Knot as secondaries take for malformed.
NOT_OURS = ("02-sha512-simple", "15-no-rdata", "81-mixed-ttls")
DIGESTS = [
    pytest.param(config, id=config.parent.name)
    for config in ZONEMD_CASES
    if settings(config)["expected_result"] == "success" and config.parent.name not in NOT_OURS
]


@pytest.mark.parametrize("config", DIGESTS)
def test_published_zone_digests(config: Path) -> None:
    """What we would write is what is there: A.1 to A.5 of the RFC are cases 40 to 44."""
    view = read_signed_file(
        config.parent / settings(config)["zonefile"], text_to_wire(settings(config)["origin"])
    ).view
    soa, published = view.rrset(b"", SOA), view.rrset(b"", ZONEMD)
    assert soa is not None
    assert published is not None
    serial = int.from_bytes(unpack(soa.rdata)[0][-20:-16], "big")
    digests = [rdata for rdata in unpack(published.rdata) if rdata[4:6] == SHA384_SIMPLE]
    assert digests == [zonemd_rdata(serial, zone_digest(view))]


@pytest.mark.parametrize(
    "denial", [("--denial", "nsec"), (), ("--opt-out",)], ids=["nsec", "nsec3", "opt-out"]
)
@pytest.mark.parametrize("case", ["10", "16", "17", "19", "21", "22", "40", "41"])
def test_zonemd_of_our_own(case: str, denial: tuple[str, ...], shared: Path, tmp_path: Path) -> None:
    (config,) = (shared / "vectors/zonemd").glob(f"{case}-*/config")
    wanted, signed, file = settings(config), tmp_path / "signed", tmp_path / "zone"
    # Case 22 has a DS RRset where nothing is delegated, which no signer takes.
    lines = (config.parent / wanted["zonefile"]).read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "\tDS\t" not in line))
    ended = dnssecd("sign", file, "--origin", wanted["origin"], "-o", signed, "--zonemd", *denial)
    assert ended.status == 0, ended.err
    assert violations(signed, wanted["origin"], zonemd=True) == []
    view = read_signed_file(signed, text_to_wire(wanted["origin"])).view
    placed = view.rrset(b"", ZONEMD)
    assert placed is not None
    assert view.rrsigs(b"", ZONEMD) is not None
    assert [len(rdata) for rdata in unpack(placed.rdata)] == [54], "the digests that were there are gone"


# Zone files of others

GOOD = [case for case in EXPECTED if case["verdict"] == "good"]
_BAD = [case for case in EXPECTED if case["verdict"] == "bad"]
#: Errors for the daemon, which would serve the zone; `sign` warns of them, as named-checkzone does.
MISSING_GLUE = [case for case in _BAD if all("has no address" in cause for _, cause, *_ in case["errors"])]
BAD = [case for case in _BAD if case not in MISSING_GLUE]


def case_id(case: dict[str, Any]) -> str:
    return str(case["path"])


@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_good_zone_files(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    """Signed, they hold what they held, verify, and sign again to the same content."""
    path, origin = place(case, shared, tmp_path), text_to_wire(case["origin"])
    signed, again = tmp_path / "signed", tmp_path / "again"
    for source, target in ((path, signed), (signed, again)):
        ended = dnssecd("sign", source, "--origin", case["origin"], "-o", target, "--algorithm", "13")
        assert ended.status == 0, ended.err
        assert violations(target, case["origin"]) == []
    given, found = parse_zone_file(path, origin).rrsets, parse_zone_file(signed, origin).rrsets
    assert found == [r for r in given if r.owner or r.rtype not in APEX_DERIVED_TYPES]
    assert parse_zone_file(again, origin).rrsets == found


@pytest.mark.integration
@pytest.mark.parametrize("case", GOOD, ids=case_id)
def test_good_zone_files_before_peers(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    """BIND and Knot accept what they accept unsigned."""
    path, signed = place(case, shared, tmp_path), tmp_path / "signed"
    assert dnssecd("sign", path, "--origin", case["origin"], "-o", signed, "--algorithm", "13").status == 0
    results = [
        judge(signed, case["origin"])
        for judge, verdict in ((dnssec_verify, case["bind"]), (kzonecheck, case["knot"]))
        if verdict == "good"
    ]
    for result in results:
        assert result.ok, result


@pytest.mark.parametrize("case", MISSING_GLUE, ids=case_id)
def test_missing_glue_is_a_warning_to_sign(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    path, signed = place(case, shared, tmp_path), tmp_path / "signed"
    ended = dnssecd("sign", path, "--origin", case["origin"], "-o", signed, "--algorithm", "13")
    assert ended.status == 0, ended.err
    for _, cause in case["errors"]:
        assert any(line.startswith("warning: ") and cause in line for line in ended.err.splitlines()), cause


@pytest.mark.parametrize("case", BAD, ids=case_id)
def test_bad_zone_files(case: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    """Every fault is reported with file and line; nothing is written."""
    path = place(case, shared, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = dnssecd("sign", path, "--origin", case["origin"], "-o", tmp_path / "signed", "--algorithm", "13")
    assert (ended.status, ended.out) == (1, "")
    assert sorted(tmp_path.rglob("*")) == before
    told = ended.err.replace(f"{tmp_path}/", "")
    for line, cause, *rest in case["errors"][: DEFAULT_LIMITS.errors]:
        name = (*rest, path.name)[0]
        if line:
            assert any(f"{name}:{line}: {cause}" in text for text in told.splitlines()), (line, cause, told)
        else:
            assert name in told
            assert cause in told
