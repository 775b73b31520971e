"""Keys that other nodes announce: which rows of the database are read at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.cluster.node_keys import Announced
from dnssecd.daemon.cluster.node_keys import NodeKeys

ZONE = "example."


class Signer:
    """Opens letters, and counts them."""

    def __init__(self) -> None:
        self.opened = 0

    async def open_letter(self, zone: bytes, letter: bytes, *, store: str) -> Any:
        self.opened += 1
        return SimpleNamespace(detail="b", role="zsk", dnskey=b"\x01\x00\x03\x0dkey")


def node_keys(signer: Signer, room: object) -> NodeKeys:
    link = SimpleNamespace(config=SimpleNamespace(node="a", nodes={"a": None, "b": None}), database=None)
    zone = SimpleNamespace(
        name=ZONE,
        origin=b"\x07example\x00",
        cluster=room,
        spec=SimpleNamespace(keys=[SimpleNamespace(keystore="own")]),
    )
    link.database = SimpleNamespace(place=SimpleNamespace(node="a"))
    mailbox = SimpleNamespace(finished=SimpleNamespace(send=lambda zone: None))
    metrics = SimpleNamespace(keys_refused=SimpleNamespace(inc=lambda: None))
    config = SimpleNamespace(own_keystores=frozenset({"own"}))
    parts: Any = (link, lambda: config, {ZONE: zone}, signer, None, mailbox, metrics)
    return NodeKeys(*parts)


@pytest.mark.parametrize(("node", "opened"), [("b", 1), ("stranger", 0), ("a", 0)])
async def test_rows_of_other_nodes_of_the_configuration_alone_are_opened(node: str, opened: int) -> None:
    """A program that can only write to the database may name any number of nodes."""
    signer, room = Signer(), SimpleNamespace(heard={}, announced={})
    await node_keys(signer, room)._read_row(cast("Any", Announced(ZONE, node, (b"letter",))))
    assert signer.opened == opened
    assert set(room.heard) == set(room.announced) == ({"b"} if opened else set())
