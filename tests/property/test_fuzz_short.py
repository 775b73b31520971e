"""A few seconds of the fuzzing of messages and zone files; longer by ``make fuzz``."""

from pathlib import Path

from tests.fuzz import fuzz_message, fuzz_zonefile


def test_seeds(tmp_path: Path) -> None:
    assert all(fuzz_zonefile.one_input(seed, tmp_path / "zone") for seed in fuzz_zonefile.seeds())
    assert any(fuzz_message.one_input(seed) for seed in fuzz_message.seeds())


def test_mutated_messages() -> None:
    count, answered = fuzz_message.mutate(60, 1, 300_000)
    assert count > answered > 0


def test_mutated_zone_files() -> None:
    count, taken = fuzz_zonefile.mutate(60, 1, 20_000)
    assert count > taken > 0
