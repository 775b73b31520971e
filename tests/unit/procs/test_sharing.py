"""Equal values are one object, of one type."""

from __future__ import annotations

from msgspec import Struct

from dnssecd.sharing import share


class Value(Struct, frozen=True):
    number: int


def test_equal_values_of_one_type_are_one_object() -> None:
    first = Value(1_000)
    assert share(first) is first
    assert share(Value(1_000)) is first
    assert share(Value(1_001)) is not first


def test_equal_values_of_other_types_stay_what_they_are() -> None:
    assert [type(share(value)) for value in (True, 1, 1.0)] == [bool, int, float]
