"""The look at public servers: one that is gone is not asked for ever, one that answers is asked for every zone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dns.message
import dns.rcode
import pytest

from dnssecd.publish import live
from dnssecd.publish.exchange import Outcome, Peer
from dnssecd.publish.live import SILENT_MAX, LiveLook
from dnssecd.publish.watch import Sighting

NS1 = Peer("ns1", "192.0.2.1", 53, None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The zones asked about; those whose name begins with ``lost`` get no answer."""
    zones: list[str] = []

    async def sight(zone: str, peer: Peer, now: Callable[[], float], timing: Any) -> Sighting:
        zones.append(zone)
        lost = zone.startswith("lost")
        return Sighting(zone, peer.name, None if lost else 1, now(), not lost, "no answer" if lost else "")

    async def exchange(*args: object) -> Outcome:
        return Outcome(None, "not in this test")

    monkeypatch.setattr(live, "sight", sight)
    monkeypatch.setattr(live, "exchange", exchange)
    return zones


async def _ask(zones: list[str]) -> list[str]:
    looks = LiveLook(lambda: 0.0)
    return [(await looks.ask(zone, [NS1]))[0].failure for zone in zones]


def test_single_losses_do_not_silence_a_server_that_answers(asked: list[str]) -> None:
    zones = [f"{kind}{number}." for number in range(SILENT_MAX + 2) for kind in ("lost", "good")]
    asyncio.run(_ask(zones))
    assert asked == zones


def test_a_server_that_is_gone_costs_a_few_deadlines(asked: list[str]) -> None:
    failures = asyncio.run(_ask([f"lost{number}." for number in range(SILENT_MAX + 2)]))
    assert len(asked) == SILENT_MAX
    assert failures[-1] == "it did not answer questions about other zones"


@pytest.mark.parametrize("rcode", ["REFUSED", "SERVFAIL", "NXDOMAIN"])
def test_a_server_that_does_not_tell_its_keys_is_not_one_without(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, rcode: str
) -> None:
    async def exchange(peer: Peer, query: dns.message.Message, timing: Any) -> Outcome:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.from_text(rcode))
        return Outcome(answer)

    monkeypatch.setattr(live, "exchange", exchange)
    assert asyncio.run(_ask(["good."])) == [f"DNSKEY: {rcode}"]
