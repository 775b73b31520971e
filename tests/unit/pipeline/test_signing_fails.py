"""After a failed signing nothing of it is under way: the client of a thread serves all zones, one after another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dnssecd.keyservice_client.errors import SignerError, SignerUnreachable
from dnssecd.pipeline.version import signatures


class Service:
    """Takes batches by number; ``broken`` is what fails: "submit", "collect"."""

    def __init__(self, broken: str) -> None:
        self.broken, self.under_way = broken, set[int]()

    def submit(self, zone: bytes, key_id: str, preimages: list[bytes]) -> int:
        if self.broken == "submit" and self.under_way:
            raise SignerUnreachable("lost")
        ticket = len(self.under_way)
        self.under_way.add(ticket)
        return ticket

    def collect(self, ticket: int) -> list[bytes]:
        if self.broken == "collect":
            raise SignerUnreachable("lost")
        self.under_way.discard(ticket)
        return [b"s"]

    def forget(self, ticket: int) -> None:
        self.under_way.discard(ticket)


@pytest.mark.parametrize("broken", ["submit", "begun", "collect"])
def test_no_ticket_is_left(broken: str) -> None:
    service = Service(broken)
    part = SimpleNamespace(key=SimpleNamespace(key_id="k"), preimages=[b"p"])
    batch = cast("Any", SimpleNamespace(parts=[part, part, part]))
    transaction = cast("Any", SimpleNamespace(origin=b"\x00", put_rrsigs=lambda rows: None))

    def begun() -> None:
        if broken == "begun":
            raise SignerUnreachable("no room on the disk")

    with pytest.raises(SignerError):
        signatures._sign_now(batch, transaction, cast("Any", service), begun)
    assert not service.under_way
