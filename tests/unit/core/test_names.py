"""Owner keys against dnspython's idea of canonical order."""

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.core.dns import names

ORIGIN = names.text_to_wire("example.com.")
label = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [b"\x00", b"\x01", b"\x00\x01", b"*", b"A", b"a.b"]
)
relative = st.lists(label, max_size=4)


def wire_of(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(part),)) + part for part in labels) + ORIGIN


def name_of(labels: list[bytes]) -> dns.name.Name:
    return dns.name.Name([*labels, b"example", b"com", b""])


@given(relative, relative)
def test_keys_sort_as_canonical_names(first: list[bytes], second: list[bytes]) -> None:
    one, two = (names.owner_key(wire_of(labels), ORIGIN) for labels in (first, second))
    canonical = [name_of(labels).canonicalize() for labels in (first, second)]
    assert (one < two) == (canonical[0] < canonical[1])
    assert (one == two) == (canonical[0] == canonical[1])


@given(relative)
def test_keys_and_wire_names_are_the_same_thing(labels: list[bytes]) -> None:
    wire = wire_of(labels)
    key = names.owner_key(wire, ORIGIN)
    assert names.key_to_wire(key, ORIGIN) == names.lower(wire)
    assert names.key_labels(key) == [names.lower(part) for part in reversed(labels)]
    assert names.label_count(key) == len(labels)
    assert dns.name.from_text(names.key_to_text(key, ORIGIN)) == name_of(labels)
    assert names.text_to_wire(names.key_to_text(key, ORIGIN)) == names.lower(wire)


@given(relative, relative)
def test_a_subtree_is_one_range(top: list[bytes], other: list[bytes]) -> None:
    key, asked = (names.owner_key(wire_of(labels), ORIGIN) for labels in (top, other))
    inside = name_of(other).is_subdomain(name_of(top))
    assert (key <= asked < names.subtree_end(key)) == inside
    assert asked.startswith(key) == inside


def test_ancestors_end_with_the_apex() -> None:
    assert list(names.ancestors(b"a\x00b\x00c\x00")) == [b"a\x00b\x00", b"a\x00", b""]
    assert list(names.ancestors(b"")) == []


@pytest.mark.parametrize("text", ["", "a..b.", "\\256.", "\\", "x" * 64 + ".", "a." * 128, "ä."])
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(names.BadName):
        names.text_to_wire(text)


def test_a_name_outside_the_zone_is_refused() -> None:
    for outside in ("example.net.", "com.", "badexample.com.", "."):
        with pytest.raises(names.BadName):
            names.owner_key(names.text_to_wire(outside), ORIGIN)


@pytest.mark.parametrize(
    ("key", "wild"), [(b"*\x00", True), (b"a\x00*\x00", True), (b"*\x00a\x00", False), (b"x*\x00", False)]
)
def test_wildcards(key: bytes, wild: bool) -> None:
    assert names.is_wildcard(key) is wild


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com."),
        ("example.com.", "example.com."),
        (".", "."),
        ("a\\.", "a\\.."),
        ("a\\\\.", "a\\\\."),
        ("a\\\\\\.", "a\\\\\\.."),
    ],
)
def test_a_zone_has_one_name(text: str, name: str) -> None:
    assert names.full_name(text) == name
    assert names.full_name(name) == name
    assert names.text_to_wire(text) == names.text_to_wire(name)
