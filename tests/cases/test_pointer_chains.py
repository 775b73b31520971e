"""Messages of strangers whose names are chains of compression pointers: nobody else waits for them."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.fuzz.fuzz_steps import Layout
from tests.fuzz.shapes import chain_in_rdata, one_long_name
from tests.peers.process import LOOPBACK, Servers
from tests.peers.tsig import TsigKey
from tests.peers.updates import dynamic_world

pytestmark = pytest.mark.integration

ZONE = "chains.test."
STRANGER = "127.0.0.9"
QUERY, NOTIFY, UPDATE = 0x0000, 0x2000, 0x2800
SOA = 6
FORMERR = 1
#: The chains of 65,000 octets took 5 s each, and a small one takes milliseconds.
SECONDS_MAX = 2.0


def asked(port: int) -> float:
    """Seconds until a question of another client is answered."""
    begun = time.monotonic()
    answer = dns.query.udp(dns.message.make_query(ZONE, "SOA"), LOOPBACK, port=port, timeout=10)
    assert answer.rcode() == dns.rcode.NOERROR
    return time.monotonic() - begun


def test_chains_delay_no_other_client(servers: Servers, peer_dir: Path, tsig_key: TsigKey) -> None:
    world = dynamic_world(servers, peer_dir, tsig_key, ZONE, kinds=[])
    port = world.daemon.port
    for flags in (QUERY, NOTIFY, UPDATE):
        layout = Layout(flags, SOA, 2)
        for shape in (chain_in_rdata, one_long_name):
            for octets in (4096, 65_000):
                in_datagrams(port, layout.message(shape, octets))
        with socket.create_connection((LOOPBACK, port), 10) as stream:
            wire = layout.message(chain_in_rdata, 65_000)
            stream.sendall((struct.pack("!H", len(wire)) + wire) * 3)
            assert asked(port) < SECONDS_MAX


def in_datagrams(port: int, wire: bytes) -> None:
    """Send a message three times; each is answered, the long ones with a header that says FORMERR."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        sock.settimeout(10)
        for _ in range(3):
            sock.sendto(wire, (LOOPBACK, port))
        assert asked(port) < SECONDS_MAX
        answers = {sock.recv(65_535) for _ in range(3)}
    assert {answer[:2] for answer in answers} == {wire[:2]}
    if len(wire) > 4096:
        assert {answer[3:] for answer in answers} == {bytes([FORMERR]) + bytes(8)}
