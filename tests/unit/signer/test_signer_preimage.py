"""What a key may sign: preimages made by dnspython pass, everything else is refused with the reason."""

from __future__ import annotations

import dns.rrset
import pytest

from dnssecd.signer.preimage import BadName, Permit, may_cover, name_text, proof_preimage
from tests.unit.signer.preimages import INCEPTION, rrset_preimage, wire

TAG, REVOKED_TAG = 4660, 4788
DAY, YEAR = 86_400, 366 * 86_400
DNSKEY = "257 3 13 " + "QUJD" * 21 + "QQ=="


def permit(role: str = "csk", zone: str = "example.com.") -> Permit:
    return Permit(wire(zone), role, 13, TAG, REVOKED_TAG, validity_s_max=10 * YEAR)


def preimage(
    owner: str, rtype: str, *rdatas: str, zone: str = "example.com.", algorithm: int = 13, tag: int = TAG
) -> bytes:
    return rrset_preimage(dns.rrset.from_text(owner, 3600, "IN", rtype, *rdatas), zone, algorithm, tag)


@pytest.mark.parametrize(
    ("owner", "rtype", "rdatas"),
    [
        ("example.com.", "SOA", ["ns1.example.com. h.example.com. 1 2 3 4 5"]),
        ("www.example.com.", "A", ["192.0.2.1"]),
        ("www.example.com.", "A", [f"192.0.2.{n}" for n in range(1, 200)]),
        ("*.example.com.", "MX", ["10 mail.example.com."]),
        ("a.*.b.example.com.", "TXT", ['"x"']),
        (r"com\.example.com.example.com.", "AAAA", ["2001:db8::1"]),
        (".".join(["a" * 63, "b" * 63, "c" * 63]) + ".example.com.", "TXT", ['"long"']),
        ("t.example.com.", "TYPE65280", [r"\# 0"]),
    ],
)
def test_preimages_of_dnspython_pass(owner: str, rtype: str, rdatas: list[str]) -> None:
    assert permit().check(preimage(owner, rtype, *rdatas), INCEPTION) == ""


def test_root_zone() -> None:
    root = permit(zone=".")
    assert root.check(preimage(".", "NS", "a.root-servers.net.", zone="."), INCEPTION) == ""
    assert root.check(preimage("com.", "DS", "1 8 2 " + "00" * 32, zone="."), INCEPTION) == ""


@pytest.mark.parametrize(
    ("role", "dnskey", "cds", "others"),
    [("ksk", True, True, False), ("zsk", False, True, True), ("csk", True, True, True)],
)
def test_roles(role: str, dnskey: bool, cds: bool, others: bool) -> None:
    assert (permit(role).check(preimage("example.com.", "DNSKEY", DNSKEY), INCEPTION) == "") is dnskey
    for rtype, rdata in (("CDS", "0 0 0 00"), ("CDNSKEY", DNSKEY)):
        assert (permit(role).check(preimage("example.com.", rtype, rdata), INCEPTION) == "") is cds, rtype
    for rtype, rdata in (("A", "192.0.2.1"), ("NSEC", "a.example.com. A"), ("DS", "1 8 2 " + "00" * 32)):
        assert (permit(role).check(preimage("example.com.", rtype, rdata), INCEPTION) == "") is others, rtype


@pytest.mark.parametrize("covered", [0, 41, 46, 128, 249, 251, 252, 255])
def test_meta_types_are_never_covered(covered: int) -> None:
    assert not any(may_cover(role, covered) for role in ("ksk", "zsk", "csk"))


def test_private_and_high_types_are_covered() -> None:
    assert all(may_cover("zsk", covered) for covered in (1, 127, 256, 257, 32768, 65280, 65535))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"zone": "example.net."}, "signer name"),
        ({"algorithm": 8}, "algorithm 8"),
        ({"tag": TAG + 1}, "key tag"),
        ({"owner": "www.example.net."}, "outside"),
        ({"owner": "badexample.com."}, "outside"),
        ({"owner": "com."}, "outside"),
        ({"tag": REVOKED_TAG}, "revoked"),
    ],
)
def test_what_does_not_fit_the_key_is_refused(change: dict[str, object], reason: str) -> None:
    arguments = {"owner": "www.example.com.", "rtype": "A"} | change
    octets = preimage(arguments.pop("owner"), arguments.pop("rtype"), "192.0.2.1", **arguments)
    assert reason in permit().check(octets, INCEPTION)


def test_a_revoked_key_signs_the_dnskey_rrset() -> None:
    assert permit().check(preimage("example.com.", "DNSKEY", DNSKEY, tag=REVOKED_TAG), INCEPTION) == ""


def test_damage_is_refused() -> None:
    good = preimage("www.example.com.", "A", "192.0.2.1", "192.0.2.2")
    one_rr = (len(good) - 18 - 13) // 2
    for octets in (
        b"",
        b"\x00",
        good[:18],
        good[: 18 + 13],
        *(good[:n] for n in range(len(good) - one_rr)[19:]),
    ):
        assert permit().check(octets, INCEPTION) != "", octets
    assert permit().check(good[:-1], INCEPTION) != ""
    assert permit().check(good + b"\x00", INCEPTION) != ""
    assert permit().check(good[:-one_rr], INCEPTION) == "", "one RR of the two is a preimage as well"


def test_another_rr_inside_is_refused() -> None:
    first = preimage("www.example.com.", "A", "192.0.2.1")
    for other in (
        preimage("www.example.com.", "TXT", '"x"'),
        preimage("wwx.example.com.", "A", "192.0.2.1"),
    ):
        assert "another" in permit().check(first + other[18 + 13 :], INCEPTION)
    ttl_at = len(first) - 4 - 2 - 4
    changed = first[:ttl_at] + b"\x00\x00\x00\x01" + first[ttl_at + 4 :]
    assert "another" in permit().check(changed, INCEPTION)


def test_labels_field_must_fit() -> None:
    good = bytearray(preimage("www.example.com.", "A", "192.0.2.1"))
    good[3] += 1
    assert "labels" in permit().check(bytes(good), INCEPTION)


def test_no_role_may_sign_a_proof_as_data() -> None:
    octets = proof_preimage(wire("example.com."), 13, TAG, b"n" * 32)
    assert all("type 0" in permit(role).check(octets, INCEPTION) for role in ("ksk", "zsk", "csk"))


def test_names() -> None:
    assert name_text(b"\x00") == "."
    assert name_text(wire(r"a\.b.example.com.")) == r"a\046b.example.com."
    for bad in (
        b"",
        b"\x03com",
        b"\xc0\x00",
        b"\x03COM\x00",
        b"\x03com\x00\x00",
        b"\x01a" * 127 + b"\x01b\x00",
    ):
        with pytest.raises(BadName):
            name_text(bad)


def test_a_zone_may_begin_with_a_wildcard_label() -> None:
    """RFC 4034 §3.1.3: the label "*" in front is not counted, not at the apex either."""
    starred = permit(zone="*.wild.example.")
    for owner in ("*.wild.example.", "www.*.wild.example.", "*.*.wild.example."):
        assert starred.check(preimage(owner, "A", "192.0.2.1", zone="*.wild.example."), INCEPTION) == "", (
            owner
        )


@pytest.mark.parametrize("rtype", ["DNSKEY", "CDS", "CDNSKEY"])
def test_keys_are_signed_at_the_apex_only(rtype: str) -> None:
    rdata = "0 0 0 00" if rtype == "CDS" else DNSKEY
    below = preimage("sub.example.com.", rtype, rdata)
    assert "apex only" in permit("ksk").check(below, INCEPTION)
    assert ("apex only" in permit("csk").check(below, INCEPTION)) is (rtype == "DNSKEY")
    assert permit("ksk").check(preimage("example.com.", rtype, rdata), INCEPTION) == ""


def with_times(octets: bytes, inception: int, expiration: int) -> bytes:
    return octets[:8] + (expiration % 2**32).to_bytes(4) + (inception % 2**32).to_bytes(4) + octets[16:]


@pytest.mark.parametrize("now", [INCEPTION, 2**32 - 40 * DAY])  # the second: times wrap round, as in 2106
@pytest.mark.parametrize(
    ("inception", "expiration", "allowed"),
    [
        (0, 60 * DAY, True),
        (-DAY, 59 * DAY, True),
        (-DAY, 60 * DAY, False),  # valid for longer than the ceiling
        (0, 60 * DAY + 1, False),
        (DAY, 61 * DAY, False),  # as long, but it ends too late
        (200 * DAY, 201 * DAY, False),
        (-200 * DAY, -199 * DAY, True),  # over long ago
        (0, -1, False),  # backwards: 136 years
        (0, 60 * YEAR, False),
    ],
)
def test_no_signature_goes_beyond_the_ceiling(
    now: int, inception: int, expiration: int, allowed: bool
) -> None:
    low = Permit(wire("example.com."), "csk", 13, TAG, REVOKED_TAG, validity_s_max=60 * DAY)
    octets = with_times(preimage("www.example.com.", "A", "192.0.2.1"), now + inception, now + expiration)
    why = low.check(octets, now)
    assert (why == "") is allowed, why
    assert allowed or "validity_max" in why


def test_no_ceiling_at_all() -> None:
    """A one-shot command signs for as long as an RRSIG can say."""
    longest = Permit(wire("example.com."), "csk", 13, TAG, REVOKED_TAG, validity_s_max=2**31 - 1)
    octets = preimage("www.example.com.", "A", "192.0.2.1")
    assert longest.check(with_times(octets, INCEPTION, INCEPTION + 60 * YEAR), INCEPTION) == ""
