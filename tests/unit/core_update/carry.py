"""Carrying out updates in tests: from short notation to RCODE and the zone's lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dnssecd.core.update.apply import apply_update
from dnssecd.core.update.types import UpdatePolicy, UpdateResult
from dnssecd.core.verify.memoryview import MemoryZoneView
from dnssecd.replacing import replace
from dnssecd.server.update_message import parse_update
from tests.unit.core_update.build import EVERYTHING, RR, applied, lines, message, zone_view

POLICY = UpdatePolicy(EVERYTHING)
BASE = zone_view()


class Carried(NamedTuple):
    """The result, and what lines the zone lost and gained."""

    result: UpdateResult
    removed: set[str]
    added: set[str]

    @property
    def rcode(self) -> int:
        return self.result.rcode


def update(
    *updates: RR,
    when: Iterable[RR] = (),
    zone: MemoryZoneView = BASE,
    policy: UpdatePolicy = POLICY,
    **bounds: int,
) -> Carried:
    """Carry out one message."""
    result = apply_update(zone, parse_update(message(updates, when)), replace(policy, **bounds))  # type: ignore[arg-type]
    before, after = lines(zone), lines(applied(zone, result.changes, result.soa))
    return Carried(result, before - after, after - before)
