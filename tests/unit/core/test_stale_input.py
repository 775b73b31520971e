"""The rule of stale inputs: what a node may load after it took a zone over."""

from __future__ import annotations

import random

import pytest

from dnssecd.core.zone.stale_input import (
    INPUTS_MAX,
    InputAge,
    LoadedInput,
    SeenInput,
    judge_input,
    see_input,
    with_input,
)

ONE, TWO, THREE = (f"{number:064x}" for number in (1 << 200, 2 << 200, 3 << 200))


def loaded(*inputs: tuple[str, int]) -> tuple[LoadedInput, ...]:
    found: tuple[LoadedInput, ...] = ()
    for digest, epoch in inputs:
        found = with_input(found, digest, epoch)
    return found


@pytest.mark.parametrize(
    ("digest", "epoch", "seen", "age"),
    [
        (THREE, 2, None, InputAge.NEW),
        (TWO, 2, None, InputAge.NEWEST),
        (ONE, 2, None, InputAge.STALE),
        # It looked again, or was started again: still the same old copy.
        (ONE, 2, see_input(None, ONE, 2), InputAge.STALE),
        # It had the newest one, and its operator went back.
        (ONE, 2, see_input(None, TWO, 2), InputAge.EDITED_BACK),
        # What it saw in an earlier ownership says nothing.
        (ONE, 3, see_input(None, TWO, 2), InputAge.STALE),
        # The owner that loaded the newest one goes back.
        (ONE, 1, None, InputAge.EDITED_BACK),
    ],
)
def test_an_input_after_two(digest: str, epoch: int, seen: SeenInput | None, age: InputAge) -> None:
    assert judge_input(loaded((ONE, 1), (TWO, 1)), digest, epoch, seen) is age


def test_the_first_input_is_new() -> None:
    assert judge_input((), ONE, 1) is InputAge.NEW


def test_an_edit_back_makes_the_older_content_the_newest() -> None:
    inputs = loaded((ONE, 1), (TWO, 1), (ONE, 1))
    assert judge_input(inputs, ONE, 2) is InputAge.NEWEST
    assert judge_input(inputs, TWO, 2) is InputAge.STALE
    assert len(inputs) == 2


def test_after_a_stale_copy_any_change_is_an_edit() -> None:
    inputs = loaded((ONE, 1), (TWO, 1), (THREE, 2))
    assert judge_input(inputs, ONE, 3, None) is InputAge.STALE
    seen = see_input(None, ONE, 3)
    assert judge_input(inputs, TWO, 3, seen) is InputAge.EDITED_BACK
    seen = see_input(see_input(seen, THREE, 3), ONE, 3)
    assert seen.changed
    assert judge_input(inputs, ONE, 3, seen) is InputAge.EDITED_BACK
    assert see_input(seen, ONE, 4) == SeenInput(ONE[:32], 4)


def test_the_inputs_are_bounded() -> None:
    inputs = loaded(*((f"{number:064d}", 1) for number in range(3)))
    assert [each.digest for each in inputs] == ["0" * 32]  # they differ in what is not kept
    inputs = loaded(*((f"{number:0<64d}", 1) for number in range(10_000, 10_000 + INPUTS_MAX + 7)))
    assert len(inputs) == INPUTS_MAX
    assert inputs[-1].digest.startswith(str(10_000 + INPUTS_MAX + 6))


@pytest.mark.parametrize("seed", range(20))
def test_no_take_over_undoes_an_edit(seed: int) -> None:
    """Nodes whose copies lag: only the owner's own copy that changed under it, or new content, replaces the newest."""
    rng = random.Random(seed)
    copies = dict.fromkeys("abc", "")
    history = [""]
    inputs: tuple[LoadedInput, ...] = ()
    owner, epoch, seen, edited = "a", 1, None, False
    for _ in range(200):
        choice = rng.random()
        if choice < 0.2:
            owner, epoch, seen = rng.choice("abc"), epoch + 1, None
            edited = False
        elif choice < 0.5:
            copies[rng.choice("abc")] = rng.choice(history)  # a checkout of some revision
            edited = edited or (seen is not None and copies[owner][:32] != seen.digest)
        elif choice < 0.7:
            history.append(f"{rng.randrange(1 << 256):064x}")
            copies[owner] = history[-1]
            edited = True
        digest = copies[owner]
        if not digest:
            continue
        age = judge_input(inputs, digest, epoch, seen)
        known = [each.digest for each in inputs]
        if age is InputAge.STALE:
            assert digest[:32] in known[:-1]
        elif age is InputAge.EDITED_BACK:
            assert edited or inputs[-1].epoch == epoch
        if age not in (InputAge.STALE, InputAge.NEWEST):
            inputs = with_input(inputs, digest, epoch)
        edited = edited and seen is not None
        seen = see_input(seen, digest, epoch)
