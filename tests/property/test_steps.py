"""No octets of others cost more than in proportion to their number: each parser, each shape.."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from dnssecd.core.dns import message_names
from tests.fuzz.fuzz_steps import LINES, TARGETS, TooDear, fuzz, judge_all, lines_of, warm_up
from tests.fuzz.shapes import SHAPES

SIZES = (512, 4096, 65_535)


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    warm_up()


@pytest.mark.parametrize("octets", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_parser_is_linear(shape: str, octets: int) -> None:
    found = judge_all(SHAPES[shape], octets)
    assert found.keys() == TARGETS.keys()
    assert all(found.values()), "every parser ran"


def test_mixed_shapes() -> None:
    assert fuzz(float("inf"), 1, 12) == 12


def test_the_shapes_are_read_and_not_turned_away_at_once() -> None:
    """A parser that gives up early proves nothing: each shape takes some parser a line for each twelve octets."""
    taken = set()
    for name, shape in SHAPES.items():
        for target in TARGETS.values():
            wire = target.layout.message(shape, 4096)
            assert len(wire) > 2700, name
            if lines_of(target.judge, wire, 10**6) > len(wire) // 12:
                taken.add(name)
    assert taken == SHAPES.keys()


def _while(wire: bytes) -> None:
    number = len(wire) ** 2
    while number:
        number -= 1


def _comprehension(wire: bytes) -> None:
    [first for first in wire for _ in wire]


def _generator(wire: bytes) -> None:
    any(False for _ in wire for _ in wire)


def _recursion(wire: bytes) -> None:
    def deeper(left: int) -> Iterator[int]:
        return chain.from_iterable(repeat(0, 1) for _ in range(left))

    for left in range(len(wire)):
        list(deeper(left))


@pytest.mark.parametrize("judge", [_while, _comprehension, _generator, _recursion])
def test_a_loop_of_any_form_is_counted(judge: Callable[[bytes], None]) -> None:
    with pytest.raises(TooDear):
        lines_of(judge, bytes(400), LINES + 20 * 400)


def test_pointers_without_a_bound_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter finds the fault that this was made for: chains followed to their end, for each record again."""

    def followed(wire: bytes, position: int, fault: type[Exception]) -> int:
        after = 0
        while length := wire[position]:
            if length < 192:
                position += length + 1
                continue
            after = after or position + 2
            position = (length & 63) << 8 | wire[position + 1]
        return after or position + 1

    monkeypatch.setattr("dnssecd.core.dns.message.skip_name", followed)
    with pytest.raises(TooDear, match=r"query over TCP, \d+ octets: .*test_steps"):
        judge_all(SHAPES["chain_in_rdata"], 16_384)


def test_a_table_without_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[int, bytes]):
        def __setitem__(self, key: int, value: bytes) -> None:
            pass

    class Table(message_names.NameTable):
        def __init__(self, wire: bytes, fault: type[Exception]) -> None:
            super().__init__(wire, fault)
            self.known = Forgetful()

    monkeypatch.setattr("dnssecd.ingest.xfrin_wire.NameTable", Table)
    with pytest.raises(TooDear, match="AXFR in"):
        judge_all(SHAPES["one_long_name"], 16_384)
