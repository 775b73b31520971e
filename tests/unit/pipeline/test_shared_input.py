"""A node that takes a zone over does not load an old copy of its file; the log says which inputs are old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dnssecd.core.zone.stale_input import SeenInput
from dnssecd.pipeline.jobs.outcome import Outcome
from dnssecd.pipeline.jobs.shared_input import INPUTS
from tests.cluster_nodes import Node
from tests.memory_log import MemoryLog
from tests.pipeline_zone import ZONE, PipelineZone

OLD, NEWER = ZONE, ZONE + "edit IN A 192.0.2.8\n"


@pytest.fixture
def nodes(tmp_path: Path, signer: str) -> Iterator[tuple[Node, Node]]:
    shared = MemoryLog()
    a, b = (Node(tmp_path / name, signer, shared, name) for name in "ab")
    a.take()
    yield a, b
    a.close()
    b.close()


class Daemon:
    """What the daemon keeps between loads."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.seen: SeenInput | None = None

    def load(self, text: str, *, accept_older: bool = False) -> Outcome:
        outcome = self.node.load(text, accept_older=accept_older, seen=self.seen)
        self.seen = outcome.seen or self.seen
        return outcome


def test_a_take_over_undoes_no_edit(nodes: tuple[Node, Node]) -> None:
    a, b = map(Daemon, nodes)
    assert a.load(OLD).serial == 1
    assert a.load(NEWER).serial == 2
    b.node.take()
    for _ in range(2):
        stale = b.load(OLD)
        assert (stale.result, stale.serial) == ("rejected", 2)
        assert [problem.event for problem in stale.problems] == ["input-stale"]
        assert "--accept-older" in stale.problems[0].remedy
    assert b.load(NEWER).result == "unchanged"
    assert b.load(OLD).serial == 3  # now it is an edit
    a.node.log.epoch = None
    a.node.follow()
    assert a.node.hashes() == b.node.hashes()
    a.node.take()
    assert a.load(NEWER).problems[0].event == "input-stale"


def test_an_operator_may_load_an_old_copy(nodes: tuple[Node, Node]) -> None:
    a, b = map(Daemon, nodes)
    a.load(OLD)
    a.load(NEWER)
    b.node.take()
    assert b.load(OLD).problems[0].event == "input-stale"
    assert b.load(OLD, accept_older=True).serial == 3
    assert b.load(OLD).result == "unchanged"


def test_an_owner_may_go_back(nodes: tuple[Node, Node]) -> None:
    a, _ = map(Daemon, nodes)
    for number, text in enumerate((OLD, NEWER, OLD, NEWER), 1):
        assert a.load(text).serial == number
    with a.node.db.snapshot() as snapshot:
        inputs = snapshot.state(INPUTS)
    assert inputs is not None
    assert [epoch for _, epoch in inputs["loaded"]] == [1, 1]


def test_on_a_single_host_nothing_is_noted(tmp_path: Path, signer: str) -> None:
    zone = PipelineZone(tmp_path, signer)
    for number, text in enumerate((OLD, NEWER, OLD), 1):
        outcome = zone.load(text)
        assert (outcome.serial, outcome.seen) == (number, None)
    with zone.db.snapshot() as snapshot:
        assert snapshot.state(INPUTS) is None
    zone.close()
