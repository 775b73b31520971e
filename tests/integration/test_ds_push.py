"""The DS RRset pushed by dynamic update to real primaries: exact, conditional, verified, and never by accident."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from dnssecd.core.keys.keyset import ds_rdata
from dnssecd.publish.dspush import Pushed, push_ds
from dnssecd.publish.exchange import Peer, PeerKey, Timing
from dnssecd.replacing import replace
from tests.integration.dsparent import PARENT, ds_at, parent_server, parent_zone
from tests.integration.smallzone import ZONE
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver
from tests.peers.process import LOOPBACK, Servers, free_port
from tests.peers.tsig import TsigKey
from tests.unit.core_parent.keysets import APEX, key

pytestmark = pytest.mark.integration

ONE, TWO = (ds_rdata(APEX, key(number).rdata) for number in (1, 2))
KINDS = [Named, Knotd]


def peer(port: int, key: TsigKey) -> Peer:
    import base64

    return Peer("parent", LOOPBACK, port, PeerKey(key.name, key.algorithm, base64.b64decode(key.secret)))


def push(server: Nameserver, key: TsigKey, *wanted: bytes, zone: str = ZONE, **more: object) -> Pushed:
    return asyncio.run(push_ds(zone, wanted, peer(server.port, key), 300, **more))  # type: ignore[arg-type]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def parent(request: pytest.FixtureRequest, servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> Nameserver:
    return servers.start(parent_server(peer_dir / "parent", tsig_key, kind=request.param))


def test_the_set_comes_changes_and_goes(parent: Nameserver, tsig_key: TsigKey) -> None:
    before = parent.zone_content(PARENT)
    done = push(parent, tsig_key, ONE)
    assert (done.ok, done.changed) == (True, True), done
    assert ds_at(parent.port) == {ONE: 300}
    assert push(parent, tsig_key, ONE, TWO).ok
    assert set(ds_at(parent.port)) == {ONE, TWO}
    assert push(parent, tsig_key, TWO).ok
    assert set(ds_at(parent.port)) == {TWO}
    gone = push(parent, tsig_key, may_be_empty=True)
    assert gone.ok, gone
    assert ds_at(parent.port) == {}
    left = {line for line in before ^ parent.zone_content(PARENT) if " SOA " not in line}
    assert left == set(), "nothing but the DS changed"


def test_what_is_there_already_is_left_alone(parent: Nameserver, tsig_key: TsigKey) -> None:
    push(parent, tsig_key, ONE, TWO)
    serial = parent.serial(PARENT)
    again = push(parent, tsig_key, TWO, ONE)
    assert (again.ok, again.changed) == (True, False)
    assert parent.serial(PARENT) == serial


def test_without_a_delegation_nothing_is_added(parent: Nameserver, tsig_key: TsigKey) -> None:
    done = push(parent, tsig_key, ONE, zone="nowhere.test.")
    assert not done.ok
    assert "there is no delegation (NS) for the zone" in done.detail
    assert ds_at(parent.port, "nowhere.test.") == {}


def test_an_empty_set_is_not_pushed_by_accident(parent: Nameserver, tsig_key: TsigKey) -> None:
    push(parent, tsig_key, ONE)
    done = push(parent, tsig_key)
    assert not done.ok
    assert set(ds_at(parent.port)) == {ONE}


def test_a_wrong_secret_a_wrong_key_and_none_are_told_apart(parent: Nameserver, tsig_key: TsigKey) -> None:
    wrong_secret = push(parent, TsigKey(), ONE)
    assert "TSIG" in wrong_secret.detail
    wrong_name = push(parent, replace(tsig_key, name="other."), ONE)
    assert "TSIG" in wrong_name.detail
    unsigned = asyncio.run(push_ds(ZONE, [ONE], Peer("parent", LOOPBACK, parent.port), 300))
    assert not unsigned.ok
    assert ds_at(parent.port) == {}


def test_the_ttl_that_was_there_stays(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    text = parent_zone(f"small 7200 DS 4711 13 2 {'ab' * 32}\n")
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key, text))
    assert push(parent, tsig_key, ONE).ok
    assert ds_at(parent.port) == {ONE: 7200}


def test_a_delegation_several_labels_below_its_parent(
    servers: Servers, peer_dir: Path, tsig_key: TsigKey
) -> None:
    text = parent_zone("deep.down.here NS ns.other\n")
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key, text))
    done = push(parent, tsig_key, ONE, zone="deep.down.here.test.")
    assert done.ok, done
    assert set(ds_at(parent.port, "deep.down.here.test.")) == {ONE}


def test_a_server_that_is_no_authority_says_so(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    parent = servers.start(parent_server(peer_dir / "parent", tsig_key))
    done = push(parent, tsig_key, ONE, zone="example.com.")
    assert not done.ok
    assert "not authoritative for a parent of example.com." in done.detail


def test_a_server_that_is_down_costs_seconds(tsig_key: TsigKey) -> None:
    started = time.monotonic()
    timing = Timing(udp_s=0.3, udp_attempts=2, tcp_s=1.0)
    done = asyncio.run(push_ds(ZONE, [ONE], peer(free_port(), tsig_key), 300, timing=timing))
    assert not done.ok
    assert time.monotonic() - started < 5
