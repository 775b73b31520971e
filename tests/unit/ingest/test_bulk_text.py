"""Text made for many RRsets at once is the text made for each by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.signing.nsec3hash import hash_to_owner, hashes_to_owners
from dnssecd.ingest.export import owner_text, owner_texts, rrset_lines
from dnssecd.pipeline.export import RRsetText
from tests.unit.ingest.test_rdata_export import EXPORTED, wire

ORIGIN = text_to_wire("example.com.")
HASHES = st.binary(min_size=20, max_size=20)
LABELS = st.sampled_from(
    [b"a", b"ns1", b"*", b"_tcp", b"x-1", b"\n", b"a.b", b"\x01\x01", b"\x80", b"\x01\x02"]
)
KEYS = st.lists(LABELS, max_size=3).map(lambda labels: b"".join([label + b"\x00" for label in labels]))


@given(st.lists(HASHES, max_size=300))
def test_hashes_become_owners_together_as_alone(digests: list[bytes]) -> None:
    assert list(hashes_to_owners(digests)) == [hash_to_owner(digest) for digest in digests]


@given(st.lists(KEYS, max_size=6), st.sampled_from([ORIGIN, b"\x00", b"\x03a.b\x00"]))
def test_owners_become_text_together_as_alone(keys: list[bytes], origin: bytes) -> None:
    assert owner_texts(keys, origin) == [owner_text(key, origin) for key in keys]


def nsec3(head: bytes, ttl: int, digest: bytes, bitmap: bytes) -> RRset:
    rdata = head + bytes((len(digest),)) + digest + bitmap
    return RRset(hash_to_owner(digest[:20].ljust(20, b"\x00")), 50, ttl, pack([rdata]))


PLAIN_HEAD, SALTED_HEAD = b"\x01\x00\x00\x00\x00", b"\x01\x01\x00\x05\x02\xab\xcd"
CHAIN = st.builds(
    nsec3,
    st.sampled_from([PLAIN_HEAD] * 9 + [SALTED_HEAD]),
    st.sampled_from([300] * 9 + [5]),
    st.one_of(HASHES, HASHES, HASHES, st.just(b"\x01" * 25)),
    st.sampled_from([b"", b"\x00\x01\x40", b"\x00\x06\x40\x00\x00\x00\x00\x12"]),
)
CONTENT = st.builds(
    lambda owner, ttl, words: RRset(owner, wire(*words)[0], ttl, pack([wire(*words)[1]])),
    KEYS, st.sampled_from([0, 5, 3600]), st.sampled_from(sorted(EXPORTED.items())),
)  # fmt: skip
SEVERAL = st.sampled_from([
    RRset(b"a\x00", 1, 5, pack([b"\x01\x02\x03\x04", b"\x05\x02\x03\x04"])),
    RRset(b"a\x00", 262, 5, pack([b"\x01a", b"\x01b"])),
    RRset(b"b\x00", 50, 300, pack([PLAIN_HEAD + b"\x14" + bytes(20), PLAIN_HEAD + b"\x14" + bytes(19) + b"\x01"])),
])  # fmt: skip


@given(
    st.one_of(
        st.lists(CHAIN, min_size=1, max_size=9),
        st.lists(st.one_of(CHAIN, CONTENT, SEVERAL), min_size=1, max_size=9),
    )
)
def test_rrsets_become_text_together_as_alone(rrsets: list[RRset]) -> None:
    text, records = RRsetText(ORIGIN).piece(rrsets)
    alone = [
        rrset_lines(owner_text(rrset.owner, ORIGIN), rrset.rtype, rrset.ttl, rrset.rdata) for rrset in rrsets
    ]
    assert text == "".join(alone)
    assert records == text.count("\n")
