"""Serials, RRsets, changesets, NSEC3 hashes, signature lifetimes."""

import dns.dnssec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns import rrset, serial
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.signing import lifetimes, nsec3hash
from dnssecd.core.zone import changeset

sets = st.dictionaries(
    st.tuples(st.sampled_from([b"", b"a\x00", b"b\x00"]), st.integers(1, 3)),
    st.tuples(st.integers(0, 1), st.sampled_from([b"\x00\x01x", b"\x00\x01y"])),
).map(lambda d: sorted(rrset.RRset(owner, rtype, *rest) for (owner, rtype), rest in d.items()))


def applied(old: list[rrset.RRset], changes: list[changeset.Change]) -> list[rrset.RRset]:
    held = {(r.owner, r.rtype): r for r in old}
    for change in changes:
        assert held.get((change.owner, change.rtype)) == change.old
        held.pop((change.owner, change.rtype), None)
        if change.new is not None:
            held[change.owner, change.rtype] = change.new
    return sorted(held.values())


@given(sets, sets)
def test_applying_a_difference_gives_the_new_content(old: list[rrset.RRset], new: list[rrset.RRset]) -> None:
    changes = list(changeset.diff(old, new))
    assert applied(old, changes) == new
    assert (changes == []) == (old == new)


@given(sets, sets, sets)
def test_merged_changes_are_the_sequence(
    a: list[rrset.RRset], b: list[rrset.RRset], c: list[rrset.RRset]
) -> None:
    merged = changeset.merge(changeset.diff(a, b), changeset.diff(b, c))
    assert merged == list(changeset.diff(a, c))


@given(st.lists(st.binary(max_size=5), min_size=1))
def test_packing_sorts_and_drops_duplicates(rdatas: list[bytes]) -> None:
    packed = rrset.pack(rdatas)
    assert rrset.unpack(packed) == sorted(set(rdatas))
    assert rrset.count(packed) == len(set(rdatas))


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (1, 0, 1),
        (0, 1, -1),
        (5, 5, 0),
        (0, 2**32 - 1, 1),
        (2**31 - 1, 0, 1),
        (2**31, 0, -1),
        (2**31 + 1, 0, -1),
    ],
)
def test_serials_compare_as_rfc_1982_says(a: int, b: int, wanted: int) -> None:
    assert serial.compare(a, b) == wanted


@pytest.mark.parametrize(
    ("scheme", "published", "given_serial", "wanted"),
    [
        ("increment", None, 7, 7),
        ("increment", 7, 7, 8),
        ("increment", 7, 5, 8),
        ("increment", 7, 9, 9),
        ("increment", 2**32 - 1, 5, 5),
        ("increment", 2**32 - 1, 2**32 - 1, 1),
        ("unixtime", 1_790_000_000, 1, 1_790_000_001),
        ("unixtime", 1_700_000_000, 1, 1_790_000_000),
        ("date", 2026092199, 1, 2026092200),
        ("date", 2026092001, 1, 2026092100),
    ],
)
def test_next_serial_always_goes_forward(
    scheme: str, published: int | None, given_serial: int, wanted: int
) -> None:
    made = serial.next_serial(scheme, published, given_serial, 1_790_000_000, 20260921)
    assert made == wanted
    assert published is None or serial.is_after(made, published)


@given(st.binary(min_size=20, max_size=20))
def test_nsec3_owners_and_hashes_are_the_same_thing(digest: bytes) -> None:
    assert nsec3hash.owner_to_hash(nsec3hash.hash_to_owner(digest)) == digest


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_nsec3_owners_sort_as_hashes(a: bytes, b: bytes) -> None:
    assert (nsec3hash.hash_to_owner(a) < nsec3hash.hash_to_owner(b)) == (a < b)


@pytest.mark.parametrize("name", ["example.", "a.example.", "*.w.example.", "x.y.w.example."])
def test_nsec3_hash_is_that_of_dnspython(name: str) -> None:
    wanted = dns.dnssec.nsec3_hash(name, "aabbccdd", 12, 1).lower().encode() + b"\x00"
    digest = nsec3hash.nsec3_hash(text_to_wire(name), 12, bytes.fromhex("aabbccdd"))
    assert nsec3hash.hash_to_owner(digest) == wanted


NOW = 1_790_000_000
MONTH = lifetimes.Lifetimes(30 * 86_400, -3600, 10 * 86_400, 12 * 3600)


@given(st.binary(max_size=20), st.integers(1, 65535))
def test_expirations_lie_in_the_jitter(owner: bytes, rtype: int) -> None:
    window = lifetimes.signing_window(MONTH, NOW, spread=False)
    assert NOW + 29 * 86_400 < window.expiration(owner, rtype) <= NOW + 30 * 86_400
    assert window.expiration(owner, rtype) == window.expiration(owner, rtype)


def test_spread_expirations_fill_the_time_between_refresh_and_validity() -> None:
    window = lifetimes.signing_window(MONTH, NOW, spread=True)
    made = sorted(window.expiration(b"h%d\x00" % n, 1) for n in range(4000))
    assert NOW + 11 * 86_400 <= made[0] < made[-1] <= NOW + 30 * 86_400
    days = [sum(NOW + d * 86_400 < m <= NOW + (d + 1) * 86_400 for m in made) for d in range(11, 30)]
    assert max(days) < 1.5 * min(days), days


def test_short_lifetimes_never_expire_within_the_refresh() -> None:
    short = lifetimes.Lifetimes(600, -10, 300, 500)
    for spread in (False, True):
        window = lifetimes.signing_window(short, NOW, spread=spread)
        assert NOW + 300 < window.expiration_min <= window.expiration_max == NOW + 600


@pytest.mark.parametrize("near", [NOW, 2**31 - 5, 2**32 - 5, 2**32 + 2**31])
@pytest.mark.parametrize("offset", [-(2**31) + 1, -1, 0, 1, 30 * 86_400])
def test_time_fields_mean_the_nearest_moment(near: int, offset: int) -> None:
    assert lifetimes.full_time((near + offset) % 2**32, near) == near + offset


def test_automatic_refresh_is_capped_at_half_the_validity() -> None:
    assert lifetimes.refresh_s(None, 30 * 86_400, 604_800, 86_400) == (9 * 86_400, False)
    assert lifetimes.refresh_s(None, 10 * 86_400, 604_800, 86_400) == (5 * 86_400, True)
    assert lifetimes.refresh_s(77, 30 * 86_400, 604_800, 86_400) == (77, False)
