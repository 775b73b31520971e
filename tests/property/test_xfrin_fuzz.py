"""A few seconds of the fuzzing of transfers in; longer by ``python -m tests.fuzz.fuzz_xfrin``."""

from tests.fuzz.fuzz_xfrin import mutate, one_input, seeds


def test_seeds_are_taken() -> None:
    assert all(one_input(seed) for seed in seeds())


def test_mutated_answers() -> None:
    count, taken = mutate(60, 1, 20_000)
    assert count > taken > 0
