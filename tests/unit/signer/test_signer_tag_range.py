"""Keys are made with tags in the range that the policy gives, so that signers of one zone do not clash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dnssecd import keyservice_protocol as wp
from dnssecd.signer import algorithms
from tests.unit.signer.service_world import A, Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def made(bench: Bench, tags: tuple[int, int]) -> wp.Reply:
    return await bench.ask(wp.GenerateRequest(1, A, "ksk", 15, "local", tags=tags))


@pytest.mark.parametrize("tags", [(0, 32_767), (32_768, 65_535), (8_192, 12_287)])
async def test_both_tags_are_in_the_range(bench: Bench, tags: tuple[int, int]) -> None:
    for _ in range(4):
        reply = await made(bench, tags)
        assert isinstance(reply, wp.KeysReply), reply
        for tag in algorithms.tags(reply.keys[0].dnskey):
            assert tags[0] <= tag <= tags[1]


@pytest.mark.parametrize("tags", [(0, 4_094), (5, 4), (-1, 65_535), (60_000, 65_536)])
async def test_a_range_that_is_none_is_refused(bench: Bench, tags: tuple[int, int]) -> None:
    reply = await made(bench, tags)
    assert isinstance(reply, wp.ErrorReply)
    assert "key tags" in reply.message


@pytest.mark.parametrize(("taken", "tries"), [(0, 16), (32_768, 32), (61_440, 256), (65_536, 1_048_576)])
def test_tries_are_bounded(taken: int, tries: int) -> None:
    assert algorithms.tries(16, frozenset(range(taken))) == tries
