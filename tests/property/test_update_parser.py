"""The UPDATE parser under any octets at all: FormError or a message that can be carried out."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.server.update_message import parse_update
from tests.fuzz.fuzz_update import mutated, one_input, seeds
from tests.unit.core_update.build import ANY, IN, NONE, ORIGIN, RR, message, wire_name

SEEDS = seeds()

names = st.sampled_from(
    [
        ORIGIN,
        wire_name("www"),
        wire_name("a.b"),
        wire_name("x.other."),
        b"\xc0\x0c",
        b"\x01a\xc0\x0c",
        b"\xc0\x00",
    ]
)
rrs = st.builds(
    RR,
    names | st.binary(max_size=20),
    st.integers(0, 300) | st.integers(0, 65535),
    st.sampled_from([IN, NONE, ANY]) | st.integers(0, 65535),
    st.sampled_from([0, 300]) | st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
)


def test_the_seeds_are_sound() -> None:
    assert all(one_input(seed) for seed in SEEDS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets(data: bytes) -> None:
    one_input(data)
    one_input(SEEDS[0][:12] + data)


@settings(max_examples=300, deadline=None)
@given(st.lists(rrs, max_size=4), st.lists(rrs, max_size=4))
def test_any_records(updates: list[RR], prerequisites: list[RR]) -> None:
    one_input(message(updates, prerequisites))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 65535), st.binary(max_size=60))
def test_any_rdata_of_any_type(rtype: int, rdata: bytes) -> None:
    for each in (rtype, rtype % 270):
        one_input(message([RR(ORIGIN, each, IN, 60, rdata)]))
        one_input(message([RR(ORIGIN, each, NONE, 0, rdata)], [RR(ORIGIN, each, IN, 0, rdata)]))


def test_mutations() -> None:
    rng = random.Random(20)
    taken = sum(one_input(mutated(rng, rng.choice(SEEDS))) for _ in range(6000))
    assert 300 < taken < 5000, "mutations are neither all nor hardly ever sound"


def test_every_octet_of_a_message_changed() -> None:
    wire = SEEDS[3]
    for at in range(len(wire)):
        for octet in (0, 1, 63, 64, 128, 192, 255, wire[at] ^ 1):
            one_input(wire[:at] + bytes([octet]) + wire[at + 1 :])


def test_parsing_a_message_twice_gives_the_same() -> None:
    for seed in SEEDS:
        assert parse_update(seed) == parse_update(bytes(bytearray(seed)))
