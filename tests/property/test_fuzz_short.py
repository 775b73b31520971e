"""A little of the fuzzing of messages, zone files and signed inputs, always the same; longer by ``make fuzz``."""

from math import inf
from pathlib import Path

import dns.message

from tests.fuzz import fuzz_input, fuzz_message, fuzz_zonefile


def test_seeds(tmp_path: Path) -> None:
    assert all(fuzz_zonefile.one_input(seed, tmp_path / "zone") for seed in fuzz_zonefile.seeds())
    assert fuzz_input.judged(list(fuzz_input.signed()[0])) is True
    assert any(fuzz_message.one_input(seed) for seed in fuzz_message.seeds())


def test_an_edns_version_that_is_not_known_is_told_from_the_answer() -> None:
    """And is not taken for an answer without error, although the header's four bits say so."""
    request = dns.message.make_query("example.", "SOA", use_edns=1)
    assert not fuzz_message.one_input(request.to_wire())
    assert fuzz_message.one_input(dns.message.make_query("example.", "SOA", use_edns=0).to_wire())


def test_mutated_messages() -> None:
    count, answered = fuzz_message.mutate(inf, 1, 300_000)
    assert count == 300_000 > answered > 1000


def test_mutated_zone_files() -> None:
    count, taken = fuzz_zonefile.mutate(inf, 1, 10_000)
    assert count == 10_000 > taken > 100


def test_changed_signed_inputs() -> None:
    count, verified = fuzz_input.mutate(inf, 1, 400)
    assert count == 400 > verified > 5
