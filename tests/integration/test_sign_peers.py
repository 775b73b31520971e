"""Zones signed here are accepted by others: every algorithm, denial and key scheme, on a zone that is hard to sign."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
import pytest

from dnssecd.cli.common import Bad
from dnssecd.cli.sign import Options, run
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.ingest.zonefile import parse_zone_file
from tests.oneshot import AT_SIGN, BELOW_DNAME, DIGEST, hard_zone, shared_key_service, violations
from tests.peers.knotd import Knotd
from tests.peers.nameserver import PrimaryZone
from tests.peers.process import Servers, wait_until
from tests.peers.tools import Result, dnssec_verify, kzonecheck, ldns_verify_zone
from tests.peers.tools import run as run_tool
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

HARD = "hard.example."
ALGORITHMS = ("rsasha256", "rsasha512", "ecdsap256sha256", "ecdsap384sha384", "ed25519", "ed448")
DENIALS = ("nsec", "nsec3", "opt-out")


@dataclass(frozen=True)
class Scheme:
    """How a zone is signed."""

    algorithms: tuple[str, ...] = ("ecdsap256sha256",)
    denial: str = "nsec3"
    csk: bool = False
    zonemd: bool = False

    def __str__(self) -> str:
        return "-".join([*self.algorithms, self.denial, "csk" if self.csk else "ksk+zsk"])

    def sign(self, text: str, origin: str, directory: Path, **more: object) -> Path:
        """Sign the zone; the signed file's path."""
        unsigned, signed = directory / "zone", directory / "signed"
        unsigned.write_text(text)
        options = {
            "denial": "nsec" if self.denial == "nsec" else "nsec3",
            "opt_out": self.denial == "opt-out",
            "algorithms": self.algorithms,
            "csk": self.csk,
            "zonemd": self.zonemd,
            "quiet": True,
            **more,
        }
        run(Options(unsigned, origin, str(signed), **options))  # type: ignore[arg-type]
        return signed


#: Every algorithm, each with another denial and key scheme; all combinations are the long form's.
CHOSEN = [
    Scheme(("rsasha256",), "nsec", csk=True),
    Scheme(("rsasha512",), "nsec3"),
    Scheme(("ecdsap384sha384",), "opt-out", csk=True),
    Scheme(("ed25519",), "nsec"),
    Scheme(("ed448",), "opt-out"),
    *(Scheme(denial=denial, csk=csk) for denial in DENIALS for csk in (False, True)),
    Scheme(("rsasha256", "ecdsap256sha256"), "nsec3"),
    Scheme(("ed25519", "ecdsap256sha256"), "opt-out", csk=True),
]
ALL = [
    Scheme(algorithms, denial, csk)
    for algorithms in (
        *((one,) for one in ALGORITHMS),
        ("rsasha512", "ed448"),
        ("ecdsap384sha384", "ed25519"),
    )
    for denial, csk in product(DENIALS, (False, True))
]
SCHEMES = [
    *CHOSEN,
    *(pytest.param(scheme, marks=pytest.mark.soak) for scheme in ALL if scheme not in CHOSEN),
]


def judge(signed: Path, scheme: Scheme, origin: str = HARD) -> None:
    """Have all referees and our verifier accept a zone. All of them run under a deadline.

    Without kzonecheck where two CSKs of two algorithms sign: Knot 3.2.6 refuses such a zone from any signer.
    """
    results: list[Result] = [
        ldns_verify_zone(signed, origin),
        dnssec_verify(signed, origin, csk=scheme.csk),
    ]
    if not (scheme.csk and len(scheme.algorithms) > 1):
        results.append(kzonecheck(signed, origin))
    for result in results:
        assert result.ok, result
    assert violations(signed, origin) == []


def content(path: Path, origin: str) -> Counter[tuple[bytes, int, int, bytes]]:
    """The zone's own RRs: what was put in is what comes out."""
    zone = parse_zone_file(path, text_to_wire(origin))
    return Counter((r.owner, r.rtype, r.ttl, rdata) for r in zone.rrsets for rdata in unpack(r.rdata))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_hard_zone(scheme: Scheme, tmp_path: Path) -> None:
    """Left out for a peer's sake: names below a DNAME, which kzonecheck refuses, in a signed zone or not; the name
    ``\\@`` in NSEC, of which ldns 1.8.3 misreads ``\\@`` as next name. Both are tested by themselves below."""
    without = (BELOW_DNAME, *((AT_SIGN,) if scheme.denial == "nsec" else ()))
    signed = scheme.sign(hard_zone(HARD, without=without), HARD, tmp_path)
    judge(signed, scheme)
    assert content(signed, HARD) == content(tmp_path / "zone", HARD)


@pytest.mark.parametrize("denial", DENIALS)
def test_names_that_some_peer_cannot_judge(denial: str, tmp_path: Path) -> None:
    """The whole hard zone: without kzonecheck (names below a DNAME) and, with NSEC, ldns (the name ``\\@``)."""
    signed = Scheme(denial=denial).sign(hard_zone(HARD), HARD, tmp_path)
    assert dnssec_verify(signed, HARD).ok
    assert denial == "nsec" or ldns_verify_zone(signed, HARD).ok
    assert violations(signed, HARD) == []
    assert not kzonecheck(signed, HARD).ok, "Knot can judge it now: take it into the cases above"


#: In the root zone all names are inside, and Knot wants their addresses.
GLUE = "ns.other.test. A 192.0.2.53\n"
APEX = "$TTL 60\n@ SOA ns.other.test. h.other.test. 1 60 60 60 60\n@ NS ns.other.test.\n"
SMALL = {
    "apex only": APEX,
    "one name below": APEX + "a A 192.0.2.1\n",
    "wildcard only": APEX + "* A 192.0.2.1\n",
    "DNAME at the apex": APEX + "@ DNAME other.test.\n",
    "insecure delegations only": APEX + "".join(f"d{at}.x{at % 3} NS ns.other.test.\n" for at in range(9)),
    "secure delegation only": APEX + f"d.e NS ns.other.test.\nd.e DS 1 13 2 {'00' * 32}\n",
    "SOA minimum above its TTL": APEX.replace("60 60 60 60", "60 60 60 900") + "a 5 A 192.0.2.1\n",
    "SOA TTL above its minimum": APEX.replace("@ SOA", "@ 900 SOA") + "a 5 A 192.0.2.1\n",
}


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("case", SMALL)
def test_small_zones(case: str, denial: str, tmp_path: Path) -> None:
    """With one name the chain's next is itself; chain RRs have min(SOA minimum, SOA TTL) (RFC 9077)."""
    scheme = Scheme(denial=denial)
    signed = scheme.sign(SMALL[case], "small.test.", tmp_path)
    judge(signed, scheme, "small.test.")
    rrs = [line.split("\t") for line in signed.read_text().splitlines()]
    assert {rr[1] for rr in rrs if rr[3] in ("NSEC", "NSEC3")} == {"60"}
    if case == "apex only":
        (chain,) = [rr for rr in rrs if rr[3] in ("NSEC", "NSEC3")]
        following = chain[4].split()[0 if denial == "nsec" else 4].lower()
        assert chain[0].startswith(following)


def test_the_root(tmp_path: Path) -> None:
    scheme = Scheme()
    text = SMALL["secure delegation only"] + GLUE
    judge(scheme.sign(text, ".", tmp_path), scheme, ".")


RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG


def rrsigs(signed: Path) -> Iterator[tuple[dns.name.Name, RRSIG]]:
    """Owner and RDATA of each RRSIG in a signed file that we wrote, one RR a line."""
    for line in signed.read_text().splitlines():
        owner, _, _, rrtype, text = line.split("\t", 4)
        if rrtype == "RRSIG":
            yield dns.name.from_text(owner), dns.rdata.from_text("IN", "RRSIG", text)  # type: ignore[misc]


def test_labels(tmp_path: Path) -> None:
    """RFC 4034 §3.1.3: the count leaves out the root and a leading asterisk, and only a leading one."""
    signed = Scheme(denial="nsec").sign(hard_zone(HARD), HARD, tmp_path)
    seen = set()
    for owner, rrsig in rrsigs(signed):
        leading = owner.labels[0] == b"*"
        assert rrsig.labels == len(owner.labels) - 1 - leading, owner
        seen.add((leading, b"*" in owner.labels[1:]))
    assert seen == {(False, False), (True, False), (False, True)}


@pytest.mark.parametrize(
    ("algorithm", "octets", "names"), [("ecdsap256sha256", 64, 3000), ("ecdsap384sha384", 96, 1000)]
)
def test_ecdsa_signatures_have_one_length(algorithm: str, octets: int, names: int, tmp_path: Path) -> None:
    """Of a few thousand some have an r or s with leading zero octets, which DER leaves out."""
    text = APEX + "".join(f"h{at} A 192.0.2.1\n" for at in range(names))
    scheme = Scheme((algorithm,), "nsec", csk=True)
    signed = scheme.sign(text, "small.test.", tmp_path)
    lines = [line for line in signed.read_text().splitlines() if "\tRRSIG\t" in line]
    signatures = [base64.b64decode(line.rpartition(" ")[2]) for line in lines]
    assert len(signatures) > 2 * names
    assert {len(signature) for signature in signatures} == {octets}
    assert any(s[0] == 0 or s[octets // 2] == 0 for s in signatures), "no leading zero among so many"
    assert dnssec_verify(signed, "small.test.", csk=True).ok


#: Inception, expiration, a time between, epoch seconds: about the end of 31 bits, of 32 bits, and beyond.
DATES = {
    "past 2038": (2_147_400_000, 2_150_000_000, 2_148_000_000),
    "about 2106": (4_294_900_000, 4_296_000_000, 4_295_500_000),
    "past 2106": (4_323_000_000, 4_354_000_000, 4_340_000_000),
    "68 years": (1_500_000_000, 1_500_000_000 + 2**31 - 1, 2_500_000_000),
}


@pytest.mark.parametrize("case", DATES)
def test_dates(case: str, tmp_path: Path) -> None:
    """Time fields are serial numbers of 32 bits (RFC 4034 §3.1.5). The peers take times of 32 bits only."""
    inception, expiration, between = DATES[case]
    signed = Scheme().sign(
        SMALL["one name below"], "small.test.", tmp_path, inception=inception, expiration=expiration
    )
    for _, rrsig in rrsigs(signed):
        assert (rrsig.inception, rrsig.expiration) == (inception % 2**32, expiration % 2**32)
    for time in (inception, between, expiration):
        assert violations(signed, "small.test.", time=time) == []
    # Before 68 years and after them look alike.
    before = "rrsig-expired" if case == "68 years" else "rrsig-not-yet-valid"
    for time, code in ((inception - 1, before), (expiration + 1, "rrsig-expired")):
        assert code in " ".join(violations(signed, "small.test.", time=time))
    if between < 2**32:
        assert kzonecheck(signed, "small.test.", at=between).ok
        assert not kzonecheck(signed, "small.test.", at=expiration % 2**32 + 1).ok


def ldns_zonemd(signed: Path) -> Result:
    """Demands a digest that is right and a zone whose signatures are."""
    return run_tool("ldns-verify-zone", "-V", "1", "-ZZ", str(signed), timeout=20)


@pytest.mark.parametrize("origin", ["example.", "."])
@pytest.mark.parametrize("denial", DENIALS)
def test_zonemd(denial: str, origin: str, tmp_path: Path) -> None:
    """ldns 1.8.3 never returns on some zones with ZONEMD and NSEC3: where it hangs it has no say."""
    text = hard_zone(origin, without=(BELOW_DNAME, AT_SIGN)) + (GLUE if origin == "." else "")
    scheme = Scheme(denial=denial, zonemd=True)
    signed = scheme.sign(text, origin, tmp_path)
    assert violations(signed, origin, zonemd=True) == []
    assert dnssec_verify(signed, origin).ok
    assert kzonecheck(signed, origin).ok
    ldns = ldns_zonemd(signed)
    assert ldns.ok or (denial != "nsec" and ldns.status is None), ldns
    damaged = (
        signed.read_text()
        .replace("\tDS\t4712 8 2 0", "\tDS\t4712 8 2 F")
        .replace("192.0.2.6\n", "192.0.2.99\n")
    )
    signed.write_text(damaged)
    found = " ".join(violations(signed, origin, zonemd=True))
    assert "zonemd-mismatch" in found, "the digest covers glue"
    assert ldns.status is None or not ldns_zonemd(signed).ok


LABELS = ("a", "b", "c", "*", r"\000", "zz")
KINDS = ("A", "A", "TXT", "NS", "NS", "secure", "secure", "CNAME", "DNAME", "TYPE65280")
RDATA = {
    "TXT": "x",
    "NS": "ns.other.test.",
    "CNAME": "x.other.test.",
    "DNAME": "y.other.test.",
    "TYPE65280": r"\# 1 01",
}


def random_zone(rng: random.Random) -> str:
    """A zone of few labels, so that cuts, wildcards, DNAMEs and empty non-terminals lie above one another.

    Left out: NS at wildcards, which BIND refuses, and NS beside DNAME, which Knot does.
    """
    kinds: dict[str, str] = {"@": "DNAME"} if rng.random() < 0.05 else {}
    lines = []
    for _ in range(rng.randint(1, 14)):
        owner = ".".join(rng.choice(LABELS) for _ in range(rng.choice((1, 1, 2, 2, 3, 4))))
        kind = rng.choice(KINDS)
        cut = kind in ("NS", "secure")
        if cut and (owner.startswith("*") or kinds.get(owner) == "DNAME"):
            kind = "A"
        elif kind == "DNAME" and kinds.get(owner) == "cut":
            kind = "TXT"
        elif cut or kind == "DNAME":
            kinds[owner] = "cut" if cut else kind
        if kind == "secure":
            lines += [f"{owner} NS ns.other.test.", f"{owner} DS 1 13 2 {DIGEST}"]
        else:
            lines.append(f"{owner} {kind} {RDATA.get(kind, f'192.0.2.{rng.randint(1, 9)}')}")
    return SMALL["DNAME at the apex" if "@" in kinds else "apex only"] + "\n".join(lines) + "\n"


def judge_random_zones(seeds: range, directory: Path) -> int:
    """Sign zones until all seeds are used; how many were accepted by everybody. kzonecheck refuses names below a
    DNAME, in signed zones and others; what the input checks refuse (a CNAME with other data) cannot be a zone."""
    accepted = 0
    with shared_key_service():
        for seed in seeds:
            scheme = Scheme(denial=DENIALS[seed % len(DENIALS)])
            try:
                signed = scheme.sign(random_zone(random.Random(seed)), "small.test.", directory)
            except Bad as refused:
                if "verification" in refused.what:
                    raise
                continue
            assert violations(signed, "small.test.") == [], f"seed {seed}"
            for result in (ldns_verify_zone(signed, "small.test."), dnssec_verify(signed, "small.test.")):
                assert result.ok, f"seed {seed}: {result}"
            knot = kzonecheck(signed, "small.test.")
            assert knot.ok or "record exists under DNAME" in knot.text, f"seed {seed}: {knot}"
            accepted += 1
    return accepted


def test_random_zones(tmp_path: Path) -> None:
    assert judge_random_zones(range(60), tmp_path) > 40


@pytest.mark.soak
def test_many_random_zones(tmp_path: Path) -> None:
    assert judge_random_zones(range(1000, 6000), tmp_path) > 3000


class DigestCheckingKnotd(Knotd):
    """Serves no zone whose digest is wrong or missing."""

    def configuration(self) -> str:
        return super().configuration().replace("    semantic-checks: off\n", "    zonemd-verify: on\n")


def test_knot_checks_the_digest(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    """Zone names are short: Knot 3.2.6 cannot digest an RRset of over 32 KiB, owner names written out."""
    zones: dict[str, PrimaryZone] = {}
    for case in (*DENIALS, "damaged"):
        directory = peer_dir / case
        directory.mkdir()
        origin = f"{case[0]}{len(case)}.test."
        scheme = Scheme(denial="nsec" if case == "damaged" else case, zonemd=True)
        signed = scheme.sign(hard_zone(origin, without=(BELOW_DNAME,)), origin, directory)
        zones[case] = PrimaryZone(origin, signed, tsig_key)
    damaged = zones["damaged"]
    text = damaged.file.read_text()
    damaged.file.write_text(text.replace("192.0.2.6\n", "192.0.2.66\n"))  # glue
    knot = servers.start(DigestCheckingKnotd(peer_dir / "knotd", list(zones.values())))
    for denial in DENIALS:
        knot.wait_serial(zones[denial].name, 7)
    wait_until(
        lambda: f"[{damaged.name}] ZONEMD, verification failed" in knot.log_text(), "Knot finds the damage"
    )
    assert knot.serial(damaged.name) is None, knot.log_tail()
