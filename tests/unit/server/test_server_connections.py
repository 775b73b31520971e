"""Who has a place for a TCP connection, and who gives one up."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnssecd.server.clients import client, network, transfer_client
from dnssecd.server.connections import Connection, ConnectionLedger, Standing
from dnssecd.server.limits import Limits

LIMITS = Limits(
    connections_max=16,
    connections_per_client_max=6,
    connections_per_network_max=8,
    strangers_per_network_max=4,
)


class Places:
    """A ledger, and what was evicted from it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.ledger = ConnectionLedger(limits)
        self.evicted: list[Connection] = []

    def connect(
        self, address: str, standing: Standing = Standing.STRANGER, *, idle: float | None = None
    ) -> Connection:
        connection = Connection(ip_address(address), lambda: self.evicted.append(connection), standing, idle)
        self.reason = self.ledger.admit(connection)
        return connection


def test_incomplete_messages_of_strangers_exclude_no_other_client() -> None:
    places = Places(Limits())
    for number in range(2000):
        places.connect(f"198.51.{number % 200}.{number % 4}")
        assert places.reason is None
    assert len(places.ledger) <= 256
    secondary = places.connect("192.0.2.53")
    assert places.reason is None
    for number in range(200):
        places.connect(f"198.51.{number % 100}.9")
    assert secondary not in places.evicted, "the newest of the smallest network goes last"
    places.ledger.promote(secondary, Standing.PEER)
    for number in range(5000):
        places.connect(f"203.{number % 250}.{number % 7}.9")
    assert secondary not in places.evicted


def test_a_peer_in_the_network_of_a_flood_is_the_last_to_go() -> None:
    places = Places(Limits())
    for number in range(100):
        places.connect(f"192.0.2.{number % 4}")
    secondary = places.connect("192.0.2.53")
    for number in range(5000):
        places.connect(f"192.0.2.{number % 4}")
    assert secondary not in places.evicted


def test_a_network_has_few_places_for_strangers() -> None:
    places = Places()
    connections = [places.connect(f"2001:db8:1:{number:x}::1") for number in range(10)]
    assert places.reason is None
    assert places.evicted == connections[:6], "its own oldest make room"
    other = places.connect("2001:db8:2::1")
    assert other not in places.evicted


def test_peers_find_a_place_when_clients_take_all_that_are_theirs() -> None:
    places = Places()
    for number in range(30):
        places.connect(f"198.51.{number}.1", Standing.CLIENT)
    assert places.reason == "too many connections"
    assert len(places.ledger) == 12
    for number in range(4):
        places.connect(f"192.0.2.{number}", Standing.PEER)
        assert places.reason is None
    places.connect("192.0.2.99", Standing.PEER)
    assert places.reason == "too many connections", (
        "all are in the middle of something, and none is a stranger"
    )


def test_strangers_go_before_idle_clients_and_idle_clients_before_idle_peers() -> None:
    places = Places(Limits(connections_max=4))
    peer = places.connect("192.0.2.1", Standing.PEER, idle=1.0)
    allowed = places.connect("192.0.2.2", Standing.CLIENT, idle=2.0)
    stranger = places.connect("198.51.100.1")
    places.connect("198.51.101.1", Standing.CLIENT)
    places.connect("203.0.113.1", Standing.CLIENT)
    places.connect("203.0.114.1", Standing.CLIENT)
    assert places.evicted == [stranger, allowed]
    assert peer not in places.evicted


def test_connections_of_one_client_are_bounded_and_its_strangers_make_room() -> None:
    places = Places(Limits(connections_per_client_max=3))
    first = places.connect("192.0.2.1")
    for _ in range(2):
        places.connect("192.0.2.1", Standing.PEER)
    places.connect("192.0.2.1", Standing.PEER)
    assert (places.reason, places.evicted) == (None, [first])
    places.connect("192.0.2.1", Standing.PEER)
    assert places.reason == "too many connections of one client"


def test_standing_never_falls() -> None:
    places = Places()
    connection = places.connect("192.0.2.1")
    places.ledger.promote(connection, Standing.PEER)
    places.ledger.promote(connection, Standing.CLIENT)
    assert connection.standing is Standing.PEER
    places.ledger.leave(connection)
    places.ledger.promote(connection, Standing.PEER)
    assert len(places.ledger) == 0


def test_out_of_descriptors_the_one_that_can_be_spared_goes() -> None:
    places = Places()
    places.ledger.shed()
    idle = places.connect("192.0.2.1", Standing.PEER, idle=1.0)
    busy = places.connect("192.0.2.2", Standing.PEER)
    stranger = places.connect("198.51.100.1")
    places.ledger.shed()
    places.ledger.shed()
    places.ledger.shed()
    assert places.evicted == [stranger, idle]
    assert busy not in places.evicted


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from(list(Standing)), st.integers(0, 3)),
        max_size=120,
    )
)
def test_the_counters_add_up(steps: list[tuple[int, int, Standing, int]]) -> None:
    """Whatever comes and goes: all bounds hold, and the counts are those of what is open."""
    places, held = Places(), []
    for site, host, standing, act in steps:
        if act < 2 or not held:
            connection = places.connect(f"10.0.{site}.{host}", standing, idle=1.0 if host % 2 else None)
            held += [connection] if places.reason is None else []
        elif act == 2:
            places.ledger.promote(held[host % len(held)], standing)
        else:
            places.ledger.leave(held.pop(host % len(held)))
        ledger = places.ledger
        open_now = list(ledger._open)
        strangers = [one for one in open_now if one.standing is Standing.STRANGER]
        assert len(open_now) <= LIMITS.connections_max
        assert len(strangers) <= LIMITS.connections_max // 2
        assert Counter(one.client for one in open_now) == ledger._clients
        assert max(ledger._clients.values(), default=0) <= LIMITS.connections_per_client_max
        assert max(Counter(one.network for one in strangers).values(), default=0) <= 4
        kept = [one for clients in ledger._strangers.values() for those in clients.values() for one in those]
        assert set(kept) == set(strangers)
        assert len(kept) == ledger._stranger_count
        assert Counter(one.network for one in strangers) == ledger._stranger_networks
        assert ledger._peers == sum(one.standing is Standing.PEER for one in open_now)
        assert not set(places.evicted) & set(open_now)


@pytest.mark.parametrize(
    ("address", "of_client", "of_network"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::1", "::1", "::/48"),
    ],
)
def test_clients_and_networks(address: str, of_client: str, of_network: str) -> None:
    assert (client(ip_address(address)), network(ip_address(address))) == (of_client, of_network)


def test_secondaries_that_share_a_key_are_not_one_client() -> None:
    one, two = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    assert transfer_client(b"\x01k\x00", one) != transfer_client(b"\x01k\x00", two)
    assert transfer_client(b"\x01k\x00", one) != transfer_client(b"\x01m\x00", one)
    many = {transfer_client(b"\x01k\x00", ip_address(f"2001:db8:1:{n:x}::1")) for n in range(100)}
    assert len(many) == 1
