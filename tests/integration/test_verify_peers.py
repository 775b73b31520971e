"""Zones signed by other signers are accepted: dnssec-signzone, ldns-signzone, kzonesign; every algorithm and denial."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from dnssecd.cli.signedfile import read_signed_file
from dnssecd.cli.verify import parse_ds
from dnssecd.clock import SystemClock
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.verify import Expectation, Violation, verify_zone
from tests.peers.tools import Result, run

ALGORITHMS = {
    8: ("RSASHA256", "2048"),
    10: ("RSASHA512", "2048"),
    13: ("ECDSAP256SHA256", "256"),
    14: ("ECDSAP384SHA384", "384"),
    15: ("ED25519", "256"),
    16: ("ED448", "456"),
}
DENIALS = ("nsec", "nsec3", "nsec3-salt", "opt-out")
SALT = "ab01"

ZONE = r"""
$ORIGIN example.
$TTL 3600
@           IN SOA   ns1 hostmaster 1 3600 600 86400 900
@           IN NS    ns1
@           IN NS    ns2.other.
@           IN MX    10 Mail.Example.
ns1         IN A     192.0.2.1
NS2         IN AAAA  2001:db8::2
mail    300 IN A     192.0.2.3
mail    300 IN A     192.0.2.2
www         IN CNAME Mail
*.wild      IN TXT   "x"
*           IN HINFO "a" "b"
a.*.mid     IN TXT   "wildcard label in the middle"
a.b.c.ent   IN TXT   "deep"
secure      IN NS    ns1.secure
secure      IN DS    12345 13 2 00000000000000000000000000000000000000000000000000000000000000A1
ns1.secure  IN A     192.0.2.9
insecure    IN NS    ns.insecure
ns.insecure IN A     192.0.2.10
x.y.insent  IN NS    ns.other.
mix.y       IN NS    ns.other.
s.mix2.y    IN NS    ns.other.
s.mix2.y    IN DS    1 13 2 00000000000000000000000000000000000000000000000000000000000000A2
dn          IN DNAME other.example.
srv         IN SRV   0 0 5 Mail
\000.nul    IN TXT   "zero"
\200        IN TXT   "high"
dot\.ted    IN TXT   "escaped dot"
UPPER       IN PTR   MixedCase.Example.
naptr       IN NAPTR 1 1 "u" "x" "!a!b!" Repl.Example.
rp          IN RP    A.Example. B.Example.
unknown     IN TYPE65280 \# 3 010203
caa         IN CAA   0 issue "ca.example.net"
svcb        IN SVCB  1 Svc.Example. alpn=h2
zz0         IN TXT   ( "long" "txt" )
"""


def keys(directory: Path, zone: str, algorithm: int) -> list[str]:
    """Make a KSK and a ZSK with BIND's tool; their base names."""
    name, bits = ALGORITHMS[algorithm]
    size = ["-b", bits] if name.startswith("RSA") else []
    out = []
    for flags in (["-f", "KSK"], []):
        made = run("dnssec-keygen", "-q", "-K", str(directory), "-a", name, *size, *flags, zone)
        assert made.ok, made
        out.append(made.out.strip())
    return out


def by_bind(file: Path, zone: str, directory: Path, algorithms: list[int], denial: str, *more: str) -> Path:
    """Sign with dnssec-signzone."""
    for algorithm in algorithms:
        keys(directory, zone, algorithm)
    signed = directory / "signed"
    chain = {
        "nsec": [],
        "nsec3": ["-3", "-"],
        "nsec3-salt": ["-3", SALT, "-H", "5"],
        "opt-out": ["-3", "-", "-A"],
    }
    done = run(
        "dnssec-signzone", "-S", "-q", "-K", str(directory), "-d", str(directory), *chain[denial], *more,
        "-o", zone, "-f", str(signed), str(file),
    )  # fmt: skip
    assert done.ok, done
    return signed


def by_ldns(file: Path, zone: str, directory: Path, algorithms: list[int], denial: str, *more: str) -> Path:
    """Sign with ldns-signzone."""
    names = [str(directory / name) for number in algorithms for name in keys(directory, zone, number)]
    signed = directory / "signed"
    chain = {
        "nsec": [],
        "nsec3": ["-n", "-t", "0"],
        "nsec3-salt": ["-n", "-t", "5", "-s", SALT],
        "opt-out": ["-n", "-t", "0", "-p"],
    }
    done = run("ldns-signzone", *chain[denial], *more, "-o", zone, "-f", str(signed), str(file), *names)
    assert done.ok, done
    return signed


def by_knot(file: Path, zone: str, directory: Path, algorithms: list[int], denial: str) -> Path:
    """Sign with kzonesign; it makes its own keys and takes one algorithm."""
    name, bits = ALGORITHMS[algorithms[0]]
    nsec3 = "off" if denial == "nsec" else "on"
    iterations, salt_length = (5, 2) if denial == "nsec3-salt" else (0, 0)
    config = directory / "knot.conf"
    config.write_text(
        f"""
database:
  storage: {directory}
policy:
  - id: p
    algorithm: {name.lower()}
    ksk-size: {bits}
    zsk-size: {bits}
    nsec3: {nsec3}
    nsec3-iterations: {iterations}
    nsec3-salt-length: {salt_length}
    nsec3-opt-out: {"on" if denial == "opt-out" else "off"}
zone:
  - domain: {zone}
    storage: {directory}
    file: {file}
    dnssec-signing: on
    dnssec-policy: p
"""
    )
    out = directory / "out"
    out.mkdir()
    done = run("kzonesign", "-c", str(config), "-o", str(out), zone)
    assert done.ok, done
    (signed,) = out.iterdir()
    return signed


SIGNERS: dict[str, Callable[..., Path]] = {"bind": by_bind, "ldns": by_ldns, "knot": by_knot}


def judge(signed: Path, zone: str, **more: object) -> list[Violation]:
    """Everything the verifier finds in a signed file, at the present time."""
    origin = text_to_wire(zone)
    read = read_signed_file(signed, origin)
    now = int(SystemClock().now())
    return read.findings + verify_zone(
        read.view, Expectation(origin, now, mixed_ttls=read.mixed_ttls, **more)
    )  # type: ignore[arg-type]


@pytest.fixture
def zone_file(tmp_path: Path) -> Path:
    """The unsigned zone as a file."""
    path = tmp_path / "example.zone"
    path.write_text(ZONE)
    return path


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("signer", SIGNERS)
def test_zones_of_other_signers_are_accepted(
    signer: str, algorithm: int, denial: str, zone_file: Path, tmp_path: Path
) -> None:
    signed = SIGNERS[signer](zone_file, "example.", tmp_path, [algorithm], denial)
    assert judge(signed, "example.") == []


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize(("ttl", "minimum"), [(300, 900), (7200, 900)])
def test_ttl_of_denial(
    signer: str, denial: str, ttl: int, minimum: int, zone_file: Path, tmp_path: Path
) -> None:
    """RFC 9077: min(SOA minimum, SOA TTL), whichever is lower."""
    text = zone_file.read_text().replace("@           IN SOA", f"@ {ttl}      IN SOA")
    zone_file.write_text(text.replace("86400 900", f"86400 {minimum}"))
    signed = SIGNERS[signer](zone_file, "example.", tmp_path, [13], denial)
    assert judge(signed, "example.") == []


@pytest.mark.parametrize("sep", [True, False])
def test_one_key_for_everything(sep: bool, zone_file: Path, tmp_path: Path) -> None:
    flags = ["-f", "KSK"] if sep else []
    made = run("dnssec-keygen", "-q", "-K", str(tmp_path), "-a", "13", *flags, "example.")
    signed = tmp_path / "signed"
    done = run(
        "dnssec-signzone", "-q", "-z", "-S", "-K", str(tmp_path), "-d", str(tmp_path), "-o", "example.",
        "-f", str(signed), str(zone_file),
    )  # fmt: skip
    assert made.ok, made
    assert done.ok, done
    ds = parse_ds((tmp_path / "dsset-example.").read_text().splitlines()[0])
    assert judge(signed, "example.", ds=(ds,)) == []


@pytest.mark.parametrize("zone_text", ["apex only", "one wildcard", "all delegations"])
@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("signer", SIGNERS)
def test_small_zones(signer: str, denial: str, zone_text: str, tmp_path: Path) -> None:
    file = tmp_path / "small.zone"
    more = {
        "apex only": "",
        "one wildcard": "* A 192.0.2.1\n",
        "all delegations": "".join(f"d{at}.x{at % 3} NS ns.other.\n" for at in range(20)),
    }
    file.write_text(
        "$ORIGIN small.\n$TTL 60\n@ SOA ns.other. h.other. 1 60 60 60 60\n@ NS ns.other.\n" + more[zone_text]
    )
    signed = SIGNERS[signer](file, "small.", tmp_path, [13], denial)
    assert judge(signed, "small.") == []


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_two_algorithms_and_zonemd(denial: str, zone_file: Path, tmp_path: Path) -> None:
    signed = by_ldns(zone_file, "example.", tmp_path, [8, 13], denial, "-U", "-z", "1:1", "-z", "1:2")
    assert judge(signed, "example.", zonemd=True) == []
    text = signed.read_text()
    assert "ZONEMD" in text
    signed.write_text(text.replace("192.0.2.3", "192.0.2.4"))
    assert {"zonemd-mismatch", "rrsig-bad"} <= {found.code for found in judge(signed, "example.")}


@pytest.mark.parametrize("denial", ["nsec", "opt-out"])
def test_the_root_zone_signed_by_a_peer(denial: str, tmp_path: Path, shared: Path) -> None:
    file = tmp_path / "root.zone"
    file.write_bytes(lzma.decompress((shared / "zones/root-2018/012.zone.xz").read_bytes()))
    signed = by_bind(file, ".", tmp_path, [13], denial, "-O", "full")
    assert judge(signed, ".") == []


def test_a_peer_agrees_that_a_damaged_zone_is_bad(zone_file: Path, tmp_path: Path) -> None:
    signed = by_bind(zone_file, "example.", tmp_path, [13], "nsec", "-O", "full")
    lines = signed.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.split()[:1] != ["mail.example."] or line.split()[3] != "NSEC"]
    assert len(kept) == len(lines) - 1
    signed.write_text("".join(kept))
    verdict: Result = run("dnssec-verify", "-q", "-o", "example.", str(signed))
    assert not verdict.ok
    assert "nsec-missing" in {found.code for found in judge(signed, "example.")}
