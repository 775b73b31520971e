"""NOTIFY(CDS) (RFC 9859) with the DSYNC record on a real server and a receiver that loses, refuses, answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from dnssecd.publish.dsync import Lookup, by_resolver, by_servers, notify_parent
from dnssecd.publish.exchange import Peer, Timing
from dnssecd.publish.parent import resolver
from tests.integration.dsparent import NotifyReceiver, dsync, parent_server, parent_zone
from tests.integration.smallzone import ZONE
from tests.peers.process import LOOPBACK, Servers, free_port
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

QUICK = Timing(udp_s=0.3, udp_attempts=3, tcp_s=1.0)


@pytest.fixture
async def receiver() -> AsyncIterator[NotifyReceiver]:
    made = await NotifyReceiver().start()
    yield made
    made.close()


def lookup(servers: Servers, home: Path, key: TsigKey, text: str) -> Lookup:
    """The parent's own server is asked."""
    parent = servers.start(parent_server(home / "parent", key, text))
    return by_servers([Peer("ns", LOOPBACK, parent.port)])


@pytest.mark.parametrize("owner", ["small._dsync", "_dsync", "*._dsync"])
async def test_the_endpoint_is_found_and_told(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, receiver: NotifyReceiver, owner: str
) -> None:
    ask = lookup(servers, peer_dir, tsig_key, parent_zone(dsync(receiver.port, owner)))
    done = await notify_parent(ZONE, ask, QUICK)
    assert (done.offered, done.ok) == (True, True), done
    (message,) = receiver.got
    assert message.opcode() == dns.opcode.NOTIFY
    assert message.question[0].rdtype == dns.rdatatype.CDS
    assert str(message.question[0].name) == ZONE


async def test_by_a_resolver(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, receiver: NotifyReceiver
) -> None:
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key, parent_zone(dsync(receiver.port))))
    done = await notify_parent(ZONE, by_resolver(resolver([(LOOPBACK, parent.port)])), QUICK)
    assert done.ok, done
    assert len(receiver.got) == 1


async def test_no_record_no_message(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    for number, extra in enumerate(("", dsync(53, rrtype="CSYNC"))):
        ask = lookup(servers, peer_dir / str(number), tsig_key, parent_zone(extra))
        done = await notify_parent(ZONE, ask, QUICK)
        assert (done.offered, done.ok) == (False, True), done


async def test_lost_messages_are_repeated(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, receiver: NotifyReceiver
) -> None:
    receiver.lose = 2
    ask = lookup(servers, peer_dir, tsig_key, parent_zone(dsync(receiver.port)))
    assert (await notify_parent(ZONE, ask, QUICK)).ok
    assert len(receiver.got) == 1


async def test_a_refusal_is_reported(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, receiver: NotifyReceiver
) -> None:
    receiver.rcode = dns.rcode.REFUSED
    ask = lookup(servers, peer_dir, tsig_key, parent_zone(dsync(receiver.port)))
    done = await notify_parent(ZONE, ask, QUICK)
    assert (done.offered, done.ok) == (True, False)
    assert "REFUSED" in done.detail


async def test_the_second_endpoint_gets_notify_if_the_first_is_silent(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey, receiver: NotifyReceiver
) -> None:
    silent = await NotifyReceiver(lose=1_000_000).start()
    try:
        # The endpoints are tried in the order of their names and ports.
        text = parent_zone(dsync(silent.port, target="ns.test.") + dsync(receiver.port))
        done = await notify_parent(ZONE, lookup(servers, peer_dir, tsig_key, text), QUICK)
    finally:
        silent.close()
    assert done.ok, done
    assert len(receiver.got) == 1


async def test_a_missing_server_costs_seconds(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    ask = lookup(servers, peer_dir, tsig_key, parent_zone(dsync(free_port())))
    started = time.monotonic()
    done = await notify_parent(ZONE, ask, QUICK)
    assert not done.ok
    assert time.monotonic() - started < 5
