"""A little of the fuzzing of transfers in, the same on every machine; longer by ``python -m tests.fuzz.fuzz_xfrin``."""

from math import inf

from tests.fuzz.fuzz_xfrin import mutate, one_input, seeds


def test_seeds_are_taken() -> None:
    assert all(one_input(seed) for seed in seeds())


def test_mutated_answers() -> None:
    count, taken = mutate(inf, 1, 20_000)
    assert count == 20_000 > taken > 100
