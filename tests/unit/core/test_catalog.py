"""Catalog zones: what is made is read again, and what is broken is refused (RFC 9432)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns.names import owner_key, text_to_wire
from dnssecd.core.dns.rrset import RRset, pack
from dnssecd.core.dns.rrtypes import NS, PTR, TXT
from dnssecd.core.zone.catalog import BrokenCatalog, Member, catalog_text, member_label, read_catalog
from dnssecd.ingest.zonefile import parse_zone_file

NAME = "catalog.example."


def rrset(owner: str, rtype: int, *rdatas: bytes) -> RRset:
    name = f"{owner}.{NAME}" if owner else NAME
    return RRset(owner_key(text_to_wire(name), text_to_wire(NAME)), rtype, 0, pack(rdatas))


def txt(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def ptr(zone: str) -> bytes:
    return text_to_wire(zone)


VERSION = rrset("version", TXT, txt("2"))


def test_members_with_their_properties() -> None:
    members = read_catalog(
        [
            VERSION,
            rrset("", NS, ptr("invalid.")),
            rrset("a.zones", PTR, ptr("a.example.")),
            rrset("group.a.zones", TXT, txt("gold"), txt("silver")),
            rrset("coo.a.zones", PTR, ptr("other.example.")),
            rrset("b.zones", PTR, ptr(".")),
            rrset("ext.b.zones", TXT, txt("ignored")),
            rrset("ext", TXT, txt("ignored")),
            rrset("b.zones", TXT, txt("ignored")),
        ]
    )
    assert members == {
        "a.example.": Member("a.example.", "a", ("gold", "silver"), "other.example."),
        ".": Member(".", "b"),
    }


@pytest.mark.parametrize(
    ("rrsets", "why"),
    [
        ([], "no TXT record at the name version"),
        ([rrset("version", TXT, txt("1"))], 'its version is "1"'),
        ([rrset("version", TXT, txt("2") + txt(""))], "its version is"),
        ([rrset("version", TXT, txt("1"), txt("2"))], "several TXT records"),
        ([VERSION, rrset("a.zones", PTR, ptr("a."), ptr("b."))], "has 2 PTR records"),
        (
            [VERSION, rrset("a.zones", PTR, ptr("a.")), rrset("b.zones", PTR, ptr("a."))],
            "a. is a member twice, as a and b",
        ),
    ],
)
def test_a_broken_catalog(rrsets: list[RRset], why: str) -> None:
    with pytest.raises(BrokenCatalog, match=why):
        read_catalog(rrsets)


def test_what_is_made_is_read(tmp_path: Path) -> None:
    members = {"a.example.": "gold", "b.example.": "", ".": "", "0/25.2.0.192.in-addr.arpa.": "x-1"}
    path = tmp_path / "catalog.zone"
    path.write_text(catalog_text(NAME, members))
    parsed = parse_zone_file(path, text_to_wire(NAME))
    found = read_catalog(parsed.rrsets)
    assert {name: "".join(member.groups) for name, member in found.items()} == members
    assert all(member.label == member_label(name) for name, member in found.items())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["version", "a.zones", "group.a.zones", "coo.a.zones", "x.y.a.zones", "zones", ""]
            ),
            st.sampled_from([PTR, TXT, NS]),
            st.lists(st.binary(max_size=6).map(lambda b: bytes([len(b)]) + b), min_size=1, max_size=3),
        ),
        max_size=6,
    )
)
def test_any_records_are_read_or_refused(rows: list[tuple[str, int, list[bytes]]]) -> None:
    names = [ptr("a."), ptr("b.c.")]
    rrsets = [
        rrset(owner, rtype, *(names[: len(rdatas)] if rtype in (PTR, NS) else rdatas))
        for owner, rtype, rdatas in rows
    ]
    with suppress(BrokenCatalog):
        assert isinstance(read_catalog([VERSION, *rrsets]), dict)
