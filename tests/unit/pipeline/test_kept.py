"""What was derived from an object is used for that very object only."""

from __future__ import annotations

from dnssecd.pipeline.version.kept import KEPT_MAX, Kept


def test_it_is_made_once_for_an_object_and_again_for_an_equal_one() -> None:
    made: list[list[int]] = []

    def total(source: list[int]) -> int:
        made.append(source)
        return sum(source)

    kept = Kept(total)
    first, equal = [1, 2], [1, 2]
    assert [kept(first), kept(first), kept(equal), kept(first)] == [3, 3, 3, 3]
    assert len(made) == 2
    assert made[0] is first
    assert made[1] is equal


def test_an_id_that_is_used_again_gives_no_old_result() -> None:
    kept = Kept(lambda source: source[0])
    for number in range(10 * KEPT_MAX):
        assert kept([number]) == number
    assert len(kept._known) <= KEPT_MAX
