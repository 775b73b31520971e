"""What operators see of a zone's nodes: a node that is away or drains is no node that can take the zone over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.cluster import membership, ownership, retention
from dnssecd.cluster.membership import NodeState
from dnssecd.cluster.ownership import Owner
from dnssecd.cluster.retention import Progress
from dnssecd.daemon.cluster.admin import ClusterAdmin

ZONE = "z.test."


def state(name: str, alive_s: float = 9.0, *, draining: bool = False, unfit: str = "") -> NodeState:
    return NodeState(name, alive_s, [], "1", b"", draining, unfit, 0.0)


@pytest.fixture
def details(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The details of nodes a (here), b, c and d by what is known of them."""

    def details(owner: str, *states: NodeState, unable: str = "") -> dict[str, str]:
        monkeypatch.setattr(ownership, "owner_of", lambda database, zone: Owner(ZONE, owner, 1, 1, 0.0, ""))
        monkeypatch.setattr(membership, "list_nodes", lambda database: list(states))
        progress = {"a": Progress(3), "b": Progress(3), "c": Progress(3, why_not="a key")}
        monkeypatch.setattr(retention, "progress_of", lambda database, zone: progress)
        log = SimpleNamespace(heads_of=lambda zones: {ZONE: 3})
        config = SimpleNamespace(node="a", nodes={"a": None, "b": None, "c": None, "d": None})
        link = SimpleNamespace(config=config, database=None, log=log)
        node = SimpleNamespace(
            link=link, why_not=lambda zone: "its clock differs", why_unable=lambda zone: unable
        )
        admin = ClusterAdmin(cast(Any, node), {})
        found = admin.owner(cast(Any, SimpleNamespace(name=ZONE)))
        return {row.node: row.detail for row in found.nodes}

    return details


def test_the_nodes_of_a_zone(details: Any) -> None:
    running = [state(name) for name in "abc"]
    never = "it never joined the cluster"
    assert details("a", *running) == {"a": "", "b": "", "c": "a key", "d": never}
    assert details("b", *running) == {"a": "its clock differs", "b": "", "c": "a key", "d": never}
    gone = state("a"), state("b", -5), state("c", draining=True), state("d", unfit="its clock differs")
    assert details("b", *gone) == {
        "a": "its clock differs",
        "b": "it is away",
        "c": "it is draining",
        "d": "its clock differs",
    }


def test_an_owner_that_cannot_sign_says_so(details: Any) -> None:
    running = [state(name) for name in "abcd"]
    assert (
        details("a", *running, unable="key store hsm cannot be used")["a"] == "key store hsm cannot be used"
    )
    assert details("b", *running, unable="key store hsm cannot be used")["a"] == "its clock differs"
