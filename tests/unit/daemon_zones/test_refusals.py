"""A refused request by its reason: metric, remedy, and what the event says. The wording decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dnssecd.clock import FakeClock
from dnssecd.core.dns.names import text_to_wire
from dnssecd.daemon.known_peers import KnownPeers
from dnssecd.daemon.refusal_remedies import remedy
from dnssecd.daemon.refusals import EVENT, Refusals
from dnssecd.daemon.zones.mailbox import Mailbox
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.ops.events import EventCore
from dnssecd.ops.metrics import Metrics
from dnssecd.server.acl import Address
from dnssecd.server.reasons import Refusal

ZONE, KEY = text_to_wire("z."), text_to_wire("key.")
PEER = ip_address("192.0.2.1")


class OnePeer(KnownPeers):
    def __init__(self) -> None:
        pass

    def names(self, address: Address) -> tuple[str, ...]:
        return ("secondary ns",) if address == PEER else ()


def a_zone() -> FrontZone:
    parts: Any = SimpleNamespace(name="z.", origin=ZONE)
    return FrontZone(parts, parts, parts, [], [], parts)


def table_of(zone: FrontZone) -> Any:
    return SimpleNamespace(by_name={zone.name: zone}, by_origin={zone.origin: zone})


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventCore]:
    core = EventCore(tmp_path / "events.sqlite", FakeClock())
    yield core
    core.close()


@pytest.mark.parametrize(
    ("reason", "detail", "label", "cause"),
    [
        (Refusal.ACCESS, "", "access", "refused: access"),
        (Refusal.NO_GRANT, "no grant for a.z., type TXT", "access", "refused: no grant for a.z., type TXT"),
        (Refusal.NO_GRANT, "words of another kind", "access", "refused: words of another kind"),
        (Refusal.NOT_ALLOWED, "no grant, in words alone", "other", "refused: no grant, in words alone"),
        (Refusal.NO_SUCH_ZONE, "", "no-such-zone", "refused: no such zone"),
        (Refusal.FROZEN, "", "other", "refused: the zone is frozen"),
        (Refusal.BADSIG, "", "BADSIG", "refused: BADSIG"),
    ],
)
async def test_what_is_reported_follows_the_reason(
    events: EventCore, reason: Refusal, detail: str, label: str, cause: str
) -> None:
    metrics, clock = Metrics(), FakeClock()
    refusals = Refusals(metrics.server, events, OnePeer(), table_of(a_zone()), Mailbox(), clock.monotonic)
    refusals.refused(ZONE, "update", PEER, KEY, reason, detail)
    labels = {"kind": "update", "reason": label, "sender": "peer"}
    assert metrics.registry.get_sample_value("dnssecd_requests_refused_total", labels) == 1
    (event,) = events.firing()
    assert event.cause == f"update from 192.0.2.1, signed with key. was {cause}"
    assert event.remedy == remedy("update", reason)
    refusals.close()
    await asyncio.sleep(0)


async def test_what_was_refused_for_a_zone_is_forgotten_with_it(events: EventCore) -> None:
    metrics, clock, mailbox = Metrics(), FakeClock(), Mailbox()
    first, second = a_zone(), a_zone()
    table = table_of(first)
    refusals = Refusals(metrics.server, events, OnePeer(), table, mailbox, clock.monotonic)
    refusals.refused(ZONE, "axfr", PEER, KEY, Refusal.ACCESS)
    assert events.is_firing(EVENT, "z.", "secondary ns")
    events.remove_zone("z.")
    mailbox.removed.send(first)
    events.add_zone("z.")
    table.by_name, table.by_origin = {"z.": second}, {ZONE: second}
    refusals.refused(ZONE, "axfr", PEER, KEY, Refusal.ACCESS)
    assert events.is_firing(EVENT, "z.", "secondary ns"), "at once, not a window later"
    refusals.accepted(ZONE, PEER, KEY)
    assert events.firing() == []
    refusals.close()


async def test_what_fired_before_a_restart_resolves_when_it_is_over(events: EventCore) -> None:
    events.raise_event(EVENT, "z.", "from before", subject="secondary ns")
    refusals = Refusals(
        Metrics().server, events, OnePeer(), table_of(a_zone()), Mailbox(), FakeClock().monotonic
    )
    refusals.start()
    refusals.accepted(ZONE, PEER, KEY)
    assert events.firing() == []
    refusals.close()


def test_a_missing_grant_is_a_matter_of_access() -> None:
    assert remedy("update", Refusal.NO_GRANT) == remedy("update", Refusal.NOT_SIGNED)
    assert "allow_update" in remedy("update", Refusal.NO_GRANT)
    assert remedy("ixfr", Refusal.ACCESS) == remedy("axfr", Refusal.ACCESS)


@pytest.mark.parametrize("reason", Refusal)
def test_every_reason_has_a_remedy(reason: Refusal) -> None:
    assert len(remedy("query", reason)) > 20
