"""TORTURE, "Signing": what others' signers got wrong, through ``dnssecd sign`` and the daemon's signing path.

Where a peer is the judge the case is in tests/integration/test_sign_peers.py; here dnspython says what is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.dnssec
import dns.name
import dns.node
import dns.rdatatype
import dns.zone
import msgspec
import pytest

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import RRSIG
from dnssecd.ingest.zonefile import parse_zone_file
from dnssecd.pipeline.export import export_text
from dnssecd.pipeline.jobs.load import load_file
from dnssecd.pipeline.jobs.spec import KeyWish
from dnssecd.store.zonedb import ZoneDatabase
from tests.oneshot import Ended, dnssecd, hard_zone, shared_key_service, violations
from tests.pipeline_zone import NOW, ZONE, PipelineZone, running_signer

HARD = "hard.example."
DENIALS = {"nsec": ("--denial", "nsec"), "nsec3": (), "opt-out": ("--opt-out",)}
DAY_S = 86_400


@pytest.fixture(scope="module", autouse=True)
def key_service() -> Iterator[None]:
    """One key service for all that is signed by command."""
    with shared_key_service():
        yield


def sign(text: str | bytes, origin: str, directory: Path, *more: object) -> tuple[Ended, Path]:
    """Sign a zone of that text."""
    unsigned, signed = directory / "zone", directory / "signed"
    unsigned.write_bytes(text if isinstance(text, bytes) else text.encode())
    ended = dnssecd("sign", unsigned, "--origin", origin, "-o", signed, "--algorithm", "13", *more)
    return ended, signed


# Names: which are in the chain, which are signed, in which order


class Signed:
    """The hard zone, signed, as dnspython reads it."""

    def __init__(self, denial: str, directory: Path) -> None:
        ended, path = sign(hard_zone(HARD), HARD, directory, *DENIALS[denial])
        assert ended.status == 0, ended.err
        self.path = path
        self.origin = dns.name.from_text(HARD)
        self.zone = dns.zone.from_file(str(path), self.origin, relativize=False, check_origin=False)

    def name(self, text: str) -> dns.name.Name:
        return dns.name.from_text(text, self.origin)

    def types(self, text: str) -> set[str]:
        """The types at a name, RRSIGs as RRSIG(type)."""
        node = self.zone.get_node(self.name(text)) or dns.node.Node()
        return {
            f"RRSIG({dns.rdatatype.to_text(found.covers)})"
            if found.rdtype == RRSIG
            else dns.rdatatype.to_text(found.rdtype)
            for found in node
        }

    def hashes(self) -> set[str]:
        """The hashes that have an NSEC3."""
        return {name.labels[0].decode() for name, _ in self.zone.iterate_rdatasets("NSEC3")}

    def hash(self, text: str) -> str:
        """The hash of a name."""
        return dns.dnssec.nsec3_hash(self.name(text), None, 0, 1).lower()


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signed]:
    """The hard zone, by denial."""
    return {denial: Signed(denial, tmp_path_factory.mktemp(denial)) for denial in DENIALS}


def test_the_chain_is_in_canonical_order(hard: dict[str, Signed]) -> None:
    """From name to next name every name once, in dnspython's order, and back to the apex."""
    chain = {name: rdataset[0].next for name, rdataset in hard["nsec"].zone.iterate_rdatasets("NSEC")}
    walked = [hard["nsec"].origin]
    while (following := chain[walked[-1]]) != walked[0]:
        walked.append(following)
    assert walked == sorted(chain)
    assert len(walked) == len(chain) > 50


UNSIGNED = (
    "ns.secure",
    "ns.insecure",
    "hidden.cut",
    "deeper.hidden.cut",
    "*.cut",
    "below.dn",
    "deleg.below.dn",
)


@pytest.mark.parametrize("denial", DENIALS)
def test_glue_and_occluded_names_are_left_alone(denial: str, hard: dict[str, Signed]) -> None:
    zone = hard[denial]
    hashes = zone.hashes()
    for name in UNSIGNED:
        types = zone.types(name)
        assert types
        assert not any(kind.startswith("RRSIG") or kind == "NSEC" for kind in types), name
        assert not hashes or zone.hash(name) not in hashes
    assert zone.types("deleg.below.dn") == {"NS", "DS"}, "not the DS of an occluded delegation either"


@pytest.mark.parametrize("denial", DENIALS)
def test_what_is_signed_at_cuts(denial: str, hard: dict[str, Signed]) -> None:
    zone = hard[denial]
    chain = {"NSEC", "RRSIG(NSEC)"} if denial == "nsec" else set()
    assert zone.types("secure") == {"NS", "DS", "RRSIG(DS)"} | chain
    assert zone.types("insecure") == {"NS"} | chain
    assert zone.types("selfglue") == {"NS", "A", "TXT"} | chain
    assert zone.types("secureglue") == {"NS", "AAAA", "DS", "RRSIG(DS)"} | chain
    assert zone.types("dn") == {"DNAME", "TXT", "RRSIG(DNAME)", "RRSIG(TXT)"} | chain
    assert zone.types("unknown") == {"TYPE65280", "TYPE4660", "RRSIG(TYPE65280)", "RRSIG(TYPE4660)"} | chain
    in_chain = zone.hashes()
    if denial != "nsec":
        assert (zone.hash("insecure") in in_chain) == (denial == "nsec3")
        assert zone.hash("secure") in in_chain


#: Empty non-terminals, and whether more than insecure delegations makes them.
EMPTY = {
    "er.than.this": True, "than.this": True, "this": True, "wild": True, "*.mid": True, "mid": True,
    "star.ent": True, "ent": True, "y.insent": False, "insent": False, "q.r.twice": False, "r.twice": False,
    "twice": False, "insent2": True, "mix2.insent2": True, "mix3.insent2": True,
}  # fmt: skip


def test_empty_non_terminals(hard: dict[str, Signed]) -> None:
    """RFC 5155 §7.1: all have an NSEC3, but with opt-out not those that insecure delegations alone make."""
    for name, more in EMPTY.items():
        assert hard["nsec3"].hash(name) in hard["nsec3"].hashes(), name
        assert (hard["opt-out"].hash(name) in hard["opt-out"].hashes()) == more, name
        assert hard["nsec"].types(name) == set()


def test_ttls(hard: dict[str, Signed]) -> None:
    """RRSIGs have the TTL of what they cover; the lowest counts where they were unequal (RFC 2181 §5.2)."""
    zone = hard["nsec3"]
    for name, kind, ttl in (("zero", "TXT", 0), ("forever", "TXT", 2**31 - 1), ("uneven", "A", 300)):
        rdataset = zone.zone.find_rdataset(zone.name(name), kind)
        covering = zone.zone.find_rdataset(zone.name(name), "RRSIG", kind)
        assert (rdataset.ttl, covering.ttl, covering[0].original_ttl) == (ttl, ttl, ttl)
    assert {rdataset.ttl for _, rdataset in zone.zone.iterate_rdatasets("NSEC3")} == {900}


# Sizes

HEAD = "$TTL 300\n@ SOA ns1 host 1 3600 600 86400 300\n@ NS ns1\nns1 A 192.0.2.1\n"


def opaque(octets: int, first: int = 0) -> str:
    """A record of unknown type with RDATA of that size."""
    return f"big TYPE65280 \\# {octets} {first:02x}{'5a' * (octets - 1)}\n"


@pytest.fixture
def daemon_zone(tmp_path: Path) -> Iterator[PipelineZone]:
    """example. in a store of its own, as the daemon's workers drive it."""
    with running_signer() as socket:
        zone = PipelineZone(tmp_path, socket)
        yield zone
        zone.close()


def test_a_record_of_65000_octets(daemon_zone: PipelineZone, tmp_path: Path) -> None:
    text = HEAD + opaque(65_000)
    ended, signed = sign(text, "example.", tmp_path)
    assert ended.status == 0, ended.err
    assert violations(signed, "example.") == []
    (rrset,) = [r for r in parse_zone_file(signed, text_to_wire("example.")).rrsets if r.rtype == 65280]
    assert unpack(rrset.rdata) == [b"\x00" + b"\x5a" * 64_999]
    assert daemon_zone.load(text).result == "published"


TOO_LARGE = {
    "one record": (opaque(65_100), "zone:5: "),
    "two records": (opaque(40_000) + opaque(40_000, 1), "big.example. TYPE65280: the RRset takes 80024 octets"),
    "many records": (
        "".join(f'big TXT "{at:03d}{"x" * 250}"\n' for at in range(260)), "big.example. TXT: the RRset takes ",
    ),
    "many small records": (
        "".join(f"big A 10.0.{at >> 8}.{at & 255}\n" for at in range(4646)), "big.example. A: the RRset takes ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_LARGE)
def test_rrsets_that_fit_in_no_message(case: str, daemon_zone: PipelineZone, tmp_path: Path) -> None:
    text, what = TOO_LARGE[case]
    ended, signed = sign(HEAD + text, "example.", tmp_path)
    assert ended.status == 1
    assert str(tmp_path / "zone") in ended.err
    assert what in ended.err
    assert not signed.exists()
    assert daemon_zone.load(HEAD).result == "published"
    refused = daemon_zone.load(HEAD + text)
    assert refused.result == "rejected"
    assert what in refused.problems[0].cause
    assert daemon_zone.serial() == 1


def test_the_largest_rrset_at_the_longest_name(tmp_path: Path) -> None:
    """What is signed repeats the owner name with every record; validators build it in 64 KiB (RFC 4034 §3.1.8.1)."""
    longest = ".".join(["m" * 63] * 3 + ["n" * 53])
    records = [f"{longest} A 10.0.{at >> 8}.{at & 255}\n" for at in range(244)]
    ended, signed = sign(HEAD + "".join(records[:243]), "example.", tmp_path)
    assert ended.status == 0, ended.err
    assert violations(signed, "example.") == []
    ended, _ = sign(HEAD + "".join(records), "example.", tmp_path)
    assert ended.status == 1
    assert "65535" in ended.err.replace(",", "")


# Files: what is wrong is reported with file and line, and what was published before stays

PARTS = {"loop": "$INCLUDE loop\n", "bad": "\nx NOPE y\n", "good": "included A 192.0.2.9\n"}
FAULTS: dict[str, tuple[str | bytes, str]] = {
    "a directory included": (HEAD + "$INCLUDE .\n", "zone:5: . is a directory"),
    "an include that does not exist": (HEAD + "$INCLUDE none\n", "zone:5: cannot read none: No such file"),
    "an include loop": (HEAD + "$INCLUDE loop\n", "loop:1: loop includes itself"),
    "a fault in an include": (HEAD + "$INCLUDE good\n$INCLUDE bad\n", "bad:2: unknown type NOPE"),
    "$GENERATE overflow": (HEAD + "$GENERATE 0-4294967296 h$ A 192.0.2.1\n", "zone:5: "),
    "a name too long by $GENERATE": (HEAD + f"$GENERATE 1-2 {'x.' * 123}$ A 192.0.2.1\n", "zone:5: "),
    "a second SOA": (HEAD + "@ SOA ns1 host 2 3600 600 86400 300\n", "zone:5: a second SOA record"),
    "an SOA below the apex": (HEAD + "x SOA ns1 host 2 3600 600 86400 300\n", "zone:5: an SOA record below the apex"),
    "no SOA": ("$TTL 300\n@ NS ns1\nns1 A 192.0.2.1\n", "zone: no SOA record at the apex"),
    "no NS": ("$TTL 300\n@ SOA ns1 host 1 3600 600 86400 300\n", "example. NS: the apex has no NS RRset"),
    "an empty file": ("", "zone: no SOA record at the apex"),
    "records without TTL before the SOA": ("a A 192.0.2.2\n" + HEAD, "zone:1: the record has no TTL, and neither"),
    "a byte order mark": (b"\xef\xbb\xbf" + HEAD.encode(), "zone:1: the file begins with a byte order mark"),
    "NUL": (HEAD.encode() + b"a\x00 A 192.0.2.2\n", "zone:5: "),
    "a line of 1 MB": (HEAD + "a TXT " + "x" * 2**20 + "\n", "zone:5: line 5 is longer than"),
    "a parenthesis never closed": (HEAD + "a TXT ( x\nb A 192.0.2.2\n", "zone:5: "),
    "a parenthesis never opened": (HEAD + "a TXT x )\n", "zone:5: "),
    "a quote never closed": (HEAD + 'a TXT "x\n', "zone:5: "),
    r"\999": (HEAD + r"a\999 A 192.0.2.2" + "\n", "zone:5: "),
    r"\# 0 for an address": (HEAD + r"a A \# 0" + "\n", "zone:5: bad A RDATA"),
    r"\# with the wrong length": (HEAD + r"a TYPE65280 \# 2 00" + "\n", "zone:5: bad TYPE65280 RDATA"),
    "a wrong class": (HEAD + "a CH TXT x\n", "zone:5: class CH in a zone of class IN"),
    "TTL 2^31": (HEAD + "a 2147483648 A 192.0.2.2\n", "zone:5: "),
    "a CNAME beside other data": (HEAD + "a CNAME b\na A 192.0.2.2\n", "a.example. CNAME: a CNAME stands beside"),
    "a DNSKEY below the apex": (HEAD + f"a DNSKEY 256 3 15 {'A' * 43}=\n", "a.example. DNSKEY: a DNSKEY record below"),
    "two CNAMEs": (HEAD + "a CNAME b\na CNAME c\n", "a.example. CNAME: more than one CNAME"),
    "a label of 64 octets": (HEAD + "x" * 64 + " A 192.0.2.2\n", "zone:5: "),
    "a name of 256 octets": (HEAD + ("x." * 124) + "y A 192.0.2.2\n", "zone:5: "),
}  # fmt: skip


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with files to include; paths in messages are as they were given."""
    for name, text in PARTS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_zone_files(case: str, parts: Path) -> None:
    text, what = FAULTS[case]
    ended, _ = sign(text, "example.", parts)
    assert (ended.status, ended.out) == (1, "")
    assert what in ended.err.replace(f"{parts}/", "").replace(f"{parts} ", ". ")
    assert sorted(path.name for path in parts.iterdir()) == sorted([*PARTS, "zone"])


def test_faults_of_zone_files_leave_the_daemons_zone_as_it_is(tmp_path: Path) -> None:
    for name, part in PARTS.items():
        (tmp_path / name).write_text(part)
    with running_signer() as socket:
        zone = PipelineZone(tmp_path, socket)
        assert zone.load(ZONE).result == "published"
        before = dump(zone.db)
        for case, (text, what) in FAULTS.items():
            zone.file.write_bytes(text if isinstance(text, bytes) else text.encode())
            outcome = load_file(zone.db, zone.spec, zone.file, zone.tools())
            assert outcome.result == "rejected", case
            told = "\n".join([outcome.problems[0].cause, *outcome.violations])
            assert what in told.replace(f"{tmp_path}/", "").replace(f"{tmp_path} ", ". "), case
            assert dump(zone.db) == before, case
        zone.close()


def dump(db: ZoneDatabase) -> tuple[object, ...]:
    """All that is published."""
    with db.snapshot() as view:
        return list(view.scan()), list(view.denial_scan()), list(view.rrsig_scan()), view.version


def test_a_ds_where_nothing_is_delegated_is_the_inputs_fault(parts: Path) -> None:
    """BIND's signer refuses it too (RFC 4035 §2.4); below a cut it is occluded and does no harm."""
    ended, _ = sign(HEAD + f"a A 192.0.2.2\na DS 1 13 2 {'00' * 32}\n", "example.", parts)
    assert ended.status == 1
    assert "a.example. DS: " in ended.err
    assert "verification" not in ended.err


ACCEPTED = {
    "CR LF": HEAD.replace("\n", "\r\n").encode(),
    "records before the SOA": "$TTL 300\na A 192.0.2.2\n" + HEAD,
    "no line end at the end": HEAD + "a A 192.0.2.2",
    "included": HEAD + "$INCLUDE good\n",
    "generated": HEAD + "$GENERATE 0-255 h${0,3,d} A 192.0.2.$\n",
    "RDATA of no octets": HEAD + "a TYPE65280 \\# 0\n",
    "a KEY beside a CNAME": HEAD + "a CNAME b\na KEY 512 3 13 AQIDBA==\n",
    "a DNSKEY at a delegation": HEAD + f"a NS ns1\na DNSKEY 256 3 15 {'A' * 43}=\n",
    "the SOA again at the end": HEAD + "@ SOA ns1 host 1 3600 600 86400 300\n",
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_oddities_that_are_no_faults(case: str, parts: Path) -> None:
    ended, signed = sign(ACCEPTED[case], "example.", parts)
    assert ended.status == 0, ended.err
    assert violations(signed, "example.") == []


# TTL against the refresh of signatures: the daemon's affair


def test_a_ttl_beyond_the_refresh_rejects_the_input_and_refreshing_continues(
    daemon_zone: PipelineZone,
) -> None:
    """`sign` takes TTL 2^31-1; the daemon would have to keep expired RRSIGs in caches, so it takes the version
    before as the last, and continues making its signatures again."""
    zone = daemon_zone
    assert zone.load(ZONE).result == "published"
    refused = zone.load(ZONE + "forever 2147483647 TXT x\n")
    assert refused.result == "rejected"
    assert refused.problems[0].event == "ttl-rejected"
    assert "2147483647" in refused.problems[0].cause
    assert zone.serial() == 1
    with zone.db.snapshot() as view:
        assert view.rrset(b"forever\x00", 16) is None
    serials = [1]
    for _ in range(8):
        zone.now += 5 * DAY_S
        assert zone.load(ZONE + "forever 2147483647 TXT x\n").result == "rejected"
        outcome = zone.resign()
        assert not outcome.problems
        assert outcome.earliest_expiration is not None
        assert outcome.earliest_expiration - zone.now > DAY_S, "never near expiry"
        if outcome.serial != serials[-1]:
            serials.append(outcome.serial or 0)
    assert zone.now > NOW + 30 * DAY_S, "every RRSIG was made anew at least once"
    assert serials == list(range(1, len(serials) + 1))
    assert len(serials) > 2


# Algorithms in the daemon's path

KEYS = {
    "rsasha256 and ed25519": (
        KeyWish("ksk", 8, "local", 2048),
        KeyWish("zsk", 8, "local", 2048),
        KeyWish("csk", 15, "local"),
    ),
    "rsasha512": (KeyWish("csk", 10, "local", 2048),),
    "ecdsap384sha384": (KeyWish("ksk", 14, "local"), KeyWish("zsk", 14, "local")),
    "ed448": (KeyWish("csk", 16, "local"),),
}


@pytest.mark.parametrize("case", KEYS)
def test_first_load_edit_and_signing_again(case: str, daemon_zone: PipelineZone, tmp_path: Path) -> None:
    """Every RRset is signed by each algorithm in the first version, after an edit, and when all came due."""
    zone = daemon_zone
    zone.spec = msgspec.structs.replace(zone.spec, keys=KEYS[case], opt_out=True)
    algorithms = {wish.algorithm for wish in KEYS[case]}
    edited = ZONE.replace("secure IN DS", "; secure IN DS") + "new.a.b.c A 192.0.2.5\n"
    for step in ("first", "edit", "due"):
        if step == "due":
            zone.now += 25 * DAY_S
            outcome = zone.resign()
        else:
            outcome = zone.load(ZONE if step == "first" else edited)
        assert outcome.result == "published", outcome
        exported = tmp_path / step
        with zone.db.snapshot() as view:
            exported.write_text("".join(text for text, _ in export_text(view, unsigned=False)))
            for sigs in view.rrsig_scan():
                made = {rdata[2] for rdata in unpack(sigs.rdata)}
                assert made == algorithms, (step, sigs.owner, sigs.covered)
        assert violations(exported, "example.", time=zone.now) == []
    assert outcome.serial == 3
