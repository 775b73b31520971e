"""Floods of datagrams from a stranger: updates of others go on, no answer is larger than its question, no log fills.

The short form runs with all tests; the long one (`make soak`) sends as fast as the machine can, for half a minute each.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config
from tests.peers.process import wait_until
from tests.peers.tsig import TsigKey

pytestmark = pytest.mark.integration

ZONE = "f.example."
TEXT = "$TTL 300\n@ IN SOA ns1 host 1 3600 600 86400 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"
STRANGER = "127.0.0.9"


def _notify() -> bytes:
    message = dns.message.make_query(ZONE, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    return message.to_wire()


def _bad_tsig() -> bytes:
    message = dns.message.make_query(ZONE, "SOA")
    message.use_tsig(TsigKey("update.").dnspython())
    return message.to_wire()


def _pointers() -> bytes:
    """As many pointers to pointers as fit into a datagram that gets through, in the names of many records."""
    body = bytearray(struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x00\x00\x06\x00\x01")
    count, last = 0, None
    while len(body) < 1300:
        at = len(body)
        body += (b"\x01b" + struct.pack("!H", 0xC000 | last) if last else b"\x00") + struct.pack(
            "!HHIH", 1, 1, 0, 0
        )
        count, last = count + 1, at
    body[10:12] = count.to_bytes(2, "big")
    return bytes(body)


FLOODS = {
    "refused queries": lambda: [dns.message.make_query("nozone.", "A").to_wire()],
    "unsigned updates": lambda: [dns.update.Update(ZONE).to_wire()],
    "NOTIFY": lambda: [_notify()],
    "garbage": lambda: [os.urandom(40) for _ in range(20)],
    "bad TSIG": lambda: [_bad_tsig()],
    "pointers": lambda: [_pointers()],
}
#: Sends the datagrams given in hexadecimal round and round, and says how many went out and how large answers were.
SENDER = """
import socket, sys, time
port, seconds, pause = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
wires = [bytes.fromhex(text) for text in sys.argv[4:]]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.9", 0)); sock.setblocking(False)
sent = largest = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(20):
        try:
            sock.sendto(wires[sent % len(wires)], ("127.0.0.1", port)); sent += 1
        except BlockingIOError:
            pass
    try:
        while True:
            largest = max(largest, len(sock.recv(65535)))
    except BlockingIOError:
        pass
    if pause:
        time.sleep(pause)
print(sent, largest)
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dnssecd]:
    home, key, ports = tmp_path_factory.mktemp("floods"), TsigKey("update."), DaemonPorts.free()
    (home / "zone").write_text(TEXT)
    config = daemon_config(home, ports, key, {ZONE: home / "zone"})
    config["zone"][ZONE]["allow_update"] = [{"tsig": "update.", "names": [f"*.u.{ZONE}"], "types": ["TXT"]}]
    daemon = Dnssecd(home / "dnssecd", config, key)
    try:
        daemon.start()
        wait_until(lambda: daemon.serial(ZONE) is not None, "the zone is served")
        yield daemon
    finally:
        daemon.stop()


def update(daemon: Dnssecd, name: str) -> float:
    """Seconds until an update by TCP is answered; it must be carried out."""
    message = dns.update.Update(ZONE, keyring=daemon.key.dnspython())
    message.add(f"{name}.u", 60, "TXT", "x")
    started = time.monotonic()
    answer = dns.query.tcp(message, "127.0.0.1", 10, daemon.port)
    assert answer.rcode() == dns.rcode.NOERROR
    return time.monotonic() - started


def under_flood(daemon: Dnssecd, what: str, seconds: float, pause_s: float) -> tuple[float, list[float]]:
    """Return datagrams a second, and how long updates took meanwhile."""
    wires = FLOODS[what]()
    sender = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SENDER,
            str(daemon.port),
            str(seconds),
            str(pause_s),
            *(wire.hex() for wire in wires),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    taken: list[float] = []
    with contextlib.closing(sender.stdout):  # type: ignore[arg-type]
        while sender.poll() is None:
            taken.append(update(daemon, f"n{time.monotonic_ns()}"))
            if pause_s:
                time.sleep(0.02)
        assert sender.stdout is not None
        sent, largest = map(int, sender.stdout.read().split())
    assert largest <= max(map(len, wires)), "no answer is larger than its question"
    return sent / seconds, taken


@pytest.mark.parametrize("what", FLOODS)
def test_updates_continue(daemon: Dnssecd, what: str) -> None:
    before = daemon.log_path.stat().st_size
    rate, taken = under_flood(daemon, what, 1.0, 0.005)
    assert rate > 500
    assert taken
    assert max(taken) < 3.0
    assert not [line for line in daemon.log_events() if line.get("level") == "error"]
    # A line for each update's version, at most, and one for the kind of refusal.
    assert daemon.log_path.stat().st_size - before < 2000 + 1000 * len(taken)


@pytest.mark.soak
@pytest.mark.parametrize("what", FLOODS)
def test_updates_continue_for_long(daemon: Dnssecd, what: str) -> None:
    before = daemon.log_path.stat().st_size
    rate, taken = under_flood(daemon, what, 30.0, 0.0)
    grown = daemon.log_path.stat().st_size - before
    print(
        f"{what}: {rate:,.0f}/s, {len(taken)} updates, median {statistics.median(taken) * 1000:.0f} ms, "
        f"worst {max(taken) * 1000:.0f} ms, log {grown / 1024:.0f} KiB"
    )
    assert statistics.median(taken) < 0.5
    assert max(taken) < 2.0
    assert grown < 2000 + 1000 * len(taken)
